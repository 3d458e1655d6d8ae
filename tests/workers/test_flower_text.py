"""What Flower can show of a run: every step as its own task, true links, and never a payload.

Owns: Celery's event stream, its messages and logs as an onlooker sees them.  Refuses to know: how
runs are decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.workers.histories import bodies
from tests.workers.kit import Trip
from tests.workers.monitors import Events, Wire

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World

#: Part of the input; and what the kit's steps say when they raise.
CANARY = "4929-1234-5678-9012"
SECRETS = (CANARY, "the participant is away", "the answer got lost")
ENDED = ("succeeded", "failed", "rejected", "revoked")


def _settled(world: World, events: Events, *runs: RunHandle[Any]) -> None:
    """Wait for the runs, and for the last event of every task of theirs that was received."""
    for run in runs:
        world.rest(run)

    def told() -> bool:
        seen = [event for run in runs for event in events.of_run(run.id)]
        open_ = {event["uuid"] for event in seen}
        return not open_ - {e["uuid"] for e in seen if e["type"].removeprefix("task-") in ENDED}

    world.until(told, "every task has told how it ended")


def _names(events: Events, run: RunHandle[Any]) -> dict[str, tuple[str, str]]:
    """By task id, the name of the task and the text shown for its arguments at first."""
    found: dict[str, tuple[str, str]] = {}
    for event in events.of_run(run.id):
        if event["type"] == "task-received":
            found.setdefault(event["uuid"], (event["name"], event["args"]))
    return found


def test_each_step_is_a_task_with_its_own_text(world: World) -> None:
    """Steps and compensations are tasks under their own names, shown as run, step and attempt."""
    world.worker()
    with Events(world.kit.app) as events:
        world.beat()
        run = world.kit.trip.start(Trip(script={"send": ["abort"]}), id="order-42")
        _settled(world, events, run)
    kit = "tests.workers.kit"
    assert _names(events, run) == {
        "order-42:book:1": (f"{kit}.book", "order-42 · book · #1"),
        "order-42:pay:1": (f"{kit}.pay", "order-42 · pay · #1"),
        "order-42:send:1": (f"{kit}.send", "order-42 · send · #1"),
        "order-42:send:undo:1": (f"{kit}.recall", "order-42 · send · undo #1"),
        "order-42:pay:undo:1": (f"{kit}.refund", "order-42 · pay · undo #1"),
        "order-42:book:undo:1": (f"{kit}.unbook", "order-42 · book · undo #1"),
    }
    shown = {event["uuid"]: event["kwargs"] for event in events.of_run(run.id) if "kwargs" in event}
    assert shown["order-42:pay:undo:1"] == (
        "{'saga': 'trip', 'run': 'order-42', 'step': 'pay', 'phase': 'compensation', 'attempt': 1}"
    )
    assert events.of_task("order-42:send:1")[-1] == "failed"
    assert events.of_task("order-42:send:undo:1")[-1] == "succeeded"


def test_retries_are_seen_as_retries(world: World) -> None:
    """A step tried again is one task with RETRY events, and its text counts the attempts."""
    world.worker()
    with Events(world.kit.app) as events:
        run = world.kit.trip.start(Trip(script={"pay": ["raise", "raise-after"]}), id="order-43")
        _settled(world, events, run)
    told = events.of_task("order-43:pay:1")
    assert told.count("retried") == 2
    assert told.count("started") == 3
    assert told[-1] == "succeeded"
    shown = [e["args"] for e in events.of_run(run.id) if e["type"] == "task-received"]
    assert [text for text in shown if "pay" in text] == [
        "order-43 · pay · #1",
        "order-43 · pay · #2",
        "order-43 · pay · #3",
    ]
    reasons = [e["exception"] for e in events.of_run(run.id) if e["type"] == "task-retried"]
    assert reasons == [f"StepFailed('order-43 · pay · #{n}: ConnectionError')" for n in (1, 2)]
    assert bodies(world, run) == {"book": 1, "pay": 3, "send": 1}


def test_a_late_report_ends_its_task(world: World) -> None:
    """An attempt that was given up and ends after all is not shown as running for ever."""
    world.worker(args=("--pool", "threads"), children=4)
    with Events(world.kit.app) as events:
        world.beat()
        run = world.kit.hasty.start(Trip(script={"rush": ["gate-after"]}), id="order-45")
        assert world.rest(run).status == "completed"
        assert events.of_task("order-45:rush:1")[-1] == "started"
        world.open(run, "rush")
        _settled(world, events, run)
    assert events.of_task("order-45:rush:1")[-1] == "succeeded"
    assert events.of_task("order-45:rush:2")[-1] == "succeeded"


def test_parents_and_roots_are_real_tasks(world: World) -> None:
    """Every link from a task of a run leads to a task in the event stream, whoever sent it."""
    world.worker()
    with Events(world.kit.app) as events:
        world.beat()
        with world.fault("drop"):
            lost = world.kit.trip.start(Trip(), id="lost")
        scripts: dict[str, dict[str, list[str]]] = {
            "fine": {},
            "flaky": {"pay": ["raise"]},
            "refused": {"send": ["abort"]},
            "dead": {"book": ["kill"], "pay": ["kill"], "send": ["kill"]},
            "undone": {"send": ["abort"], "pay.undo": ["kill"]},
        }
        runs = [world.kit.trip.start(Trip(script=s), id=name) for name, s in scripts.items()]
        _settled(world, events, lost, *runs)
        done = runs[0]
        done.cancel()
        world.until(lambda: done.status == "compensated", "the completed run is undone")
        _settled(world, events, done)
    # What a worker has received, Flower has a page for.
    real = {event["uuid"] for event in events.seen if event["type"] == "task-received"}
    for run in (lost, *runs):
        sent = [event for event in events.of_run(run.id) if event["type"] == "task-received"]
        first = f"{run.id}:book:1.2" if run is lost else f"{run.id}:book:1"
        assert {event["root_id"] for event in sent} == {first}
        parents = {event["uuid"]: event["parent_id"] for event in sent}
        assert parents.pop(first) is None
        assert set(parents.values()) <= real
        assert first in real


def test_no_payload_is_seen(world: World) -> None:
    """Neither the input nor what a step's error says is in an event, a message or a log."""
    worker = world.worker()
    scripts: dict[str, dict[str, list[str]]] = {
        "fine": {},
        "flaky": {"pay": ["raise", "raise-after"], "book": ["kill-after"]},
        "failing": {"send": ["raise-after"] * 3, "book.undo": ["raise"]},
        "owed": {"send": ["raise"] * 3, "pay.undo": ["raise"] * 3},
        "large": {"pay": ["large"] * 3},
        "wrong": {"pay": ["wrong"] * 3},
    }
    with Events(world.kit.app) as events, Wire(world) as wire:
        beat = world.beat()
        runs = [
            world.kit.trip.start(Trip(script={**script, CANARY: [CANARY]}), id=name)
            for name, script in scripts.items()
        ]
        _settled(world, events, *runs)
    # The listeners did listen: the input went to the store, and the messages went to the broker.
    assert any(CANARY in command for command in wire.to_store())
    sent = wire.to_broker()
    assert any("celeriac_run" in text and "flaky:book:1" in text for text in sent)
    assert any("task-retried" in text for text in sent)
    assert any(event["type"] == "task-retried" for event in events.seen)
    assert worker.says("raised expected: StepFailed")
    for secret in (*SECRETS, "x" * 100):
        assert [text for text in sent if secret in text] == []
        assert [event for event in events.seen if secret in str(event)] == []
        assert not worker.says(secret)
        assert not beat.says(secret)


def test_a_failure_is_kept_where_it_belongs(world: World) -> None:
    """What Celery is not told is in the run's state: type, message and the frames of the step."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["raise"] * 3}), id="order-44")
    state = world.rest(run)
    assert state.failure is not None
    assert (state.failure.type, state.failure.message) == ("ConnectionError", SECRETS[1])
    assert state.failure.traceback is not None
    assert "in act\n" in state.failure.traceback
    assert "tasks.py" not in state.failure.traceback
