"""The broker of the lab: it may lose, double, delay and reorder what it is given.

Owns: the messages on their way, and when each can be delivered.  Refuses to know: why one is lost
or late (whoever decides the fates), and what a delivery leads to.

One message for each attempt: the chains of the Celery edge, in which a worker passes on the next
link itself, are left out.  Every link of a chain looks at the state first, so this costs no
behaviour of a run, only messages.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from celeriac.engine import Backlog, Delivery
from celeriac.machine import epoch_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.machine import Dispatch, Plan, Run
    from celeriac.testing.clock import Clock

#: The queue that everything travels through.
QUEUE = "celery"


@dataclass(frozen=True, slots=True)
class Message:
    """A message on its way."""

    number: int  # of sending; copies share it
    who: str  # the step, or `undo` and the step
    delivery: Delivery
    at: int  # ms; not delivered before
    counted: bool  # the broker says of it that it waits in the queue


class Postmaster(Protocol):
    """Hears of each message, and says what becomes of it."""

    def contact(self, contact: str, when: str) -> None:
        """A message is about to be sent, or was; raises what the sender is to see of it."""

    def fate(self, who: str, delivery: Delivery) -> Sequence[int]:
        """How many ms later than it should each copy of a message arrives; none: it is lost."""


class Broker:
    """A dispatcher of the engine, and the queue its messages wait in."""

    def __init__(self, clock: Clock, postmaster: Postmaster) -> None:
        self._clock, self._postmaster = clock, postmaster
        self._sent = 0
        self.waiting: list[Message] = []

    def send(self, plan: Plan, run: Run, dispatches: Sequence[Dispatch], now: int) -> None:
        """Take messages, one by one: whoever sends them may die in between."""
        for each in dispatches:
            self._postmaster.contact("send", "before")
            self._take(plan, run, each, now)
            self._postmaster.contact("send", "after")

    def _take(self, plan: Plan, run: Run, dispatch: Dispatch, now: int) -> None:
        step, phase, attempt = dispatch.step, dispatch.phase, dispatch.attempt
        delivery = Delivery(run.id, epoch_of(run, step), step, phase, attempt, plan.fingerprint)
        who = f"undo {step}" if phase == "undo" else step
        self._sent += 1
        at = self._clock.now + max(0, dispatch.at - now)  # a countdown, from here on
        for later in self._postmaster.fate(who, delivery):
            # What is late is not in the queue: it is with a worker that does not come to it.
            counted = later == 0 and at <= self._clock.now
            self.waiting.append(Message(self._sent, who, delivery, at + later, counted))

    together = nullcontext  # one by one

    def backlog(self, task: str, queue: str | None = None) -> Backlog | None:
        """How much waits: what could be delivered at once, and was not yet."""
        del task, queue  # there is one for all
        return Backlog(QUEUE, sum(message.counted for message in self.waiting))

    def ready(self) -> list[Message]:
        """Return what can be delivered now, oldest first."""
        now = self._clock.now
        found = [message for message in self.waiting if message.at <= now]
        return sorted(found, key=lambda message: (message.at, message.number))

    def take(self, message: Message) -> Delivery:
        """Deliver a message."""
        self.waiting.remove(message)
        return message.delivery

    def next_at(self) -> int | None:
        """Return when the next message can be delivered, in ms; None: none waits."""
        return min((message.at for message in self.waiting), default=None)
