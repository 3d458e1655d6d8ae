"""The page of states, drawn from the tables of legal moves; `make docs` writes it.

Owns: how a table becomes a diagram.  Refuses to know: which moves are legal, and why; a test
compares the committed page with what is made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from celeriac.machine.runs import AT_REST
from celeriac.machine.steps import PhaseState, PhaseStatus, StepState
from celeriac.machine.tables import DO_MOVES, RUN_MOVES, SCHEDULING, UNDO_MOVES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celeriac.machine.events import EventKind
    from celeriac.machine.plans import Phase

PAGE = Path(__file__).resolve().parent / "states.md"

TEXT = """\
<!-- Drawn from worker/celeriac/machine/tables.py by `make docs`: change it there. -->
# States

The moves below are all that can happen to a run.  They are the tables of
`worker/celeriac/machine/tables.py`; any other event raises IllegalMove, which is a bug.  A word on
an arrow is an event in the run's history, with how it went in brackets.

## A run

Bold: at rest.  Nothing more happens to such a run, unless an operator acts or an attempt that was
given up reports late.  Events that do not change the status are not drawn.

```mermaid
{run}
```

## A step, forward

Each step has two phases: forward (`do`) and backward (`undo`, its compensation).  No event of its
own takes a phase out of `idle`: its turn comes when an event of another step made it ready.

```mermaid
{do}
```

## A step, backward

A compensation can lose its turn: when a late effect appears in a step that must be undone first.

```mermaid
{undo}
```

## What people are shown

A run that an operator has paused keeps its status, and is shown as `paused`.

A step is shown with one status: that of its compensation, unless that is idle.

| phase | forward | backward |
|---|---|---|
{shown}
"""

Arrow = tuple[str, str, str]  # from, to, what happened


def states_page() -> str:
    """The whole page."""
    return TEXT.format(
        run=_diagram(_run_arrows(), bold=sorted(AT_REST)),
        do=_diagram(_direction_arrows("do", DO_MOVES)),
        undo=_diagram(_direction_arrows("undo", UNDO_MOVES)),
        shown="\n".join(_shown(state) for state in PhaseStatus),
    )


def _run_arrows() -> Iterable[Arrow]:
    for (before, event), targets in RUN_MOVES.items():
        for after in targets:
            if after is not before:
                yield before or "[*]", after, _words(event)


def _direction_arrows(
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
