"""The page of states, drawn from the tables of legal moves; `make docs` writes it.

Owns: how a table becomes a diagram.  Refuses to know: which moves are legal, and why; a test
compares the committed page with what is made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from celeriac.machine.runs import AT_REST, PhaseState, PhaseStatus, StepState
from celeriac.machine.tables import DO_MOVES, RUN_MOVES, SCHEDULING, UNDO_MOVES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celeriac.machine.events import EventKind
    from celeriac.machine.plans import Phase

PAGE = Path(__file__).resolve().parent / "states.md"

TEXT = """\
<!-- Drawn from worker/celeriac/machine/tables.py by `make docs`: change it there. -->
# States

Everything that can happen to a run is one of the moves below, and nothing else can: they are the
tables of `worker/celeriac/machine/tables.py`, and an event that is not in them is a bug, not an
answer.  A word on an arrow is an event in the run's history, with how it went in brackets.

## A run

Bold: at rest.  Nothing happens to the run any more unless somebody asks for it, or an attempt
that was given up reports after all.  Events that leave the status as it is are not drawn.

```mermaid
{run}
```

## A step, forward

Each step has two lanes, one for its attempts to do it and one for its attempts to undo it.  What
makes a lane leave `idle` is no event of its own: its turn comes when another event has done what
it waits for.

```mermaid
{do}
```

## A step, backward

Its turn may be taken from it: when the effect of a step that is undone before it comes back.

```mermaid
{undo}
```

## What people are shown

A run that an operator holds goes on standing where it stands, and is shown as `paused`.

A step has one status, made of both lanes: that of the undo, unless that is idle.

| lane | forward | backward |
|---|---|---|
{shown}
"""

Arrow = tuple[str, str, str]  # from, to, what happened


def states_page() -> str:
    """The whole page."""
    return TEXT.format(
        run=_diagram(_run_arrows(), bold=sorted(AT_REST)),
        do=_diagram(_lane_arrows("do", DO_MOVES)),
        undo=_diagram(_lane_arrows("undo", UNDO_MOVES)),
        shown="\n".join(_shown(state) for state in PhaseStatus),
    )


def _run_arrows() -> Iterable[Arrow]:
    for (before, event), targets in RUN_MOVES.items():
        for after in targets:
            if after is not before:
                yield before or "[*]", after, _words(event)


def _lane_arrows(
    phase: Phase,
    table: Mapping[tuple[PhaseStatus, EventKind, str], PhaseStatus],
) -> Iterable[Arrow]:
    yield "[*]", PhaseStatus.IDLE, ""
    for (direction, before, whose_turn), after in SCHEDULING.items():
        if direction == phase:
            yield before, after, whose_turn
    for (before, event, how), after in table.items():
        yield before, after, f"{_words(event)} ({how})" if how else _words(event)


def _words(event: EventKind) -> str:
    return event.value.replace("_", " ")


def _diagram(arrows: Iterable[Arrow], bold: Iterable[str] = ()) -> str:
    labels: dict[tuple[str, str], list[str]] = {}
    for before, after, label in arrows:
        labels.setdefault((before, after), []).append(label)
    lines = ["stateDiagram-v2"]
    for (before, after), told in labels.items():
        # Between two states one arrow, with all that leads along it.
        text = "<br>".join(filter(None, told))
        lines.append(f"    {before} --> {after}" + (f": {text}" if text else ""))
    if names := list(bold):
        lines += ["    classDef rest font-weight:bold", f"    class {','.join(names)} rest"]
    return "\n".join(lines)


def _shown(state: PhaseStatus) -> str:
    reached = {
        "do": state is PhaseStatus.IDLE or state in DO_MOVES.values(),
        "undo": state in UNDO_MOVES.values() and state is not PhaseStatus.IDLE,
    }
    forward = StepState(do=PhaseState(state)).status if reached["do"] else ""
    done = PhaseState(PhaseStatus.DONE)
    backward = StepState(do=done, undo=PhaseState(state)).status if reached["undo"] else ""
    return f"| {state} | {_code(forward)} | {_code(backward)} |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
