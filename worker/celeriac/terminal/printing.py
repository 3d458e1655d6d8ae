"""What the command line prints on stdout: runs and histories, in four forms.

Owns: the forms (`table`, `json`, `jsonl`, `ids`), what is in each, colours and columns.  Refuses
to know: where runs come from, and what was asked of them.

The forms for programs are stable: times are ISO 8601 in UTC, to the millisecond, and no payload
is among them, nor the text of an error, which may quote one.  Whatever comes from outside has its
control characters escaped.

The file is long because it has a method for each thing that is printed.
"""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from celeriac.doctor import finding_document
from celeriac.engine import FAULTS
from celeriac.observing import clean
from celeriac.terminal.screen import COLOURS, Live, aligned, draw_table, fitted, lined, live
from celeriac.views import (
    NOTHING_SAID,
    draw,
    event_document,
    history_lines,
    of_step,
    run_document,
    stats_document,
    times,
    tree,
    wording,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from celeriac.app import Hindrance
    from celeriac.doctor import Report
    from celeriac.engine import Repaired
    from celeriac.machine import Event, RunStatus
    from celeriac.views import (
        BulkOutcome,
        Drawing,
        Graph,
        Look,
        RunState,
        Stats,
        UndoPlan,
    )

Form = Literal["table", "json", "jsonl", "ids"]


@dataclass(frozen=True)
class Printer:
    """Prints in one form; `saga` is how the command line is called, for advice."""

    form: Form = "table"
    colour: bool = True
    saga: str = "celery -A APP saga"

    @property
    def tells_failures(self) -> bool:
        """Whether a page of runs says how their steps failed."""
        return self.form != "ids"

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
            self._page(states, more=cursor is not None)
        if cursor:
            click.echo(f"There are more: --cursor {cursor}", err=True)

    def _page(self, states: Sequence[RunState], *, more: bool) -> None:
        if not states:
            click.echo("No run matches so far." if more else "No run matches.", err=True)
            return
        on_terminal = sys.stdout.isatty()
        rows = [
            [
                clean(state.id),
                clean(state.saga),
                state.status.value,
                times.age(state.started_at) if on_terminal else times.when(state.started_at),
                clean(wording.whereabouts(state)),
            ]
            for state in states
        ]
        if not on_terminal:
            self._echo(*aligned(("id", "saga", "status", "started", "why"), rows))
            return
        # A run is a line, and the last words of it matter most: the saga gives way first.
        headings = ("id", "saga", "status", "age", "why")
        rows = fitted(headings, rows, shutil.get_terminal_size().columns, giving=(1, 4))
        self._echo(*lined(headings, rows))

    def run(
        self, state: RunState, hindrances: Sequence[Hindrance] = (), *, traceback: bool = False
    ) -> None:
        """One run: its steps, what stands in its way, and what can be done about it."""
        if self.form != "table":
            told = [each.text for each in hindrances]
            self._run(state, {"hindrances": told} if told else {})
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
        if hindrances:
            self._echo("", "What it waits for:", *(f"  {clean(each.text)}" for each in hindrances))
        celery = self.saga.removesuffix(" saga")
        helps = {f"{celery} {each.command}": each.does for each in hindrances if each.command}
        if advice := [*helps.items(), *wording.advice(state, self.saga)]:
            self._echo("", "What you can do:")
            self._pairs(advice)

    def _tracebacks(self, state: RunState) -> None:
        for step in state.steps:
            found = (
                (step.name, step.failure),
                (f"confirm of {step.name}", step.confirm_failure),
                (f"undo of {step.name}", step.undo_failure),
            )
            for what, failure in found:
                if failure and failure.traceback:
                    lines = failure.traceback.splitlines()
                    self._echo("", f"{clean(what)}:", *(f"  {clean(line)}" for line in lines))

    def history(self, run_id: str, events: Sequence[Event], step: str = "") -> None:
        """Everything that happened to a run, or to one *step*, oldest first."""
        chosen = list(of_step(events, step)) if step else events
        if self.form == "json":
            self._document({"id": run_id, "events": [event_document(event) for event in chosen]})
        elif self.form == "jsonl":
            self._documents(event_document(event) for event in chosen)
        elif self.form == "ids":
            self._echo(clean(run_id))
        else:
            lines = history_lines(chosen, fold=not step)
            began = events[0].at
            rows = [(times.exact(h.at), times.after(h.at - began), h.who, h.what) for h in lines]
            colours = [COLOURS["failed"] if line.wrong else "" for line in lines]
            self._table(("time", "after", "step", "what happened"), rows, colours)

    def stats(self, stats: Stats) -> None:
        """How the runs stand as a whole."""
        if self.form != "table":
            document = stats_document(stats)
            self._document(document) if self.form == "json" else self._documents([document])
            return
        if stats.sagas:
            self._table(*wording.stats_table(stats))
            self._echo("")
        self._pairs(wording.stats_facts(stats))
        if stats.queues:
            self._echo("")
            self._table(*wording.stats_queues(stats))

    def document(self, document: Any) -> None:
        """A document for programs, on one line or on many."""
        self._echo(_json(document, indent=2 if self.form == "json" else None))

    def graph(self, graph: Graph, drawing: Drawing) -> None:
        """A run or a saga as a picture."""
        width = shutil.get_terminal_size((100, 24)).columns
        self._echo(draw(graph, drawing, width))

    def undo_plan(self, plan: UndoPlan) -> None:
        """What would be undone of a run, and what would stay."""
        if self.form == "json":
            self._echo(_json(plan.model_dump(mode="json"), indent=2))
            return
        self._echo(f"{clean(plan.id)}: {self._coloured(plan.status)}")
        if plan.refused:
            self._echo(f"Nothing can be undone: {clean(plan.refused)}")
        elif not plan.steps:
            self._echo("There is nothing to undo.")
        for number, step in enumerate(plan.undone, start=1):
            what = f"the run {step.child}" if step.child else step.task or ""
            sure = "" if step.certain else " (if it takes or took effect: that is not known yet)"
            self._echo(f"{number:3}. {clean(step.step)}: {clean(what)}{sure}")
            if step.covers:
                self._echo(f"       undoes {', '.join(map(clean, step.covers))}")
            for name, value in step.inputs.items():
                self._echo(f"       {clean(name)} = {_json(value)}")
        for step in plan.staying:
            self._echo(f"  -  {clean(step.step)} stays: {clean(step.stays or '')}")

    def watch(
        self, looks: Iterable[Look], history: Callable[[], Sequence[Event]]
    ) -> RunStatus | None:
        """A run while it goes on; return the status it came to rest in, None if it did not."""
        if sys.stdout.isatty() and (display := live(colour=self.colour)):
            return _last_status(looks, lambda look: display.update(tree(*look)), display)
        told, said = 0, NOTHING_SAID

        def tell(look: Look) -> None:
            nonlocal told, said
            events = history()
            for line in history_lines(events, told):
                self._echo(clean(f"{times.exact(line.at)}  {line.text}"))
            told = len(events)
            for name, each in look.progress.items() - said.items():
                self._echo(clean(f"{name}  {each}"))
            said = look.progress

        return _last_status(looks, tell)

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

    def tally(self, verb: str, tally: BulkOutcome) -> None:
        """What a command did to many runs."""
        if self.form == "json":
            self._document(tally_document(verb, tally))
        elif self.form == "jsonl":
            self._documents([tally_document(verb, tally)])
        elif self.form == "ids":
            self._echo(*map(clean, tally.changed))
        else:
            self._echo(wording.tallied(verb, tally))
        for line in wording.refusals(tally):
            click.echo(clean(line), err=True)

    def would(
        self, verb: str, run_ids: Sequence[str], kinds: Sequence[tuple[str, str, int]]
    ) -> None:
        """Which runs a command is about, without doing it."""
        if self.form == "ids":
            self._echo(*map(clean, run_ids))
        elif self.form == "table":
            self._echo(*(f"{count:>8}  {clean(saga)} {status}" for saga, status, count in kinds))
            self._echo(f"Would {verb} {_runs(len(run_ids))}; nothing was changed.")
        else:
            self._document({"command": verb, "would": list(run_ids)})

    def to_purge(self, run_ids: Iterable[str]) -> None:
        """Which runs a purge would remove, or how many."""
        if self.form == "ids":
            self._echo(*(clean(run_id) for run_id in run_ids))
            return
        count = sum(1 for _ in run_ids)
        if self.form == "table":
            self._echo(f"Would remove {_runs(count)}.")
        else:
            self._documents([{"would_remove": count}])

    def purged(self, removed: int) -> None:
        """What a purge did."""
        if self.form == "table":
            self._echo(f"Removed {_runs(removed)}.")
        elif self.form != "ids":
            self._documents([{"removed": removed}])

    def repaired(self, done: Repaired) -> None:
        """What a repair found, and whether it mended it."""
        rows = [fault._asdict() | {"meaning": FAULTS[fault.what]} for fault in done.faults]
        if self.form == "json":
            self._document({"looked_at": done.looked_at, "faults": rows})
        elif self.form == "jsonl":
            self._documents(rows)
        else:
            for row in rows:
                state = "mended" if row["mended"] else "not mended"
                self._echo(f"{clean(row['run_id'])}: {row['what']} ({state}): {row['meaning']}")
            count = len(done.faults)
            found = (
                f"{count} {'fault' if count == 1 else 'faults'}" if count else "all fits together"
            )
            self._echo(f"Looked at {_runs(done.looked_at)}: {found}.")

    def swept(self, looked_at: int) -> None:
        """What a sweep did."""
        if self.form == "table":
            self._echo(f"Looked at {looked_at} run{'' if looked_at == 1 else 's'}.")
        else:
            self._documents([{"looked_at": looked_at}])

    def report(self, report: Report, *, verbose: bool = False) -> None:
        """What the doctor found, the worst first; *verbose* shows also what is well."""
        documents = [finding_document(finding) for finding in report.findings]
        if self.form == "json":
            self._document({"summary": report.summary, "findings": documents})
        elif self.form == "jsonl":
            self._documents(documents)
        else:
            self._report(report, verbose=verbose)

    def _report(self, report: Report, *, verbose: bool) -> None:
        shown = report.shown(verbose=verbose)
        width = max((len(each.check) for each in shown), default=0)
        for each in shown:
            severity = click.style(f"{each.severity:9}", fg=COLOURS.get(each.severity))
            self._echo(f"{severity}  {each.check:{width}}  {clean(each.text)}")
            if each.advice:
                self._echo(f"{'':9}  {'':{width}}  → {clean(each.advice)}")
        self._echo(f"{report.summary}.")

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
        return click.style(str(status), fg=COLOURS.get(status))

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        width = max(len(left) for left, _ in pairs)
        self._echo(*(f"  {left:{width}}  {clean(right)}" for left, right in pairs))

    def _table(
        self, headings: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str] = ()
    ) -> None:
        cells = [[clean(cell) for cell in row] for row in rows]
        # What goes into a file or a pipe is never folded to the width of a terminal.
        if not sys.stdout.isatty():
            self._echo(*aligned(headings, cells))
        elif not draw_table(headings, cells, colours, colour=self.colour):
            self._echo(*lined(headings, cells, colours))

    def _echo(self, *lines: str) -> None:
        for line in lines:
            # None: in colours if this is a terminal.
            click.echo(line, color=None if self.colour else False)


def _last_status(
    looks: Iterable[Look],
    tell: Callable[[Look], None],
    live: Live | None = None,
) -> RunStatus | None:
    status = None
    with live or nullcontext():
        for look in looks:
            tell(look)
            status = look[1].status
    return status if status and status.at_rest else None


# --- forms for programs ------------------------------------------------------------------------


def tally_document(verb: str, tally: BulkOutcome) -> dict[str, Any]:
    """What a command did to many runs, as programs get it."""
    return {
        "command": verb,
        "matched": tally.matched,
        "changed": tally.changed,
        "unchanged": tally.unchanged,
        "refused": tally.refused,
        "gone": tally.gone,
        "left": tally.left,
    }


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def _json(document: Any, indent: int | None = None) -> str:
    # All but ASCII is escaped, and with it everything that a terminal would obey.
    return json.dumps(document, indent=indent).replace("\x7f", "\\u007f")
