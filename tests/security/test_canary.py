"""A secret in input, output, error and heartbeat is found nowhere but among a run's payloads.

Owns: the places where somebody might look: logs at DEBUG, messages, events, Flower, metrics, the
result backend, and what Redis holds.  Refuses to know: how a secret could get there (`leaky`).
"""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from celeriac.machine.runs import AT_REST
from celeriac.testing.servers import free_port
from tests.security.leaky import (
    CANARY,
    DYING,
    LATE,
    RAISING,
    RETURNING,
    UNDOING,
    Leaky,
    Secret,
    build,
)
from tests.workers.monitors import Events, Wire

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.processes import Process
    from tests.workers.world import World

ENDED = ("succeeded", "failed", "rejected", "revoked")
LOGIN = "operator:celeriac"


def start_process(world: World, name: str, args: list[str], **extra: str) -> Process:
    """A process of the leaky application, with everything in its log."""
    app = ["-A", "tests.security.leaky_worker"]
    return world.celery(name, *app, *args, **extra)


class Sight:
    """Everything an onlooker can see while runs are at work."""

    def __init__(self, world: World, leaky: Leaky, pool: str) -> None:
        self.world, self.leaky = world, leaky
        self.port, self.flower_port = free_port(), free_port()
        extra = {"LEAKY_METRICS": str(self.port)}
        if pool == "threads":
            extra["LEAKY_JSON"] = "yes"
        options = ["-P", pool, "-c", "4", "-n", "w1@test", "-l", "DEBUG"]
        worker = start_process(world, "w1", ["worker", *options], **extra)
        schedule = str(world.folder / "leaky.schedule")
        beat = start_process(world, "beat", ["beat", "-l", "DEBUG", "-s", schedule])
        flower = ["flower", "--address=127.0.0.1", f"--port={self.flower_port}"]
        window = start_process(
            world,
            "flower",
            [*flower, "--conf=ops/flowerconfig.py", "--logging=debug"],
            FLOWER_BASIC_AUTH=LOGIN,
        )
        self.processes = (worker, beat, window)
        world.until(lambda: worker.says(" ready."), "the worker is ready", 30)
        world.until(lambda: "w1@test" in self.flower("/api/workers?refresh=1"), "Flower too", 30)

    def flower(self, path: str) -> str:
        """A page of Flower; what it cannot show is empty."""
        token = b64encode(LOGIN.encode()).decode()
        return self._get(f"http://127.0.0.1:{self.flower_port}{path}", f"Basic {token}")

    def metrics(self) -> str:
        """The figures of the worker."""
        return self._get(f"http://127.0.0.1:{self.port}/metrics")

    @staticmethod
    def _get(url: str, login: str = "") -> str:
        request = Request(url, headers={"Authorization": login} if login else {})  # noqa: S310
        try:
            with urlopen(request, timeout=10) as answer:  # noqa: S310 -- our own http
                return str(answer.read().decode())
        except OSError:
            return ""

    def pages(self, tasks: list[str]) -> dict[str, str]:
        """Every page of Flower that could tell of these tasks."""
        paths = ["/tasks", "/api/tasks?limit=1000", "/workers", "/worker/w1@test", "/metrics"]
        paths += ["/api/workers?refresh=1", "/broker", "/tasks/datatable?draw=1&length=1000"]
        for task in tasks:
            paths += [f"/task/{quote(task)}", f"/api/task/info/{quote(task)}"]
        return {path: self.flower(path) for path in paths}


def rest(world: World, sight: Sight, runs: dict[str, RunHandle[Any]]) -> None:
    """Wait until all runs are at rest, and until the late one has reported."""

    def at_rest() -> bool:
        return all(run.status in AT_REST for run in runs.values())

    def reported() -> bool:
        return any(e.kind == "late" or e.data.get("late") for e in runs["late"].history())

    world.until(at_rest, "all are at rest", 90)
    if "late" in runs:
        assert not reported()
        (world.folder / f"{runs['late'].id}.open").touch()
        world.until(reported, "the late report")
        world.until(at_rest, "all are at rest again", 60)
    assert not sight.processes[0].ended


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_secret_stays_where_it_belongs(
    world: World, pool: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever becomes of a step, its secret is in no log, message, event, page, figure, result."""
    caplog.set_level(logging.DEBUG)
    ways = ("fine", *RAISING, *RETURNING, *UNDOING, *(DYING if pool == "prefork" else LATE))
    leaky = build(world.redis.url, world.folder)
    sight = Sight(world, leaky, pool)
    with Events(leaky.app) as events, Wire(world) as wire:
        runs = {how: leaky.leak.start(Secret(how=how), id=f"leak-{how}") for how in ways}
        rest(world, sight, runs)
        runs["fine"].cancel("a reason is meant to be read")
        world.until(lambda: runs["fine"].status == "compensated", "it was undone")
        tasks = sorted({str(e["uuid"]) for e in events.seen if "uuid" in e})
        pages, metrics = sight.pages(tasks), sight.metrics()
    # They did look: at a run's tasks, its messages, its figures, and the secret where it belongs.
    assert any(CANARY in command for command in wire.to_store())
    sent = wire.to_broker()
    assert any("leak-fine:spill:1" in text for text in sent)
    assert "leak-fine:spill:1" in pages["/api/tasks?limit=1000"]
    assert "spill" in pages["/task/leak-fine%3Aspill%3A1"]
    assert "celeriac_attempts_total{" in metrics
    assert all("leak-fine" in p.log.read_text() for p in sight.processes[:1])
    assert [text for text in sent if CANARY in text] == []
    assert [event for event in events.seen if CANARY in str(event)] == []
    assert [path for path, text in pages.items() if CANARY in text] == []
    assert CANARY not in metrics
    for process in sight.processes:
        lines = process.log.read_text(errors="replace").splitlines()
        assert [line for line in lines if CANARY in line] == [], process.name
    assert [record for record in caplog.records if CANARY in str(record.__dict__)] == []
    check_redis(world)
    check_outcomes(runs)


def test_what_is_sent_of_an_adopted_task(world: World) -> None:
    """Messages hold no payload; beside them Celery tells of an adopted task what it always told."""
    leaky = build(world.redis.url, world.folder)
    sight = Sight(world, leaky, "prefork")
    with Wire(world) as wire:
        ways = ("fine", "message", "cause", "quoted", "abort", "object", "large")
        runs = {how: leaky.adopted.start(Secret(how=how), id=f"plain-{how}") for how in ways}
        rest(world, sight, runs)
    sent = [text for text in wire.to_broker() if not text.startswith(("PUBLISH", "SETEX"))]
    assert any("plain-fine:plain:1" in text for text in sent)
    assert [text for text in sent if CANARY in text] == []
    assert runs["fine"].status == "completed"
    told = [event.dump() for run in runs.values() for event in run.history()]
    assert [text for text in told if CANARY in text] == []


def check_redis(world: World) -> None:
    """In Redis the secret is in the payloads of runs, and in no key, index, history or result."""
    seen = []
    with world.redis.client() as redis:
        # The application asked for errors to be stored: the kind of each is, and no result.
        for key in redis.scan_iter("celery-task-meta-*"):
            assert json.loads(str(redis.get(key)))["status"] != "SUCCESS"
        for key in redis.scan_iter(count=1_000):
            assert CANARY not in key
            kind = redis.type(key)
            if kind == "hash" and ":run:" in key:
                fields: Any = redis.hgetall(key)
                seen += [name for name, value in fields.items() if CANARY in value]
                assert CANARY not in fields["h"]
            else:
                held = redis.dump(key) if kind == "" else _all_of(redis, key, kind)
                assert CANARY not in str(held), key
    assert {"f:in:secret", "f:out:keep", "f:err:spill"} <= set(seen)


def _all_of(redis: Any, key: str, kind: str) -> Any:
    return {
        "hash": redis.hgetall,
        "list": lambda name: redis.lrange(name, 0, -1),
        "set": redis.smembers,
        "zset": lambda name: redis.zrange(name, 0, -1),
        "string": redis.get,
    }[kind](key)


def check_outcomes(runs: dict[str, RunHandle[Any]]) -> None:
    """Each way did happen: the run tells its operator what nobody else was told."""
    for how in ("message", "cause", "group", "odd", "abort", "aborted", "quoted"):
        state = runs[how].state()
        assert state.status == "compensated", how
        assert state.failure is not None
        assert how == "quoted" or CANARY in state.failure.message, how
    assert runs["undo"].status == "failed"
    assert runs["wrong"].state().failure is not None
    told = [event.dump() for run in runs.values() for event in run.history()]
    assert [text for text in told if CANARY in text] == []
    assert json.loads(told[0])
