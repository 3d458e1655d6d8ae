"""What came of it: figures of a run of chaos, and everything that is wrong with them.

Owns: counting, from the journals, the histories, the ledger and the nemesis's notes, and the least
that must have happened for a run of chaos to prove anything.  Refuses to know: the laws of runs
(`tests.proof.checker`), and how figures are printed (`report`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celeriac.machine import NO_SIGNAL
from celeriac.machine.events import EventKind
from tests.chaos.journal import (
    ACCEPTED,
    AGAIN,
    BROKEN,
    REFUSED,
    REFUSED_CLAIMS,
    SIGNALLED,
    journals,
)
from tests.chaos.load import SHAPES, shape_of
from tests.chaos.passes import passed
from tests.chaos.recovery import Recovery, recoveries
from tests.chaos.settle import started
from tests.proof.checker import Violation, asked, check_runs
from tests.proof.places import hurries
from tests.workers.gated_steps import BANK, SEAL
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from celeriac.machine.events import Event
    from celeriac.machine.runs import Run
    from celeriac.store import Store
    from tests.chaos.environment import Installation
    from tests.chaos.nemesis import Nemesis, Struck
    from tests.chaos.schedule import Planned
    from tests.chaos.settle import Settled
    from tests.proof.checker import Asked

#: The least that a second of chaos must bring to an end; a dead system must not pass.
COMPLETED, COMPENSATED = 0.25, 0.08
_MEDDLED = (EventKind.LOST, EventKind.LATE, EventKind.RETRIED, EventKind.REOPENED)
REWINDS, EXPIRED, ROUTES = "rewound", "steps that expired", "groups left for another"
THROUGH_LIMIT = "waited before a limit, and passed"
THROUGH_RATE = "waited before a rate, and passed"
THROUGH_BREAKER = "waited before an open breaker, and passed when it let one try"
MUST_HAPPEN = (REWINDS, EXPIRED, ROUTES, THROUGH_LIMIT, THROUGH_RATE, THROUGH_BREAKER)
_THROUGH = {SEAL.name: THROUGH_RATE, BANK.name: THROUGH_BREAKER}  # others are limits
_STALE = ("stale", "not_due", "superseded", "completed")


@dataclass
class StoreStats:
    """Everything that a report tells."""

    seed: int
    seconds: float
    layout: str
    bug: str = ""
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)  # by shape and status
    starts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)  # that met somebody, by kind
    missed: Counter[str] = field(default_factory=Counter)
    recovery: dict[str, Recovery] = field(default_factory=dict)
    replaced: Counter[str] = field(default_factory=Counter)  # by cause
    bodies: Counter[str] = field(default_factory=Counter)
    reports: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  # claims, by reason
    settled: Settled | None = None
    violations: list[Violation] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)  # stories
    problems: list[str] = field(default_factory=list)  # sentences

    @property
    def passed(self) -> bool:
        """True if nothing is wrong."""
        return not (self.violations or self.stuck or self.problems)

    def count(self, status: str) -> int:
        """How many runs are in a status."""
        return sum(many for (_, found), many in self.ended.items() if found == status)


def judge(
    installation: Installation,
    seed: int,
    seconds: float,
    plan: Sequence[Planned],
    nemesis: Nemesis,
    end: Settled,
) -> StoreStats:
    """Read everything, check everything, and return the figures."""
    store = installation.kit.sagas.runtime.engine.store
    layout = (
        "one Redis for messages and one for runs" if installation.split else "one Redis for both"
    )
    figures = StoreStats(seed, seconds, layout, settled=end)
    histories = {run_id: store.history(run_id) for run_id in started(installation)}
    histories = {run_id: history for run_id, history in histories.items() if history}
    signalled = {name for each in journals(installation.folder) for name in each.noted(SIGNALLED)}
    for run_id in histories:
        run = store.read(run_id).run
        assert run is not None
        figures.ended[shape_of(run_id).name, run.status.value] += 1
        told = [*histories[run_id], *_of_children(store, histories[run_id])]
        figures.problems += _unexpected(run_id, run.status.value, told)
        figures.problems += _untagged(run_id, run, histories[run_id])
        figures.problems += _unheard(run_id, histories[run_id], signalled)
    _count_starts(figures, installation.folder, histories)
    _count_faults(figures, nemesis.struck, histories)
    _count_bodies(figures, installation)
    _count_reports(figures, installation.folder, histories.values())
    figures.reports["scripts that Redis had forgotten"] = installation.noscript
    figures.replaced.update(each.cause for each in installation.fleet.replaced)
    figures.stuck = [_story(run_id, histories.get(run_id, ())) for run_id in end.stuck]
    figures.violations = check_runs(
        installation.kit.sagas,
        installation.kit.ledger,
        starts=list(_asked(installation)),
        at_rest=not end.stuck and end.well_after is not None,
    )
    figures.violations += [
        Violation("", each.law, each.what) for each in hurries(passed(installation.folder))
    ]
    figures.problems += [*nemesis.trouble, *installation.fleet.trouble, *_too_little(figures, plan)]
    return figures


def _asked(installation: Installation) -> Iterator[Asked]:
    for journal in journals(installation.folder):
        accepted = set(journal.noted(ACCEPTED))
        for run_id in journal.asked():
            shape = shape_of(run_id)
            saga: Any = getattr(installation.kit, shape.saga)
            answer: Any = "accepted" if run_id in accepted else "unknown"
            yield asked(saga, Trip(script=shape.script), run_id, answer)


def _of_children(store: Store, history: Iterable[Event]) -> Iterator[Event]:
    """What happened to the runs that are attempts of steps: a fault may have met one of these."""
    claims = (event for event in history if event.kind is EventKind.CLAIMED)
    for child in dict.fromkeys(each.data["holder"] for each in claims if each.data.get("child")):
        yield from store.history(child)


def _unexpected(run_id: str, status: str, history: Iterable[Event]) -> Iterator[str]:
    """A run that no fault has touched must end as its shape says."""
    if status != shape_of(run_id).status and not any(_meddled(run_id, each) for each in history):
        yield f"{run_id} ended {status}, and nothing had happened to it:\n{_story(run_id, history)}"


def _untagged(run_id: str, run: Run, history: Iterable[Event]) -> Iterator[str]:
    """What the first attempt of a step has noted is there, if that attempt was its last."""
    reports = [name for name, words in shape_of(run_id).script.items() if words[:1] == ["report"]]
    for event in history:
        done = event.kind is EventKind.COMPLETED and (event.phase, event.attempt) == ("do", 1)
        if done and event.step in reports and ("region", "eu") not in run.tags:
            yield f"{run_id} has lost the tag that {event.step!r} has given it"


def _unheard(run_id: str, history: Iterable[Event], signalled: Container[str]) -> Iterator[str]:
    """No wait ends in vain for which a signal was accepted."""
    if run_id in signalled and any(event.data.get("why") == NO_SIGNAL for event in history):
        yield f"{run_id} has lost its signal:\n{_story(run_id, history)}"


def _meddled(run_id: str, event: Event) -> bool:
    """True for an event that only a fault can have led to."""
    if event.kind in _MEDDLED or event.data.get("late"):
        return True
    # Whoever should have taken it up, or sent its signal, was away.
    if event.data.get("why") in ("expired", NO_SIGNAL):
        return True
    # A body that was stopped for longer than its time limit is told so once it goes on.
    words = shape_of(run_id).script.get(event.step, [])
    planned = words[event.attempt - 1 : event.attempt] in (["gate-after"], ["spin"])
    return event.data.get("why") == "timeout" and not planned


# --- counting ------------------------------------------------------------------------------------


def _count_starts(figures: StoreStats, folder: Path, histories: Mapping[str, Any]) -> None:
    for journal in journals(folder):
        accepted = journal.noted(ACCEPTED)
        figures.starts["asked for"] += len(journal.asked())
        figures.starts["accepted"] += len(set(accepted))
        figures.starts["answered with an error, and asked again"] += len(journal.noted(REFUSED))
        figures.starts["made twice"] += len(journal.noted(AGAIN))
        figures.starts["accepted and lost"] += len(set(accepted) - set(histories))
        figures.problems += journal.noted(BROKEN)


def _count_faults(
    figures: StoreStats, struck: Sequence[Struck], histories: Mapping[str, Sequence[Event]]
) -> None:
    for each in struck:
        (figures.missed if each.missed else figures.faults)[each.kind] += 1
    figures.recovery = recoveries(struck, histories)


def _count_bodies(figures: StoreStats, installation: Installation) -> None:
    rows = installation.kit.ledger.rows()
    begun = Counter((row.key, row.attempt) for row in rows if row.kind == "begin")
    kinds = Counter(row.kind for row in rows)
    figures.bodies.update(
        {
            "begun": sum(begun.values()),
            "beyond the first of a step": sum(begun.values()) - len({key for key, _ in begun}),
            "of one attempt twice": sum(many - 1 for many in begun.values()),
            "effects": kinds["do"],
            "effects again, deduplicated by key": kinds["again"],
            "effects forbidden by a tombstone": kinds["forbidden"],
            "undos": kinds["undo"],
            "undos of nothing, or again": kinds["undone"],
        }
    )


def _count_reports(figures: StoreStats, folder: Path, histories: Iterable[Sequence[Event]]) -> None:
    notes = folder / REFUSED_CLAIMS
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    figures.refused.update(line.partition(" ")[0] for line in lines)
    figures.reports["stale deliveries"] = sum(figures.refused[reason] for reason in _STALE)
    figures.reports["refused claims"] = sum(figures.refused.values())
    for history in histories:
        for event in history:
            figures.reports.update(_about(event))
        figures.reports.update(_at_gates(history))


def _about(event: Event) -> Iterator[str]:
    if event.kind is EventKind.LOST:
        yield "attempts lost"
    if event.kind is EventKind.REOPENED:
        yield "undone once more"
    if event.kind is EventKind.DISPATCHED and event.data.get("why") == "unclaimed":
        yield "messages sent again"
    if event.kind is EventKind.COMPLETED and event.data.get("late"):
        yield "late successes"
    if event.kind is EventKind.REWOUND:
        yield REWINDS
    if event.data.get("why") == "expired":
        yield EXPIRED
    if event.data.get("route"):
        yield ROUTES
    if event.kind is EventKind.LATE:
        outcome = "successes" if event.data.get("outcome") == "completed" else "failures"
        yield f"late {outcome}"


def _at_gates(history: Iterable[Event]) -> Iterator[str]:
    """What a run met at gates, and whether it was let in when its turn had come."""
    waits: dict[tuple[str, str], str] = {}
    for event in history:
        at = (event.step, event.phase)
        if event.kind is EventKind.QUEUED:
            waits[at] = event.data["gate"]
        elif event.kind is EventKind.CLAIMED and at in waits:
            yield _THROUGH.get(waits.pop(at), THROUGH_LIMIT)


def _story(run_id: str, history: Iterable[Event]) -> str:
    begun, lines = 0, []
    for event in history:
        begun = begun or event.at
        lines.append(f"    {(event.at - begun) / 1000:+9.3f} s  {event.dump().partition(',')[2]}")
    return "\n".join([f"{run_id} ({shape_of(run_id).name})", *lines])


# --- what is wrong -------------------------------------------------------------------------------


def _too_little(figures: StoreStats, plan: Sequence[Planned]) -> Iterator[str]:
    """What did not happen, though without it nothing is proven."""
    if figures.settled is None or figures.settled.well_after is None:
        yield "not all workers and beats came to work again"
    if lost := figures.starts["accepted and lost"]:
        yield f"{lost} accepted starts were lost (D1)"
    for status, least in (("completed", COMPLETED), ("compensated", COMPENSATED)):
        if (found := figures.count(status)) < least * figures.seconds:
            yield f"only {found} runs {status}: the system was as good as dead"
    for shape in SHAPES:
        if not any(many for (name, _), many in figures.ended.items() if name == shape):
            yield f"no run of the shape {shape!r} came to an end"
    yield from (f"it never happened: {what}" for what in MUST_HAPPEN if not figures.reports[what])
    for kind in sorted({planned.kind for planned in plan}):
        if not figures.faults[kind]:
            yield f"the fault {kind!r} was planned, and met nobody"
