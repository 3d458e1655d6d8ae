"""Children among real processes: a parent and the run that is its step, whoever dies.

Owns: that both come to their end, on whichever shards they are.  Refuses to know: what is decided
(`tests/machine/test_children.py`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from celeriac.machine import EventKind
from tests.workers.histories import bodies
from tests.workers.kit import Ticket, Trip

if TYPE_CHECKING:
    from celeriac import RunHandle, RunStatus
    from tests.workers.world import World


def family(world: World, name: str, **script: list[str]) -> tuple[RunHandle[Any], RunHandle[Any]]:
    """A parent that was started, and a handle of its child, which need not be there yet."""
    run = world.kit.family.start(Trip(script=script), id=name)
    return run, world.kit.sagas._handle(f"{name}.trip")


def both_rest(world: World, *runs: RunHandle[Any]) -> list[RunStatus]:
    """Wait until all are at rest, and return how they ended."""
    return [world.rest(run).status for run in runs]


def _told(run: RunHandle[Any]) -> bool:
    return run.state().reason is not None


def kinds(run: RunHandle[Any], step: str = "trip") -> list[str]:
    """What happened to the step that is a run."""
    return [
        f"{event.kind}{' undo' if event.phase == 'undo' else ''}"
        for event in run.history()
        if event.step == step
    ]


def test_workers_alone_bring_both_to_their_end(world: World) -> None:
    """No sweep is needed, and each is told once; undone after it had completed, all of it goes."""
    world.worker()
    run, child = family(world, "f-1")
    assert both_rest(world, run, child) == ["completed", "completed"]
    assert run.result() == Ticket(number="send-f-1.trip")
    assert kinds(run) == ["claimed", "completed"]
    world.until(lambda: child.history()[-1].kind is EventKind.REPORTED, "the child has reported")
    run.cancel("changed my mind")
    assert both_rest(world, run, child) == ["compensated", "compensated"]
    assert kinds(run)[2:] == ["claimed undo", "completed undo"]
    refused = family(world, "f-2", send=["abort"])
    assert both_rest(world, *refused) == ["compensated", "compensated"]
    assert bodies(world, refused[0]) == {"first": 1, "first.undo": 1}


def test_a_verb_reaches_a_child_at_work(world: World) -> None:
    """With nobody sweeping; the attempt that is at work ends first."""
    world.worker(children=2)
    ends = {"cancel": "compensated", "terminate": "terminated"}
    families = {verb: family(world, verb, pay=["gate-after"]) for verb in ends}
    for verb, (run, child) in families.items():
        world.reached(child, "pay")
        getattr(run, verb)("enough")
    for verb, (run, child) in families.items():
        world.until(partial(_told, child), "its parent's word reached it")
        world.open(child, "pay")
        assert both_rest(world, run, child) == [ends[verb], ends[verb]]


def test_a_child_outlives_the_death_of_all_workers(world: World) -> None:
    """The worker dies that starts it, the one that ends it, and the one that tells of its end."""
    world.beat()
    deadly = {"pay": ["kill"], "last": ["kill-after"], "first": ["kill"]}
    run, child = family(world, "f-1", **deadly)
    world.worker()
    assert both_rest(world, run, child) == ["completed", "completed"]
    assert kinds(run).count("claimed") == 1, "one child, whoever died"


def test_what_a_child_owes_its_parent_owes(world: World) -> None:
    """A retry of the parent settles both; and a stranger's run is none of its business."""
    stranger = world.kit.march.start(Trip(), id="f-2.trip")
    run, child = family(world, "f-1", **{"send": ["abort"], "book.undo": ["abort"]})
    other, _ = family(world, "f-2")
    world.worker()
    assert both_rest(world, run, child) == ["failed", "failed"]
    assert (run.state().owed, child.state().owed) == (("trip",), ("book",))
    run.retry("trip")
    assert both_rest(world, run, child) == ["compensated", "compensated"]
    assert both_rest(world, other, stranger) == ["compensated", "completed"]


def test_a_hundred_children(world: World) -> None:
    """Twenty at a time, on all shards; each is started once, and the list is in order."""
    world.worker(children=2)
    world.beat()
    run = world.kit.convoy.start([Trip(script={}) for _ in range(100)], id="c-1")
    assert world.rest(run, timeout=90).status == "completed"
    numbers = run.result().number.split(",")
    assert numbers == [f"book-c-1.each[{n}].leg" for n in range(100)]
    assert len(world.ledger.rows("c-1.each%", "begin")) == 100
