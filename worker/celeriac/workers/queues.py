"""How much waits in a queue, and for how long.

Owns: asking the broker.  Refuses to know: who should take it, and runs: when a message was sent is
the run's to say.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

from celeriac.observing import log
from celeriac.workers.headers import HEADER, parse_header
from celeriac.workers.queue_length import queue_length

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from celery import Celery

    from celeriac.engine import Delivery

# Each transport has an error of its own for a queue that does not exist (yet).
_NO_QUEUE = ("NotFound", "ChannelError")


class Depth(NamedTuple):
    """What a broker says of one queue."""

    queue: str
    messages: int | None  # None: the broker cannot say
    oldest: tuple[Delivery, ...] = ()  # of each priority; only a Redis lets one look


def depths(app: Celery, queues: Iterable[str]) -> Iterator[Depth]:
    """Yield how much waits in each of *queues*; nothing of a broker that is away."""
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            for queue in queues:
                # A channel for each: RabbitMQ closes one that asked for what is not there.
                with connection.channel() as channel:
                    yield _depth(channel, queue)
    except Exception as error:  # noqa: BLE001 -- whichever transport
        log.debug("how much waits in queues is left out: %s", type(error).__name__)


def _depth(channel: Any, queue: str) -> Depth:
    try:
        count = queue_length(channel, queue)
    except Exception as error:
        if type(error).__name__ in _NO_QUEUE:
            return Depth(queue, 0)
        raise
    return Depth(queue, count, tuple(_oldest(channel, queue)) if count else ())


def _oldest(channel: Any, queue: str) -> Iterator[Delivery]:
    """Yield what the message says that waits longest, of each priority."""
    names = getattr(channel, "_q_for_pri", None)
    if names is None or not hasattr(channel, "priority_steps"):
        return  # no Redis
    # A client of its own: kombu's puts its prefix before the keys of some commands only.
    client = redis.Redis(connection_pool=channel.client.connection_pool)
    prefix = getattr(channel, "global_keyprefix", "")
    for priority in channel.priority_steps:
        text: Any = client.lindex(f"{prefix}{names(queue, priority)}", -1)
        try:
            found = text and parse_header((json.loads(text).get("headers") or {}).get(HEADER))
        except (ValueError, AttributeError):
            continue  # whatever it is, it is no task's
        if found:
            yield found
