"""Which Redis holds the state, and how it is spoken to.

Owns: TLS as Celery spells it, and configuration that comes late.  Refuses to know: the other
settings (`test_settings`).
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import ConfigurationError, Flow, Sagas
from celeriac.engine.dispatching import Backlog
from celeriac.testing.servers import LocalRedis, find_embedded_binary, find_redis_binary, free_port
from celeriac.workers import Runtime, broker_url, depths, place, redis_url, secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "rediss://h:6380"


def url_of(**conf: Any) -> str:
    """The URL of the state, for an app with this configuration."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(conf)
    return redis_url(app, Runtime(app).settings)


@pytest.mark.parametrize(
    ("conf", "url"),
    [
        (
            {"broker_url": f"{HOST}/0", "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE}},
            f"{HOST}/0?ssl_cert_reqs=none",
        ),
        (
            {"broker_url": "redis://h:6380/0", "broker_use_ssl": {"ssl_ca_certs": "/etc/ca.pem"}},
            f"{HOST}/0?ssl_ca_certs=%2Fetc%2Fca.pem",
        ),
        (
            {
                "broker_url": "amqp://rabbit//",
                "result_backend": f"{HOST}/1",
                "redis_backend_use_ssl": {"ssl_cert_reqs": ssl.CERT_OPTIONAL},
                "saga_redis_url": f"{HOST}/2",
            },
            f"{HOST}/2?ssl_cert_reqs=optional",
        ),
        ({"broker_url": f"{HOST}/0?ssl_cert_reqs=CERT_NONE"}, f"{HOST}/0?ssl_cert_reqs=none"),
        ({"broker_url": f"{HOST}/0?ssl_cert_reqs=required"}, f"{HOST}/0?ssl_cert_reqs=required"),
        (
            {
                "broker_url": f"{HOST}/0?ssl_cert_reqs=none",
                "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED},
            },
            f"{HOST}/0?ssl_cert_reqs=none",
        ),
        (
            {
                "broker_url": f"{HOST}/0",
                "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE},
                "saga_redis_url": "redis://other:6379/0",
            },
            "redis://other:6379/0",
        ),
        (
            {
                "broker_url": "redis://h:6380/0",
                "broker_use_ssl": {
                    "ssl_min_version": ssl.TLSVersion.TLSv1_2,
                    "ssl_check_hostname": False,
                    "ssl_keyfile": None,
                },
            },
            f"{HOST}/0?ssl_min_version=771&ssl_check_hostname=False",
        ),
        ({"broker_url": "redis://h:6380/0", "broker_use_ssl": False}, "redis://h:6380/0"),
        ({"broker_url": "redis://h:6380/0", "broker_use_ssl": {}}, "redis://h:6380/0"),
        (
            {"broker_url": "redis://h:6380/0", "broker_use_ssl": {"ssl_cert_reqs": None}},
            f"{HOST}/0?ssl_cert_reqs=none",
        ),
        ({"broker_url": "redis://h:6380/0", "broker_use_ssl": {"ssl_keyfile": None}}, f"{HOST}/0"),
    ],
)
def test_tls_reaches_the_state(conf: dict[str, Any], url: str) -> None:
    """What is said of a server holds for the state that is kept there, and for no other server."""
    assert url_of(**conf) == url


def test_an_option_of_tls_says_that_a_server_speaks_it() -> None:
    """Whatever the scheme: so does kombu."""
    given = "redis://h:6380/0?ssl_cert_reqs=CERT_NONE"
    assert url_of(broker_url=given) == f"{HOST}/0?ssl_cert_reqs=none"
    assert url_of(saga_redis_url=given) == f"{HOST}/0?ssl_cert_reqs=none"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ssl_ocsp_context": object()}, "broker_use_ssl: .*ssl_ocsp_context.*saga_redis_url"),
        ({"ssl_cert_reqs": "CERT_SOME"}, "CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE.*CERT_SOME"),
    ],
)
def test_tls_that_cannot_be_used_is_refused(options: dict[str, Any], message: str) -> None:
    """An option is never left out silently."""
    with pytest.raises(ConfigurationError, match=message):
        url_of(broker_url=f"{HOST}/0", broker_use_ssl=options)


@pytest.mark.parametrize("mark", ["/", "#", "?", "["])
def test_a_password_with_a_mark_in_it_is_not_told(mark: str) -> None:
    """What is taken for the port is a part of the password, and says instead how to write it."""
    url = f"redis://:pa55{mark}word@h:6379/0"
    for conf in ({"broker_url": url}, {"broker_url": f"{HOST}/0", "saga_redis_url": url}):
        with pytest.raises(ConfigurationError, match="write %2F for /") as caught:
            url_of(**conf)
        assert "pa55" not in str(caught.value)
    other = url_of(broker_url=url, broker_use_ssl={"ssl_keyfile": "k"}, saga_redis_url=f"{HOST}/0")
    assert other == f"{HOST}/0"


MASTER = {"master_name": "state", "sentinel_kwargs": {"password": "p@ss"}}
SENTINELS = "sentinel://:pw@a:1;sentinel://b:2"


@pytest.mark.parametrize(
    ("conf", "url"),
    [
        ({"broker_url": SENTINELS, "broker_transport_options": MASTER}, SENTINELS),
        (
            {"broker_url": SENTINELS.split(";"), "broker_transport_options": MASTER},
            SENTINELS,
        ),
        (
            {
                "broker_url": SENTINELS,
                "broker_transport_options": MASTER,
                "saga_redis_url": "sentinel://b:2/3",
            },
            "sentinel://b:2/3",
        ),
        (
            {
                "broker_url": "amqp://rabbit//",
                "result_backend": SENTINELS,
                "result_backend_transport_options": MASTER,
                "saga_redis_url": "sentinel://b:2/3",
            },
            "sentinel://b:2/3",
        ),
    ],
)
def test_sentinels_are_taken_over(conf: dict[str, Any], url: str) -> None:
    """What Celery has to be told of sentinels in options of their own holds for the state."""
    assert url_of(**conf) == f"{url}?sentinel_password=p%40ss&master_name=state"


def test_the_environment_names_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """CELERY_BROKER_URL wins over the configuration, as it does for Celery's own messages."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://there:6379/3")
    assert url_of(broker_url="redis://here:6379/0") == "redis://there:6379/3"
    assert url_of(saga_redis_url="redis://mine:6379/0") == "redis://mine:6379/0"
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://:qwerty@there:6379/3")
    conf = Celery("shop", broker="redis://here:6379/0", set_as_current=False).conf
    assert place(broker_url(conf)) == "there:6379/3"
    assert "qwerty" in secrets_of(conf)


def test_what_is_said_of_other_sentinels_is_not_taken_over() -> None:
    """A name is known to the sentinels that watch it, and to no others."""
    conf = {"broker_url": SENTINELS, "broker_transport_options": MASTER}
    with pytest.raises(ConfigurationError, match="master_name"):
        url_of(**conf, saga_redis_url="sentinel://c:3")
    own = "sentinel://c:3?master_name=other"
    assert url_of(**conf, saga_redis_url=own) == own


def test_tls_reaches_servers_behind_sentinels() -> None:
    """TLS that is said of a broker behind sentinels holds for the state there."""
    conf = {"broker_url": SENTINELS, "broker_transport_options": MASTER}
    options = {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": ssl.CERT_OPTIONAL}
    found = url_of(**conf, broker_use_ssl=options)
    assert found.endswith("&ssl_ca_certs=%2Fca.pem&ssl_cert_reqs=optional")
    assert url_of(**conf, broker_use_ssl={"ssl_keyfile": None}).endswith("&ssl_cert_reqs=required")
    cluster = "rediss+cluster://a:1?ssl_cert_reqs=CERT_NONE"
    assert url_of(saga_redis_url=cluster) == "rediss+cluster://a:1?ssl_cert_reqs=none"


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ({"broker_url": "redis://a:1/0;redis://b:1/0"}, "several brokers"),
        ({"broker_url": ["redis://a:1/0", "redis://b:1/0"]}, "several brokers"),
        ({"saga_redis_url": "redis://a:1/0;redis://b:1/0"}, "several servers"),
        ({"broker_url": "amqp://rabbit//"}, "the broker is not one"),
        ({"saga_redis_url": "amqp://rabbit//"}, "begins with amqp"),
    ],
)
def test_state_is_in_one_place(conf: dict[str, Any], told: str) -> None:
    """Several brokers, of which Celery takes whichever answers, hold no state: nobody guesses."""
    with pytest.raises(ConfigurationError, match=rf"^saga_redis_url: .*{told}"):
        url_of(**conf)


def test_other_spellings_of_a_server() -> None:
    """Valkey's schemes and kombu's for a socket are understood."""
    assert url_of(saga_redis_url="valkeys://h:1/2") == "rediss://h:1/2"
    assert url_of(saga_redis_url="valkey://h:1/2") == "redis://h:1/2"
    socket = "redis+socket:///run/r.sock?virtual_host=2"
    assert url_of(broker_url=socket) == socket


def test_the_prefix_of_the_broker_is_that_of_its_runs(tmp_path: Path) -> None:
    """Two applications that share a database by their prefixes do not see each other's runs."""
    with LocalRedis(tmp_path / "redis") as server, server.client() as client:
        shops = [shop(server.url, prefix) for prefix in ("a:", "b:")]
        for app, order in shops:
            order.start("mug", id="order-1")
            assert app.celeriac.run("order-1").status == "running"
            app.celeriac.runtime.close()
        keys = {key for key in client.scan_iter() if "celeriac:{" in key}
        assert {key[:11] for key in keys} == {"a:celeriac:", "b:celeriac:"}
        [waiting] = depths(shops[0][0], ["celery"])
        assert waiting.messages == 1
        backlog = shops[0][0].celeriac.runtime.dispatcher.backlog("shop.pack")
        assert backlog == Backlog("celery", 1)
        assert [found.run_id for found in waiting.oldest] == ["order-1"]


def shop(url: str, prefix: str) -> tuple[Celery, Any]:
    """An app with a saga, whose broker's keys have a prefix."""
    app = Celery("shop", broker=url, set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": prefix}
    sagas = Sagas(app)

    @sagas.step(name="shop.pack")
    def pack(sku: str) -> str:
        return sku

    @sagas.saga(name="order")
    def order(flow: Flow, sku: str) -> str:
        return flow.step(pack, sku)

    return app, order


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """Where a Redis speaks TLS, under a certificate that it has signed itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    if find_redis_binary() == find_embedded_binary():
        pytest.skip("the embedded server is built without TLS")
    key, certificate, port = tmp_path / "key.pem", tmp_path / "ca.pem", free_port()
    request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *request.split(), *names, *files], check=True, capture_output=True)
    options: dict[str, str | int] = {
        "tls-port": port,
        "tls-auth-clients": "no",
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
    }
    with LocalRedis(tmp_path / "redis", options=options):
        yield port


def test_a_run_is_started_over_tls(tls_port: int, tmp_path: Path) -> None:
    """With `broker_use_ssl` as Celery wants it, and nothing else, a run is accepted."""
    app = Celery("shop", broker=f"rediss://localhost:{tls_port}/0", set_as_current=False)
    app.conf.broker_use_ssl = {"ssl_ca_certs": str(tmp_path / "ca.pem")}
    sagas = Sagas(app)

    @sagas.step
    def pack(sku: str) -> str:
        return sku

    @sagas.saga
    def order(flow: Flow, sku: str) -> str:
        return flow.step(pack, sku)

    order.start("mug", id="order-1")
    assert sagas.run("order-1").status == "running"
    assert app.connection().default_channel.client.llen("celery") == 1


# --- configuration that comes late ---------------------------------------------------------------


def test_configuration_may_come_after_the_app_was_finalized() -> None:
    """Autodiscovery touches `app.tasks` before a test's configuration is there; it counts."""
    app = Celery("shop", broker="redis://prod:6379/0", set_as_current=False)
    sagas = Sagas(app)
    assert app.tasks
    app.conf.update(saga_redis_url="redis://test:6379/0", saga_lease=30)
    assert sagas.runtime.settings.redis_url == "redis://test:6379/0"
    assert sagas.runtime.settings.lease == 30


@pytest.mark.parametrize("name", ["saga_redis_url", "broker_url", "saga_namespace", "saga_shards"])
def test_runs_are_not_sent_to_two_places(name: str) -> None:
    """Once a process works on runs, saying that they are elsewhere is an error."""
    app = Celery("shop", broker="redis://prod:6379/0", set_as_current=False)
    sagas = Sagas(app)
    sagas.runtime.engine.store.close()
    app.conf[name] = {"saga_shards": 4, "saga_namespace": "other"}.get(name, "redis://test:6379/0")
    with pytest.raises(ConfigurationError, match=f"{name}.* was changed after"):
        _ = sagas.runtime.settings
