"""Onlookers: what Celery tells of its tasks, and what goes over the wire to the broker.

Owns: `Events`, the stream that Flower reads, and `Wire`, every command that Redis is sent.
Refuses to know: what may be seen there.
"""

from __future__ import annotations

import base64
import re
import threading
from typing import TYPE_CHECKING, Any, Protocol

from tests.processes import until

if TYPE_CHECKING:
    from typing import Self

    from celery import Celery

    from tests.redis_server import RedisServer

_ARE_YOU_THERE = "test-listening"
_LAST = "that-is-all"
_BODY = re.compile(r'"body": "([A-Za-z0-9+/=]+)"')


class Events:
    """Every event of Celery's while a `with` lasts, in the order of arrival."""

    def __init__(self, app: Celery) -> None:
        self.seen: list[dict[str, Any]] = []
        self._app = app
        self._ready, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        with self._app.connection_for_read() as given:
            receiver = self._app.events.Receiver(given, handlers={"*": self._take})
            with receiver.consumer_context() as (connection, _, _):
                while not self._stopping.is_set():
                    try:
                        connection.drain_events(timeout=0.1)
                    except TimeoutError:
                        continue

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == _ARE_YOU_THERE:
            self._ready.set()
        else:
            self.seen.append(event)

    def __enter__(self) -> Self:
        self._thread.start()
        # It subscribes at some time after it began to consume: only an event that arrives tells.
        with self._app.connection_for_write() as given, self._app.events.Dispatcher(given) as ask:
            until(lambda: ask.send(_ARE_YOU_THERE) or self._ready.wait(0.1), "somebody listens")
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)

    def of_task(self, task_id: str) -> list[str]:
        """The types of a task's events, without `task-`."""
        found = [event for event in list(self.seen) if event.get("uuid") == task_id]
        return [event["type"].removeprefix("task-") for event in found]

    def of_run(self, run_id: str) -> list[dict[str, Any]]:
        """The events of all tasks whose id begins with a run's."""
        return [e for e in list(self.seen) if str(e.get("uuid", "")).startswith(f"{run_id}:")]


class Place(Protocol):
    """A test's place, with its Redis."""

    @property
    def redis(self) -> RedisServer:
        """The server."""


class Wire:
    """Every command that a test's Redis is sent while a `with` lasts."""

    def __init__(self, world: Place) -> None:
        self.commands: list[str] = []
        self._world = world
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._ready = threading.Event()

    def _watch(self) -> None:
        with self._world.redis.client(socket_timeout=None) as client, client.monitor() as monitor:
            self._ready.set()
            for seen in monitor.listen():
                if seen["command"] == f"ECHO {_LAST}":
                    return
                self.commands.append(seen["command"])

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "nobody listens on the wire"
        return self

    def __exit__(self, *_: object) -> None:
        with self._world.redis.client() as client:
            client.echo(_LAST)
        self._thread.join(10)

    def to_broker(self) -> list[str]:
        """The commands that are no business of the store's, bodies of messages in plain text."""
        found = [command for command in list(self.commands) if "celeriac:{" not in command]
        return [_BODY.sub(_plain, command.replace('\\"', '"')) for command in found]

    def to_store(self) -> list[str]:
        """The commands that read and write runs."""
        return [command for command in list(self.commands) if "celeriac:{" in command]


def _plain(body: re.Match[str]) -> str:
    return f'"body": {base64.b64decode(body[1]).decode()}'
