"""Waiting for a run to come to rest, woken by the commit that brings it there.

Owns: subscribing, and what can go wrong while waiting: a lost message, a lost connection, a
Redis that restarts.  Refuses to know: what the run does meanwhile.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from celeriac.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.store.connection import Connection

LOOK_AGAIN = 30.0  # seconds; a belt, should the message have been lost
_PAUSE = (0.05, 1.0)  # seconds before connecting again: first, and at most
_CONFIRM = 5.0  # seconds


def wait_until(
    connection: Connection, channel: str, done: Callable[[], bool], timeout: float | None
) -> bool:
    """Wait until *done*, woken through *channel*; return False if it is not after *timeout*.

    Raises StoreUnavailable if Redis is out of reach from the start; later it is waited for.
    """
    end = None if timeout is None else time.monotonic() + timeout
    pause = 0.0
    if done():
        return True
    while (left := _left(end)) > 0:
        try:
            if _listen(connection, channel, done, min(left, LOOK_AGAIN)):
                return True
            pause = 0.0
        except StoreUnavailable:
            pause = min(max(2 * pause, _PAUSE[0]), _PAUSE[1])
            time.sleep(min(pause, max(_left(end), 0)))
    return False


def _listen(connection: Connection, channel: str, done: Callable[[], bool], seconds: float) -> bool:
    """Listen for some seconds; return whether it is done."""
    with connection.errors(), connection.client.pubsub() as pubsub:
        pubsub.subscribe(channel)
        pubsub.get_message(timeout=_CONFIRM)
        # Only once Redis knows of us: what ended before is seen, what ends later is heard.
        if done():
            return True
        if pubsub.get_message(timeout=seconds) is None:
            return False
    return done()


def _left(end: float | None) -> float:
    return LOOK_AGAIN if end is None else end - time.monotonic()
