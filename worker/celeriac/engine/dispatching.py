"""Who sends messages, as the engine sees it.

Owns: what a dispatcher promises, what a broker says of a queue, and the reason that a run keeps for
a message that could not be sent.  Refuses to know: Celery.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from celeriac.failure import class_name, safe_text
from celeriac.machine import NOT_SENT
from celeriac.observing import clean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from celeriac.machine import Dispatch, Plan, Run

_LONGEST_REASON = 300  # characters of why a message was not sent


class Backlog(NamedTuple):
    """What a broker says of the queue that a step's messages go to."""

    queue: str
    messages: int


class Unreachable:
    """The broker is out of reach: it says nothing of queues, and nothing can be sent."""


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

    def together(self) -> AbstractContextManager[None]:
        """What is sent meanwhile may be sent at the end of it, all in one go."""

    def backlog(self, task: str, queue: str | None = None) -> Backlog | Unreachable | None:
        """How much waits where messages of *task* go, or in *queue*; None: nobody can say."""


def asked_for(run: Run, dispatch: Dispatch) -> dict[str, Any]:
    """The options that its task asked of a message, such as `queue`: see `PhaseState.via`."""
    found = run.step(dispatch.step).direction(dispatch.phase).via
    return json.loads(found) if found else {}


def reason_unsent(error: Exception) -> str:
    """The reason that a run keeps for a message whose sending raised *error*: one short line."""
    # A KeyError, such as QueueNotFound, would put its text in quotes.
    told = error.args[0] if isinstance(error, KeyError) and len(error.args) == 1 else error
    why = f"{NOT_SENT}{class_name(error)}: {clean(' '.join(safe_text(told).split()))}"
    return why if len(why) <= _LONGEST_REASON else why[:_LONGEST_REASON] + "…"
