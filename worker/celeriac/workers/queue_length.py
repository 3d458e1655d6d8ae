"""How many messages wait in a queue, as a channel of the broker counts them.

Owns: asking so that the answer is right on every transport.  Refuses to know: who asks, and what
follows from it.
"""

from __future__ import annotations

from typing import Any


def queue_length(channel: Any, queue: str) -> int:
    """Return how many messages wait in *queue*; raises what its transport raises.

    Under a `global_keyprefix` kombu's Redis looks for the queue without the prefix (EXISTS), and
    says that there is none; counting, it puts the prefix before the name.
    """
    if getattr(channel, "global_keyprefix", ""):
        return int(channel._size(queue))  # noqa: SLF001 -- see above
    return int(channel.queue_declare(queue=queue, passive=True).message_count)
