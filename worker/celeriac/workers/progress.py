"""What a worker's main process and its children know of each other, without a round trip.

Owns: memory that they share: which attempt a child is at, and whether children may run ahead.
Refuses to know: leases, limits, and what is done with what is told here.

A row belongs to one child, which alone writes it; the main process reads.  A row has two halves
that are written in turn, each with its length and a checksum, so that a reader always finds one
that is whole.  In pools of one process a dictionary takes the place of the rows.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.store import Lease
from celeriac.workers.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_ROWS = 512  # children that a worker may have at a time, and some that have just died
_HALF = 8192  # bytes: more than a position takes, with the longest ids in any script
_HEAD = struct.Struct("<QQII")  # number, process, length, checksum
_FLAGS = 64  # bytes before the first row
_STOP, _EVENTS = 0, 1  # places of the flags

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, ensure_ascii=False).encode


class Position(NamedTuple):
    """The attempt that a message has got to."""

    message: str  # the id of the message's own task
    task_id: str  # of the attempt: another one once it has run ahead
    task: str  # its name
    saga: str
    lease: Lease
    before: Lease | None = None  # the attempt that was settled; maybe it is not on record yet
    hard: float = 0.0  # s, the monotonic clock: when the child is to be killed; 0 is never
    limit: float = 0.0  # s: the hard limit itself
    failed: bool = False  # the message's own attempt has failed, and is being undone
    parent: str = ""  # the id of the attempt before it
    nth: int = 1  # which try of its run it is in

    @property
    def leases(self) -> set[Lease]:
        """The leases that may be those of the message."""
        return {self.lease} if self.before is None else {self.lease, self.before}


class Progress:
    """Which attempts the messages have got to that a worker is at."""

    def __init__(self, rows: int = _ROWS) -> None:
        self._memory = mmap.mmap(-1, _FLAGS + rows * 2 * _HALF)
        self._owner = os.getpid()
        self._rows = rows
        self._row: int | None = None  # of the child that is forked next, and in it of itself
        self._used = 0  # rows
        self.crowded = False  # a child has no row: it cannot tell until when it may work
        self._number = 0
        self._here: dict[str, Position] = {}
        self.pool = Limits()  # the time limits of the pool
        self.most_memory = 0  # KB that a child may use; 0: as it likes

    # --- the main process ----------------------------------------------------------------------

    def allot(self, living: Collection[int]) -> None:
        """Choose the row of the child that is about to be forked; *living* are the others."""
        start = 0 if self._row is None else self._row + 1
        for step in range(self._rows):
            row = (start + step) % self._rows
            newest = max(self._halves(row), default=None)
            if newest is None or newest[1] not in living:
                for half in (0, 1):
                    _HEAD.pack_into(self._memory, self._at(row, half), 0, 0, 0, 0)
                self._row = row
                self._used = max(self._used, row + 1)
                return
        self._row = None  # that child runs nothing ahead
        self.crowded = True

    def hold(self, held: bool) -> None:
        """Say whether children must not run ahead, from now on."""
        self._memory[_STOP] = held

    def want_events(self, wanted: bool) -> None:
        """Say whether somebody wants to hear what becomes of each attempt."""
        self._memory[_EVENTS] = wanted

    def positions(self) -> dict[str, Position]:
        """What was told last of each message, by its id."""
        found = dict(self._here)
        for row in range(self._used):
            newest = max(self._halves(row), default=None)
            if newest is not None and newest[2]:
                position = _loaded(newest[2])
                found[position.message] = position
        return found

    def _halves(self, row: int) -> Iterator[tuple[int, int, bytes]]:
        """What the halves of a row hold that are whole: (number, process, text)."""
        for half in (0, 1):
            at = self._at(row, half)
            number, pid, length, checksum = _HEAD.unpack_from(self._memory, at)
            if not number or length > _HALF - _HEAD.size:
                continue
            text = self._memory[at + _HEAD.size : at + _HEAD.size + length]
            if zlib.crc32(text, number & 0xFFFFFFFF) == checksum:
                yield number, pid, text

    @staticmethod
    def _at(row: int, half: int) -> int:
        return _FLAGS + (2 * row + half) * _HALF

    # --- whoever runs attempts -----------------------------------------------------------------

    @property
    def held(self) -> bool:
        """True if nothing is to be run ahead now."""
        return bool(self._memory[_STOP])

    @property
    def events_wanted(self) -> bool:
        """True if somebody wants to hear what becomes of each attempt."""
        return bool(self._memory[_EVENTS])

    @property
    def forked(self) -> bool:
        """True in a child of the worker's main process."""
        return os.getpid() != self._owner

    def settle_in(self) -> None:
        """Take the row of this child, who has only begun: now nobody else gets it."""
        if self.forked:
            self._write(b"")

    def tell(self, position: Position) -> bool:
        """Say where a message has got to; False if that cannot be told here."""
        if not self.forked:
            self._here[position.message] = position
            return True
        return self._write(_dumped(position))

    def forget(self, message: str) -> None:
        """Say that a message is over."""
        if not self.forked:
            self._here.pop(message, None)
        elif self._number:
            self._write(b"")

    def _write(self, text: bytes) -> bool:
        if self._row is None or len(text) > _HALF - _HEAD.size:
            return False
        self._number += 1
        at = self._at(self._row, self._number % 2)
        self._memory[at + _HEAD.size : at + _HEAD.size + len(text)] = text
        checksum = zlib.crc32(text, self._number & 0xFFFFFFFF)
        _HEAD.pack_into(self._memory, at, self._number, os.getpid(), len(text), checksum)
        return True


def _dumped(position: Position) -> bytes:
    return _encode(position).encode(errors="surrogatepass")


def _loaded(text: bytes) -> Position:
    row: list[Any] = json.loads(text)
    lease, before = (Lease(*each) if each else None for each in row[4:6])
    assert lease is not None  # whoever tells a position has an attempt
    return Position._make([*row[:4], lease, before, *row[6:]])
