"""A saga or a run as a picture: what is drawn, and where.

Owns: the boxes of the forward and the undo lane, what is solid (done) and what dashed (planned),
and their places.  Refuses to know: where runs come from, and how it is drawn (`drawing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from celeriac.machine import WAITS, PhaseStatus, StepStatus, as_visited, shown_step, visits_of
from celeriac.views.elements import counted, elements, shown_status, undo_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.machine import Guard, Node, PhaseState, Plan, Run

_BAD = {StepStatus.FAILED, StepStatus.COMPENSATION_FAILED, StepStatus.CONFIRM_FAILED}
_UNSURE = {StepStatus.UNKNOWN, StepStatus.RETRYING}
_BUSY = {
    *(StepStatus.RUNNING, StepStatus.SCHEDULED, StepStatus.WAITING),
    StepStatus.COMPENSATING,
    StepStatus.CONFIRMING,
}


@dataclass(frozen=True)
class Box:
    """A step in one direction."""

    name: str
    note: str  # where it stands; in the picture of a saga, which groups it may go on with
    solid: bool  # it was begun; else it is only planned
    tone: str = "plain"  # plain, good, bad, unsure, busy
    chooses: bool = False  # others depend on its answer: a diamond
    stack: bool = False  # it stands for all elements of a map


@dataclass(frozen=True)
class Cell:
    """A step of a plan: its two boxes, and the place of both in the picture."""

    name: str
    after: tuple[str, ...]
    column: int
    row: int
    do: Box
    undo: Box | None  # None: it cannot be undone
    when: tuple[tuple[str, str], ...] = ()  # the step it depends on, and what that has to answer


@dataclass(frozen=True)
class Frame:
    """Steps that belong together: undone as one, which is drawn below the first, or confirmed."""

    label: str
    names: tuple[str, ...]
    one_undo: bool = True
    around: bool = False  # a group, in which other frames may stand


@dataclass(frozen=True)
class Graph:
    """What is drawn."""

    title: str
    cells: tuple[Cell, ...]
    frames: tuple[Frame, ...] = ()

    @property
    def columns(self) -> list[list[Cell]]:
        """The cells from left to right, and in each column from top to bottom."""
        width = max((cell.column for cell in self.cells), default=-1) + 1
        return [[cell for cell in self.cells if cell.column == n] for n in range(width)]

    def undone_next(self, cell: Cell) -> list[Cell]:
        """The nearest steps before this one, or before its frame, that can be undone."""
        found: dict[str, Cell] = {}
        inside = self._inside(cell)
        for name in dict.fromkeys(each for one in inside for each in self.by_name[one].after):
            if name in inside:
                continue
            before = self.by_name[self._inside(self.by_name[name])[0]]
            nearest = [before] if before.undo else self.undone_next(before)
            found.update((each.name, each) for each in nearest)
        return list(found.values())

    def _inside(self, cell: Cell) -> tuple[str, ...]:
        """The steps that are undone as one with this one."""
        return next(
            (f.names for f in self.frames if f.one_undo and cell.name in f.names), (cell.name,)
        )

    @property
    def by_name(self) -> dict[str, Cell]:
        """The cells by the names of their steps."""
        return {cell.name: cell for cell in self.cells}


def graph_of(plan: Plan, run: Run | None = None) -> Graph:
    """Return what to draw of a saga, or of a run of it: of that, the groups that it visited."""
    plan = as_visited(plan, run) if run else plan
    columns: dict[str, int] = {}
    rows: dict[str, int] = {}
    cells: list[Cell] = []
    tops: dict[str, int] = {}  # the first row of each group, in the picture of a saga
    first = {node.covers[0]: node for node in plan.nodes if node.covers}
    for node in plan.steps:  # what a step waits for comes before it in a plan
        column = max((columns[name] + 1 for name in node.after), default=0)
        wanted = rows[node.after[0]] if node.after else _first_row(node, rows, tops)
        row = _row(column, wanted, columns, rows)
        columns[node.name], rows[node.name] = column, row
        do, undo = _do_box(plan, node, run), _undo_box(first.get(node.name, node), run)
        asked = [guard for guard in node.guards if guard.among or guard.but]
        when = tuple((guard.step, _answer(guard)) for guard in asked[-1:])
        cells.append(Cell(node.name, node.after, column, row, do, undo, when))
    title = f"{plan.saga} (version {plan.version})"
    frames = [Frame(f"undone by {node.name}", node.covers) for node in first.values()]
    for group, number, nodes in visits_of(plan):
        frames += _frames_of(group, number, nodes)
    return Graph(f"{run.id}: {title}, {run.shown}" if run else title, tuple(cells), tuple(frames))


def _first_row(node: Node, rows: Mapping[str, int], tops: dict[str, int]) -> int:
    """The row in which a step begins that waits for none: each group has rows of its own."""
    return tops.setdefault(node.group, max(rows.values(), default=-1) + 1 if node.group else 0)


def _frames_of(group: str, number: int, nodes: tuple[Node, ...]) -> Iterator[Frame]:
    """What is confirmed together in a visit of a group, and that visit; or in a saga without."""
    confirms = {node.confirms: node.name for node in nodes if node.confirms}
    if confirms:
        yield Frame("two phases", (*confirms, *confirms.values()), one_undo=False)
    if group:
        label = f"group {group}" + (f", visit {number}" if number > 1 else "")
        names = tuple(node.name for node in nodes if not node.covers)
        yield Frame(label, names, one_undo=False, around=True)


def _row(column: int, wanted: int, columns: Mapping[str, int], rows: Mapping[str, int]) -> int:
    """The row of a step: that of the step before it, so that a branch is a line, or the next."""
    taken = {rows[name] for name, each in columns.items() if each == column}
    return next(row for row in count(wanted) if row not in taken)


def _answer(guard: Guard) -> str:
    """What a choice has to be, in a few words."""
    labels = " or ".join(guard.among)
    return f"not {labels}" if guard.but else labels


# --- what is drawn -----------------------------------------------------------------------------


def _do_box(plan: Plan, node: Node, run: Run | None) -> Box:
    if node.map:
        return _map_box(plan, node, run)
    pivot = " (pivot)" if node.pivot else ""
    pivot += " (waits)" if node.wait else " (run)" if node.child else ""
    if run is None:
        note = f"may go on with {', '.join(node.routes)}" if node.routes else ""
        return Box(node.name + pivot, note, solid=True, chooses=node.choice is not None)
    step = run.step(node.name)
    forward = StepStatus(_FORWARD.get(step.do.state, step.do.state.value))
    begun = step.do.attempt > 0 or forward is StepStatus.SKIPPED
    begun = begun or (node.wait is not None and step.do.state is not PhaseStatus.IDLE)
    if forward is StepStatus.PENDING or node.confirms:
        forward = shown_step(plan, run, node.name)
    note = _note(forward, step.do) + (f": {step.choice}" if step.choice else "")
    return Box(node.name + pivot, note, begun, _tone(forward), node.choice is not None)


def _map_box(plan: Plan, node: Node, run: Run | None) -> Box:
    """All elements of a map, with their number."""
    known = run.steps.maps.get(node.name) if run else None
    name = f"{node.name} x {known.count if known else 'each'}"
    if run is None:
        return Box(name, "", solid=True, stack=True)
    status = shown_status(plan, run, node.name)
    note = counted(run, node.name) or status.value
    return Box(name, note, known is not None, _tone(status), stack=True)


def _undo_of_map(node: Node, run: Run | None) -> Box | None:
    """The undo of all elements of a map."""
    if not node.map or not any(each.undo for each in node.map.nodes):
        return None
    name = ", ".join(dict.fromkeys(undo_name(each) for each in node.map.nodes if each.undo))
    counts = (elements(run, node.name) if run else None) or {}
    told = [f"{many} {status}" for status, many in counts.items() if status in _BACKWARD]
    tone = _tone(next((status for status in counts if status in _BACKWARD), StepStatus.PENDING))
    return Box(name, ", ".join(told), bool(told), tone, stack=True)


_BACKWARD = (
    StepStatus.COMPENSATION_FAILED,
    StepStatus.COMPENSATING,
    StepStatus.WAIVED,
    StepStatus.COMPENSATED,
)


def _undo_box(node: Node, run: Run | None) -> Box | None:
    if node.map:
        return _undo_of_map(node, run)
    step = run.step(node.name) if run else None
    if node.undo is None:
        return None
    name = undo_name(node)
    if step is None:
        return Box(name, "", solid=False)
    if step.undo.state is PhaseStatus.IDLE:
        return Box(name, "", solid=False)
    return Box(name, _note(step.status, step.undo), step.undo.attempt > 0, _tone(step.status))


_FORWARD = {
    PhaseStatus.IDLE: "pending",
    **dict.fromkeys((*WAITS, PhaseStatus.POSTPONED), "waiting"),
    PhaseStatus.EXPANDED: "running",
    PhaseStatus.DONE: "completed",
    PhaseStatus.WAIVED: "completed",
}


def _note(status: StepStatus, direction: PhaseState) -> str:
    return f"{status} #{direction.attempt}" if direction.attempt > 1 else str(status)


def _tone(status: StepStatus) -> str:
    if status in _BAD:
        return "bad"
    if status in _UNSURE:
        return "unsure"
    if status in _BUSY:
        return "busy"
    return "plain" if status in (StepStatus.PENDING, StepStatus.SKIPPED) else "good"
