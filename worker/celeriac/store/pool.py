"""Connections to a server, between two uses.

Owns: how many there are at most, that each is one caller's at a time, and looking at those that
were idle before they are used again.  Refuses to know: how a connection is made, what is asked on
it, and what its errors mean.

The client's own pool looks at the socket before every use in a way that takes three calls of the
system, and counts for metrics that nobody reads: three times a step, that costs more than writing
the request and reading the answer.
"""

from __future__ import annotations

import os
import select
import threading
import time
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from collections.abc import Callable


class Pool:
    """At most *most* connections; whoever finds all of them busy waits for *timeout* seconds."""

    def __init__(self, make: Callable[[], Any], most: int, timeout: float) -> None:
        # Any: redis-py leaves the types of what we call open.
        self._make, self._most, self._timeout = make, most, timeout
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._made = 0  # connections that are idle or in use
        self._waiting = 0  # callers who found all of them busy
        self._idle: list[Any] = []  # the one that was used last is the last

    def take(self) -> Any:
        """Return a connection that is the caller's until it is given back.

        It connects when it is first used.  Raises redis.ConnectionError if all stay busy.
        """
        if os.getpid() != self._pid:
            self._begin()  # what there is belongs to the process that has forked this one
        link = self._known()
        return self._another() if link is None else link

    def _known(self) -> Any:
        try:
            link = self._idle.pop()
        except IndexError:
            return None
        try:
            if _is_stale(link):
                link.disconnect()  # and it connects again when it is used
        except BaseException:  # a time limit may strike here too
            self._forget()
            raise
        return link

    def _another(self) -> Any:
        """Make a connection, or wait for one: none is idle."""
        give_up = time.monotonic() + self._timeout
        with self._changed:
            self._waiting += 1  # before it looks again: who gives one back may not have seen it
            try:
                # One that was given back may be taken by somebody who has not waited.
                while (link := self._known()) is None and self._made >= self._most:
                    if not self._changed.wait(max(0.0, give_up - time.monotonic())):
                        raise redis.ConnectionError("No connection available.")
                if link is not None:
                    return link
                self._made += 1
            finally:
                self._waiting -= 1
        try:
            return self._make()
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        with self._changed:
            self._made -= 1
            self._changed.notify()

    def give_back(self, link: Any, *, broken: bool = False) -> None:
        """Let others use a connection; whatever was on its way on a *broken* one is forgotten."""
        if broken:
            link.disconnect()
        self._idle.append(link)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def close(self) -> None:
        """End all connections that nobody uses; the next use makes new ones."""
        while self._idle:
            self._idle.pop().disconnect()
            self._forget()


def _is_stale(link: Any) -> bool:
    """True if the server has closed a connection, or has sent what nobody has asked for."""
    sock = link._sock  # noqa: SLF001 -- its own way to look is what costs so much
    if sock is None:
        return False
    try:
        if not hasattr(select, "poll"):  # Windows, and eventlet takes it away
            return bool(link.can_read())
        look = select.poll()
        look.register(sock, select.POLLIN)
        return bool(look.poll(0))
    except (redis.RedisError, OSError, ValueError):
        return True
