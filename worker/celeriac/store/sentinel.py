"""The primary that sentinels name, followed wherever a failover moves it.

Owns: asking the sentinels, and that each new connection leads to whom they name then.  Refuses to
know: what is asked of the primary.

A failover that somebody asks for leaves the old primary up, and for many seconds it takes writes
that nobody will ever see again (measured: 13 s and more).  So the sentinels are asked once a second
while there is something to do, and connections to whoever was the primary are led anew.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from celeriac.store.connection import Connection, new_pool

if TYPE_CHECKING:
    from celeriac.store.addresses import Address

_log = logging.getLogger(__name__)

_PATIENCE = 1.0  # seconds with one sentinel: there are others
_ASK_AGAIN = 1.0  # seconds


class Primary:
    """Where the primary is, as the sentinels say."""

    def __init__(self, address: Address) -> None:
        self._master = address.master
        options = dict(address.sentinel_options)
        secure = options.pop("connection_class", None) is not None
        ours = {
            "socket_timeout": _PATIENCE,
            "socket_connect_timeout": _PATIENCE,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        self._sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]  # of redis-py
            [tuple(node) for node in address.nodes],
            sentinel_kwargs={**ours, **options, **({"ssl": True} if secure else {})},
        )
        self.place: tuple[str, int] | None = None  # as they last said
        self._asking = threading.Lock()
        self._ask_at = 0.0  # monotonic

    def ask(self) -> tuple[str, int]:
        """Return host and port; raises an error of redis-py if no sentinel knows."""
        try:
            host, port = self._sentinels.discover_master(self._master)
        except MasterNotFoundError:
            # Its own text describes clients, with all that they were told.
            raise redis.ConnectionError(
                f"no sentinel knows of a primary {self._master!r} that is up"
            ) from None
        self.place = (str(host), int(port))
        self._ask_at = time.monotonic() + _ASK_AGAIN
        return self.place

    def is_at(self, host: str, port: int) -> bool:
        """True if the primary is there; the sentinels are asked if that was not done just now.

        While none of them answers, whoever was the primary is taken for it.
        """
        if time.monotonic() >= self._ask_at and self._asking.acquire(blocking=False):
            try:
                self._ask_at = time.monotonic() + _ASK_AGAIN
                self.ask()
            except (redis.RedisError, OSError) as error:
                _log.debug("no sentinel answers: %s", error)
            finally:
                self._asking.release()
        return self.place in (None, (host, port))

    def close(self) -> None:
        """Give back the connections to the sentinels."""
        for sentinel in self._sentinels.sentinels:
            sentinel.close()


class _Led:
    """A connection that asks where to connect to, each time that it does."""

    host: str
    port: int
    _sock: Any

    def __init__(self, *, primary: Primary, **options: Any) -> None:
        self._primary = primary
        super().__init__(**options)

    def connect(self) -> None:
        """Connect to whoever is the primary now, unless it is connected."""
        if self._sock is None:
            self.host, self.port = self._primary.ask()
        super().connect()  # type: ignore[misc]  # of redis-py's connections


class _LedConnection(_Led, redis.Connection):
    pass


class _LedTlsConnection(_Led, redis.SSLConnection):
    pass


class SentinelConnection(Connection):
    """The primary that sentinels name."""

    may_move = True

    def _new_pool(self, address: Address) -> Any:
        self._primary = Primary(address)
        options = dict(address.options)
        secure = options.pop("connection_class", None) is not None
        kind = _LedTlsConnection if secure else _LedConnection
        return new_pool(options, connection_class=kind, primary=self._primary)

    def _link(self) -> Any:
        link = super()._link()
        if not self.leads_on(link):
            try:
                link.disconnect()
                link.connect()
            except BaseException:
                self.pool.give_back(link, broken=True)
                raise
        return link

    def leads_on(self, link: Any, key: str = "") -> bool:  # noqa: ARG002 -- all are there
        """False if *link* leads to who was the primary once."""
        return self._primary.is_at(link.host, link.port)

    def close(self) -> None:
        """Give back all connections."""
        super().close()
        self._primary.close()
