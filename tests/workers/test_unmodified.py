"""An adopted task is told, and tells, what it would without us: seen with real workers.

Owns: comparing what a task sees when it is called directly with what it sees as a step.  Refuses to
know: how it is adopted.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.machine.runs import AT_REST
from tests.workers import unmodified
from tests.workers.histories import claims
from tests.workers.unmodified import SOME, told

if TYPE_CHECKING:
    from celeriac import RunHandle, RunState
    from tests.workers.unmodified import Unmodified
    from tests.workers.world import World

AT = dt.datetime(2026, 2, 3, 4, 5, tzinfo=dt.UTC)
# name, argument, what it returns; None: it fails
SAME = [
    ("fine", Decimal("1.10"), [Decimal("1.10"), Decimal("2.20")]),
    ("fine", 4, [4, 8]),
    ("flaky", 7, 7),
    ("poll", 1, 3),
    ("tree", 5, 120),
    ("ping", 4, 4),
    ("around", 4, 24),
    ("broken", 7, None),
    ("giving_up", 7, None),
    ("refused", 7, None),
    ("tenant", 7, [7, "acme"]),
    ("labelled", 7, "7"),
    ("hurried", 7, [7, "in time"]),
]
#: Whose attempts have ids of their own.
REPEATED = ("poll", "flaky", "giving_up", "labelled")


@pytest.fixture
def tasks(world: World, monkeypatch: pytest.MonkeyPatch) -> Unmodified:
    """The tasks, with a worker that knows them and runs ahead, as by default; and beat."""
    monkeypatch.setenv("KIT_AHEAD", "10")
    found = unmodified.extend(world.kit)
    world.worker(args=("-I", "tests.workers.unmodified_worker"))
    world.beat()
    return found


def story(world: World, task_id: str) -> list[tuple[str, ...]]:
    """What was told of a task, without its id."""
    keys = ("hook", "args", "kwargs", "value")
    lines = told(world.kit, task_id)
    return [tuple(line[key].replace(line["id"], "ID") for key in keys) for line in lines]


def rested(world: World, run: RunHandle[Any]) -> RunState:
    """The state of a run at rest; these tasks leave nothing in the ledger."""
    world.until(lambda: run.status in AT_REST, f"{run.id} at rest")
    return run.state()


def ended(world: World, task_id: str) -> list[tuple[str, ...]]:
    """What was told of a task, once nothing more is."""

    def whole() -> bool:
        hooks = [line["hook"] for line in told(world.kit, task_id)]
        return any(hook in ("postrun SUCCESS", "postrun FAILURE") for hook in hooks)

    world.until(whole, f"{task_id} has ended")
    return story(world, task_id)


def test_a_step_sees_what_a_direct_call_sees(world: World, tasks: Unmodified) -> None:
    """Hooks, signals, request, recursion, retries and errors: the same lines in the same order."""
    for number, (name, given, result) in enumerate(SAME):
        tasks.tasks[name].apply_async((given,), task_id=f"direct-{number}")
        run = tasks.sagas[name].start(given, id=f"run-{number}")
        directly = ended(world, f"direct-{number}")
        state = rested(world, run)
        if name not in REPEATED:
            assert ended(world, f"run-{number}:{name}:1") == directly, name
        assert ended(world, f"run-{number}:{name}:") == directly, name
        assert state.status == ("completed" if result is not None else "compensated"), name
        if result is not None:
            assert run.result(1) == result


def test_a_hook_that_raises_ends_the_attempt(world: World, tasks: Unmodified) -> None:
    """A `before_start` that raises is one failed attempt, whose body never ran."""
    run = tasks.sagas["refused"].start(7, id="hot")
    state = rested(world, run)
    assert (state.status, claims(run, "refused")) == ("compensated", [1])
    assert state.failure is not None
    assert (state.failure.type, state.failure.message) == ("PermissionError", "not for 7")
    assert len([line for line in story(world, "hot:") if line[0] == "before_start"]) == 1


def test_arguments_come_as_they_were_given(world: World, tasks: Unmodified) -> None:
    """By position, by name, or not at all: hooks and a `__call__` of theirs see the same."""
    tasks.tasks["weigh"].apply_async((7,), {"unit": "g"}, task_id="direct")
    run = tasks.named.start(7, id="run")
    assert run.result(20) == [7, "en", "g", 2]
    directly = ended(world, "direct")
    assert ended(world, "run:weigh:1") == directly
    assert ("before_start", "[7]", "{'unit': 'g'}", "None") in directly


def test_a_retry_that_is_not_thrown_is_one(tasks: Unmodified) -> None:
    """What a body returns after `self.retry(throw=False)` is not the end of its step."""
    run = tasks.sagas["later"].start(7, id="run")
    assert run.result(20) == 7
    assert claims(run, "later") == [1, 2]


def test_nothing_takes_the_place_of_a_step(world: World, tasks: Unmodified) -> None:
    """`self.replace` is refused before anything is sent, and says what to do instead."""
    state = rested(world, tasks.sagas["swapped"].start(7, id="swap"))
    assert state.failure is not None
    assert state.failure.type == "DefinitionError"
    assert "self.replace does not go with a saga" in state.failure.message
    assert not world.published("plain.fine")


def test_values_stay_what_they_are(world: World, tasks: Unmodified) -> None:
    """Inputs, constants and results reach adopted tasks, forth and back, in their own types."""
    run = tasks.bill.start(Decimal("1.10"), AT, id="bill")
    assert run.result(20) == Decimal("3.30")
    run.cancel("sent back")
    world.until(lambda: run.status == "compensated", "it is undone")

    def args(task_id: str) -> list[str]:
        hook = task_id.split(":")[-2 if ":" in task_id else 0]
        hook = f"un{task_id.split(':')[1]}" if hook == "undo" else hook
        return [line["args"] for line in told(world.kit, task_id) if line["hook"] == hook]

    assert args("bill:some:1") == [repr([Decimal("1.10"), AT, Decimal("0.19")])]
    assert args("bill:more:1") == [repr([SOME, [Decimal("0.01")]])]
    assert args("check") == [repr([Decimal("1.10"), Decimal("2.20")])]
    assert args("bill:last:1") == [repr([Decimal("3.30")])]
    assert args("bill:some:undo:1") == [repr([Decimal("1.10"), Decimal("0.19"), SOME])]
    assert args("bill:more:undo:1") == [repr([SOME])]


def test_a_step_of_ours_keeps_its_base_class_and_its_secrets(
    world: World, tasks: Unmodified
) -> None:
    """`base=` is a base of the step's class; what it returns or raises is not told to Celery."""
    assert tasks.loud.start(1, id="loud").result(20) == "4111-1111"
    assert rested(world, tasks.loud.start(-1, id="bad")).status == "compensated"
    hooks = [line["hook"] for line in told(world.kit, "loud:own:1")]
    assert hooks[:2] == ["before_start", "on_success"] or "prerun" in hooks[0]
    values = [line["value"] for line in told(world.kit, "loud:") + told(world.kit, "bad:")]
    assert values
    assert not any("4111" in value for value in values)
    assert not any("4111" in process.log.read_text() for process in world.processes.started)


def test_the_result_of_a_direct_call(tasks: Unmodified) -> None:
    """A direct call stores its result, with the types that it has."""
    found: Any = tasks.tasks["fine"].delay(Decimal("1.10"))
    assert found.get(timeout=20) == [Decimal("1.10"), Decimal("2.20")]
