"""Small runs for the tests of the stores, and the commits that bring them forward.

Owns: making runs without the state machine: a store does not care whether a move is legal.
Refuses to know: which store it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celeriac.machine import Node, Plan
from celeriac.machine.events import Event, EventKind
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.step_states import Steps
from celeriac.machine.steps import PhaseState, PhaseStatus, StepState
from celeriac.store import Change, Due, Lease

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.store import Store

PLAN = Plan(saga="place_order", nodes=(Node(name="reserve", task="shop.reserve"),))


def now(store: Store) -> int:
    """The store's time."""
    return store.read("nobody").now


def a_run(run_id: str = "order-42", **values: Any) -> Run:
    """A run that was just started."""
    known: dict[str, Any] = {
        "saga": "place_order",
        "plan": PLAN.fingerprint,
        "status": RunStatus.RUNNING,
        "started_at": 1_700_000_000_000,
        "grace": 5_000,
        "version": 1,
    }
    return Run(id=run_id, **{**known, **values})


def starting(run: Run, wake_at: int = 1, **values: Any) -> Change:
    """The commit that starts *run*; by default it is due at once."""
    known: dict[str, Any] = {
        "before": None,
        "run": run,
        "events": (Event(run.started_at, EventKind.STARTED, data={"saga": run.saga}),),
        "wake_at": wake_at,
        "plan": PLAN,
    }
    return Change(**{**known, **values})


def moving(
    before: Run, wake_at: int | None = 1, *, to: RunStatus | None = None, **values: Any
) -> Change:
    """The commit that brings *before* one event forward."""
    after = replace(before, version=before.version + 1, status=to or before.status)
    event = Event(before.started_at + 1, EventKind.CLAIMED, "reserve", "do", before.version)
    known: dict[str, Any] = {"run": after, "events": (event,), "wake_at": wake_at}
    return Change(before=before, **{**known, **values})


def ending(before: Run, status: RunStatus = RunStatus.COMPLETED, **values: Any) -> Change:
    """The commit that brings *before* to rest."""
    return moving(before, None, to=status, **values)


def awaiting() -> Steps:
    """Steps of which one waits for a signal."""
    return Steps({"ask": StepState(PhaseState(PhaseStatus.OPEN, signal="approved"))})


def write(store: Store, change: Change) -> Run:
    """Commit *change*, which must succeed, and return the run as it is then."""
    assert store.commit(change)
    return change.run


def due(store: Store, run_id: str, limit: int = 1000) -> list[Due]:
    """What the wake index says of *run_id*, as far as it is due."""
    found = store.due(store.shard_of(run_id), limit).due
    return [entry for entry in found if entry.run_id == run_id]


def removed(store: Store, shard: int, limit: int) -> int:
    """Remove what has expired in a shard; return how many runs that were."""
    return store.remove(store.expired(shard, limit))


def lease(run: Run, attempt: int = 1) -> Lease:
    """A live attempt of *run*."""
    return Lease(run.id, "reserve", "do", attempt)


def ids(runs: Iterable[Run]) -> list[str]:
    """The ids of *runs*, in their order."""
    return [run.id for run in runs]


def same_shard(store: Store, count: int, prefix: str = "order") -> list[str]:
    """Ids that share a shard."""
    found: list[str] = []
    n = 0
    while len(found) < count:
        if store.shard_of(f"{prefix}-{n}") == 0:
            found.append(f"{prefix}-{n}")
        n += 1
    return found
