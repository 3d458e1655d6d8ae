"""How a run is written down: the head, one short line of JSON; and its plan.

Owns: the form of both.  Refuses to know: where it is kept, and what its values mean.

A head is read and written several times a step, and kept for as long as its run.  Its first line
is a list of values in a fixed order, without what has its default at the end, without steps that
were never touched and without the id, which is the key it is kept under.  It begins with its stamp,
so that two heads can be told apart by their first characters.  Times count from the start of the
run.  Each step that is settled has a line of its own, which is carried along as it is: what a step
costs does not grow with the number of those before it.  The elements of a map that rest are in the
first line, as ranges of numbers, since most of them look alike.

New fields may only be added at an end; a head that is longer than this version knows is refused,
since writing it back would lose what a newer version has put there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as _quoted
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from celeriac.errors import StoreError
from celeriac.machine import (
    Instances,
    Parent,
    PhaseState,
    PhaseStatus,
    Plan,
    Ranges,
    Received,
    Run,
    RunStatus,
    Series,
    Steps,
    StepState,
    changed,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

# The order is the format: what is nearly always there comes first, what is rare comes last.
RUN_FIELDS = (
    *("version", "epoch", "started_at", "saga", "plan", "status", "grace"),
    *("changed_at", "started_steps", "steps", "digest", "starter", "deadline", "ended_at"),
    *("why", "failed_step", "reason", "tags", "compensate_not_before", "credited", "overdue"),
    *("paused", "ended_by", "series", "signals", "maps", "parent", "untold"),
    *("tries", "begins_at", "final", "earlier", "origin"),
    *("rewinds", "rewinds_to", "rewound_by", "stands"),
    *("routes", "entered"),
)
STEP_FIELDS = (
    *("order", "do", "may_have_effect", "undo", "generation", "blocked", "choice", "inherited"),
    *("line", "gates"),
)
DIRECTION_FIELDS = (
    *("state", "attempt", "holder", "at", "sent", "sends", "limit"),
    *("attempts_before_budget", "recompensate", "late"),
    *("given_back", "begun", "credited", "too_many", "via", "signal", "child", "kept"),
    "expired",
)

_ALWAYS = 7  # values of a run that are written even if they are the default
_START = RUN_FIELDS.index("started_at")
_STEPS = RUN_FIELDS.index("steps")
_TIMES = [
    RUN_FIELDS.index(name)
    for name in (
        *("changed_at", "deadline", "ended_at", "compensate_not_before", "paused"),
        "begins_at",
    )
]
_DIRECTION_TIMES = [DIRECTION_FIELDS.index(name) for name in ("at", "limit", "begun")]
_LATE, _KEPT = DIRECTION_FIELDS.index("late"), DIRECTION_FIELDS.index("kept")
_LINE = STEP_FIELDS.index("line")
# Who started a run stands there too, if that was said: a value of its own would make a head that
# an older version cannot read, and what stands there it carries along.
_STARTER = RUN_FIELDS.index("starter")

_MAPS = RUN_FIELDS.index("maps")

_EARLIER = RUN_FIELDS.index("earlier")
_run_values = attrgetter(*RUN_FIELDS[:_MAPS])
_later_values = attrgetter(*RUN_FIELDS[_MAPS + 1 :])
_step_values = attrgetter(*STEP_FIELDS)
_direction_values = attrgetter(*DIRECTION_FIELDS)
_NEW = Run("", "", "", RunStatus.RUNNING, 0, 0)
_RUN_DEFAULTS = (*_run_values(_NEW), {}, *_later_values(_NEW))
_STEP_DEFAULTS: list[Any] = [0, (), False, (), 0, "", "", False, (), ()]
_DIRECTION_DEFAULTS = _direction_values(PhaseState())

_UNTOUCHED = StepState()
_IDLE = _UNTOUCHED.do
_UNDISTURBED = _step_values(_UNTOUCHED)[2:]  # of a step that was done once, and no more
_DIRECTION_STATES = {state.value: state for state in PhaseStatus}
_RUN_STATUSES = {status.value: status for status in RunStatus}

_NEXT = "\n"  # what each line of a settled step begins with
_MALFORMED = (LookupError, ValueError, TypeError, AttributeError, RecursionError)
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def stamp(run: Run | None) -> str:
    """Return how the head of *run* begins, and no other's: what commits compare.

    It holds the version, and which life of the id it belongs to: a run that was removed or
    started anew may reach the same version again.  Without a run it is empty.
    """
    return f"[{run.version},{run.epoch},{run.started_at}," if run else ""


def dump_run(run: Run) -> str:
    """Return the head of *run*."""
    start = run.started_at
    maps = {name: _map_row(run, each) for name, each in run.steps.maps.items()}
    row = [*_run_values(run), maps, *_later_values(run)]
    row[_EARLIER] = [dump_run(each) for each in run.earlier] or ()
    if run.started_by:
        row[_STARTER] = [run.starter, run.started_by]
    rows: dict[str, list[Any]] = {}
    settled: dict[str, StepState] = {}
    for name, step in run.steps.open.items():
        if step.settled and not run.steps.is_element(name):
            settled[name] = step
        else:
            rows[name] = _step_row(step, start)
    row[_STEPS] = rows
    for place in _TIMES:
        if row[place]:
            row[place] = _since(row[place], start)
    return _encode(_trimmed(row, _RUN_DEFAULTS, _ALWAYS)) + _settled_lines(
        run.steps, settled, start
    )


def laid_aside(run: Run) -> Run:
    """The same run, with what is settled as it is written: each of its changes carries that along.

    Who changes a run many times without reading it again would write all of it each time.
    """
    steps, start = run.steps, run.started_at
    rows: dict[str, StepState] = {}
    settled: dict[str, StepState] = {}
    for name, step in steps.open.items():
        (settled if step.settled and not steps.is_element(name) else rows)[name] = step
    if not settled:
        return run
    lines = _Lines(run.id, _settled_lines(steps, settled, start), start)
    if isinstance(steps.settled, _Lines):
        lines.know(steps.settled, steps.open, settled)
    return changed(run, steps=Steps(rows, lines, steps.maps))


def load_run(run_id: str, text: str) -> Run:
    """Return the run that `dump_run` wrote; raise StoreError if *text* is nothing of the kind."""
    first, end, rest = text.partition(_NEXT)
    try:
        return _run(run_id, json.loads(first), end + rest)
    except _MALFORMED as error:
        raise _unreadable(run_id) from error


def _unreadable(run_id: str) -> StoreError:
    return StoreError(
        f"the state of run {run_id!r} cannot be read: it was written by a newer version of "
        "celeriac, or by something else; upgrade this process, or check saga_namespace"
    )


def dump_plan(plan: Plan) -> str:
    """Return *plan* as JSON, without what has its default.

    So a worker of an older version can read it, as long as it makes no use of anything newer.
    """
    return plan.model_dump_json(exclude_defaults=True)


def load_plan(run_id: str, text: str) -> Plan:
    """Return the plan that `dump_plan` wrote; raise StoreError if *text* is nothing of the kind."""
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(
            f"the plan of run {run_id!r} cannot be read: it was written by a newer version of "
            f"celeriac, or by something else; upgrade this process ({error.errors()[0]['msg']})"
        ) from error


def _run(run_id: str, row: list[Any], lines: str) -> Run:
    if not _ALWAYS <= len(row) <= len(RUN_FIELDS):
        raise ValueError(f"a run of {len(row)} values")
    start = row[_START]
    for place in _TIMES:
        if place < len(row) and row[place]:
            row[place] = _until(row[place], start)
    found = dict(zip(RUN_FIELDS, row, strict=False))
    found["status"] = _RUN_STATUSES[found["status"]]
    steps = {name: _step(step, start) for name, step in found.get("steps", {}).items()}
    maps = {name: _map(each, start) for name, each in found.pop("maps", {}).items()}
    found["steps"] = Steps(steps, _Lines(run_id, lines, start) if lines else None, maps)
    for name in ("tags", "stands", "routes"):
        found[name] = tuple([(first, second) for first, second in found.get(name, ())])
    found["entered"] = tuple(found.get("entered", ()))
    if isinstance(found.get("starter"), list):
        found["starter"], found["started_by"] = found["starter"]
    if "series" in found:
        found["series"] = _series(found["series"])
    if "earlier" in found:
        found["earlier"] = tuple([load_run(run_id, each) for each in found["earlier"]])
    if "signals" in found:
        found["signals"] = tuple([Received(*each) for each in found["signals"]])
    if found.get("parent"):
        found["parent"] = Parent(*found["parent"])
    return changed(_NEW, id=run_id, **found)


def _series(row: list[Any]) -> tuple[Series, ...]:
    """The steps that are asked again; version 0.1.0 knew of one, at the end of the history."""
    if row and isinstance(row[0], str):
        step, events, count, since = row
        row = [[step, count, since, range(events)[::-1]]]
    return tuple([Series(step, count, since, tuple(events)) for step, count, since, events in row])


def _map_row(run: Run, found: Instances[StepState]) -> list[Any]:
    alike = [
        [[_step_row(each, run.started_at) for each in states], numbers.bounds]
        for states, numbers in found.alike
    ]
    return [found.nodes, found.count, found.begun, found.order, alike]


def _map(row: list[Any], start: int) -> Instances[StepState]:
    nodes, count, begun, order, alike = row
    told = (
        (tuple([_step(each, start) for each in states]), Ranges(tuple(bounds)))
        for states, bounds in alike
    )
    return Instances(tuple(nodes), count, begun, order, tuple(told))


class _Lines(Mapping[str, StepState]):
    """Settled steps as they are written: a line each, read only if somebody asks for it.

    A line is JSON without its brackets: the name, and either the values of a step, or of what most
    steps are, done at the first attempt: order, holder and time.
    """

    def __init__(self, run_id: str, text: str, start: int) -> None:
        self.text, self.start = text, start
        self._run_id = run_id
        self._all: dict[str, StepState] | None = None  # once somebody has asked for all

    def __getitem__(self, name: str) -> StepState:
        found: StepState | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """The state of a step; most that are asked for were never touched."""
        if self._all is not None:
            return self._all.get(name, default)
        _, found, rest = self.text.partition(_beginning(name))
        return self._steps(f"[0,{rest.partition(_NEXT)[0]}]")[0] if found else default

    def __contains__(self, name: object) -> bool:
        return _beginning(name) in self.text

    def __iter__(self) -> Iterator[str]:
        if self._all is None:
            self._all = self._steps(f"[{self.text[1:].replace(_NEXT, '],[')}]")
        return iter(self._all)

    def __len__(self) -> int:
        return self.text.count(_NEXT)

    def know(self, before: _Lines, moved: Container[str], more: Mapping[str, StepState]) -> None:
        """These are those of *before* that have not *moved*, and *more*: if they were read, all."""
        if before._all is not None:
            left = {name: step for name, step in before._all.items() if name not in moved}
            self._all = {**left, **more}

    def without(self, names: Iterable[str]) -> str:
        """The text without the lines of *names*."""
        text = self.text
        for name in names:
            before, found, rest = text.partition(_beginning(name))
            if found:
                _, end, after = rest.partition(_NEXT)
                text = before + end + after
        return text

    def _steps(self, rows: str) -> dict[Any, StepState]:
        try:
            return {name: self._step(*values) for name, *values in json.loads(f"[{rows}]")}
        except _MALFORMED as error:
            raise _unreadable(self._run_id) from error

    def _step(self, first: Any, holder: str = "", at: int | None = None) -> StepState:
        if at is None:
            return _step(first, self.start)
        at = _until(at, self.start) if at else at
        done = changed(_IDLE, state=PhaseStatus.DONE, attempt=1, holder=holder, at=at)
        return changed(_UNTOUCHED, do=done, order=first)


def _beginning(name: Any) -> str:
    return f"{_NEXT}{_quoted(name)},"


def _settled_lines(steps: Steps, settled: Mapping[str, StepState], start: int) -> str:
    """The lines of all that are settled: those that were read as they are, then the others."""
    found, moved = steps.settled, steps.open
    if isinstance(found, _Lines) and found.start == start:
        text = found.without(moved)
    else:
        left = ((name, step) for name, step in found.items() if name not in moved)
        text = "".join(_line(name, step, start) for name, step in left)
    return text + "".join([_line(name, step, start) for name, step in settled.items()])


def _line(name: str, step: StepState, start: int) -> str:
    done, *rest = _direction_values(step.do)
    attempt, holder, at, *rare = rest
    usual = done is PhaseStatus.DONE and attempt == 1 and not any(rare)
    if usual and _step_values(step)[2:] == _UNDISTURBED:
        at = _since(at, start) if at else at
        return f"{_beginning(name)}{step.order},{_quoted(holder)},{at}"
    return _beginning(name) + _encode(_step_row(step, start))


def _step_row(step: StepState, start: int) -> list[Any]:
    order, do, maybe, undo, *rest = _step_values(step)
    row = [order, _direction_row(do, start), maybe, _direction_row(undo, start), *rest]
    return _trimmed(row, _STEP_DEFAULTS)


def _step(row: list[Any], start: int) -> StepState:
    order, do, maybe, undo, *rest = row + _STEP_DEFAULTS[len(row) :]
    if len(row) > _LINE:
        rest[-2:] = map(tuple, rest[-2:])
    return StepState(_direction(do, start), _direction(undo, start), order, maybe, *rest)


def _direction_row(direction: PhaseState, start: int) -> list[Any] | tuple[()]:
    if direction is _IDLE:
        return ()
    row = list(_direction_values(direction))
    for place in _DIRECTION_TIMES:
        if row[place]:
            row[place] = _since(row[place], start)
    return _trimmed(row, _DIRECTION_DEFAULTS)


def _direction(row: list[Any], start: int) -> PhaseState:
    if not row:
        return _IDLE
    if len(row) > len(DIRECTION_FIELDS):
        raise ValueError(f"a direction of {len(row)} values")
    for place in _DIRECTION_TIMES:
        if place < len(row) and row[place]:
            row[place] = _until(row[place], start)
    if len(row) > _LATE:
        row[_LATE] = tuple(row[_LATE])
    if len(row) > _KEPT:
        row[_KEPT] = tuple(row[_KEPT])
    row[0] = _DIRECTION_STATES[row[0]]
    return changed(_IDLE, **dict(zip(DIRECTION_FIELDS, row, strict=False)))


def _since(time: int, start: int) -> int:
    """Return *time* counted from *start*, where 1 is *start* itself: 0 is left for "never"."""
    return time - start + 1 if time >= start else time - start


def _until(count: int, start: int) -> int:
    """Return the time that `_since` counted."""
    return count + start - 1 if count > 0 else count + start


def _trimmed(row: list[Any], defaults: Sequence[Any], least: int = 0) -> list[Any]:
    """Return *row* without the defaults at its end."""
    end = len(row)
    while end > least and row[end - 1] == defaults[end - 1]:
        end -= 1
    return row[:end]
