"""Faults of the broker's queues: messages are lost, come twice, or late and in another order.

Owns: taking messages out of the queues before a worker does, and what becomes of them.  Refuses to
know: what they say.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import redis

from tests.chaos.missed import PATIENCE, Dice, Missed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.environment import Installation
    from tests.chaos.schedule import Planned

QUEUES = ("celery", "celeriac")
_SWEEP = b'"celeriac.sweep"'  # a tick: there are many, and they are of no use here
_MOST_TAKEN = 8  # messages


def _taken(installation: Installation, planned: Planned) -> Iterator[tuple[bytes, bytes]]:
    """Messages taken from the queues before a worker could, each with its queue."""
    over = time.monotonic() + planned.length
    give_up, count = time.monotonic() + PATIENCE, 0
    while count < _MOST_TAKEN and time.monotonic() < (over if count else give_up):
        with contextlib.suppress(redis.RedisError, OSError), _raw(installation) as client:
            taken: Any = client.brpop(list(QUEUES), timeout=0.5)
            if taken and _SWEEP not in taken[1]:
                count += 1
                yield taken[0], taken[1]
            elif taken:
                client.rpush(*taken)
                time.sleep(0.01)  # whoever waits as well is served first
    if not count:
        raise Missed("no messages came by")


def _raw(installation: Installation) -> redis.Redis:
    return redis.Redis(port=installation.broker.port, socket_timeout=3)


def _put(installation: Installation, queue: bytes, *messages: bytes) -> None:
    """Put messages back to where they are taken next; lost if the broker is away just now."""
    with contextlib.suppress(redis.RedisError, OSError), _raw(installation) as client:
        client.rpush(queue, *messages)


def lose_messages(installation: Installation, planned: Planned, _dice: Dice) -> str:
    """Messages are gone."""
    return f"{len(list(_taken(installation, planned)))} messages"


def double_messages(installation: Installation, planned: Planned, dice: Dice) -> str:
    """Messages arrive twice: two at once, or the second when all is over."""
    taken = []
    for queue, message in _taken(installation, planned):
        later = dice.random() < 0.5
        _put(installation, queue, *([message] if later else [message, message]))
        taken.append((later, queue, message))
    time.sleep(dice.uniform(0.2, 3.0))
    late = [(queue, message) for later, queue, message in taken if later]
    for queue, message in late:
        _put(installation, queue, message)
    return f"{len(taken) - len(late)} messages at once, {len(late)} later"


def shuffle_messages(installation: Installation, planned: Planned, dice: Dice) -> str:
    """Messages arrive late, in another order."""
    taken = list(_taken(installation, planned))
    dice.shuffle(taken)
    for queue, message in taken:
        _put(installation, queue, message)
        time.sleep(dice.uniform(0.0, 0.1))
    return f"{len(taken)} messages"
