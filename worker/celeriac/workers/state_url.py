"""Which Redis holds run state, as the application's configuration says it.

Owns: that it is `saga_redis_url`, else the broker; what is said of the broker elsewhere in the
configuration and holds for the state in the same place: TLS, the sentinels' options, a prefix of
all keys.  Refuses to know: how a URL is read (`addresses`), and connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError
from celeriac.store.addresses import (
    MASTER,
    OF_SENTINELS,
    SCHEMES,
    nodes_of,
    parse_address,
    scheme_of,
    with_options,
)
from celeriac.workers.tls import with_tls
from celeriac.workers.urls import all_broker_urls, setting

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.settings import Settings

#: Brokers of an application's own tests, which live and die with them.
OF_TESTS = ("memory", "filesystem")

# What says where runs are kept.
_NAMES = (
    *("saga_redis_url", "saga_namespace", "saga_shards"),
    *("broker_url", "broker_transport_options"),
)


def state_settings(app: Celery) -> dict[str, Any]:
    """What the configuration says now of where runs are kept, by setting."""
    return {name: repr(setting(app.conf, name)) for name in _NAMES}


def redis_url(app: Celery, settings: Settings) -> str:
    """The URL of the Redis that holds run state: the setting, else the broker's, if it is one.

    Raises ConfigurationError, which names the setting and quotes no URL.
    """
    conf = app.conf
    if settings.redis_url:
        found = settings.redis_url
        _check_scheme(found, "it begins with ", ", which is not a Redis; write")
    else:
        found = ";".join(all_broker_urls(conf))
        _check_scheme(found, "run state needs a Redis, and the broker is not one (", "); set")
        if scheme_of(found) != "sentinel" and len(all_broker_urls(conf)) > 1:
            raise ConfigurationError(
                "saga_redis_url: there are several brokers, and run state is in one Redis; set "
                "app.conf.saga_redis_url to say in which"
            )
    return completed(found, conf)


def _check_scheme(url: str, problem: str, advice: str) -> None:
    """Raise ConfigurationError, with *problem*, the scheme and *advice*, unless it is a Redis."""
    scheme = scheme_of(url)
    if scheme not in SCHEMES:
        told = f"{problem}{scheme or 'no scheme'}{advice}"
        raise ConfigurationError(
            f"saga_redis_url: {told} app.conf.saga_redis_url = 'redis://host:6379/0'"
        )


def completed(url: str, conf: Mapping[str, Any]) -> str:
    """Return *url* with what *conf* says elsewhere of the same servers; raises as `redis_url`."""
    for name, other in (("valkey", "redis"), ("valkeys", "rediss")):
        if scheme_of(url) == name:
            url = other + url[len(name) :]
    if scheme_of(url) == "sentinel":
        url = with_options(url, _said_of_sentinels(url, conf))
    parse_address(url)  # before anything else takes it apart, and tells what it found
    return with_tls(url, conf)


def _said_of_sentinels(url: str, conf: Mapping[str, Any]) -> dict[str, Any]:
    """What transport options say of the sentinels of *url*, be they broker's or result backend's.

    That is the primary's name, and what the sentinels themselves want to know of their clients.
    """
    backend = setting(conf, "result_backend")
    found: dict[str, Any] = {}
    for name, other in (
        ("result_backend_transport_options", backend if isinstance(backend, str) else ""),
        ("broker_transport_options", ";".join(all_broker_urls(conf))),
    ):
        given = conf.get(name) or {}
        if nodes_of(other) & nodes_of(url):
            own = given.get("sentinel_kwargs") or {}
            found |= {f"{OF_SENTINELS}{key}": value for key, value in own.items()}
            found |= {MASTER: given[MASTER]} if given.get(MASTER) else {}
    return found


def key_prefix(conf: Mapping[str, Any], settings: Settings) -> str:
    """What the broker's keys begin with: where runs are kept with it, theirs begin so too.

    Whoever shares a database by such a prefix, perhaps under an ACL, shares it with runs as well.
    """
    if settings.redis_url:
        return ""
    given = conf.get("broker_transport_options")
    return str(given.get("global_keyprefix") or "") if isinstance(given, Mapping) else ""
