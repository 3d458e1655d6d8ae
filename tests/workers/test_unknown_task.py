"""A worker that lacks one of a plan's tasks: the run waits, and says why.

Owns: workers of another version than the run's plan.  Refuses to know: what else may keep a run
waiting.
"""

from __future__ import annotations

from signal import SIGTERM
from typing import TYPE_CHECKING, Any

from tests.workers import load, plain_steps
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from celeriac.views.state import StepView
    from tests.workers.world import World


def view(run: RunHandle[Any], name: str) -> StepView:
    """A step of a run as people are shown it."""
    return next(step for step in run.state().steps if step.name == name)


def test_a_worker_without_the_task(world: World) -> None:
    """The run waits at the step, its reason shown and no attempt used, until one can run it."""
    incomplete = world.worker("old", without="pay")
    world.beat()
    run = world.kit.trip.start(Trip(), id="blocked")
    why = world.until(lambda: view(run, "pay").blocked, "the reason is shown")
    assert why == "worker old@test does not know the task tests.workers.kit.pay"
    world.until(lambda: load.happened([run], "dispatched"), "the sweep sent it again")
    world.until(lambda: len(world.published(":pay:1")) >= 3, "and again")
    step = view(run, "pay")
    assert (run.status, step.status, step.attempts) == ("running", "scheduled", 0)
    blocked = [event for event in run.history() if event.kind == "blocked"]
    assert [(event.step, event.data["why"]) for event in blocked] == [("pay", why)]
    assert world.ledger.bodies("blocked", "pay") == 0

    incomplete.kill()
    world.worker("new")
    assert world.rest(run, 60).status == "completed"
    assert [world.ledger.bodies("blocked", name) for name in ("book", "pay", "send")] == [1, 1, 1]
    step = view(run, "pay")
    assert (step.attempts, step.blocked) == (1, None)


def test_a_worker_that_has_the_task_and_no_saga(world: World) -> None:
    """It sends what is due all the same, and who asks is told what to import where."""
    saga = plain_steps.extend(world.kit, with_saga=True)
    assert saga is not None
    args = ("-I", "tests.workers.plain_steps")
    incomplete = world.worker("old", args=args, env={"KIT_SAGAS": "no"})
    world.beat()
    with world.fault("drop", "double"):
        run = saga.start(4, id="plain")
    why = world.until(lambda: view(run, "double").blocked, "the reason is shown")
    known = "worker old@test knows the task plain.double"
    assert why == f"{known} and not its saga: import that there too"
    assert world.published("plain.double plain:double")  # by the sweep of that worker
    incomplete.kill()
    world.worker("new", args=args, env={"KIT_SAGAS": "yes"})
    assert run.result(60) == 8


def test_a_worker_without_the_compensation(world: World) -> None:
    """A run that is being undone waits in the same way, and is undone completely."""
    incomplete = world.worker("old", without="refund")
    world.beat()
    run = world.kit.trip.start(Trip(script={"send": ["abort-clean"]}), id="stuck")
    why = world.until(lambda: view(run, "pay").blocked, "the reason is shown")
    assert why == "worker old@test does not know the task tests.workers.kit.refund"
    step = view(run, "pay")
    assert (run.status, step.status, step.undo_attempts) == ("compensating", "compensating", 0)
    assert world.ledger.live("stuck") == {"book", "pay"}

    incomplete.kill()
    world.worker("new")
    assert world.rest(run, 60).status == "compensated"
    assert view(run, "pay").blocked is None


def test_an_old_worker_beside_a_new_one(world: World) -> None:
    """In the middle of a deploy no run is lost, and none pays with an attempt."""
    old = world.worker("old", without="pay")
    world.worker("new")
    world.beat()
    runs = load.start(world, "deploy", range(20))
    # Who gets a message is chance; the old one takes some of them.
    world.until(lambda: load.happened(runs, "blocked"), "the old worker was asked")
    world.until(lambda: any(run.status.at_rest for run in runs), "the new one works beside it")
    old.signal(SIGTERM)
    try:
        world.until(lambda: old.ended, "the old one has ended", 10)
    except AssertionError:
        # Billiard's pool may wait for ever in a warm shutdown, for a job that it had not written to
        # a child yet.  Whoever deploys kills what does not end: that must lose nothing either.
        old.kill()
    load.all_rest(world, runs)
    assert load.statuses(runs) == load.expected(runs)
    told = {event.data["why"] for run in runs for event in run.history() if event.kind == "blocked"}
    assert told == {"worker old@test does not know the task tests.workers.kit.pay"}
    # As many as their scripts ask for, whoever was asked before.
    pays = {number: world.ledger.bodies(f"deploy-{number}", "pay") for number in range(20)}
    assert pays == {number: 3 if number % 10 == 5 else 1 for number in range(20)}
