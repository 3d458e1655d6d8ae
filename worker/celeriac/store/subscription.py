"""One connection on which Redis tells what is published.

Owns: subscribing, taking what has arrived without waiting for more, and noticing a connection that
is dead although nobody has closed it.  Refuses to know: what the channels are about, and what
follows when the connection is lost.

One thread at a time may use it: Python's TLS sockets bear no more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

from celeriac.store.connection import REPLY_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.store.connection import Connection

_AT_ONCE = 500  # channels in one command


class Notice(NamedTuple):
    """What arrived: `message`, or that the server has begun to listen for us (`subscribe`)."""

    kind: str
    channel: str


class Subscription:
    """A connection of its own, which hears of some channels.

    All methods raise StoreUnavailable when it is lost, and StoreError when Redis refuses.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._link: Any = connection.new_link()
        self._asked_at: float | None = None  # monotonic; since when an answer is due

    def fileno(self) -> int:
        """Return the socket, for `select`.  Nothing may be left to be heard before that."""
        found: int = self._link._sock.fileno()  # noqa: SLF001 -- redis-py hides what it waits for
        return found

    def subscribe(self, channels: Iterable[str]) -> None:
        """Ask to hear of *channels*; the server has agreed once `subscribe` is heard of each."""
        self._send("SUBSCRIBE", channels)

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Ask to hear no more of *channels*."""
        self._send("UNSUBSCRIBE", channels)

    def ping(self) -> None:
        """Ask for a sign of life, so that its lack is noticed."""
        self._ask("PING")

    def heard(self) -> list[Notice]:
        """Return what has arrived by now; never waits for more."""
        notices = []
        with self._connection.errors():
            while self._link.can_read(0):
                answer = self._link.read_response()
                self._asked_at = None
                if isinstance(answer, list):
                    notices.append(Notice(str(answer[0]), str(answer[1])))
            if self.silent_for > REPLY_TIMEOUT:
                raise redis.TimeoutError("a subscription got no answer")
            if not self._connection.leads_on(self._link):
                raise redis.ConnectionError("a subscription is at a server that is not in charge")
        return notices

    @property
    def silent_for(self) -> float:
        """For how many seconds an answer has been due; 0 if none is."""
        return 0.0 if self._asked_at is None else time.monotonic() - self._asked_at

    def close(self) -> None:
        """Give back the connection; in a forked child, without a word to the parent's server."""
        self._link.disconnect()

    def _send(self, command: str, channels: Iterable[str]) -> None:
        names = list(channels)
        for first in range(0, len(names), _AT_ONCE):
            self._ask(command, *names[first : first + _AT_ONCE])

    def _ask(self, *command: str) -> None:
        with self._connection.errors():
            self._link.send_command(*command, check_health=False)
        if self._asked_at is None:
            self._asked_at = time.monotonic()
