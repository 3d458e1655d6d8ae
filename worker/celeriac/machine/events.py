"""What happened to a run, and the messages that follow from it.

Owns: what an event consists of, and how it is written down as JSON.  Refuses to know: what an event
does to a run (`moves`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from celeriac.machine.plans import Phase

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class EventKind(StrEnum):
    """What can happen to a run, in the past tense."""

    STARTED = "started"
    INHERITED = "inherited"
    DISPATCHED = "dispatched"
    QUEUED = "queued"
    EXPANDED = "expanded"
    OPENED = "opened"
    CLAIMED = "claimed"
    COMPLETED = "completed"
    FAILED = "failed"
    POSTPONED = "postponed"
    DEFERRED = "deferred"
    KEPT = "kept"
    LOST = "lost"
    LATE = "late"
    BLOCKED = "blocked"
    COMPENSATION_STARTED = "compensation_started"
    REOPENED = "reopened"
    TRY_ENDED = "try_ended"
    BEGAN_ANEW = "began_anew"
    REWOUND = "rewound"
    SIGNALLED = "signalled"
    TAGGED = "tagged"
    REPORTED = "reported"
    RETRIED = "retried"
    WAIVED = "waived"
    SKIPPED = "skipped"
    PAUSED = "paused"
    RESUMED = "resumed"
    EXTENDED = "extended"
    OVERDUE = "overdue"
    TERMINATED = "terminated"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run.  Folding all of them gives the run again."""

    at: int  # ms since the epoch, by the store's clock
    kind: EventKind
    step: str = ""
    phase: Phase = "do"
    attempt: int = 0
    data: dict[str, Any] = field(default_factory=dict)  # small, never a payload
    #: The events before it that are dropped for it, when it is written down: the oldest first, each
    #: counted back from the one just before this, which is 0.
    replaces: tuple[int, ...] = field(default=(), compare=False)

    @property
    def time(self) -> datetime:
        """When it happened, by the store's clock."""
        return datetime.fromtimestamp(self.at / 1000, UTC)

    def dump(self) -> str:
        """The event as compact JSON."""
        row: list[Any] = [self.at, self.kind.value]
        if self.step:
            row += [self.step, self.phase[0], self.attempt]
        if self.data:
            row.append(self.data)
        return _encode(row)

    @classmethod
    def load(cls, text: str | bytes) -> Event:
        """The event that `dump` wrote."""
        at, kind, *rest = json.loads(text)
        data = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        step, phase, attempt = rest or ("", "d", 0)
        return cls(at, EventKind(kind), step, "do" if phase == "d" else "undo", attempt, data)


class Dispatch(NamedTuple):
    """A message that should be on its way: this attempt of this step, not before `at`."""

    step: str
    phase: Phase
    attempt: int
    at: int
    epoch: int = 0  # of the earlier try that it is for; 0: the run as it is now
