"""What is known of a run, from three sides: its state, its history, and the participants' ledger.

Owns: reading a run and its rows of the ledger so that they fit together, also while runs are at
work, and folding the history event by event.  Refuses to know: what must hold (`laws`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

from celeriac.machine.events import EventKind
from celeriac.machine.moves import apply
from celeriac.machine.steps import changed
from celeriac.machine.tries import epoch_of
from celeriac.machine.visits import as_visited
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from celeriac.machine import Phase, Plan
    from celeriac.machine.events import Event
    from celeriac.machine.runs import Run
    from celeriac.store import Store
    from tests.workers.ledger import Row

#: Kinds of rows that are about an effect, and the direction each belongs to.
EFFECTS: dict[str, Phase] = {
    "do": "do",
    "again": "do",
    "forbidden": "do",
    "undo": "undo",
    "undone": "undo",
}
_ROUNDS = 10
_UNDO = ".undo"


class Books(Protocol):
    """A ledger, as far as it is read here."""

    def rows(self) -> Sequence[Row]:
        """Every line, oldest first."""


class Frame(NamedTuple):
    """An event of a history, and the run before and after it."""

    number: int
    event: Event
    before: Run | None
    after: Run

    @property
    def was(self) -> Run | None:
        """The run before it, as it was in the try that the event is about."""
        return self.before and (self.before.of_epoch(self.event.data.get("try", 0)) or self.before)

    @property
    def became(self) -> Run:
        """The same after it."""
        return self.after.of_epoch(self.event.data.get("try", 0)) or self.after

    @property
    def epoch(self) -> int:
        """The epoch in which its step is done, which its attempts are counted in."""
        return epoch_of(self.became, self.event.step)


class Illegal(NamedTuple):
    """An event of a history that may not happen where it stands, and why."""

    number: int
    why: str


class Life(NamedTuple):
    """One life of an id: from a start to the next one, or until now."""

    key: str  # what idempotency keys of its newest try begin with
    plan: Plan  # the one it was started with, with the groups that it has visited
    run: Run  # at its end
    frames: Sequence[Frame]

    @property
    def waived(self) -> set[tuple[int, str]]:
        """The undos that an operator has waived, by epoch and name."""
        waived = [frame for frame in self.frames if frame.event.kind is EventKind.WAIVED]
        return {(frame.epoch, frame.event.step) for frame in waived}


@dataclass(frozen=True)
class Record:
    """A run as it stood at one moment."""

    run: Run
    plans: Mapping[str, Plan]  # by fingerprint; a new life may follow a new plan
    history: Sequence[Event]
    rows: Sequence[Row]  # of the ledger, from before the history was read
    settled: Sequence[Row]  # the same from after it: what they lack, never happened
    outputs: Mapping[str, str] = field(default_factory=dict)  # by step, as recorded
    frames: Sequence[Frame] = ()
    illegal: Illegal | None = None  # the first event that may not happen

    @classmethod
    def of(
        cls,
        run: Run,
        plans: Mapping[str, Plan],
        history: Sequence[Event],
        rows: Sequence[Row] = (),
        outputs: Mapping[str, str] | None = None,
        settled: Sequence[Row] | None = None,
    ) -> Record:
        """Put a record together, and fold its history."""
        frames, illegal = _folded(plans, run.id, history)
        after = rows if settled is None else settled
        return cls(run, plans, history, rows, after, outputs or {}, frames, illegal)

    def lives(self) -> Iterator[Life]:
        """The lives of the id, oldest first; an id that was started once has one."""
        begins = [f.number for f in self.frames if f.event.kind is EventKind.STARTED]
        for begin, end in zip(begins, [*begins[1:], len(self.frames)], strict=True):
            frames = self.frames[begin:end]
            run = frames[-1].after
            yield Life(run.key, as_visited(self.plans[run.plan], run), run, frames)

    def plan_of(self, frame: Frame) -> Plan:
        """The plan that was followed at a moment, with the groups that were visited by then."""
        return as_visited(self.plans[frame.after.plan], frame.became)

    def undoers(self, life: Life) -> dict[tuple[int, str], str]:
        """What undoes each step that was claimed in a life, by its epoch and name."""
        claims = [f for f in life.frames if (f.event.kind, f.event.phase) == ("claimed", "do")]
        found = {(f.epoch, f.event.step): self.plan_of(f).undoer_of(f.event.step) for f in claims}
        return {at: undoer for at, undoer in found.items() if undoer}

    def knows(self, name: str) -> bool:
        """True for the name of a step that there was at any time, also of an element of a map."""
        visited = any(name in plan.by_name for plan in self._visited)
        return visited or any(plan.find(name) for plan in self.plans.values())

    def asked_by(self, name: str, phase: Phase) -> str:
        """The step whose attempt asks for the undo of *name*: it may be one for several."""
        plans = [plan for plan in self._visited if phase == "undo" and name in plan.scope_of]
        return plans[0].scope_of[name] if plans else name

    @cached_property
    def _visited(self) -> list[Plan]:
        return list({id(plan): plan for plan in map(self.plan_of, self.frames)}.values())


def step_of(row: Row) -> tuple[str, Phase]:
    """The step that a row is about, and its direction."""
    name = row.key.rpartition(":")[2]
    if row.kind in EFFECTS:
        return name, EFFECTS[row.kind]
    return (name.removesuffix(_UNDO), "undo") if name.endswith(_UNDO) else (name, "do")


def run_of(row: Row) -> str:
    """What a row's key begins with: the id of a run, perhaps with the number of its life."""
    return row.key.rpartition(":")[0]


def collect(store: Store, books: Books, ids: Iterable[str]) -> list[Record]:
    """Read each run of *ids* that there is, with its rows, as it stood while it did not change."""
    found: dict[str, Record] = {}
    left = list(dict.fromkeys(ids))
    for remaining in range(_ROUNDS, 0, -1):
        early = by_run(books.rows())
        drafts = {run_id: _draft(store, run_id) for run_id in left}
        late = by_run(books.rows())
        for run_id, draft in drafts.items():
            if draft is None:
                continue
            run, plans, history, outputs = draft
            # A run that changes all the time is taken as it is in the end; it is not at rest.
            if remaining == 1 or store.read(run_id).run == run:
                rows, settled = (_rows(run, each) for each in (early, late))
                found[run_id] = Record.of(run, plans, history, rows, outputs, settled)
        left = [run_id for run_id in left if drafts[run_id] is not None and run_id not in found]
        if not left:
            break
    return list(found.values())


def by_run(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows by what their keys begin with."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[run_of(row)].append(row)
    return found


def keys_of(run: Run) -> list[str]:
    """What the keys of each of a run's lives begin with."""
    return [run.id, *(f"{run.id}~{epoch}" for epoch in range(2, run.epoch + 1))]


def _rows(run: Run, rows: Mapping[str, list[Row]]) -> list[Row]:
    # In the order of happening for each key: whoever wrote a row may have had a wrong clock.
    return [row for key in keys_of(run) for row in rows.get(key, ())]


class _Draft(NamedTuple):
    run: Run
    plans: dict[str, Plan]
    history: list[Event]
    outputs: dict[str, str]


def _draft(store: Store, run_id: str) -> _Draft | None:
    run = store.read(run_id).run
    if run is None:
        return None
    history = store.history(run_id)
    followed = {event.data["plan"] for event in history if event.kind is EventKind.STARTED}
    plans = {name: store.plan(run_id, name) for name in sorted({*followed, run.plan})}
    fields = {node.name: payloads.output_field(node.name) for node in plans[run.plan].nodes}
    found = store.read(run_id, tuple(fields.values()))
    outputs = {name: found.fields[key] for name, key in fields.items() if key in found.fields}
    return _Draft(run, plans, history, outputs)


def _folded(
    plans: Mapping[str, Plan], run_id: str, history: Sequence[Event]
) -> tuple[list[Frame], Illegal | None]:
    """Fold a history event by event; one that may not happen changes nothing, and is told."""
    frames: list[Frame] = []
    illegal: Illegal | None = None
    run: Run | None = None
    plan: Plan | None = None
    for number, event in enumerate(history):
        try:
            if event.kind is EventKind.STARTED:
                plan = plans[event.data["plan"]]
            assert plan is not None, f"{event.kind} before the run was started"
            after = apply(plan, run_id, run, event)
        except (AssertionError, LookupError, TypeError, ValueError) as error:
            illegal = illegal or Illegal(number, f"{type(error).__name__}: {error}")
            if run is None:
                break
            after = changed(run, version=run.version + 1)
        frames.append(Frame(number, event, run, after))
        run = after
    return frames, illegal
