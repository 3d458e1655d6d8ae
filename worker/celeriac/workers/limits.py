"""Time limits of the attempts in one message: each has its own, and not the message as a whole.

Owns: which limits an attempt has, and ending a body at its soft limit in a pool's child.  Refuses
to know: what an attempt that was ended so leads to, and killing at the hard limit, which is the
main process's business (`leases`).

Celery's pool counts from the start of a message.  Where that may hold several attempts, the main
process hands the limits on to the child instead, and the pool gets none.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

from billiard.exceptions import SoftTimeLimitExceeded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

#: Where a request says which limits its own attempt has: [soft, hard], in seconds.
HANDED = "celeriac_limits"
_SIGNAL = getattr(signal, "SIGUSR1", None)  # the pool's own for this


class Limits(NamedTuple):
    """How long an attempt may take, in seconds; None: as long as it likes."""

    soft: float | None = None
    hard: float | None = None

    def __bool__(self) -> bool:
        return bool(self.soft or self.hard)


def limits_of(timelimit: Any, task: Any, pool: Limits) -> Limits:
    """The limits of an attempt: its message's own, or else the task's, or else the pool's."""
    hard, soft = timelimit or (None, None)
    return Limits(
        soft or getattr(task, "soft_time_limit", None) or pool.soft,
        hard or getattr(task, "time_limit", None) or pool.hard,
    )


def handed(request: Mapping[str, Any]) -> Limits | None:
    """The limits that the main process has left to the child; None: the pool sees to them."""
    found = request.get(HANDED)
    if not isinstance(found, list) or len(found) != len(Limits._fields):
        return None
    if not all(each is None or isinstance(each, int | float) for each in found):
        return None  # somebody else has put it there
    return Limits(*found)


class SoftLimit:
    """Ends what the main thread of a process is at, once its time is up.

    As in Celery's pool it is a signal upon which SoftTimeLimitExceeded is raised; but one that
    comes too late, when the body is over already, does nothing.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadline: float | None = None  # by the monotonic clock
        self._looks_at: float | None = None  # when the thread looks again
        self._armed = self._sent = self._struck_once = False
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._theirs: Any = None

    def arm(self, seconds: float) -> None:
        """Raise SoftTimeLimitExceeded in the main thread, which calls this, *seconds* from now."""
        assert _SIGNAL is not None  # pools with children need it too
        if signal.getsignal(_SIGNAL) != self._struck:
            self._theirs = signal.signal(_SIGNAL, self._struck)
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._changed = threading.Condition()
            self._thread = threading.Thread(target=self._wait, name="celeriac-limit", daemon=True)
            self._thread.start()
        with self._changed:
            self._deadline = time.monotonic() + seconds
            self._sent, self._armed = False, True
            if self._looks_at is None or self._deadline < self._looks_at:
                self._changed.notify()

    def disarm(self) -> bool:
        """What was to be ended is over; return whether it was ended."""
        struck = self._struck_once
        self._armed = self._struck_once = False  # from here on the signal does nothing
        self._deadline = None
        return struck

    def within(self, seconds: float | None) -> AbstractContextManager[None]:
        """Be armed for the length of a `with`, or until disarmed; None: not at all."""
        return _Within(self, seconds)

    def _wait(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        with self._changed:
            while True:
                at = self._deadline
                left = None if at is None else at - time.monotonic()
                if left is not None and left <= 0 and at == self._deadline:
                    self._deadline, self._sent = None, True
                    signal.pthread_kill(main, _SIGNAL or 0)
                    continue
                # Armed anew meanwhile, it looks too early, which costs less than waking it up.
                self._looks_at = at
                self._changed.wait(left)

    def _struck(self, number: int, frame: FrameType | None) -> None:
        if not self._sent:
            if callable(self._theirs):
                self._theirs(number, frame)  # somebody else's signal
            return
        self._sent = False
        if self._armed:
            self._armed, self._struck_once = False, True
            raise SoftTimeLimitExceeded


class _Within(AbstractContextManager[None]):
    """The time in which a limit may strike.  A class, since each attempt has one."""

    __slots__ = ("_limit", "_seconds")

    def __init__(self, limit: SoftLimit, seconds: float | None) -> None:
        self._limit, self._seconds = limit, seconds

    def __enter__(self) -> None:
        if self._seconds is not None:
            self._limit.arm(self._seconds)

    def __exit__(self, *_: object) -> None:
        self._limit.disarm()


soft_limit = SoftLimit()
