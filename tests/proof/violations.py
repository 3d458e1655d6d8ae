"""How a violation is told: what matters of the history and of the ledger, on one timeline.

Owns: choosing the events and rows that a finding is about, and one line for each.  Refuses to
know: what is a violation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from celeriac.machine.events import EventKind
from celeriac.observing.sentences import details
from tests.proof.records import step_of

if TYPE_CHECKING:
    from celeriac.machine.events import Event
    from tests.proof.findings import Finding
    from tests.proof.records import Record
    from tests.workers.ledger import Row

# What happens to a run as a whole: the places that a story about a step needs to be understood.
_LANDMARKS = (
    EventKind.STARTED,
    EventKind.COMPENSATION_STARTED,
    EventKind.TERMINATED,
    EventKind.FINISHED,
)


class Violation(NamedTuple):
    """A law that a run has broken, and how it came to that."""

    run_id: str
    law: str
    what: str
    story: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.law} · run {self.run_id or '(none)'}: {self.what}"]
        return "\n".join([*lines, *(f"    {line}" for line in self.story)])


def violation(record: Record, finding: Finding) -> Violation:
    """Tell a finding about a run."""
    told = [(event.at, 0, _event(event)) for event in _events(record, finding)]
    told += [(round(row.at * 1000), 1, _row(row)) for row in _rows(record, finding)]
    begin = record.history[0].at if record.history else min((at for at, *_ in told), default=0)
    # The order within a source is the order of happening, whatever its clock says.
    lines = tuple(
        f"{(at - begin) / 1000:+9.3f} s  {'ledger' if source else 'history':7}  {text}"
        for at, source, text in sorted(told, key=lambda line: line[:2])
    )
    return Violation(record.run.id, finding.law, finding.what, lines)


def _events(record: Record, finding: Finding) -> list[Event]:
    last = len(record.history) if finding.until is None else finding.until + 1
    return [
        event
        for number, event in enumerate(record.history[:last])
        if event.step in finding.steps
        or event.kind in _LANDMARKS
        or number == finding.until
        or not finding.steps
    ]


def _rows(record: Record, finding: Finding) -> list[Row]:
    rows = record.settled if len(record.settled) >= len(record.rows) else record.rows
    return [row for row in rows if {*step_of(row), row.key.rpartition(":")[2]} & finding.steps]


def _event(event: Event) -> str:
    if not event.step:
        return details(event)
    undo = "undo " if event.phase == "undo" else ""
    return f"{event.step} {undo}#{event.attempt} {details(event)}"


def _row(row: Row) -> str:
    return f"{row.key} #{row.attempt} {row.kind} (process {row.pid})"
