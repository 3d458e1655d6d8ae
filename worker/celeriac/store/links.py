"""The workers of a Redis store, each with a connection of its own: by that a death is noticed.

Owns: the connection over which a worker gives signs of life, its number, and which run of which
server gave it that number.  Refuses to know: who counts as dead.

When a process dies, its machine closes its connections, and the server knows at once.  When it is
stopped, or its network is lost, they stand.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

from redis.exceptions import AskError

from celeriac.errors import StoreError, StoreUnavailable
from celeriac.store.answers import ms, scored
from celeriac.store.commit import Call
from celeriac.store.presence import Connected, Presence, Worker
from celeriac.store.scripts import PRESENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.store.connection import Command, Connection
    from celeriac.store.scripts import Scripts


class RedisPresences:
    """The workers of a namespace, under one key."""

    def __init__(self, redis: Connection, scripts: Scripts, key: str) -> None:
        self._redis, self._scripts, self._key = redis, scripts, key
        self._link: Any = None  # the connection that is there for nothing else
        self._about: tuple[str, int, int] = ("", 0, 0)  # its server and number, and since when

    def announce(self, worker: Worker) -> None:
        """Note a sign of life of *worker*."""
        try:
            self._announce(worker)
        except StoreUnavailable:
            # The server may have closed it: who lives has another at once.
            self._announce(worker)

    def withdraw(self, worker_id: str) -> None:
        """Forget a worker."""
        self.close()
        self._redis.ask("HDEL", self._key, worker_id)

    def known(self) -> tuple[int, Sequence[Presence]]:
        """Return the time and what is known of each worker."""
        time, found = self._redis.ask_all((("TIME",), ("HGETALL", self._key)))
        known = (_load(worker_id, text) for worker_id, text in scored(found))
        return ms(time), [presence for presence in known if presence is not None]

    def connected(self, links: Sequence[int]) -> Connected:
        """Return which of the connections with these numbers stand."""
        asked: Command = ("CLIENT", "LIST", "ID", *(links or (0,)))
        # The key leads to the server that has it, in a cluster.
        info, clients, _ = self._redis.ask_all((("INFO", "server"), asked, ("EXISTS", self._key)))
        return Connected(_server(info), frozenset(_numbers(clients)))

    def note(self, found: Presence, changed: Presence | None) -> bool:
        """Keep *changed* in the place of *found*, if there is no newer sign of life."""
        text = "" if changed is None else _dump(changed)
        call = Call((self._key,), (found.worker.id, text, found.seen))
        return bool(self._scripts.run(PRESENT, call))

    def close(self) -> None:
        """Close the connection over which a worker speaks."""
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(Exception):  # whatever is wrong with it, it is not used again
                link.disconnect()

    def _announce(self, worker: Worker) -> None:
        try:
            if self._link is not None and not self._redis.leads_on(self._link, self._key):
                self.close()  # there is another primary now
            if self._link is None:
                self._open()
            server, number, since = self._about
            text = _dump(Presence(worker, 0, since, server, number))
            self._keep(worker.id, text)
        except BaseException:
            self.close()
            raise

    def _keep(self, worker_id: str, text: str) -> None:
        call = Call((self._key,), (worker_id, text, ""))
        try:
            spelt = ("EVALSHA", PRESENT.plain_digest, len(call.keys), *call.keys, *call.args)
            self._redis.ask_over(self._link, (spelt,))
        except StoreError as error:
            if not isinstance(error.__cause__, AskError):
                raise
            # The key is on its way to another node of a cluster; until all of its slot has moved,
            # that is no reason to leave this one.
            self._scripts.run(PRESENT, call)

    def _open(self) -> None:
        self._link = self._redis.new_link(self._key)
        number, info, time, _ = self._redis.ask_over(
            self._link,
            (("CLIENT", "ID"), ("INFO", "server"), ("TIME",), ("SCRIPT", "LOAD", PRESENT.plain)),
        )
        self._about = (_server(info), int(number), ms(time))
        self._see_it(*self._about)

    def _see_it(self, server: str, number: int, _since: int) -> None:
        """Raise an error if others cannot see our connection."""
        if self.connected((number,)) == Connected(server, frozenset((number,))):
            return
        if not self._redis.leads_on(self._link, self._key):
            raise StoreUnavailable("the state Redis has another primary now")
        self._redis.ask_over(self._link, (("CLIENT", "ID"),))  # an error, if it was just closed
        raise StoreError("the state Redis hides which connections stand; is it behind a proxy?")


def _server(info: Any) -> str:
    found = re.search(r"^run_id:(\w+)", str(info), re.MULTILINE)
    if found is None:
        raise StoreError("the state Redis does not say which run of it this is (INFO server)")
    return found[1]


def _numbers(clients: Any) -> list[int]:
    return [int(number) for number in re.findall(r"^id=(\d+) ", str(clients), re.MULTILINE)]


def _dump(presence: Presence) -> str:
    return json.dumps(presence._replace(seen=0), separators=(",", ":"))


def _load(worker_id: str, text: str) -> Presence | None:
    """Read what is kept of a worker; None if it is none of ours, or of a later version."""
    seen, _, rest = text.partition(" ")
    try:
        (_, *about), _, *others = json.loads(rest)
        return Presence(Worker(worker_id, *about), int(seen), *others)
    except (ValueError, TypeError):
        return None
