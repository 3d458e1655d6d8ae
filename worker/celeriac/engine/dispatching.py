"""Who sends messages, as the engine sees it.

Owns: what a dispatcher promises, and what a broker says of a queue.  Refuses to know: Celery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.machine import Dispatch, Plan, Run


class Backlog(NamedTuple):
    """What a broker says of the queue that a step's messages go to."""

    queue: str
    messages: int
    away: bool = False  # the broker is out of reach: nothing is known, and nothing can be sent


class BrokerAway(Exception):
    """The broker is out of reach: nothing is wrong with the message that could not be sent."""


class Dispatcher(Protocol):
    """Sends messages.  May lose, double, delay and reorder them: the sweep looks after that.

    Whoever has something to send calls `Engine.send`, which lets nothing out that this raises.
    """

    def send(self, plan: Plan, run: Run, dispatches: Sequence[Dispatch], now: int) -> None:
        """Send what is due.

        Raises BrokerAway if the broker is, and whatever else is in the way of a message.
        """

    def backlog(self, task: str) -> Backlog | None:
        """The queue of a task and how much waits there; None if the broker cannot say."""
