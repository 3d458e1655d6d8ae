"""Workers, beats and queues that are not as they should be: real processes.

Owns: what can be wrong with who works.  Refuses to know: what is wrong with servers and settings.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from celeriac.doctor import CHECKS, Severity
from celeriac.doctor.sweep import _at_once, _is_late
from celeriac.workers.report import Ticks, ask_workers
from tests.doctor.examined_app import build
from tests.doctor.processes import environment
from tests.processes import until

if TYPE_CHECKING:
    import pytest
    from celery import Celery

    from tests.doctor.conftest import Examine, Serve
    from tests.doctor.processes import ExaminedProcesses
    from tests.redis_server import RedisServer

WORK = tuple(check.id for check in CHECKS.values() if check.area == "workers")
CREW = tuple(each for each in WORK if each not in ("sweep", "beat"))


def test_a_sound_world(
    examined: Examine, serve: Serve, clean: RedisServer, processes: ExaminedProcesses
) -> None:
    """Broker and runs on servers of their own, a worker and a beat: nothing to say at all."""
    broker = serve()
    clinic = {"broker": broker.url, "state": clean.url}
    processes.beat("beat", **clinic)
    processes.worker("w1", **clinic)
    app = build(broker.url, clean.url)
    app.celeriac.defined["treatment"].start("Ada", id="one").result(30)
    until(lambda: app.celeriac.runtime.engine.store.last_sweep() is not None, "a sweep")
    found = examined(app)
    assert found.bad == {}
    assert {each.severity for each in found.report.findings} == {Severity.OK}
    assert [each.check for each in found.report.findings] == list(CHECKS)
    assert not found.report.failed
    assert found.report.summary == f"{len(CHECKS)} ok"


def test_no_worker(examined: Examine, clean: RedisServer) -> None:
    """Without workers there is one error; what they would be asked is not repeated."""
    found = examined(build(clean.url, clean.url), *CREW)
    assert found.bad == {"workers": "error: no worker answered"}
    left = {each.check for each in found.report.findings if each.severity is Severity.UNCHECKED}
    assert left == {"tasks", "queues", "versions", "pools", "worker-rejects", "gate-numbers"}


def test_a_worker_that_cannot_answer(examined: Examine, clean: RedisServer) -> None:
    """Where nobody answers but signs of life come, nothing is claimed."""
    app = build(clean.url, clean.url)
    app.celeriac.runtime.engine.store.pulse(10_000)
    found = examined(app, "workers")
    assert found["workers"].severity is Severity.UNCHECKED
    assert "sign of life" in found["workers"].text
    assert "inspect ping" in found["workers"].advice


def test_no_sweep(examined: Examine, clean: RedisServer) -> None:
    """Without a beat the sweep has never been through."""
    found = examined(build(clean.url, clean.url), "sweep")
    assert found.bad == {"sweep": "error: it has never been through"}


def test_a_task_that_nobody_knows(
    examined: Examine, clean: RedisServer, processes: ExaminedProcesses
) -> None:
    """A task that live runs need is an error; one that only new runs will need, a warning."""
    clinic = {"broker": clean.url, "state": clean.url}
    processes.worker("w1", **clinic, without=["clinic.apologise"])
    app = build(clean.url, clean.url)
    found = examined(app, "tasks", "queues")
    text = "no worker knows clinic.apologise, which this app's sagas need"
    assert found.bad == {"tasks": f"warning: {text}"}
    # A run that is at work nowhere: its first step waits in a queue that nobody takes from.
    parked = build(clean.url, clean.url, conf={"task_default_queue": "parked"})
    parked.celeriac.defined["treatment"].start("Ada")
    found = examined(app, "tasks")
    text = "no worker knows clinic.apologise, which live runs need"
    assert found.bad == {"tasks": f"error: {text}"}
    parked.celeriac.runtime.close()
    parked.close()


def test_a_worker_that_gets_what_it_does_not_know(
    examined: Examine, clean: RedisServer, processes: ExaminedProcesses
) -> None:
    """It is not enough that some worker knows a task: each that gets it has to."""
    clinic = {"broker": clean.url, "state": clean.url}
    processes.worker("w1", **clinic, without=["clinic.operate"])
    processes.worker("w2", **clinic)
    found = examined(build(clean.url, clean.url), "tasks")
    assert found["tasks"].severity is Severity.WARNING
    assert "w1@test get messages for clinic.operate" in found["tasks"].text
    assert len(found.bad) == 1


def test_a_queue_that_nobody_takes_from(
    examined: Examine, clean: RedisServer, processes: ExaminedProcesses
) -> None:
    """Routed to where nobody looks, a run would wait for ever."""
    clinic = {"broker": clean.url, "state": clean.url}
    processes.worker("w1", "-Q", "celery", "-X", "celeriac", **clinic)
    conf = {"task_routes": {"clinic.operate": {"queue": "theatre"}}}
    found = examined(build(clean.url, clean.url, conf=conf), "queues", "tasks")
    told = {each.text: each.severity for each in found.report.shown()}
    assert told == {
        "nobody takes messages from the queue 'celeriac'": Severity.ERROR,
        "nobody takes messages from the queue 'theatre'": Severity.WARNING,
    }


def test_a_worker_of_another_mind(
    examined: Examine, serve: Serve, clean: RedisServer, processes: ExaminedProcesses
) -> None:
    """Shards, lease and Redis that differ, a solo pool and its reject setting: all are told."""
    elsewhere = serve()
    clinic = {
        "broker": clean.url,
        "state": elsewhere.url,
        "conf": {"saga_shards": 4, "saga_lease": 20, "task_reject_on_worker_lost": True},
    }
    processes.worker("w1", "-P", "solo", **clinic)
    found = examined(build(clean.url, clean.url), *CREW)
    told = {each.text: each.severity for each in found.report.shown()}
    place = f"127.0.0.1:{elsewhere.port}/0"
    assert told == {
        "w1@test has saga_shards = 4, and we 8": Severity.ERROR,
        "w1@test has saga_lease = 20, we 15": Severity.WARNING,
        f"w1@test keeps runs in {place}, and we in 127.0.0.1:{clean.port}/0": Severity.WARNING,
        "w1@test with a solo pool": Severity.WARNING,
        "w1@test with task_reject_on_worker_lost": Severity.WARNING,
    }


def test_a_clock_that_is_wrong(
    examined: Examine, clean: RedisServer, processes: ExaminedProcesses
) -> None:
    """A worker whose clock is ahead is named, with by how much."""
    clinic = {"broker": clean.url, "state": clean.url}
    processes.worker("w1", **clinic, ahead=90)
    processes.worker("w2", **clinic, ahead=-0.7)
    processes.worker("w3", **clinic)
    found = examined(build(clean.url, clean.url), "clocks")
    told = {each.text: each.severity for each in found.report.findings}
    assert told["the clock of w1@test is 90 s ahead of that of Redis"] is Severity.ERROR
    (other,) = (text for text in told if "w2@test" in text)
    assert "behind" in other
    assert told[other] is Severity.WARNING
    assert len(told) == 2


def test_a_worker_without_celeriac(
    examined: Examine, clean: RedisServer, processes: ExaminedProcesses
) -> None:
    """A worker of the same broker that did not load the sagas is named."""
    processes.worker("w1", broker=clean.url, stranger=True)
    processes.worker("w2", broker=clean.url, state=clean.url)
    found = examined(build(clean.url, clean.url), "workers")
    assert "w1@test answered without Celeriac" in found.bad["workers"]
    assert found["workers"].severity is Severity.WARNING


def test_two_beats(examined: Examine, clean: RedisServer, processes: ExaminedProcesses) -> None:
    """Two beats at once are seen by their ticks; one that follows another is not two."""
    conf = {"saga_sweep_interval": 0.3}
    clinic = {"broker": clean.url, "state": clean.url, "conf": conf}
    processes.worker("w1", **clinic)
    first = processes.beat("first", **clinic)
    app = build(clean.url, clean.url, conf=conf)
    until(lambda: _beats(app), "its ticks")
    assert examined(app, "beat", "sweep").bad == {}
    first.kill()
    second = processes.beat("second", **clinic)
    until(lambda: len(_beats(app)) == 2, "its ticks")
    assert examined(app, "beat").bad == {}
    third = processes.beat("third", **clinic)
    until(lambda: "2 of them" in examined(app, "beat").bad.get("beat", ""), "two at once")
    found = examined(app, "beat")
    assert all(f"gen{beat.pid}@" in found["beat"].text for beat in (second, third))
    assert found["beat"].severity is Severity.WARNING


def _beats(app: Celery) -> dict[str, Ticks]:
    """The beats of the only worker, once it answers."""
    return {name: seen for w in ask_workers(app).workers.values() for name, seen in w.beats.items()}


def test_ticks_that_come_too_late(
    examined: Examine, clean: RedisServer, processes: ExaminedProcesses
) -> None:
    """Ticks that have expired when they arrive sweep nothing: clocks apart by seconds."""
    conf = {"saga_sweep_interval": 0.3}
    clinic = {"broker": clean.url, "state": clean.url, "conf": conf}
    processes.worker("w1", **clinic, ahead=60)
    processes.beat("beat", **clinic)
    app = build(clean.url, clean.url, conf=conf)
    until(lambda: "beat" in examined(app, "beat").bad, "the finding")
    found = examined(app, "beat")
    assert found["beat"].severity is Severity.ERROR
    assert "w1@test get each tick too late to count" in found["beat"].text


def test_beats_at_once() -> None:
    """Times of sending that overlap tell two beats; a worker's ticks are put together first."""

    def ticks(first: float, last: float) -> Ticks:
        return Ticks(first=first, last=last, timely=last)

    assert _at_once([("a", ticks(60, 20)), ("b", ticks(18, 1))], 2) == set()
    assert _at_once([("a", ticks(60, 1)), ("b", ticks(30, 2))], 2) == {"a", "b"}
    assert _at_once([("a", ticks(60, 40)), ("a", ticks(30, 1)), ("b", ticks(35, 31))], 2) == {
        "a",
        "b",
    }
    assert _at_once([("a", ticks(60, 1)), ("a", ticks(50, 2))], 2) == set()


def test_ticks_that_had_waited_for_a_worker() -> None:
    """What was sent before there was a worker comes too late, and that is no finding."""
    assert not _is_late(Ticks(first=60, last=1, timely=2))
    assert not _is_late(Ticks(first=2, last=1, timely=None))  # a worker that has just started
    assert not _is_late(Ticks(first=600, last=500, timely=None))  # a beat that is gone
    assert _is_late(Ticks(first=60, last=1, timely=None))
    assert _is_late(Ticks(first=60, last=1, timely=20))  # a clock that was changed


def test_another_version(
    examined: Examine,
    clean: RedisServer,
    processes: ExaminedProcesses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers of another version than ours are named."""
    processes.worker("w1", broker=clean.url, state=clean.url)
    app = build(clean.url, clean.url)
    assert examined(app, "versions").bad == {}
    monkeypatch.setattr(metadata, "version", lambda _: "9.9")
    assert "w1@test: Celeriac" in examined(app, "versions").bad["versions"]
    assert "here: Celeriac 9.9, Celery 9.9" in examined(app, "versions").bad["versions"]


def test_what_a_worker_answers(clean: RedisServer, processes: ExaminedProcesses) -> None:
    """A worker tells its tasks, queues and pool, and where runs are without the password."""
    with clean.client() as client:
        client.execute_command("ACL SETUSER nurse on >opensesame ~* &* +@all")
    url = f"redis://nurse:opensesame@127.0.0.1:{clean.port}/0"
    worker = processes.worker("w1", broker=url, state=url)
    app = build(clean.url, clean.url)
    answer = until(lambda: ask_workers(app).workers, "an answer")["w1@test"]
    assert answer.pool == "prefork"
    assert {"clinic.scan", "clinic.operate", "clinic.apologise"} <= answer.tasks
    assert answer.queues == {"celery", "celeriac"}
    assert answer.state == f"127.0.0.1:{clean.port}/0"
    assert "opensesame" not in worker.text()
    app.close()


# --- when a worker starts ------------------------------------------------------------------------


def test_a_worker_tells_once(
    clean: RedisServer, serve: Serve, processes: ExaminedProcesses
) -> None:
    """A worker logs what is wrong when it starts: a line for each, a summary, and nothing again."""
    ill = serve(appendonly="no", maxmemory="0")
    conf = {"task_reject_on_worker_lost": True}
    worker = processes.worker("w1", broker=clean.url, state=ill.url, conf=conf)
    worker.await_text("the doctor has looked: 1 error, 2 warnings")
    text = worker.text()
    assert text.count("doctor: aof: appendonly is no") == 1
    assert text.count("ERROR/MainProcess] doctor: ") == 1
    assert text.count("WARNING/MainProcess] doctor: ") == 2
    assert "CONFIG SET appendonly yes" in text


def test_a_worker_waits_for_its_state(
    clean: RedisServer, serve: Serve, processes: ExaminedProcesses
) -> None:
    """Started beside its state Redis, a worker says what it waits for, and starts then."""
    late = serve()
    url = late.url
    late.kill()
    env = environment(broker=clean.url, state=url)
    words = ("worker", "-c", "1", "-n", "w1@test", "-l", "INFO", "--without-mingle")
    worker = processes.processes.celery(
        "w1", *words, env=env, says="waiting for run state: the state"
    )
    late.start()
    worker.await_text("celeriac is ready")
    worker.await_text("the doctor has looked")
    assert not worker.ended
