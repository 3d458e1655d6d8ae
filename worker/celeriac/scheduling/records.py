"""What is known of a schedule: its definition, its state, and what happened to its ticks.

Owns: the words of the rules in `judging`, and how they are written down.  Refuses to know: the
rules, and the inputs of runs: no payload is kept with a schedule.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from celeriac.scheduling.timetables import Timetable, utc_text

Overlap = Literal["skip", "queue", "cancel", "allow"]


class NotRun(StrEnum):
    """Why a tick starts no run."""

    PAUSED = "paused"
    LATE = "late"  # nobody swept in time, or a newer tick was missed too
    OVERLAP = "overlap"  # the last run was not at rest
    QUEUE_FULL = "queue_full"  # another one waits for the last run already
    OVERTAKEN = "overtaken"  # it waited until the next tick came
    REFUSED = "refused"  # the run could not be started


class TickEventKind(StrEnum):
    """What can happen to a schedule, in the past tense."""

    CREATED = "created"
    CHANGED = "changed"
    STARTED = "started"
    QUEUED = "queued"
    SKIPPED = "skipped"
    PAUSED = "paused"
    RESUMED = "resumed"
    TRIGGERED = "triggered"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class TickEvent:
    """Something that happened to a schedule, or to some of its ticks."""

    at: int  # ms since the epoch, by the store's clock
    kind: TickEventKind
    tick: int | None = None  # ms; the first of them, if there are several
    run: str = ""
    why: str = ""  # a word of `NotRun`, or an operator's reason
    by: str = ""
    count: int = 1  # ticks
    last: int | None = None  # ms; the last of several ticks

    def dump(self) -> str:
        """The event as compact JSON."""
        row = (self.at, self.kind.value, self.tick, self.run, self.why, self.by, self.count)
        return json.dumps((*row, self.last), separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> TickEvent:
        """The event that `dump` wrote; what a newer version put behind it is left out."""
        at, kind, tick, run, why, by, count, last, *_ = json.loads(text)
        return cls(at, TickEventKind(kind), tick, run, why, by, count, last)


class _Kept(BaseModel):
    # Not `forbid`: a worker of the version before reads on when a newer one has been here.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Definition(_Kept):
    """What the code says of a schedule, but for the inputs."""

    saga: str
    timetable: Timetable = Field(discriminator="kind")
    overlap: Overlap = "skip"
    catch_up: int = Field(description="ms that a tick may be late and yet start a run")
    digest: str = Field(default="", description="of the inputs and tags: tells an edit")


class Launch(_Kept):
    """A run that is to be started, or was decided to be."""

    run_id: str
    at: int = Field(description="ms: the tick; of a manual one: when it was asked for")
    manual: bool = False
    by: str = ""


class Pause(_Kept):
    """That an operator stopped the ticks, or deleted the schedule."""

    at: int
    reason: str = ""
    by: str = ""


class Record(_Kept):
    """What is known of a schedule.  It stays small, however long the schedule has been there."""

    name: str
    version: int = 1
    definition: Definition
    born: int = Field(description="ms: when the process began whose code this is")
    confirmed: int = Field(description="ms: when a process with this definition was last here")
    last: int = Field(description="ms: every tick up to then has been judged")
    ticked: int | None = Field(default=None, description="ms: the newest tick that was judged")
    runs: tuple[str, ...] = Field(default=(), description="that may not be at rest, oldest first")
    starting: Launch | None = Field(default=None, description="decided, and not yet known to run")
    waiting: Launch | None = Field(default=None, description="behind the runs before it")
    paused: Pause | None = None
    deleted: Pause | None = None

    def changed(self, **values: object) -> Record:
        """Return the record with other values, as the next version of it."""
        return self.model_copy(update={"version": self.version + 1, **values})

    def dump(self) -> str:
        """The record as compact JSON."""
        return self.model_dump_json(exclude_none=True)


def tick_id(name: str, at: int) -> str:
    """Return the id of the run of a tick: `nightly-20261128T030000Z`."""
    return f"{name}-{utc_text(at)}"


def manual_id(name: str, now: int) -> str:
    """Return the id of a run that was started by hand at a time."""
    return f"{name}-manual-{utc_text(now)[:-1]}{now % 1000:03d}Z"
