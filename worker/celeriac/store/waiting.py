"""Waiting for runs to come to rest: one thread and one subscription for all who wait in a process.

Owns: who waits for which run, and the thread that listens, looks and tells; what can go wrong
meanwhile: a lost message or connection, a restart of Redis, a fork.  Refuses to know: what a run
does, and who it is that waits (`waiters`).

A run is looked at first; then its end is subscribed to; and once Redis has agreed, it is looked at
again: what ended before is seen, what ends later is heard.  Whatever happens to the subscription,
all runs are looked at when it is back, and now and then while it is there or away.

The file is long because the thread and those it serves share one state, under one lock.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celeriac.errors import StoreError, StoreUnavailable
from celeriac.store.connection import REPLY_TIMEOUT
from celeriac.store.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from celeriac.store.connection import Connection
    from celeriac.store.protocol import Snapshot, Store, Waiter

    _Channel = Callable[[str], str]

_log = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds; who could not be looked at for so long is told that Redis is away
LOOK_AGAIN = 30.0  # seconds; a belt, should a message have been lost
IDLE = 10.0  # seconds without anybody who waits, after which thread and connection are given up
_POLL = 1.0  # s between two looks without a subscription, and at whether it is at the right server
_LOOKS = 500  # runs a second, at most, that such looks may take
_BATCH = 100  # runs in one look
_PAUSE = (0.05, 1.0)  # seconds before trying again what failed: first, and at most


class Waiting:
    """All who wait in this process for runs of one store."""

    def __init__(self, store: Store, connection: Connection, channel: _Channel) -> None:
        """*channel* names where the end of a run is published."""
        self.store, self.connection, self.channel = store, connection, channel
        self._begin()
        _EVERY.add(self)

    def _begin(self) -> None:
        # A coroutine that nobody finished is closed by the garbage collector, in any thread at any
        # moment, and leaves the list then: also while that thread is at this lock.
        self._lock = threading.RLock()
        self._waiters: dict[str, set[Waiter]] = {}
        self._touched: set[str] = set()  # runs whose waiters came or went; the thread takes them
        self._listener: _Listener | None = None
        self._pid = os.getpid()
        self.closing = False

    def add(self, waiter: Waiter) -> None:
        """Tell *waiter* when its run is at rest, from the thread that listens."""
        if self._pid != os.getpid():  # some application servers fork without a word to Python
            with _RENEWING:
                if self._pid != os.getpid():
                    self.begin_anew()
        with self._lock:
            self._waiters.setdefault(waiter.run_id, set()).add(waiter)
            self._touched.add(waiter.run_id)
            self.closing = False
            if self._listener is None:
                self._listener = _started(self)
            self._listener.wake()

    def remove(self, waiter: Waiter) -> bool:
        """Tell *waiter* nothing more; return whether it still had to be told."""
        with self._lock:
            others = self._waiters.get(waiter.run_id, set())
            if waiter not in others:
                return False
            others.remove(waiter)
            if not others:
                self._waiters.pop(waiter.run_id, None)
                self._touched.add(waiter.run_id)
                if self._listener is not None:
                    self._listener.wake()
            return True

    def close(self) -> None:
        """Give back thread and connection as soon as nobody waits: at once, if nobody does."""
        with self._lock:
            self.closing, listener, busy = True, self._listener, bool(self._waiters)
            if listener is not None:
                listener.wake()
        if listener not in (None, threading.current_thread()) and not busy:
            listener.join(REPLY_TIMEOUT)

    # --- what the thread asks for --------------------------------------------------------------

    def changes(self) -> tuple[set[str], set[str]]:
        """Return the runs that somebody new waits for, and those nobody waits for any more."""
        with self._lock:
            touched, self._touched = self._touched, set()
            awaited = {run_id for run_id in touched if run_id in self._waiters}
            return awaited, touched - awaited

    def of(self, run_id: str) -> list[Waiter]:
        """Return who waits for a run."""
        with self._lock:
            return list(self._waiters.get(run_id, ()))

    def tell(self, waiters: Iterable[Waiter], answer: Snapshot | Exception) -> None:
        """Give each of *waiters* its answer, once."""
        for waiter in waiters:
            if self.remove(waiter):
                try:
                    waiter.told(answer)
                except Exception:  # noqa: BLE001 -- it is logged, and the others must be told
                    _log.exception("whoever waited for %s cannot be told", waiter.run_id)

    def everybody(self) -> list[Waiter]:
        """Return all who wait."""
        with self._lock:
            return [waiter for waiters in list(self._waiters.values()) for waiter in list(waiters)]

    def leave(self, listener: _Listener) -> None:
        """Let the thread end, unless somebody waits again."""
        with self._lock:
            if self._listener is listener and not self._waiters:
                self._listener = None

    def has(self, listener: _Listener) -> bool:
        """True while this is the thread that serves; after a fork it is not, even if it lives."""
        with self._lock:
            return self._listener is listener

    # --- fork ----------------------------------------------------------------------------------

    def begin_anew(self) -> None:
        """In a forked child: its threads are gone, and its sockets are the parent's."""
        listener = self._listener
        self._begin()
        if listener is not None:
            listener.close()


def _started(waiting: Waiting) -> _Listener:
    listener = _Listener(waiting)
    try:
        listener.start()
    except BaseException:
        listener.close()
        raise
    return listener


class _Listener(threading.Thread):
    """The thread: it listens, looks and tells, and is the only one to touch the subscription."""

    def __init__(self, waiting: Waiting) -> None:
        super().__init__(name="celeriac-waiting", daemon=True)
        self._waiting = waiting
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)
        self._bell.setblocking(False)
        self._subscription: Subscription | None = None
        self._awaited: set[str] = set()
        self._unseen: set[str] = set()  # to be looked at
        self._later: set[str] = set()  # to be looked at, when their shard may be within reach
        self._later_at = 0.0  # monotonic
        self._unheard: set[str] = set()  # to be subscribed to
        self._heard_of: dict[str, str] = {}  # channel: run; subscribed to
        self._look_at = self._connect_at = 0.0  # monotonic: not before
        self._look_pause = self._connect_pause = 0.0
        self._polls = False  # no subscription can be had, and that was logged
        self._belt_at = time.monotonic() + LOOK_AGAIN
        self._busy_at = time.monotonic()  # when somebody last waited

    def wake(self) -> None:
        """Let the thread see what is new; from any thread."""
        with suppress(OSError):  # it is full: somebody else was quicker.  Or closed: it has ended
            self._bell.send(b"!")

    def close(self) -> None:
        """Give back all sockets."""
        self._alarm.close()
        self._bell.close()
        self._hang_up()

    def run(self) -> None:
        """Serve those who wait, until there is nobody for some time."""
        while self._waiting.has(self):
            try:
                self._turn()
            except Exception:  # noqa: BLE001 -- it is logged
                # Nothing that goes wrong here may end the thread: people wait for it.
                _log.exception("waiting for runs failed; will retry")
                self._hang_up()
                self._lost(StoreUnavailable("waiting for runs failed: see the log"))
                time.sleep(_PAUSE[1])
        self.close()

    def _turn(self) -> None:
        """Do what is to be done, and sleep until there is more."""
        self._note_changes()
        now = time.monotonic()
        if self._awaited:
            self._busy_at = now
        elif self._waiting.closing or now - self._busy_at >= IDLE:
            self._waiting.leave(self)
            return
        if now >= self._belt_at:
            self._buckle()
        if self._later and now >= self._later_at:
            self._unseen |= self._later
            self._later.clear()
        if self._unseen and now >= self._look_at:
            self._look()
            self._note_changes()
        self._listen()
        self._sleep()
        self._hear()

    def _note_changes(self) -> None:
        awaited, left = self._waiting.changes()
        for runs in (self._awaited, self._unseen, self._unheard):
            runs.update(awaited)
            runs.difference_update(left)
        self._later -= left
        channels = [self._waiting.channel(run_id) for run_id in left]
        known = [channel for channel in channels if self._heard_of.pop(channel, None)]
        if known:
            self._speak(lambda line: line.unsubscribe(known))

    # --- looking -------------------------------------------------------------------------------

    def _look(self) -> None:
        """Look at some of the runs that are to be looked at."""
        batch = [run_id for _, run_id in zip(range(_BATCH), self._unseen, strict=False)]
        try:
            with self._waiting.connection.errors():
                again = self._tell(batch)
        except StoreUnavailable as error:
            self._lost(error)
        except StoreError as error:
            for run_id in batch:
                self._waiting.tell(self._waiting.of(run_id), error)
        else:
            self._unseen = self._unseen.difference(batch) | again
            self._look_pause = 0.0

    def _tell(self, batch: Sequence[str]) -> set[str]:
        """Tell who waits for a run at rest; return the runs that changed between two looks."""
        heads = self._waiting.store.read_all(dict.fromkeys(batch, ()))
        resting: dict[str, tuple[list[Waiter], list[str]]] = {}
        for run_id in batch:
            waiters = self._waiting.of(run_id)
            try:
                # Left out is also what cannot be read: asked for alone, it says why.
                found = heads.get(run_id) or self._waiting.store.read(run_id)
                for waiter in waiters:
                    waiter.seen, waiter.trouble = found.run, None
                if found.run is None:
                    self._waiting.tell(waiters, found)
                elif found.run.status.at_rest:
                    fields = [name for waiter in waiters for name in waiter.wanted(found.run)]
                    resting[run_id] = (waiters, list(dict.fromkeys(fields)))
            except StoreUnavailable as error:
                if not self._waiting.store.apart:
                    raise
                # Its shard alone is out of reach: it must hold up nobody else.
                self._put_off(waiters, error)
                self._later.add(run_id)
                self._later_at = time.monotonic() + _POLL
            except Exception as error:  # noqa: BLE001 -- whoever waits hears of it
                self._waiting.tell(waiters, error)
        ends = self._waiting.store.read_all(
            {run_id: names for run_id, (_, names) in resting.items()}
        )
        for run_id, end in ends.items():
            if end.run is not None and end.run.status.at_rest:
                self._waiting.tell(resting.pop(run_id)[0], end)
        return set(resting)

    def _lost(self, error: StoreUnavailable) -> None:
        """Redis did not answer: everybody is looked at again; who had no luck so far is told."""
        self._look_pause = _longer(self._look_pause)
        self._look_at = time.monotonic() + self._look_pause
        self._unseen = set(self._awaited)
        self._put_off(self._waiting.everybody(), error)

    def _put_off(self, waiters: Iterable[Waiter], error: StoreUnavailable) -> None:
        """Let those wait who have seen their run; tell the others, once their patience is over."""
        now = time.monotonic()
        for waiter in waiters:
            waiter.trouble = error
            if waiter.seen is None and now - waiter.since >= PATIENCE:
                self._waiting.tell([waiter], error)

    def _buckle(self) -> None:
        """Look at everybody, whatever was heard; and see that the subscription is alive."""
        self._unseen = set(self._awaited)
        self._speak(lambda line: line.ping())
        self._belt_at = time.monotonic() + self._between_looks()

    def _between_looks(self) -> float:
        least = _POLL if self._subscription is None else LOOK_AGAIN
        return max(least, len(self._awaited) / _LOOKS)

    # --- listening -----------------------------------------------------------------------------

    def _listen(self) -> None:
        """Subscribe to the end of every run that somebody waits for."""
        wanted = self._unheard - self._unseen  # the first look may do
        if not wanted or (self._subscription is None and time.monotonic() < self._connect_at):
            return
        channels = {self._waiting.channel(run_id): run_id for run_id in wanted}
        fresh = [channel for channel in channels if channel not in self._heard_of]
        if self._speak(lambda line: line.subscribe(fresh), connect=True):
            self._heard_of.update(channels)
            self._unheard -= wanted

    def _hear(self) -> None:
        def take(line: Subscription) -> None:
            for kind, channel in line.heard():
                self._connect_pause, self._polls = 0.0, False
                run_id = self._heard_of.get(channel)
                if kind in ("message", "subscribe") and run_id in self._awaited:
                    self._unseen.add(run_id)

        self._speak(take)

    def _speak(self, say: Callable[[Subscription], Any], *, connect: bool = False) -> bool:
        """Do something with the subscription, if there is one; return whether that was done."""
        try:
            if self._subscription is None and connect:
                self._subscription = Subscription(self._waiting.connection)
                self._belt_at = time.monotonic() + self._between_looks()
            if self._subscription is None:
                return False
            say(self._subscription)
        except StoreError as error:
            if self._subscription is None and not self._polls:
                _log.warning("the ends of runs are looked for, not heard: %s", error)
                self._polls = True
            self._hang_up()
            if not isinstance(error, StoreUnavailable):
                self._waiting.tell(self._waiting.everybody(), error)
            return False
        return True

    def _hang_up(self) -> None:
        """Give up the subscription; everything that was heard of has to be heard of again."""
        line, self._subscription = self._subscription, None
        self._unheard = set(self._awaited)
        self._heard_of.clear()
        self._connect_pause = _longer(self._connect_pause)
        self._connect_at = time.monotonic() + self._connect_pause
        self._belt_at = min(self._belt_at, time.monotonic() + self._between_looks())
        if line is not None:
            line.close()

    # --- sleeping ------------------------------------------------------------------------------

    def _sleep(self) -> None:
        """Sleep until something is heard, somebody comes or goes, or the time has come."""
        # Made anew each time: a socket that was closed meanwhile is in the way of nobody.
        with selectors.DefaultSelector() as selector:
            selector.register(self._alarm, selectors.EVENT_READ)
            if self._subscription is not None:
                selector.register(self._subscription.fileno(), selectors.EVENT_READ)
            selector.select(max(self._next() - time.monotonic(), 0))
        with suppress(BlockingIOError):
            while self._alarm.recv(4096):
                pass

    def _next(self) -> float:
        """When there is something to do, if nothing happens before."""
        if not self._awaited:
            return self._busy_at + IDLE
        times = [self._belt_at]
        if self._subscription is not None and self._waiting.connection.may_move:
            times.append(time.monotonic() + _POLL)
        if self._unseen:
            times.append(self._look_at)
        if self._later:
            times.append(self._later_at)
        if self._subscription is None and self._unheard - self._unseen:
            times.append(self._connect_at)
        if self._subscription is not None and self._subscription.silent_for:
            times.append(time.monotonic() + REPLY_TIMEOUT - self._subscription.silent_for + 0.01)
        return min(times)


def _longer(pause: float) -> float:
    return min(max(2 * pause, _PAUSE[0]), _PAUSE[1])


_EVERY: weakref.WeakSet[Waiting] = weakref.WeakSet()
_RENEWING = threading.Lock()


def _begin_anew() -> None:
    for waiting in list(_EVERY):
        waiting.begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_begin_anew)
