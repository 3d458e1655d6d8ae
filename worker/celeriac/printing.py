"""What the command line prints on stdout: runs and histories, in four forms.

Owns: the forms (`table`, `json`, `jsonl`, `ids`), what is in each, colours and columns.  Refuses
to know: where runs come from, and what was asked of them.

The forms for programs are stable: times are ISO 8601 in UTC, to the millisecond, and no payload
is among them, nor the text of an error, which may quote one.  Whatever comes from outside has its
control characters escaped.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from celeriac import wording
from celeriac.observe import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from celeriac.models import Event, Failure, RunState, StepView

Form = Literal["table", "json", "jsonl", "ids"]

_COLOURS = {
    "running": "cyan",
    "completed": "green",
    "compensating": "yellow",
    "compensated": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "compensation_failed": "red",
    "terminated": "magenta",
}
_MOMENTS = ("deadline", "retry")  # what an event's data holds in milliseconds since the epoch


@dataclass(frozen=True)
class Printer:
    """Prints in one form; `saga` is how the command line is called, for advice."""

    form: Form = "table"
    colour: bool = True
    saga: str = "celery -A APP saga"

    # --- looking -------------------------------------------------------------------------------

    def page(self, states: Sequence[RunState], cursor: str | None) -> None:
        """A page of runs, and how to get the next."""
        if self.form == "json":
            self._document({"runs": [run_document(state) for state in states], "cursor": cursor})
            return
        if self.form == "jsonl":
            self._documents(run_document(state) for state in states)
        elif self.form == "ids":
            self._echo(*(clean(state.id) for state in states))
        else:
            self._page(states)
        if cursor:
            click.echo(f"There are more: --cursor {cursor}", err=True)

    def _page(self, states: Sequence[RunState]) -> None:
        if not states:
            click.echo("No run matches.", err=True)
            return
        rows = [
            (
                state.id,
                state.saga,
                state.status.value,
                wording.when(state.started_at),
                wording.whereabouts(state),
            )
            for state in states
        ]
        self._table(("id", "saga", "status", "started", "where it is"), rows)

    def run(self, state: RunState, *, traceback: bool = False) -> None:
        """One run: its steps, and what can be done about it."""
        if self.form != "table":
            self._run(state, {})
            return
        saga = f"{clean(state.saga)} (version {state.version})"
        self._echo(f"{clean(state.id)}: {saga}, {self._coloured(state.status)}")
        self._pairs(wording.facts(state))
        rows = [
            (step.name, step.status.value, wording.attempts(step), wording.trouble(step))
            for step in state.steps
        ]
        self._echo("")
        self._table(("step", "status", "attempts", "what went wrong"), rows)
        if traceback:
            self._tracebacks(state)
        if advice := wording.advice(state, self.saga):
            self._echo("", "What you can do:")
            self._pairs(advice)

    def _tracebacks(self, state: RunState) -> None:
        for step in state.steps:
            found = ((step.name, step.failure), (f"undo of {step.name}", step.undo_failure))
            for what, failure in found:
                if failure and failure.traceback:
                    lines = failure.traceback.splitlines()
                    self._echo("", f"{clean(what)}:", *(f"  {clean(line)}" for line in lines))

    def history(self, run_id: str, events: Sequence[Event]) -> None:
        """Everything that happened to a run, oldest first."""
        if self.form == "json":
            self._document({"id": run_id, "events": [event_document(event) for event in events]})
        elif self.form == "jsonl":
            self._documents(event_document(event) for event in events)
        elif self.form == "ids":
            self._echo(clean(run_id))
        else:
            self._history(events)

    def _history(self, events: Sequence[Event]) -> None:
        rows = [
            (
                wording.iso(wording.moment(event.at)) or "",
                wording.after(event.at - events[0].at),
                wording.attempt(event),
                wording.happening(event),
            )
            for event in events
        ]
        self._table(("time", "after", "step", "what happened"), rows)

    # --- doing ---------------------------------------------------------------------------------

    def deed(self, run_id: str, what: str) -> None:
        """What was done to a run, said to people at once."""
        if self.form == "table":
            self._echo(f"{clean(run_id)}: {clean(what)}")

    def outcome(self, state: RunState, *, changed: bool | None = None) -> None:
        """Where a run stands now; *changed* says whether that is our doing."""
        if self.form == "table":
            owed = f", still owed: {', '.join(map(clean, state.owed))}" if state.owed else ""
            self._echo(f"{clean(state.id)}: {self._coloured(state.status)}{owed}")
        else:
            self._run(state, {} if changed is None else {"changed": changed})

    def swept(self, looked_at: int) -> None:
        """What a sweep did."""
        if self.form == "table":
            self._echo(f"Looked at {looked_at} run{'' if looked_at == 1 else 's'}.")
        else:
            self._documents([{"looked_at": looked_at}])

    # --- how -----------------------------------------------------------------------------------

    def _run(self, state: RunState, more: dict[str, Any]) -> None:
        if self.form == "json":
            self._document({**run_document(state), **more})
        elif self.form == "jsonl":
            self._documents([{**run_document(state), **more}])
        else:
            self._echo(clean(state.id))

    def _document(self, document: Any) -> None:
        self._echo(_json(document, indent=2))

    def _documents(self, documents: Iterable[Any]) -> None:
        self._echo(*(_json(document) for document in documents))

    def _coloured(self, status: str) -> str:
        return click.style(str(status), fg=_COLOURS.get(status))

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        width = max(len(left) for left, _ in pairs)
        self._echo(*(f"  {left:{width}}  {clean(right)}" for left, right in pairs))

    def _table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        cells = [[clean(cell) for cell in row] for row in rows]
        # What goes into a file or a pipe is never folded to the width of a terminal.
        if not (sys.stdout.isatty() and _draw(headings, cells, colour=self.colour)):
            self._echo(*aligned(headings, cells))

    def _echo(self, *lines: str) -> None:
        for line in lines:
            # None: in colours if this is a terminal.
            click.echo(line, color=None if self.colour else False)


# --- forms for programs ------------------------------------------------------------------------


def run_document(state: RunState) -> dict[str, Any]:
    """A run as programs get it: the same from every verb."""
    return {
        "id": state.id,
        "saga": state.saga,
        "version": state.version,
        "status": state.status.value,
        "started_at": wording.iso(state.started_at),
        "changed_at": wording.iso(state.changed_at),
        "ended_at": wording.iso(state.ended_at),
        "deadline": wording.iso(state.deadline),
        "tags": state.tags,
        "why": state.why,
        "reason": state.reason,
        "failed_step": state.failed_step,
        "failure": _failure_document(state.failure),
        "owed": list(state.owed),
        "steps": [_step_document(step) for step in state.steps],
    }


def _step_document(step: StepView) -> dict[str, Any]:
    return {
        "name": step.name,
        "task": step.task,
        "status": step.status.value,
        "attempts": step.attempts,
        "undo_attempts": step.undo_attempts,
        "failure": _failure_document(step.failure),
        "undo_failure": _failure_document(step.undo_failure),
        "blocked": step.blocked,
    }


def _failure_document(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    # Neither message nor traceback: they may quote a payload.
    return {"type": failure.type, "code": failure.code, "effect": failure.effect}


def event_document(event: Event) -> dict[str, Any]:
    """An event as programs get it: all that was recorded."""
    data = {
        name: wording.iso(wording.moment(value)) if name in _MOMENTS else value
        for name, value in event.data.items()
    }
    return {
        "at": wording.iso(wording.moment(event.at)),
        "event": event.kind.value,
        "step": event.step or None,
        "phase": event.phase if event.step else None,
        "attempt": event.attempt or None,
        "data": data,
    }


def _json(document: Any, indent: int | None = None) -> str:
    # All but ASCII is escaped, and with it everything that a terminal would obey.
    return json.dumps(document, indent=indent).replace("\x7f", "\\u007f")


# --- tables ------------------------------------------------------------------------------------


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as plain lines, its columns aligned."""
    table = [[heading.upper() for heading in headings], *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    return [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _draw(headings: Sequence[str], rows: Sequence[Sequence[str]], *, colour: bool) -> bool:
    """Draw a table on this terminal; False if rich, an extra, is not installed."""
    try:
        from rich.console import Console  # noqa: PLC0415 -- slow to load, and an extra
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return False
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, _COLOURS.get(cell, "")) for cell in row))
    Console(color_system="auto" if colour else None, highlight=False).print(table)
    return True
