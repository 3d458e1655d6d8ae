"""A load of many runs, mixed: what they are asked to do, and how each must end.

Owns: the shapes of the mixture (fine, failing, flaky, in both directions), starting many, and
what of the ledger two loads must have in common.  Refuses to know: what goes wrong meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.workers.kit import Trip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac import RunHandle, Saga
    from tests.workers.world import World


class Shape(NamedTuple):
    """A kind of run: its script, and the status it must come to rest in."""

    script: dict[str, list[str]]
    status: str


#: In every ten: four that are fine (one is slow), four that fail for good, two that are flaky.
MIXED = (
    Shape({}, "completed"),
    Shape({"pay": ["abort-clean"]}, "compensated"),
    Shape({"book": ["raise"], "send": ["raise-after"]}, "completed"),
    Shape({}, "completed"),
    Shape({"send": ["abort"]}, "compensated"),
    Shape({"pay": ["raise-after", "raise"]}, "completed"),
    Shape({}, "completed"),
    Shape({"send": ["raise", "raise-after", "raise"]}, "compensated"),
    Shape(
        {"send": ["abort-clean"], "pay.undo": ["raise"], "book.undo": ["raise-after"]},
        "compensated",
    ),
    Shape({"pay": ["slow"]}, "completed"),
)


def shape_of(number: int) -> Shape:
    """What the run of this number does."""
    return MIXED[number % len(MIXED)]


def start(
    world: World, prefix: str, numbers: Iterable[int], saga: Saga[Any, Any] | None = None
) -> list[RunHandle[Any]]:
    """Start the runs `<prefix>-<number>` of *saga*, or of `trip`."""
    saga = saga or world.kit.trip
    return [
        saga.start(Trip(script=shape_of(number).script), id=f"{prefix}-{number}")
        for number in numbers
    ]


def all_rest(world: World, runs: list[RunHandle[Any]], timeout: float = 60.0) -> None:
    """Wait until all are at rest, check each against the ledger, and how it ended."""
    missing = {run.id: run for run in runs}

    def rest() -> bool:
        for run in list(missing.values()):
            if run.status.at_rest:
                del missing[run.id]
            else:
                return False
        return True

    try:
        world.until(rest, "all runs at rest", timeout)
    except AssertionError as error:
        stories = "\n".join(f"{run!r}: {told(run)}" for run in missing.values())
        raise AssertionError(f"{len(missing)} runs are not at rest\n{stories}\n{error}") from None
    for run in runs:
        world.check(run)


def expected(runs: list[RunHandle[Any]]) -> dict[str, str]:
    """How each run must end, by its number."""
    return {run.id: shape_of(int(run.id.rpartition("-")[2])).status for run in runs}


def statuses(runs: list[RunHandle[Any]]) -> dict[str, str]:
    """How each run stands."""
    return {run.id: run.status.value for run in runs}


def outline(world: World, prefix: str) -> Counter[tuple[str, str, int]]:
    """Everything in the ledger about the runs of *prefix*: (kind, number and step, attempt)."""
    return Counter(
        (row.kind, row.key.removeprefix(prefix), row.attempt)
        for row in world.ledger.rows(f"{prefix}-%")
    )


def told(run: RunHandle[Any]) -> str:
    """The history of a run, on a few lines."""
    return " ".join(event.dump() for event in run.history())


def happened(runs: list[RunHandle[Any]], kind: str) -> dict[str, int]:
    """How often something happened, by run; runs to which it did not happen are left out."""
    counts = {run.id: sum(event.kind == kind for event in run.history()) for run in runs}
    return {run_id: count for run_id, count in counts.items() if count}
