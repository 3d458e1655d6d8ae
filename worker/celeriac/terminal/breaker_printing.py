"""What the verbs of gates print: their numbers, how breakers stand, who is inside and who waits.

Owns: what is in each form.  Refuses to know: what was asked (`breakers`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.observing import clean
from celeriac.terminal.printing import Printer
from celeriac.views import times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.views import AtGate, GateDetails, GateState


class BreakerPrinter(Printer):
    """Prints gates in one form."""

    def gates(self, states: Sequence[GateState]) -> None:
        """All gates, by name."""
        if self.form == "ids":
            self._echo(*(clean(state.name) for state in states))
        elif self.form == "json":
            self._document({"gates": [state.model_dump(mode="json") for state in states]})
        elif self.form == "jsonl":
            self._documents(state.model_dump(mode="json") for state in states)
        else:
            rows = [
                (each.name, each.kind, _lets(each), _state(each), *map(str, _counts(each)))
                for each in states
            ]
            self._table(("gate", "kind", "lets through", "state", "inside", "waiting"), rows)

    def gate(self, state: GateDetails) -> None:
        """One gate, and who is there."""
        if self.form == "ids":
            self._echo(*(clean(each.run) for each in (*state.holders, *state.line)))
        elif self.form != "table":
            self._document(state.model_dump(mode="json"))
        else:
            self._echo(f"{clean(state.name)}: {state.kind}, {_lets(state)}")
            facts = {
                "state": _state(state),
                "since": times.iso(state.since) if state.since else "",
                "tries again": times.iso(state.until) if state.until else "",
                "inside": str(state.inside),
                "waiting": str(state.waiting),
            }
            self._pairs([(name, value) for name, value in facts.items() if value])
            self._echo("")
            rows = [(*_who(each), "inside") for each in state.holders]
            rows += [(*_who(each), f"waits since {times.iso(each.since)}") for each in state.line]
            self._table(("run", "step", ""), rows)


def _who(each: AtGate) -> tuple[str, str]:
    undo = "undo of " if each.phase == "undo" else ""
    return each.run, f"{undo}{each.step}" if each.step else "the whole run"


def _counts(state: GateState) -> tuple[int, int]:
    return state.inside, state.waiting


def _lets(state: GateState) -> str:
    if state.kind == "breaker":
        return f"until {state.most} failures in {state.per:g} s"
    return f"{state.most} at a time" if state.per is None else f"{state.most} in {state.per:g} s"


def _state(state: GateState) -> str:
    by = f" (by {state.by})" if state.by else ""
    return (state.state or "").replace("_", " ") + by
