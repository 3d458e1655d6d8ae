"""What the verbs of commands for many runs print: how far each has got, and what became of runs.

Owns: what is in each form.  Refuses to know: what was asked (`bulks`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from celeriac.observing import clean
from celeriac.terminal.printing import Printer
from celeriac.views import times

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from celeriac.views import BulkState, BulkTurn

_STANDS = {
    "looked": "not confirmed",
    "going": "going on",
    "stopped": "stopped",
    "done": "done",
}


class BulkPrinter(Printer):
    """Prints commands for many runs in one form."""

    def bulks(self, states: Sequence[BulkState]) -> None:
        """Those that were looked at last."""
        if self.form == "ids":
            self._echo(*(clean(state.id) for state in states))
        elif self.form == "json":
            self._document({"bulks": [state.model_dump(mode="json") for state in states]})
        elif self.form == "jsonl":
            self._documents(state.model_dump(mode="json") for state in states)
        else:
            rows = [
                (
                    *(each.id, each.verb, each.about, _STANDS[each.state], _turns(each)),
                    *(each.begun_by or each.looked_by, times.when(each.looked_at)),
                )
                for each in states
            ]
            headings = ("bulk", "verb", "for", "stands", "had their turn", "by", "looked")
            self._table(headings, rows)

    def looked(self, state: BulkState) -> None:
        """What a look has found, and how it is begun."""
        if self.form == "ids":
            self._echo(clean(state.id))
        elif self.form != "table":
            self._document(state.model_dump(mode="json"))
        else:
            self._facts(state)
            if state.matched:
                begin = f"{self.saga} bulk start {state.id} --expected {state.matched}"
                self._echo("", "Nothing has been done yet.", f"  {begin}")

    def bulk(self, state: BulkState, turns: Sequence[BulkTurn], cursor: int | None) -> None:
        """One of them, and some of its runs."""
        if self.form == "ids":
            self._echo(*(clean(turn.run_id) for turn in turns))
        elif self.form != "table":
            runs = [turn.model_dump(mode="json") for turn in turns]
            self._document({**state.model_dump(mode="json"), "runs": runs, "cursor": cursor})
        else:
            self._facts(state)
            self._echo("")
            rows = [(each.run_id, each.outcome or "not yet", each.why) for each in turns]
            self._table(("run", "outcome", "why"), rows)
        if cursor is not None:
            click.echo(f"There are more: --cursor {cursor}", err=True)

    def _facts(self, state: BulkState) -> None:
        runs = "run" if state.matched == 1 else "runs"
        self._echo(f"{clean(state.id)}: {state.verb} {state.matched} {runs}, {clean(state.about)}")
        asks = f"{state.left_alone} that ask what became of a step" if state.left_alone else ""
        counts = {
            "changed": state.changed,
            "nothing to change": state.unchanged,
            "left as they are": state.refused,
            "removed meanwhile": state.gone,
        }
        facts = {
            "stands": _STANDS[state.state],
            "had their turn": _turns(state),
            **{name: str(count) for name, count in counts.items() if count},
            "left out": asks,
            "pace": f"{state.rps:g} a second",
            "reason": state.reason,
            "looked": _by(state.looked_at, state.looked_by),
            "begun": _by(state.begun_at, state.begun_by),
            "ended": _by(state.ended_at, state.stopped_by),
        }
        self._pairs([(name, clean(text)) for name, text in facts.items() if text])
        found = [(each.saga, each.status, str(each.runs)) for each in state.kinds]
        if found:
            self._echo("")
            self._table(("saga", "status at the look", "runs"), found)


def _turns(state: BulkState) -> str:
    return f"{state.matched - state.left} of {state.matched}"


def _by(at: datetime | None, by: str) -> str:
    return times.when(at) + (f", by {by}" if at and by else "")
