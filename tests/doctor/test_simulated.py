"""What no server here can be made to say, put into its mouth.

Owns: facts as they were gathered, with something changed.  Refuses to know: real misconfigurations.
"""

from __future__ import annotations

import dataclasses
import os
import time
from signal import SIGCONT, SIGSTOP
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.doctor import CHECKS, Severity, examine, judge
from celeriac.doctor.facts import Facts, gather
from celeriac.doctor.findings import Unseen
from celeriac.doctor.server import Server
from celeriac.doctor.store_contents import StoreContents
from celeriac.store import SweepMark
from tests.doctor.conftest import Examined
from tests.doctor.examined_app import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from tests.doctor.conftest import Examine, Serve

MB = 1024 * 1024


@pytest.fixture
def facts(app: Celery) -> Iterator[Facts]:
    """What is seen of a sound application, without asking workers."""
    found = gather(app.celeriac.runtime, frozenset({"app", "redis", "broker"}))
    # Nobody works here, and nobody is missed.
    yield dataclasses.replace(found, roll=Unseen("nobody was asked", "-"))
    app.celeriac.runtime.close()


def told(facts: Facts, *, info: dict[str, str] | None = None, **changed: Any) -> Examined:
    """What is found where INFO says something else, or the server is otherwise."""
    assert isinstance(facts.server, Server)
    server = dataclasses.replace(facts.server, **changed)
    if info is not None:
        assert isinstance(server.info, dict)
        server = dataclasses.replace(server, info=server.info | info)
    checks = [check for check in CHECKS.values() if check.area in ("redis", "app")]
    return Examined(judge(dataclasses.replace(facts, server=server), checks))


def test_as_it_is(facts: Facts) -> None:
    """What is changed below is what makes the difference."""
    assert told(facts).bad == {}


@pytest.mark.parametrize("version", ["5.0.14", "6.0.9"])
def test_an_old_version(facts: Facts, version: str) -> None:
    """What is older than 6.2 lacks commands that sagas need."""
    found = told(facts, info={"redis_version": version})
    assert found.bad == {
        "redis-version": f"error: it is version {version}: scripts and commands of 6.2 are missing"
    }


@pytest.mark.parametrize("version", ["6.2.0", "7.4.1", "8.0.0", "10.1"])
def test_a_version_that_will_do(facts: Facts, version: str) -> None:
    """What is new enough is compared as a number, and not as text."""
    assert told(facts, info={"redis_version": version}).bad == {}


def test_a_full_disk(facts: Facts) -> None:
    """An append-only file that could not be written is an error."""
    found = told(facts, info={"aof_last_write_status": "err"})
    assert found["disk"].severity is Severity.ERROR
    found = told(facts, info={"aof_last_bgrewrite_status": "err"})
    assert found["disk"].severity is Severity.WARNING


def test_memory_that_is_not_where_it_seems(facts: Facts) -> None:
    """Fragmented and swapped memory are told, once there is enough of it to matter."""
    torn = {"used_memory": str(100 * MB), "used_memory_rss": str(190 * MB)}
    assert "190 MB" in told(facts, info=torn).bad["fragmentation"]
    swapped = {"used_memory": str(100 * MB), "used_memory_rss": str(30 * MB)}
    assert "swapped out" in told(facts, info=swapped).bad["fragmentation"]
    small = {"used_memory": str(1 * MB), "used_memory_rss": str(9 * MB)}
    assert told(facts, info=small).bad == {}


@pytest.mark.parametrize(
    ("trip", "severity"), [(1.0, Severity.OK), (8.0, Severity.INFO), (40.0, Severity.WARNING)]
)
def test_a_server_far_away(facts: Facts, trip: float, severity: Severity) -> None:
    """Round trips are a step's price."""
    assert told(facts, round_trip=trip)["latency"].severity is severity


@pytest.mark.parametrize(
    ("ahead", "finding"),
    [
        (400, None),
        (-700, "warning: the clock of this machine is 700 ms ahead of that of Redis"),
        (3_000, "error: the clock of this machine is 3 s behind that of Redis"),
    ],
)
def test_a_clock_of_our_own_that_is_wrong(facts: Facts, ahead: int, finding: str | None) -> None:
    """This machine's clock is compared too; Redis is who is right."""
    assert told(facts, ahead=ahead).bad == ({"clock": finding} if finding else {})


def test_a_setting_that_config_renamed(facts: Facts) -> None:
    """A server that hides CONFIG leaves questions open, and no more."""
    hidden = dict.fromkeys(("appendfsync",), Unseen("CONFIG GET was refused (unknown command)"))
    assert isinstance(facts.server, Server)
    found = told(facts, settings={**facts.server.settings, **hidden})
    assert set(found.bad) == {"fsync"}
    assert found["fsync"].severity is Severity.UNCHECKED


def test_info_that_makes_no_sense(facts: Facts) -> None:
    """Whatever a server says, the doctor does not stumble."""
    assert isinstance(facts.server, Server)
    assert isinstance(facts.server.info, dict)
    for nonsense in ("", "?", "-1", "9" * 400, "\x1b[31m"):
        told(facts, info=dict.fromkeys(facts.server.info, nonsense))
    assert told(facts, info={"uptime_in_seconds": "soon"}).bad == {
        "restart": "unchecked: could not be checked: this server's INFO says uptime_in_seconds:soon"
    }


def _crew_checks(facts: Facts, *ids: str) -> Examined:
    return Examined(judge(facts, [CHECKS[each] for each in ids]))


def test_a_sweep_that_died(facts: Facts) -> None:
    """A mark that is old is an error, and so is none at all; a young one is neither."""
    old = SweepMark(at=1_000_000, lag=0, took=5, now=1_090_000)
    found = _crew_checks(dataclasses.replace(facts, sweep=old), "sweep")
    assert found.bad == {"sweep": "error: it was last through 90 s ago"}
    young = SweepMark(at=1_000_000, lag=0, took=5, now=1_002_000)
    assert _crew_checks(dataclasses.replace(facts, sweep=young), "sweep").bad == {}
    assert "never" in _crew_checks(dataclasses.replace(facts, sweep=None), "sweep").bad["sweep"]


def test_a_sweep_that_lags(facts: Facts) -> None:
    """What has been due for longer than a lease was not looked at."""
    assert isinstance(facts.server, Server)
    now = facts.server.now
    late = dataclasses.replace(facts, contents=StoreContents(due=now - 60_000))
    assert "60 s" in _crew_checks(late, "sweep-lag").bad["sweep-lag"]
    soon = dataclasses.replace(facts, contents=StoreContents(due=now - 1_000))
    assert _crew_checks(soon, "sweep-lag").bad == {}


def test_runs_that_cannot_go_on(facts: Facts) -> None:
    """Each reason is told once, with a run that has it, and how many others."""
    why = "ship: not sent: QueueNotFound: Queue 'labels' missing from task_queues"
    blocked = {"order-1": why, "order-2": why, "order-3": "pay: worker w1 does not know the task"}
    held = dataclasses.replace(facts, contents=StoreContents(looked_at=9, blocked=blocked))
    findings = _crew_checks(held, "blocked").report.findings
    assert [each.text for each in findings] == [
        f"order-1 and 1 more of 9 live runs looked at: {why}",
        "order-3 of 9 live runs looked at: pay: worker w1 does not know the task",
    ]


def test_workers_that_cannot_be_asked(facts: Facts) -> None:
    """A broker that carries no such question is told once, and claims nothing."""
    mute = dataclasses.replace(facts, roll=Unseen("OperationalError: no fanout", "workers"))
    found = _crew_checks(mute, "workers", "tasks", "queues", "pools")
    assert found.bad == {
        "workers": "unchecked: could not be checked: they could not be asked "
        "(OperationalError: no fanout)"
    }
    # Where the check that tells it is left out, the others do.
    assert set(_crew_checks(mute, "tasks").bad) == {"tasks"}


def test_servers_that_never_answer(examined: Examine, serve: Serve) -> None:
    """A server that takes connections and answers nothing costs seconds, and not minutes."""
    server = serve()
    app = build(server.url, server.url)
    os.kill(server.pid, SIGSTOP)
    try:
        began = time.monotonic()
        found = examined(app)
        took = time.monotonic() - began
    finally:
        os.kill(server.pid, SIGCONT)
    assert took < 10
    assert {check for check, text in found.bad.items() if text.startswith("error")} == {
        "redis",
        "broker",
    }
    assert found.report.cut_off


def test_a_doctor_that_asks_for_what_it_needs_only(app: Celery) -> None:
    """Checks of the configuration ask neither broker nor workers."""
    began = time.monotonic()
    report = examine(app.celeriac.runtime, only=["serializers", "lease"])
    assert time.monotonic() - began < 1  # a roll call takes longer
    assert [each.check for each in report.findings] == ["serializers", "lease"]
    app.celeriac.runtime.close()
