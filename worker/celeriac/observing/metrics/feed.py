"""How the samples of pool children get to the main process of their worker: through a pipe.

Owns: the pipe, the lines in it, and what is kept while it is full.  Refuses to know: what samples
mean; `Tally.note` takes them.

Why not files: a child that is killed must leave nothing half written behind, and a child that was
replaced must not be counted twice, or for ever.  A write of at most PIPE_BUF bytes is done whole or
not at all (POSIX, `write`), whoever else writes, and whenever the writer is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING

from celeriac.observing.observers import Asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.observing.observers import Notice, Observer

_encode = json.JSONEncoder(separators=(",", ":")).encode

#: Samples a child keeps while the pipe is full; beyond that it forgets the oldest.
KEPT = 10_000
#: Samples after which it sends them without waiting for an occasion.
FULL = 100


class Feed:
    """Takes samples in any process of a worker; all of them end up with *note* in the main one.

    To be made in the main process, before it forks.
    """

    def __init__(self, note: Callable[[str, tuple[str, ...], float], None]) -> None:
        self._note, self._owner = note, os.getpid()
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._outboxes: dict[int, _Outbox] = {}  # by process: a child inherits its parent's
        self._reader: threading.Thread | None = None
        self._stopped = threading.Event()

    # --- any process ---------------------------------------------------------------------------

    def sink(self, name: str, labels: tuple[str, ...], value: float) -> None:
        """Take a sample."""
        if os.getpid() == self._owner:
            self._note(name, labels, value)
        else:
            self._own_outbox().add(name, labels, value)

    def flush(self) -> bool:
        """Send what this process has kept; False if some is left, since the pipe is full."""
        return os.getpid() == self._owner or self._own_outbox().flush()

    def _own_outbox(self) -> _Outbox:
        """The outbox of this process: what a child inherits may be locked for ever."""
        pid = os.getpid()
        found = self._outboxes.get(pid)
        # Threads that come first together agree on one: `setdefault` is one step.
        return found or self._outboxes.setdefault(pid, _Outbox(self._write))

    # --- the main process ----------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take in what children send."""
        self._reader = threading.Thread(target=self._take_in, name="celeriac-feed", daemon=True)
        self._reader.start()

    def leave(self) -> None:
        """In a child: give up the end that is the main process's."""
        with contextlib.suppress(OSError):
            os.close(self._read)

    def stop(self) -> None:
        """Take in no more."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            os.write(self._write, b"\n")  # wakes the reader; if the pipe is full, it is awake
        if self._reader is not None:
            self._reader.join(2)

    def _take_in(self) -> None:
        rest = b""
        while not self._stopped.is_set():
            *lines, rest = (rest + os.read(self._read, 65_536)).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            name, labels, value = json.loads(line)
            self._note(str(name), tuple(str(label) for label in labels), float(value))
        except (ValueError, TypeError):
            return  # not a sample: nothing to add


class _Outbox:
    """The samples of one child that are not sent yet."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lines: deque[bytes] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self._unsent = 0  # samples since the last try

    def add(self, name: str, labels: tuple[str, ...], value: float) -> None:
        line = _encode((name, labels, value)).encode() + b"\n"
        if len(line) <= select.PIPE_BUF:
            with self._lock:
                self._lines.append(line)
                self._unsent += 1
        if self._unsent >= FULL:
            self.flush()

    def flush(self) -> bool:
        with self._lock:
            self._unsent = 0
            while self._lines:
                count, piece = self._piece()
                try:
                    os.write(self._pipe, piece)
                except OSError:
                    return False  # full for the moment; or nobody is left to read it
                for _ in range(count):
                    self._lines.popleft()
            return True

    def _piece(self) -> tuple[int, bytes]:
        """As many lines as one write takes whole."""
        count, size = 0, 0
        for line in self._lines:
            if size + len(line) > select.PIPE_BUF:
                break
            count, size = count + 1, size + len(line)
        return count, b"".join(line for line, _ in zip(self._lines, range(count), strict=False))


def reporting(counting: Observer, feed: Feed) -> Observer:
    """The observer that lets *counting* count, and has children send it when something happened.

    How long the store took waits for such an occasion: there is one at least twice a step.
    """

    def report(notice: Notice, /) -> None:
        counting(notice)
        if not isinstance(notice, Asked):
            feed.flush()

    return report
