"""How the URL of run state is read: every spelling, and what is refused without quoting it."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.errors import ConfigurationError
from celeriac.store.addresses import parse_address
from celeriac.store.connecting import connection_to

SENTINELS = "sentinel://:pw@a:26380/2;sentinel://b?master_name=state&sentinel_password=s%40"


@pytest.mark.parametrize(
    ("url", "place", "options"),
    [
        ("redis://h", "h:6379/0", {"db": 0}),
        ("redis://u:p%40w@h:1/3", "h:1/3", {"db": 3, "username": "u", "password": "p@w"}),
        ("redis://u:p%w+x@h:1/3", "h:1/3", {"db": 3, "username": "u", "password": "p%w+x"}),
        ("redis://:p:w@h//4", "h:6379/4", {"db": 4, "password": "p:w"}),
        ("redis://h?db=4", "h:6379/4", {"db": 4}),
        ("valkey://h/1?socket_timeout=0.5", "h:6379/1", {"db": 1, "socket_timeout": 0.5}),
        ("redis://[::1]:7/1", "[::1]:7/1", {"db": 1}),
        ("unix://:pw@/run/r.sock?db=2", "/run/r.sock db 2", {"db": 2, "password": "pw"}),
        ("redis+socket:///run/r.sock?virtual_host=2", "/run/r.sock db 2", {"db": 2}),
        (SENTINELS, "state of the sentinels a:26380,b:26379/2", {"db": 2, "password": "pw"}),
        ("sentinel://a,b:1/1?master_name=m", "m of the sentinels a:26379,b:1/1", {"db": 1}),
        ("redis+cluster://u:pw@a:7000,b", "the cluster a:7000,b:6379", {"password": "pw"}),
        ("valkeys+cluster://a:7000/0", "the cluster a:7000", {}),
    ],
)
def test_a_place_and_how_to_get_in(url: str, place: str, options: dict[str, Any]) -> None:
    """Each spelling leads to the same kind of facts."""
    found = parse_address(url)
    assert found.place == place
    assert {name: found.options.get(name) for name in options} == options
    assert "pw" not in repr(found)


def test_sentinels_have_options_of_their_own() -> None:
    """What is meant for them is not said to the servers, and the other way round."""
    found = parse_address(SENTINELS + "&sentinel_ssl=true&socket_timeout=2")
    assert found.sentinel_options["password"] == "s@"  # noqa: S105
    assert "SSL" in found.sentinel_options["connection_class"].__name__
    assert "connection_class" not in found.options
    assert found.options["socket_timeout"] == 2
    assert "connection_class" in parse_address(SENTINELS + "&ssl_ca_certs=/ca.pem").options


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("amqp://h", "it begins with amqp, which is not a Redis"),
        ("h:6379", "it begins with no scheme"),
        ("redis://a/0;redis://b/0", "several servers with ';'"),
        ("redis://a:1,b:2/0", "several servers with ','"),
        ("redis://h/zero", "its database is not a number"),
        ("redis://h:port/0", "host and port cannot be read"),
        ("redis://h:70000/0", "host and port cannot be read"),
        ("sentinel://a:1", "master_name"),
        ("redis+cluster://a:1/3", "a cluster has no databases"),
        ("redis://h/0?socket_timeout=soon", "socket_timeout"),
        ("redis://h/0?no_such_option=1", "no_such_option"),
        ("sentinel://a:1;redis://b:1/0?master_name=m", "different kinds"),
    ],
)
def test_what_cannot_be_is_refused(url: str, told: str) -> None:
    """The message says what is wrong, and names the setting."""
    with pytest.raises(ConfigurationError, match=told) as caught:
        connection_to(url)
    assert str(caught.value).startswith("saga_redis_url: ")


@pytest.mark.parametrize("odd", ["/", "#", "?", "@", ":", "%", ";", " ", "é", "\\", "["])
@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "sentinel"])
def test_an_odd_password_is_never_shown(scheme: str, odd: str) -> None:
    """One that was not encoded is understood or refused; no piece of it is told either way."""
    url = f"{scheme}://user:s3cret{odd}xyz45@h:6379/0?master_name=m"
    url = url if scheme == "sentinel" else url.partition("?")[0]
    try:
        told = parse_address(url)
    except ConfigurationError as error:
        shown = str(error)
    else:
        assert told.options["password"] == f"s3cret{odd}xyz45"
        shown = told.place + repr(told)
    assert "s3cret" not in shown
    assert "xyz45" not in shown
