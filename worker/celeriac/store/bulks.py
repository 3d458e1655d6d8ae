"""One command for many runs, kept until each of them has got it: what a store promises of it.

Owns: the promise, the form of a record, and the memory store's way to keep it.  Refuses to know:
commands, how runs were found, and who gives them the command (`app.bulks`).
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

Outcome = Literal["changed", "unchanged", "refused", "gone"]


class Member(NamedTuple):
    """A run that the command is for."""

    run_id: str
    look: str  # how it stood when somebody looked; opaque here

    def dump(self) -> str:
        """The member as compact JSON."""
        return json.dumps(self, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Member:
        """The member that `dump` wrote."""
        return cls(*json.loads(text)[:2])


class Turn(NamedTuple):
    """What the command did to a run."""

    run_id: str
    outcome: Outcome
    why: str = ""

    def dump(self) -> str:
        """The turn as compact JSON."""
        return json.dumps(self, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Turn:
        """The turn that `dump` wrote."""
        return cls(*json.loads(text)[:3])


class BulkRecord(BaseModel):
    """What is known of one command for many runs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    version: int = 1
    verb: str
    about: str = Field(description="which runs were looked for, in words")
    statuses: tuple[str, ...] = Field(default=(), description="that a run must have at its turn")
    awaiting: bool = Field(default=False, description="a run must wait for a signal at its turn")
    reason: str = ""
    rps: float = Field(default=20.0, description="runs that get the command in a second, at most")
    matched: int
    left_alone: int = Field(default=0, description="runs that matched, and are not among them")
    kinds: tuple[tuple[str, str, int], ...] = Field(default=(), description="saga, status, runs")
    state: Literal["looked", "going", "stopped", "done"] = "looked"
    looked_at: int = Field(description="ms, as all times")
    looked_by: str = ""
    begun_at: int | None = None
    begun_by: str = ""
    turned_at: int | None = Field(default=None, description="when runs last had their turn")
    ended_at: int | None = None
    stopped_by: str = ""
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    gone: int = 0

    @property
    def turns(self) -> int:
        """How many runs had their turn: the next one is that in this place."""
        return self.changed + self.unchanged + self.refused + self.gone

    def altered(self, **values: object) -> BulkRecord:
        """Return the record with other values, as the next version of it."""
        return self.model_copy(update={"version": self.version + 1, **values})


class Bulks(Protocol):
    """Commands for many runs.  Raises what a `Store` raises; a method is one or two round trips."""

    def add(self, record: BulkRecord, members: Sequence[Member]) -> None:
        """Keep a new one."""
        ...

    def read(self, bulk_id: str) -> BulkRecord | None:
        """Return what is known of one."""
        ...

    def going(self) -> Sequence[str]:
        """Return the ids of those that are going on, the oldest first."""
        ...

    def newest(self, limit: int) -> Sequence[BulkRecord]:
        """Return those looked at last, the newest first."""
        ...

    def members(self, bulk_id: str, first: int, limit: int) -> list[Member]:
        """Return runs that one is for, after the *first* so many, in the order of their turns."""
        ...

    def turns(self, bulk_id: str, first: int, limit: int) -> list[Turn]:
        """Return what became of runs, after the *first* so many, in the order of their turns."""
        ...

    def commit(self, before: BulkRecord, record: BulkRecord, turns: Sequence[Turn] = ()) -> bool:
        """Keep *record* and add *turns*; return False, with nothing written, if it has changed."""
        ...

    def remove(self, before: int) -> int:
        """Remove those looked at before a time (ms) that are not going on; return how many."""
        ...


def dump_bulk(record: BulkRecord) -> str:
    """Return a record as text that begins with its version, by which two are told apart."""
    return f"{record.version} {record.model_dump_json()}"


def load_bulk(text: str) -> BulkRecord | None:
    """Return the record that `dump_bulk` wrote; None for what a newer version may have written.

    It is as if there were none: it must not keep a sweep from the others.
    """
    try:
        return BulkRecord.model_validate_json(text.partition(" ")[2])
    except ValidationError:
        return None


class MemoryBulks:
    """The commands for many runs of a memory store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, BulkRecord] = {}
        self._members: dict[str, list[Member]] = {}
        self._turns: dict[str, list[Turn]] = {}

    def add(self, record: BulkRecord, members: Sequence[Member]) -> None:
        """Keep a new one."""
        with self._lock:
            self._kept[record.id] = record
            self._members[record.id], self._turns[record.id] = list(members), []

    def read(self, bulk_id: str) -> BulkRecord | None:
        """Return what is known of one."""
        return self._kept.get(bulk_id)

    def going(self) -> Sequence[str]:
        """Return the ids of those that are going on, the oldest first."""
        going = [each for each in list(self._kept.values()) if each.state == "going"]
        return [each.id for each in sorted(going, key=lambda each: each.begun_at or 0)]

    def newest(self, limit: int) -> Sequence[BulkRecord]:
        """Return those looked at last, the newest first."""
        found = sorted(self._kept.values(), key=lambda each: (each.looked_at, each.id))
        return found[::-1][:limit]

    def members(self, bulk_id: str, first: int, limit: int) -> list[Member]:
        """Return runs that one is for, after the *first* so many, in the order of their turns."""
        return self._members.get(bulk_id, [])[first : first + limit]

    def turns(self, bulk_id: str, first: int, limit: int) -> list[Turn]:
        """Return what became of runs, after the *first* so many, in the order of their turns."""
        return self._turns.get(bulk_id, [])[first : first + limit]

    def commit(self, before: BulkRecord, record: BulkRecord, turns: Sequence[Turn] = ()) -> bool:
        """Keep *record* and add *turns*; return False, with nothing written, if it has changed."""
        with self._lock:
            found = self._kept.get(record.id)
            if found is None or found.version != before.version:
                return False
            self._kept[record.id] = record
            self._turns[record.id] += turns
            return True

    def remove(self, before: int) -> int:
        """Remove those looked at before a time (ms) that are not going on; return how many."""
        with self._lock:
            old = [
                each.id
                for each in self._kept.values()
                if each.looked_at < before and each.state != "going"
            ]
            for bulk_id in old:
                for kept in (self._kept, self._members, self._turns):
                    kept.pop(bulk_id, None)
            return len(old)
