"""SIGINT and SIGTERM while a verb is at work: what has begun is finished first.

Owns: turning signals into items of a queue.  Refuses to know: what is at work.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def interrupts() -> Iterator[SimpleQueue[int]]:
    """SIGINT and SIGTERM as items of a queue, so that what has begun is finished first.

    The second of a kind ends the process at once.
    """
    asked: SimpleQueue[int] = SimpleQueue()  # its `put` may be called from a signal's handler

    def ask(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        asked.put(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
