"""What is known of schedules, kept for all workers: what a store promises of it.

Owns: the promise, the form of a record, and the memory store's way to keep it.  Refuses to know:
what a record means (`scheduling`), and Redis (`redis_schedules`).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import ValidationError

from celeriac.scheduling import Record, TickEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Events of a schedule that are kept.
TICKS_KEPT = 200


class UnreadableSchedule(NamedTuple):
    """A record that cannot be read: a newer version wrote it, or something else did."""

    name: str
    why: str


class Schedules(Protocol):
    """What is known of schedules.  Raises what a `Store` raises; a method is a round trip."""

    def read(self, names: Sequence[str]) -> tuple[int, Mapping[str, Record | UnreadableSchedule]]:
        """Return the store's time (ms), and what is known of each of *names*, if anything is."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names of all schedules there ever were, sorted."""
        ...

    def commit(self, before: Record | None, record: Record, events: Sequence[TickEvent]) -> bool:
        """Keep *record*; return False, with nothing written, if *before* is not what is kept."""
        ...

    def history(self, name: str) -> list[TickEvent]:
        """Return the newest events of a schedule, oldest first."""
        ...


def dump_schedule(record: Record) -> str:
    """Return a record as text that begins with its version, by which two are told apart."""
    return f"{record.version} {record.dump()}"


def load_schedule(name: str, text: str) -> Record | UnreadableSchedule:
    """Return the record that `dump_schedule` wrote."""
    try:
        return Record.model_validate_json(text.partition(" ")[2])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return UnreadableSchedule(name, f"{where or 'record'}: {first['msg']}")


class MemorySchedules:
    """The schedules of a memory store."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """*clock* returns the time in milliseconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, str] = {}
        self._events: dict[str, list[str]] = {}

    def read(self, names: Sequence[str]) -> tuple[int, Mapping[str, Record | UnreadableSchedule]]:
        """Return the time, and what is known of each of *names*, if anything is."""
        with self._lock:
            known = [name for name in names if name in self._kept]
            return self._clock(), {name: load_schedule(name, self._kept[name]) for name in known}

    def names(self) -> Sequence[str]:
        """Return the names of all schedules there ever were, sorted."""
        return sorted(self._kept)

    def commit(self, before: Record | None, record: Record, events: Sequence[TickEvent]) -> bool:
        """Keep *record*; return False, with nothing written, if *before* is not what is kept."""
        with self._lock:
            found, stamp = self._kept.get(record.name), f"{before.version} " if before else None
            if (found is None) != (stamp is None) or (found and not found.startswith(stamp or "")):
                return False
            self._kept[record.name] = dump_schedule(record)
            log = self._events.setdefault(record.name, [])
            log += [event.dump() for event in events]
            del log[:-TICKS_KEPT]
            return True

    def history(self, name: str) -> list[TickEvent]:
        """Return the newest events of a schedule, oldest first."""
        with self._lock:
            return [TickEvent.load(text) for text in self._events.get(name, ())]
