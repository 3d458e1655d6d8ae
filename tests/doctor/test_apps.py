"""Misconfigured applications: each is told by its own finding.

Owns: what can be wrong with settings of Celery and Celeriac, and with what is in the store.
Refuses to know: servers that are ill, and workers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.doctor import CHECKS, Severity
from celeriac.doctor.findings import Remark
from tests.doctor.examined_app import build

if TYPE_CHECKING:
    from tests.doctor.conftest import Examine, Examined
    from tests.redis_server import RedisServer

MIME_OF_PICKLE = "application/x-python-serialize"
APP = tuple(check.id for check in CHECKS.values() if check.area == "app")


def broken_router(*_: Any, **__: Any) -> None:
    """A router that was written for another version of Celery."""
    raise TypeError("it takes other arguments")


def look(
    examined: Examine, server: RedisServer, late: dict[str, Any] | None = None, **conf: Any
) -> Examined:
    """What is said of the clinic with *conf*, and with options of its adopted task."""
    return examined(build(server.url, server.url, conf=conf, late=late), *APP)


def test_a_sound_application(examined: Examine, clean: RedisServer) -> None:
    """There is nothing to say about settings that go together."""
    found = look(examined, clean)
    assert found.bad == {}
    assert [each.check for each in found.report.findings] == list(APP)


@pytest.mark.parametrize(
    ("check", "severity", "conf"),
    [
        ("serializers", Severity.WARNING, {"accept_content": ["json", "pickle"]}),
        (
            "serializers",
            Severity.WARNING,
            {"accept_content": ["application/x-python-serialize", "json"]},
        ),
        ("serializers", Severity.ERROR, {"task_serializer": "yaml"}),
        ("eager", Severity.ERROR, {"task_always_eager": True}),
        ("lease", Severity.WARNING, {"saga_lease": 3}),
        ("lease", Severity.WARNING, {"saga_lease": 900}),
        ("reject-on-worker-lost", Severity.WARNING, {"task_reject_on_worker_lost": True}),
        ("prefetch", Severity.INFO, {"worker_prefetch_multiplier": 4}),
        ("own-queue", Severity.WARNING, {"task_default_queue": "celeriac"}),
        (
            "routes",
            Severity.ERROR,
            {"task_create_missing_queues": False, "task_routes": {"clinic.scan": "undeclared"}},
        ),
        ("routes", Severity.ERROR, {"task_routes": (broken_router,)}),
    ],
)
def test_a_setting_that_does_harm(
    examined: Examine, clean: RedisServer, check: str, severity: Severity, conf: dict[str, Any]
) -> None:
    """A setting that breaks a promise is named, with what to do, and nothing else is."""
    found = look(examined, clean, **conf)
    assert set(found.bad) == {check}
    assert found[check].severity is severity
    assert found[check].advice


def test_pickle_for_everything(examined: Examine, clean: RedisServer) -> None:
    """Both halves of it are told."""
    found = look(examined, clean, task_serializer="pickle", accept_content=["pickle"])
    texts = [each.text for each in found.report.findings if each.check == "serializers"]
    assert len(texts) == 2


def visible(seconds: float) -> dict[str, Any]:
    """The configuration of a visibility timeout."""
    return {"broker_transport_options": {"visibility_timeout": seconds}}


def test_a_visibility_timeout_below_a_step(examined: Examine, clean: RedisServer) -> None:
    """A step that may take longer than the broker waits is told, and worse with late ack (F4)."""
    found = look(examined, clean, **visible(45))
    assert found["visibility-timeout"].severity is Severity.WARNING
    assert "clinic.operate may take longer than 45 s" in found["visibility-timeout"].text
    assert look(examined, clean, **visible(51)).bad == {}
    found = look(examined, clean, late={"acks_late": True, "time_limit": 600}, **visible(300))
    assert found["visibility-timeout"].severity is Severity.ERROR
    assert "clinic.scan may take 10 min" in found["visibility-timeout"].text


def test_a_late_task_without_a_limit(examined: Examine, clean: RedisServer) -> None:
    """What may take for ever, and is acknowledged late, cannot be compared with anything."""
    found = look(examined, clean, late={"acks_late": True})
    assert found["visibility-timeout"].severity is Severity.INFO
    assert look(examined, clean, late={"acks_late": True, "time_limit": 60}).bad == {}
    everywhere = look(examined, clean, task_acks_late=True, task_time_limit=60)
    assert everywhere.bad == {}


def test_a_visibility_timeout_that_is_none(examined: Examine, clean: RedisServer) -> None:
    """A few seconds are too short for any message; another broker has no such thing."""
    assert "5 s" in look(examined, clean, **visible(5)).bad["visibility-timeout"]
    app = build("amqp://guest@127.0.0.1:1//", clean.url, conf=visible(5))
    assert examined(app, *APP).bad == {}


def test_a_step_longer_than_rabbitmq_waits(examined: Examine, clean: RedisServer) -> None:
    """A worker would be ended in the middle of it (F20); other brokers have no such thing."""
    hour = {"acks_late": True, "time_limit": 3600}
    app = build("amqp://guest@127.0.0.1:1//", clean.url, late=hour)
    found = examined(app, *APP)
    assert set(found.bad) == {"consumer-timeout"}
    assert "clinic.scan may take longer than 30 min" in found["consumer-timeout"].text
    short = build("amqp://guest@127.0.0.1:1//", clean.url, late={**hour, "time_limit": 1700})
    assert examined(short, *APP).bad == {}
    assert "consumer-timeout" not in look(examined, clean, late=hour).bad


def test_live_plans_count_too(examined: Examine, clean: RedisServer) -> None:
    """A step that this version no longer has, but a live run has, is compared as well."""
    before = build(clean.url, clean.url)
    before.celeriac.defined["treatment"].start("Ada")
    now = build(clean.url, clean.url, conf=visible(45))
    now.celeriac._sagas.clear()
    assert "clinic.operate" in examined(now, "visibility-timeout").bad["visibility-timeout"]
    before.celeriac.runtime.close()
    before.close()


# --- the same broker -----------------------------------------------------------------------------


def test_one_redis_for_all(examined: Examine, clean: RedisServer) -> None:
    """Sharing a server is no mistake, but worth knowing; another database changes nothing."""
    other = clean.url.removesuffix("0") + "5"
    found = examined(build(other, clean.url), "shared-redis")
    assert found["shared-redis"].severity is Severity.INFO


# --- shards --------------------------------------------------------------------------------------


def with_runs(server: RedisServer, shards: int, runs: int = 20) -> None:
    """Start runs in so many shards, and leave a worker's signs of life."""
    app = build(server.url, server.url, conf={"saga_shards": shards})
    for number in range(runs):
        app.celeriac.defined["treatment"].start("Ada", id=f"run-{number}")
    app.celeriac.runtime.engine.store.pulse(10_000)
    app.celeriac.runtime.close()
    app.close()


@pytest.mark.parametrize(("before", "now"), [(4, 8), (8, 4), (16, 8)])
def test_another_number_of_shards(
    examined: Examine, clean: RedisServer, before: int, now: int
) -> None:
    """A namespace whose shards were changed does not find its runs: in either direction."""
    with_runs(clean, before)
    app = build(clean.url, clean.url, conf={"saga_shards": now})
    found = examined(app, "shards")
    assert found["shards"].severity is Severity.ERROR
    assert f"saga_shards = {now}" in found["shards"].text
    same = build(clean.url, clean.url, conf={"saga_shards": before})
    assert examined(same, "shards").bad == {}


def test_workers_with_more_shards(examined: Examine, clean: RedisServer) -> None:
    """Workers that look at more shards than we do are noticed without any run."""
    with_runs(clean, 16, runs=0)
    found = examined(build(clean.url, clean.url), "shards")
    assert "other workers use 16 shards or more" in found.bad["shards"]


# --- the table -----------------------------------------------------------------------------------


def test_every_check_is_described() -> None:
    """Each says what is well, what to do, and where to look by hand."""
    for check in CHECKS.values():
        assert check.about.endswith("."), check.id
        assert check.advice.endswith("."), check.id
        assert check.by_hand, check.id
        assert check.severity in (Severity.ERROR, Severity.WARNING, Severity.INFO), check.id


def test_a_remark_has_an_advice_of_its_own() -> None:
    """Where a check knows better than its row what to do, that is told."""
    row = CHECKS["memory"]
    assert row._finding("full").advice == row.advice
    assert row._finding(Remark(Severity.INFO, "empty", "Rest.")).advice == "Rest."


def test_live_runs_cost_no_more(examined: Examine, clean: RedisServer) -> None:
    """Only a sample of the runs is read, from both ends of each index."""
    with_runs(clean, 1, runs=600)
    app = build(clean.url, clean.url, conf={"saga_shards": 1})
    with clean.client() as client:
        client.config_resetstat()
        began = time.monotonic()
        assert examined(app, "shards").bad == {}
        assert time.monotonic() - began < 2
        read = client.info("commandstats")["cmdstat_hget"]["calls"]
    assert read < 400 + 1024 + 10  # the sample, and the pulses of all possible shards
