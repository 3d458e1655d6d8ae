"""Messages that are well formed and lie: they can wake a run, and nothing more.

Owns: replays of everything that was ever sent, errbacks and sweeps with any argument, arguments
put beside a saga's header, and headers put on other tasks.  Refuses to know: headers by the
thousand (`test_claims`), and messages of other forms (`test_forms`).

What a message without our header does is Celery's affair: it runs a task with its arguments.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.app.tick_logs import SWEEP
from celeriac.machine.events import Dispatch
from celeriac.store import Lease
from celeriac.workers.canvas import ERRBACK, GUARD
from celeriac.workers.headers import HEADER
from celeriac.workers.leases import lease_of
from celeriac.workers.queue_name import QUEUE
from tests.security.forger import EMPTY, Forger
from tests.workers import load
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.processes import Process
    from tests.workers.world import World

EMBED: Any = EMPTY[2]


def record(world: World, *runs: RunHandle[Any]) -> list[Any]:
    """All there is to know of runs that have ended: states, histories, and the ledger."""
    found: list[Any] = [(run.state(), run.history()) for run in runs]
    return [*found, world.ledger.rows()]


def outline(run: RunHandle[Any]) -> list[tuple[str, str, str, int]]:
    """What happened to a run, without times and names of holders."""
    return [(e.kind.value, e.step, e.phase, e.attempt) for e in run.history()]


def all_handled(world: World, worker: Process, forger: Forger) -> None:
    """Wait until a worker is done with every message that was forged."""

    def handled() -> bool:
        lines = worker.log.read_text(errors="replace").splitlines()
        ours = {line.partition("[forged-")[2].partition("]")[0] for line in lines if ended(line)}
        return len(ours) >= forger.sent

    world.until(handled, "all forged messages were handled")


def ended(line: str) -> bool:
    """True for a line of the log that says how a forged task ended."""
    return "[forged-" in line and any(w in line for w in (" ignored", " raised ", " succeeded"))


def ended_runs(world: World) -> list[RunHandle[Any]]:
    """A run of each end: completed, compensated, failed with something owed."""
    scripts: dict[str, dict[str, list[str]]] = {
        "done": {"pay": ["raise"]},
        "undone": {"send": ["abort"]},
        "owed": {"send": ["abort"], "pay.undo": ["raise"] * 3},
    }
    return [world.kit.trip.start(Trip(script=script), id=name) for name, script in scripts.items()]


def test_everything_that_was_ever_sent_is_sent_again(world: World) -> None:
    """All messages of ended runs, alone and as chains, change neither state, history nor ledger."""
    worker = world.worker()
    world.beat()
    runs = ended_runs(world)
    load.all_rest(world, runs)
    assert [run.status.value for run in runs] == ["completed", "compensated", "failed"]
    before = record(world, *runs)
    engine, dispatcher = world.kit.sagas.runtime.engine, world.kit.sagas.runtime.dispatcher
    sent = 0
    for run in runs:
        found = engine.store.read(run.id).run
        assert found is not None
        plan = engine.store.plan(run.id, found.plan)
        for event in run.history():
            if event.kind == "claimed":
                again = Dispatch(event.step, event.phase, event.attempt, event.at)
                dispatcher.signature(plan, found, again).apply_async(task_id=f"replay-{sent}")
                dispatcher.send(plan, found, [again], event.at)
                sent += 1
    log = worker.log
    world.until(
        lambda: all(f"replay-{n}] ignored" in log.read_text() for n in range(sent)),
        "all replays were ignored",
    )
    assert sent > 15
    assert record(world, *runs) == before


def test_errbacks_and_sweeps_for_anything(world: World) -> None:
    """`celeriac.compensate` only looks at a run, and `celeriac.sweep` only at what is due."""
    worker = world.worker()
    world.beat()
    runs = ended_runs(world)
    held = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="held")
    load.all_rest(world, runs)
    world.reached(held, "pay")
    before, forger = record(world, *runs), Forger(world)
    story = outline(held)
    things: list[Any] = ["done", "undone", "owed", "held", "held", "nobody", "x" * 10_000]
    things += ["", "a\x1fb", "\ud800", "\x1b[31m\n", "{0.__class__}", 5, None, [], {"a": 1}, True]
    for thing in things:
        forger.post(ERRBACK, [[thing], {}, EMBED], queue=QUEUE)
        forger.post(ERRBACK, [[], {"run_id": thing}, EMBED], queue="celery")
    for args, kwargs in (
        (["held", "x"], {}),
        ([], {}),
        ([], {"run": "held"}),
        (["held"], {"x": 1}),
    ):
        forger.post(ERRBACK, [args, kwargs, EMBED], queue=QUEUE)
        forger.post(SWEEP, [args, kwargs, EMBED], queue=QUEUE)
    for _ in range(5):
        forger.post(SWEEP, queue=QUEUE)
    sweeps = 9  # their ends are kept out of the logs
    forger.sent -= sweeps
    all_handled(world, worker, forger)
    assert (record(world, *runs)[:-1], outline(held)) == (before[:-1], story)
    assert not worker.says("\x1b[31m")
    world.open(held, "pay")
    assert world.rest(held).status == "completed"
    assert load.happened([held], "lost") == {}
    assert {step: world.ledger.bodies("held", step) for step in ("book", "pay")} == {
        "book": 1,
        "pay": 1,
    }


def test_arguments_beside_a_header(world: World) -> None:
    """The true message with other arguments runs the step once, with the arguments on record."""
    worker = world.worker()
    with world.fault("drop", only=":pay:1"):
        run = world.kit.trip.start(Trip(), id="argued")
        world.until(lambda: world.published(":pay:1", "-"), "the true message is gone")
    forger, evil = Forger(world), {"script": {"pay": ["raise"] * 9, "pay.undo": ["raise"]}}
    embed = {**EMBED, "chain": [5, {"task": "no.task", "options": 7}], "errbacks": None}
    forger.post(body=[[{}, evil], {"trip": evil, GUARD: "x"}, EMBED], saga=forger.header(run))
    all_handled(world, worker, forger)
    assert world.ledger.bodies("argued", "pay") == 1
    world.beat()
    assert world.rest(run).status == "completed"
    assert load.happened([run], "failed") == {}
    forger.post(body=[[evil], {}, embed], saga=forger.header(run))
    all_handled(world, worker, forger)
    assert world.ledger.bodies("argued", "pay") == 1


def test_a_header_on_a_task_nobody_knows(world: World) -> None:
    """A made-up task is not noted in a run as one that its workers lack."""
    worker = world.worker()
    with world.fault("drop", only=":pay:1"):
        run = world.kit.trip.start(Trip(), id="named")
        world.until(lambda: world.published(":pay:1", "-"), "pay is due, and not on its way")
    world.until(lambda: run.state().steps[1].status == "scheduled", "pay is due")
    before, forger = run.history(), Forger(world)
    for name in ("no.such.task", "x" * 5_000, "two\nlines \x1b[31m", "tests.workers.kit.fly"):
        forger.post(name, saga=forger.header(run))
        forger.post(name, saga=forger.header(run, phase="undo"))
    log = worker.log
    world.until(
        lambda: log.read_text().count("is not the task of 'pay'") >= forger.sent, "all were seen"
    )
    assert run.history() == before
    assert run.state().steps[1].blocked is None
    world.beat()
    assert world.rest(run).status == "completed"


@pytest.mark.parametrize("ours", [True, False])
def test_a_header_on_another_task(ours: bool) -> None:
    """A task that is no step does not keep the attempt alive whose header it was given."""
    header = ["held", 1, "pay", "do", 1, "p"]
    task = SimpleNamespace(saga_runtime=None) if ours else SimpleNamespace()
    lease = lease_of(SimpleNamespace(task=task, request_dict={HEADER: header}))
    assert lease == (Lease("held", "pay", "do", 1) if ours else None)
