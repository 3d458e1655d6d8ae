"""What is known of gates, who is inside and who waits: what a store promises of it.

Owns: the promise, and the memory store's way to keep it.  Refuses to know: who may pass (`gating`),
which runs there are, and Redis (`redis_gates`).

A gate is written as a run is: only if its record still is what the caller has read.  Each lives in
one slot, that of its name; the runs that pass it live in theirs.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_NOTHING: Mapping[str, int] = MappingProxyType({})
#: How many places are read at a time, those that end first.
PLACES_READ = 128


class GateSnapshot(NamedTuple):
    """A gate as it was read."""

    now: int  # ms, the store's clock
    record: str  # empty: there is none
    places: Sequence[tuple[str, int]]  # with when they end (ms), the first `PLACES_READ` of them
    taken: int
    line: Sequence[tuple[str, int]]  # the first of those who wait, as many as were asked for
    waiting: int
    before: int  # how many wait before the order that was asked for
    mine: int | None  # when the place ends that was asked for, in ms; None: there is none
    queued: int | None  # the order of the turn that was asked for; None: it is not in line


class GateChange(NamedTuple):
    """What one commit writes of a gate."""

    gate: str
    before: str  # the record as it was read; empty: there was none
    record: str
    take: Mapping[str, int] = _NOTHING  # places, with when they end (ms)
    give: Sequence[str] = ()
    join: Mapping[str, int] = _NOTHING  # turns, with their order
    leave: Sequence[str] = ()
    look_at: int | None = None  # ms; None: nothing is kept of it any more
    at_the_latest: bool = False  # somebody looks at it then, unless that is to be sooner already


class Gates(Protocol):
    """Which gates there are.  Raises what a `Store` raises; a method is a round trip."""

    def read(
        self, gate: str, place: str = "", order: int | None = None, first: int = 0, turn: str = ""
    ) -> GateSnapshot:
        """Return what is known of a gate: about one place, order in line and turn, among others."""
        ...

    def commit(self, change: GateChange) -> bool:
        """Write *change*; return False, with nothing written, if the record has changed."""
        ...

    def due(self, shard: int, limit: int) -> Sequence[str]:
        """Return up to *limit* gates of a shard that somebody has to look at now."""
        ...

    def known(self) -> Sequence[str]:
        """Return all gates of which anything is kept, sorted."""
        ...

    def salt(self) -> str:
        """Return what makes digests of values those of this store; made when first asked for."""
        ...


@dataclass(slots=True)
class _Kept:
    """What is kept of a gate."""

    record: str
    places: dict[str, int] = field(default_factory=dict)
    line: dict[str, int] = field(default_factory=dict)
    look_at: int = 0


class MemoryGates:
    """The gates of a memory store."""

    def __init__(self, clock: Callable[[], int], shard_of: Callable[[str], int]) -> None:
        """*clock* returns the time in milliseconds."""
        self._clock, self._shard_of = clock, shard_of
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def read(
        self, gate: str, place: str = "", order: int | None = None, first: int = 0, turn: str = ""
    ) -> GateSnapshot:
        """Return what is known of a gate: about one place, order in line and turn, among others."""
        with self._lock:
            kept = self._kept.get(gate) or _Kept("")
            places, line = _sorted(kept.places), _sorted(kept.line)
            before = sum(1 for _, at in line if order is not None and at < order)
            return GateSnapshot(
                *(self._clock(), kept.record, places[:PLACES_READ], len(places)),
                *(line[:first], len(line), before),
                *(kept.places.get(place), kept.line.get(turn)),
            )

    def commit(self, change: GateChange) -> bool:
        """Write *change*; return False, with nothing written, if the record has changed."""
        with self._lock:
            kept = self._kept.get(change.gate)
            if (kept.record if kept else "") != change.before:
                return False
            if change.look_at is None:
                self._kept.pop(change.gate, None)
                return True
            kept = self._kept.setdefault(change.gate, _Kept(""))
            sooner = change.at_the_latest and bool(kept.record)
            kept.look_at = min(kept.look_at, change.look_at) if sooner else change.look_at
            kept.record = change.record
            for member in change.give:
                kept.places.pop(member, None)
            for member in change.leave:
                kept.line.pop(member, None)
            kept.places.update(change.take)
            kept.line.update(change.join)
            return True

    def due(self, shard: int, limit: int) -> Sequence[str]:
        """Return up to *limit* gates of a shard that somebody has to look at now."""
        with self._lock:
            now = self._clock()
            found = [(each.look_at, gate) for gate, each in self._kept.items()]
            due = sorted(each for each in found if each[0] <= now)
            return [gate for _, gate in due if self._shard_of(gate) == shard][:limit]

    def known(self) -> Sequence[str]:
        """Return all gates of which anything is kept, sorted."""
        return sorted(self._kept)

    def salt(self) -> str:
        """Return what makes digests of values those of this store: it is seen by nobody else."""
        return ""

    def earliest(self) -> int | None:
        """When somebody has to look at one, in ms; None: never."""
        return min((each.look_at for each in self._kept.values()), default=None)


def _sorted(found: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(found.items(), key=lambda each: (each[1], each[0]))
