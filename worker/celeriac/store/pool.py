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
        self._room = threading.Semaphore(self._most)
        self._idle: list[Any] = []  # the one that was used last is the last

    def take(self) -> Any:
        """Return a connection that is the caller's until it is given back.

        It connects when it is first used.  Raises redis.ConnectionError if all stay busy.
        """
        if os.getpid() != self._pid:
            self._begin()  # what there is belongs to the process that has forked this one
        if not self._room.acquire(timeout=self._timeout):
            raise redis.ConnectionError("No connection available.")
        try:
            return self._known() or self._make()
        except BaseException:  # a time limit may strike here too
            self._room.release()
            raise

    def _known(self) -> Any:
        try:
            link = self._idle.pop()
        except IndexError:
            return None
        if _is_stale(link):
            link.disconnect()  # and it connects again when it is used
        return link

    def give_back(self, link: Any, *, broken: bool = False) -> None:
        """Let others use a connection; whatever was on its way on a *broken* one is forgotten."""
        if broken:
            link.disconnect()
        self._idle.append(link)
        self._room.release()

    def close(self) -> None:
        """End all connections that nobody uses; the next use makes new ones."""
        while self._idle:
            self._idle.pop().disconnect()


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
