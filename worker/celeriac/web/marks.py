"""What stands in every line of a list: a status, a mark a step, a time; lines, and a grid of them.

Owns: their HTML.  Refuses to know: colours and sizes (`static/style.css`), and which runs they are.
Every name is escaped where it is put in.

A page of 200 runs has some thousand of them: put together here they cost a quarter of what macros
of a template do.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from markupsafe import Markup, escape

from celeriac.machine import RunStatus, StepStatus, instance_of
from celeriac.observing import clean
from celeriac.views import times, wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from celeriac.views import NextAttempt, RunState, StepView

_EXACT = 10.0  # seconds; what is shorter is told with tenths
_SHORT = 60  # characters of a value in a list
_CLAMPED = 40  # characters of an id that are surely to be seen
_MARKS = 40  # steps that have one
_COLUMNS = 60  # steps that have one, in the grid of a saga
_ROW = 12  # of them, that surely stand in one row
_DONE = frozenset({StepStatus.COMPLETED, StepStatus.CONFIRMED})

#: Each status has a shape beside its colour: a page must be readable without either.
SHAPES: dict[str, str] = {
    RunStatus.RUNNING: "▶",
    RunStatus.WAITING: "…",
    RunStatus.PAUSED: "‖",
    RunStatus.COMPENSATING: "↶",
    RunStatus.COMPLETED: "✓",
    RunStatus.COMPENSATED: "⟲",
    RunStatus.FAILED: "!",
    RunStatus.TERMINATED: "■",
}
TONES: dict[str, str] = {
    StepStatus.COMPLETED: "good",
    StepStatus.RUNNING: "busy",
    StepStatus.SCHEDULED: "busy",
    StepStatus.RETRYING: "unsure",
    StepStatus.UNKNOWN: "unsure",
    StepStatus.FAILED: "bad",
    StepStatus.COMPENSATION_FAILED: "bad",
    StepStatus.CONFIRMING: "busy",
    StepStatus.CONFIRMED: "good",
    StepStatus.CONFIRM_FAILED: "bad",
    StepStatus.COMPENSATING: "back",
    StepStatus.COMPENSATED: "undone",
    StepStatus.WAIVED: "undone",
    StepStatus.WAITING: "waits",
    StepStatus.SKIPPED: "none",
    StepStatus.PENDING: "none",
}


def _made(html: str) -> Markup:
    return Markup(html)  # noqa: S704 -- names are escaped where they are put in


def ago(time: datetime | None) -> str:
    """How long ago a time was; nothing of none."""
    return f"{times.age(time)} ago" if time else ""


def short(value: Any) -> str:
    """A value in a few characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def lasted(seconds: float) -> str:
    """How long something took, exactly if it was short."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    return f"{seconds:.1f} s" if seconds < _EXACT else times.span(seconds)


def took(state: Any) -> str:
    """How long a run took; nothing of one that goes on: since when it does stands beside it."""
    return lasted((state.ended_at - state.started_at).total_seconds()) if state.ended_at else ""


@lru_cache(maxsize=32)
def chip(status: RunStatus) -> Markup:
    """A status of a run."""
    shape = SHAPES.get(status, "•")
    return _made(
        f'<span class="chip {status.value}"><span aria-hidden="true">{shape}</span> '
        f"{status.value}</span>"
    )


def progress(state: RunState) -> Markup:
    """A mark a step; a map is one, however many of its elements are named."""
    steps = _whole_steps(state)
    done = sum(step.status in _DONE for step in steps)
    first = _first_mark(steps) if len(steps) > _MARKS else 0
    many = " many" if len(steps) > _ROW else ""
    marks = "".join([_mark(step.name, step.status) for step in steps[first : first + _MARKS]])
    left = len(steps) - first - _MARKS
    before = f"<b>{first}+</b>" if first else ""
    more = f"<b>+{left}</b>" if left > 0 else ""
    told = f"{done} of {len(steps)} steps completed"
    return _made(
        f'<span class="progress{many}" role="img" aria-label="{told}">{before}{marks}{more}</span>'
    )


class Column(NamedTuple):
    """A step of the newest runs of a saga, and in how many of them it failed."""

    name: str
    failed: int


class Grid(NamedTuple):
    """Runs by steps: a column a step, and for each run a mark in each column."""

    columns: list[Column]
    rows: list[tuple[RunState, Markup]]
    more: int  # columns that are left out


def grid(states: Sequence[RunState], plan: str) -> Grid:
    """Lay runs out by their steps: first those of the *plan* that is in use, then older ones."""
    several = sorted(states, key=lambda state: state.plan != plan)
    steps = {state.id: _whole_steps(state) for state in states}
    names = list(dict.fromkeys(step.name for state in several for step in steps[state.id]))
    failed = Counter(
        step.name
        for state in states
        for step in steps[state.id]
        if TONES.get(step.status) == "bad" or step.name == state.failed_step
    )
    shown = names[:_COLUMNS]
    rows = []
    for state in states:
        own = {step.name: step.status for step in steps[state.id]}
        marks = "".join([_cell(name, own.get(name)) for name in shown])
        rows.append((state, _made(marks)))
    return Grid([Column(name, failed[name]) for name in shown], rows, len(names) - len(shown))


@lru_cache(maxsize=4096)
def _cell(name: str, status: StepStatus | None) -> str:
    if status is None:
        return "<td></td>"  # a run of another plan, which has no such step
    told = escape(f"{clean(name)}: {status.value.replace('_', ' ')}")
    tone = TONES.get(status, "none")
    return f'<td><i class="dot {tone}" role="img" aria-label="{told}" title="{told}"></i></td>'


def _whole_steps(state: RunState) -> Sequence[StepView]:
    """The steps of a run; a map is one, however many of its elements are named."""
    maps = {step.name for step in state.steps if step.elements is not None}
    return (
        [step for step in state.steps if not _is_element(step.name, maps)] if maps else state.steps
    )


def _is_element(name: str, maps: set[str]) -> bool:
    found = instance_of(name)
    return found is not None and found.map in maps


def _first_mark(steps: Sequence[StepView]) -> int:
    """Of many steps: which comes first, so that where the run is can be seen."""
    at = next((n for n, step in enumerate(steps) if step.status not in _DONE), 0)
    return max(0, min(at - _MARKS // 2, len(steps) - _MARKS))


@lru_cache(maxsize=4096)
def _mark(name: str, status: StepStatus) -> str:
    told = f"{clean(name)}: {status.value.replace('_', ' ')}"
    return f'<i class="{TONES.get(status, "none")}" title="{escape(told)}"></i>'


def moment(time: datetime | None) -> Markup:
    """A time: how long ago it was, with the exact one."""
    if time is None:
        return _made("")
    exact = times.iso(time)
    return _made(f'<time datetime="{exact}" title="{exact}">{ago(time)}</time>')


def coming(attempt: NextAttempt) -> Markup:
    """The attempt that comes next, with the exact time."""
    exact = times.iso(attempt.at)
    return _made(f'<time datetime="{exact}" title="{exact}">{escape(str(attempt))}</time>')


def until(time: datetime) -> Markup:
    """How long somebody still has for something, with the exact time."""
    left, exact = times.left(time), times.iso(time)
    told = f"{left} left" if left else f"{times.age(time)} late"
    return _made(f'<time datetime="{exact}" title="{exact}">{told}</time>')


def run_rows(states: Iterable[RunState], root: str, *, picks: bool) -> Markup:
    """A line a run, for the list of runs; *root* is where we are mounted."""
    base = escape(root)
    return _made("\n".join([_row(state, base, picks=picks) for state in states]))


def _row(state: RunState, root: str, *, picks: bool) -> str:
    run_id = escape(clean(state.id))
    value = escape(state.id)
    pick = (
        f'<td class="picking"><input type="checkbox" name="run" form="many" value="{value}" '
        f'aria-label="pick {run_id}"></td>'
        if picks
        else ""
    )
    title = f' title="{run_id}"' if len(run_id) > _CLAMPED else ""
    tags = "".join(
        f' <span class="tag">{escape(clean(key))}={escape(clean(value))}</span>'
        for key, value in state.tags.items()
    )
    due = "" if state.status.at_rest else deadline(state.deadline)
    exact = "&#10;".join(escape(clean(each)) for each in wording.exact_times(state).splitlines())
    times_told = f' title="{exact}"' if exact else ""
    return (
        f"<tr>{pick}<td>{chip(state.status)}</td>"
        f'<th scope="row"><a class="id clamp"{title} href="{root}/runs/{quote(state.id, safe="")}">'
        f"<bdi>{run_id}</bdi></a>{tags}</th>"
        f"<td>{escape(clean(state.saga))}</td><td>{progress(state)}</td>"
        f"<td{times_told}>{escape(clean(wording.whereabouts(state)))}</td>"
        f"<td>{moment(state.started_at)}</td><td>{took(state)}</td><td>{due}</td></tr>"
    )


def deadline(time: datetime | None) -> Markup:
    """In how long a deadline is, or since when it is over."""
    if time is None:
        return _made("")
    left, exact = times.left(time), times.iso(time)
    told = f"in {left}" if left else f"{times.age(time)} ago"
    late = "" if left else ' class="late"'
    return _made(f'<time{late} datetime="{exact}" title="{exact}">{told}</time>')
