"""What the verbs of schedules print: how they stand, and what happened to their ticks.

Owns: what is in each form.  Refuses to know: what was asked of a schedule (`schedules`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.observing import clean
from celeriac.terminal.printing import Printer
from celeriac.views import tick_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.views import ScheduleEvent, ScheduleState

_SHOWN = 20  # events of one schedule


class SchedulePrinter(Printer):
    """Prints schedules in one form."""

    def schedules(self, states: Sequence[ScheduleState]) -> None:
        """All schedules, by name."""
        if self.form == "ids":
            self._echo(*(clean(state.name) for state in states))
        elif self.form == "json":
            self._document({"schedules": [state.model_dump(mode="json") for state in states]})
        elif self.form == "jsonl":
            self._documents(state.model_dump(mode="json") for state in states)
        else:
            rows = [
                (each.name, each.saga, each.every, each.timezone, _status(each), _next(each))
                for each in states
            ]
            self._table(("schedule", "saga", "every", "timezone", "status", "next"), rows)

    def schedule(self, state: ScheduleState, events: Sequence[ScheduleEvent]) -> None:
        """One schedule, and what happened to it."""
        if self.form == "ids":
            self._echo(clean(state.name))
        elif self.form != "table":
            told = [event.model_dump(mode="json") for event in events]
            self._document({**state.model_dump(mode="json"), "history": told})
        else:
            self._echo(f"{clean(state.name)}: {clean(state.saga)}, {_status(state)}")
            coming = ", ".join(tick_time(at) for at in state.next)
            facts = {
                "every": f"{state.every} ({state.timezone})",
                "overlap": state.overlap,
                "catch up": f"{state.catch_up:g} s",
                "next": coming,
                "last tick": tick_time(state.last) if state.last else "",
                "runs": ", ".join(state.runs),
                "waiting": state.waiting or "",
            }
            self._pairs([(name, value) for name, value in facts.items() if value])
            self._echo("")
            rows = [(tick_time(each.at), each.text) for each in events[-_SHOWN:]]
            self._table(("at", "what happened"), rows)

    def triggered(self, run_id: str) -> None:
        """The run that was started by hand."""
        if self.form == "ids":
            self._echo(clean(run_id))
        elif self.form != "table":
            self._document({"id": run_id})
        else:
            self.deed(run_id, "accepted")


def _status(state: ScheduleState) -> str:
    reason = f" ({state.reason})" if state.reason else ""
    here = "" if state.defined else ", not in the code here"
    return f"{state.status}{clean(reason)}{here}"


def _next(state: ScheduleState) -> str:
    return tick_time(state.next[0]) if state.next else ""
