"""What makes no sense is refused, in words, and harms nothing else.

Owns: inputs and outputs that cannot be used, messages nobody of ours sent, and records that were
tampered with.  Refuses to know: faults of processes, messages and Redis.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import InputInvalid, PayloadTooLarge, StoreError
from celeriac.workers.canvas import GUARD
from celeriac.workers.headers import HEADER
from tests.workers import load
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World

ONCE = {"book": 1, "pay": 1, "send": 1}
BROKEN = Trip.model_construct(script=5)  # type: ignore[arg-type]  # on purpose
LONG = Trip(script={"book": ["x" * 20_000]})


def nothing_written(world: World) -> bool:
    """True while Redis holds no key at all, and no message was sent."""
    with world.redis.client() as redis:
        return redis.dbsize() == 0 and not world.published("")


@pytest.mark.parametrize(
    ("args", "named", "complaint"),
    [
        ([], {}, "trip"),
        ([Trip(), Trip()], {}, "trip"),
        ([{"script": 5}], {}, "script: Input should be a valid dictionary"),
        ([{"script": {"book": [5]}}], {}, "script.book.0: Input should be a valid string"),
        ([BROKEN], {}, "does not validate|cannot be written"),
        (["trip"], {}, "trip"),
        ([Trip()], {"speed": 5}, "speed"),
        ([Trip()], {"id": ""}, "id: 1 to"),
        ([Trip()], {"id": "x" * 5000}, "id: 1 to"),
        ([Trip()], {"id": "a\nb"}, "id: 1 to"),
        ([Trip()], {"id": "a\x1fb"}, "id: 1 to"),
        ([Trip()], {"id": "\ud800"}, "id: 1 to"),
        ([Trip()], {"id": 42}, "id: 1 to"),
        ([Trip()], {"tags": {"": "x"}}, "tags: "),
        ([Trip()], {"tags": {"a=b": "x"}}, "tags: "),
        ([Trip()], {"tags": {"a": "b\n"}}, "tags: "),
        ([Trip()], {"tags": {"a": 5}}, "tags: "),
        ([Trip()], {"tags": {"a": "x" * 5000}}, "tags: "),
        ([Trip()], {"if_exists": "maybe"}, "if_exists must be 'join', 'fail' or 'restart'"),
    ],
)
def test_a_start_that_makes_no_sense(
    world: World, args: list[Any], named: dict[str, Any], complaint: str
) -> None:
    """A start with a wrong input, id, tag or option is refused before anything is written."""
    with pytest.raises(InputInvalid, match=complaint):
        world.kit.trip.start(*args, **named)
    assert nothing_written(world)


def test_an_input_over_the_limit(world: World) -> None:
    """An input that is too large is refused before anything is written, with its size."""
    with pytest.raises(PayloadTooLarge, match=r"'trip' of trip is 200.. bytes") as caught:
        world.kit.trip.start(LONG)
    assert caught.value.limit == 10_000
    assert nothing_written(world)


def test_outputs_that_cannot_be_recorded(world: World) -> None:
    """An output that is too large, of the wrong type or not JSON fails its step, and is undone."""
    world.worker()
    world.beat()
    trip, weighing = world.kit.trip, world.kit.weighing
    cases = [
        (trip, "pay", "large", "PayloadTooLarge", "over the limit of 10000"),
        (trip, "pay", "wrong", "OutputInvalid", "number: Field required"),
        (weighing, "weigh", "nan", "OutputInvalid", "cannot be written as JSON: its [1] holds nan"),
        (weighing, "weigh", "object", "OutputInvalid", "cannot be written as JSON"),
    ]
    runs = [saga.start(Trip(script={step: [word] * 3}), id=word) for saga, step, word, *_ in cases]
    load.all_rest(world, runs)
    for run, (_, step, word, kind, message) in zip(runs, cases, strict=True):
        state = run.state()
        assert (state.status, state.failed_step, state.owed) == ("compensated", step, ())
        assert state.failure is not None
        assert (state.failure.type, message in state.failure.message) == (kind, True), state.failure
        # Its effect did happen, and trying again would not help.
        assert world.ledger.bodies(word, step) == 1
        assert world.ledger.rows(f"{word}:{step}", "undo")
    assert weighing.start(Trip(), id="fine").result(timeout=20) == 1.5


# --- messages that nobody of ours sent ---------------------------------------------------------

GARBAGE: tuple[Any, ...] = (
    *("x", 7, [], {}, [[]], [None] * 6, ["held"] * 7, [{"a": 1}] * 6),
    ["held", "one", "pay", "do", 1, "p"],
    ["held", 1e999, "pay", "do", 1e999, "p"],
    ["a\x1fb\ud7ff\n" * 1000, 1, "pay", "do", 1, "p"],
)
PLAIN: tuple[tuple[Any, ...], ...] = ((), ({},), ({}, {}), ({}, {"script": {}}, {"number": "7"}))


def send(world: World, task: str, header: Any, *args: Any, **kwargs: Any) -> None:
    """Put a message for a step's task into the queue, with any header."""
    headers = {} if header is None else {HEADER: header}
    world.kit.app.send_task(f"tests.workers.kit.{task}", args, kwargs, headers=headers)


def header(world: World, run: RunHandle[Any], **changed: Any) -> list[Any]:
    """The header of the first attempt of `pay`, with something changed."""
    found = world.kit.sagas.runtime.engine.store.read(run.id).run
    assert found is not None
    true = {"id": run.id, "epoch": 1, "step": "pay", "phase": "do", "attempt": 1}
    return list({**true, "plan": found.plan, **changed}.values())


def test_forged_messages(world: World) -> None:
    """A message that was made up, edited or repeated runs no body and harms no worker."""
    worker = world.worker()
    world.beat()
    done = world.kit.trip.start(Trip(), id="done")
    undone = world.kit.trip.start(Trip(script={"send": ["abort"]}), id="undone")
    held = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="held")
    load.all_rest(world, [done, undone])
    world.reached(held, "pay")
    before = world.ledger.rows()
    children = worker.children()

    sent = 0
    for run in (done, undone, held):
        for forged in (
            header(world, run),
            *[header(world, run, attempt=attempt) for attempt in (-1, 0, 2, 99)],
            *[header(world, run, epoch=epoch) for epoch in (0, 2)],
            header(world, run, step="fly"),
            header(world, run, step="send", attempt=1),
            header(world, run, step="send", attempt=2),
            header(world, run, phase="undo"),
            header(world, run, phase="undo", attempt=2),
            header(world, run, plan="0" * 16),
            header(world, run, id="nobody"),
        ):
            send(world, "pay", forged, **{GUARD: run.id})
            sent += 1
    for garbage in GARBAGE:
        send(world, "pay", garbage, **{GUARD: "held"})
        sent += 1
    for plain in PLAIN:
        send(world, "pay", None, *plain)
        sent += 1
    send(world, "pay", None, **{GUARD: "held"})
    world.until(lambda: _handled(worker) >= sent, "all forged messages were handled")

    assert world.ledger.rows() == before
    assert worker.children() == children
    assert (done.status, undone.status, held.status) == ("completed", "compensated", "running")
    world.open(held, "pay")
    assert world.rest(held).status == "completed"
    assert load.happened([held], "lost") == {}
    assert {step: world.ledger.bodies("held", step) for step in ONCE} == ONCE


def _handled(worker: Any) -> int:
    """How many messages of forged ids a worker is done with."""
    log = worker.log.read_text(errors="replace")
    lines = [line for line in log.splitlines() if "Task tests.workers.kit.pay[" in line]
    ours = [line for line in lines if ":pay:" not in line]
    return sum(" ignored" in line or " raised " in line or " succeeded" in line for line in ours)


def test_a_message_for_another_task(world: World) -> None:
    """A message that names a step, but another task than the step's, runs nothing."""
    world.worker()
    run = world.kit.trip.start(Trip(script={"book": ["gate-after"]}), id="swapped")
    world.reached(run, "book")
    with world.fault("drop", only=":pay:"):
        world.open(run, "book")
        world.until(lambda: world.published(":pay:", "-"), "the true message is gone")
    world.until(lambda: run.state().steps[1].status == "scheduled", "pay is due")
    for task in ("send", "refund", "book"):
        send(world, task, header(world, run), **{GUARD: run.id})
    send(world, "send", None)
    log = world.folder / "w1.log"
    world.until(lambda: log.read_text().count("kit.send[") >= 4, "they were handled")
    assert [row.key for row in world.ledger.rows(kind="begin")] == ["swapped:book"]
    assert run.state().steps[1].attempts == 0
    world.beat()
    assert world.rest(run).status == "completed"


# --- records that were tampered with -----------------------------------------------------------


def test_a_broken_wake_index(world: World) -> None:
    """Entries of the wake index that make no sense do not keep the sweep from the others."""
    world.worker()
    with world.fault("drop"):
        runs = [world.kit.trip.start(Trip(), id=f"other-{n}") for n in range(16)]
    with world.redis.client() as redis:
        for shard in range(8):
            wake = f"celeriac:{{{shard}}}:wake"
            broken: list[str | bytes] = ["", "nobody", "a\x1fb", "\x1f" * 9, b"\xff\xfe\x00"]
            broken.append("nobody\x1fpay\x1fdo\x1f1")
            broken += [f"other-{n}\x1fpay\x1fdo\x1f7" for n in range(16)]
            broken += [f"other-{n}\x1ffly\x1fsideways\x1fx" for n in range(16)]
            for score in (0, 1):
                redis.zadd(wake, dict.fromkeys(broken, score))
            redis.zadd(wake, {"-inf": "-inf", "inf": "inf"})
    world.beat()
    load.all_rest(world, runs)
    assert {run.status.value for run in runs} == {"completed"}
    assert load.happened(runs, "lost") == {}


def test_a_corrupted_run(world: World) -> None:
    """A run whose record cannot be read stops neither the sweep nor other runs."""
    worker = world.worker()
    now = time.time_ns() // 1_000_000
    spoilt = {
        "no-json": "garbage",
        "no-list": json.dumps({"a": 1}),
        "empty": "[]",
        "deep": "[" * 100_000,
        "other-plan": json.dumps([1, 1, now, "trip", "0" * 16, "running", 700]),
        "other-steps": json.dumps([1, 1, now, "trip", "0" * 16, "running", 700, 1, 1, {"x": 5}]),
    }
    ended = world.kit.trip.start(Trip(), id="ended")
    load.all_rest(world, [ended])
    with world.fault("drop"):
        bad = [world.kit.trip.start(Trip(), id=run_id) for run_id in (*spoilt, "string", "gone")]
        runs = [world.kit.trip.start(Trip(), id=f"other-{n}") for n in range(16)]
    with world.redis.client() as redis:
        for run_id, head in spoilt.items():
            redis.hset(_key(world, run_id), "h", head)
        for run_id in ("string", "gone", "ended"):
            redis.delete(_key(world, run_id))
        for run_id in ("string", "ended"):
            redis.set(_key(world, run_id), "no hash")
        # The first shard is spoilt as a whole, and what has ended is to be removed now.
        for run_id in ("ended", "no-json"):
            redis.zadd(_key(world, run_id, "expire"), {run_id: 1})
        redis.delete("celeriac:{0}:seen")
        redis.set("celeriac:{0}:seen", "no index")
    fine = [run for run in runs if "{0}" not in _key(world, run.id)]
    world.beat()
    load.all_rest(world, fine)
    assert {run.status.value for run in fine} == {"completed"}
    assert len(fine) > 8
    for run in bad[: len(spoilt)]:
        with pytest.raises(StoreError, match=r"cannot be read|is not in the store"):
            run.state()
    assert not worker.ended
    listed = {run.id for run in world.kit.sagas.runs(limit=200)}
    assert {run.id for run in runs} <= listed
    assert not listed & {"no-json", "no-list", "empty", "deep", "string", "gone", "ended"}


def _key(world: World, run_id: str, name: str = "") -> str:
    """The key of a run, or of an index of its shard."""
    shard = world.kit.sagas.runtime.engine.store.shard_of(run_id)
    return f"celeriac:{{{shard}}}:{name or f'run:{run_id}'}"
