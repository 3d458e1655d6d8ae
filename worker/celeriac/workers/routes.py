"""Where the messages of a task go, how much waits there, and whether the broker is out of reach.

Owns: these questions to the routes of the app and to its broker.  Refuses to know: what is sent
(`canvas`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.exceptions import QueueNotFound
from kombu.exceptions import OperationalError

from celeriac.engine import Backlog, Unreachable
from celeriac.observing import log
from celeriac.workers.queue_length import queue_length
from celeriac.workers.queue_name import QUEUE

if TYPE_CHECKING:
    from celery import Celery

#: Where a task says that its messages go.
PLACE = ("queue", "exchange", "routing_key")


class Routes:
    """The routes of an app."""

    def __init__(self, app: Celery) -> None:
        """*app* is asked anew each time; nothing is kept."""
        self._app = app

    def backlog(self, task: str, queue: str | None = None) -> Backlog | Unreachable | None:
        """How much waits where messages of *task* go, or in *queue*; None: nobody can say."""
        try:
            found = self.queue_of(task, queue)
            with self._app.connection_or_acquire() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
                waiting = queue_length(connection.default_channel, found.name)
                return Backlog(found.routing_key or found.name, waiting)
        except Exception as error:  # noqa: BLE001 -- a router, too, may raise what it likes
            log.debug("cannot ask how much waits for %s: %s", task, type(error).__name__)
            # Each transport has errors of its own for a queue that does not exist (yet); sending
            # will declare it, so nothing waits there.
            if type(error).__name__ in ("NotFound", "ChannelError"):
                return Backlog(QUEUE, 0)
            return Unreachable() if self.is_away(error) else None

    def queue_of(self, task: str, queue: str | None = None) -> Any:
        """Return the queue (kombu's) that messages of *task* are sent to; *queue* names another.

        Raises what sending them would: QueueNotFound, or whatever a router does.
        """
        route = self.route_of(task, queue)
        found = route.get("queue")
        exchange, key = route.get("exchange") or "", str(route.get("routing_key") or "")
        exchange = str(getattr(exchange, "name", exchange))
        if found is not None and (not exchange or _is_bound(found, exchange, key)):
            return found
        for each in self._app.amqp.queues.values():
            if _is_bound(each, exchange, key):
                return each
        raise QueueNotFound(
            f"exchange {exchange!r} with the routing key {key!r} leads to no queue of task_queues"
        )

    def route_of(self, task: str, queue: str | None = None) -> dict[str, Any]:
        """Return how messages of *task* are sent: `queue` (kombu's), and other options.

        Raises what sending them would: QueueNotFound, or whatever a router does.
        """
        known = self._app.tasks.get(task)
        # What the task says of itself, as far as this process knows it, comes before all routes.
        own = {name: value for name in PLACE if (value := getattr(known, name, None))}
        if queue:
            own["queue"] = queue
        found: dict[str, Any] = self._app.amqp.router.route(own, task, (), {}, known)
        return found

    def is_away(self, error: Exception) -> bool:
        """True if the broker is out of reach: the message is not to blame."""
        error = cause_of(error)
        if isinstance(error, OperationalError | OSError):
            return True
        if isinstance(error, LookupError):
            return False  # a queue that is not declared; kombu's Redis counts it as a connection's
        try:
            with self._app.connection_for_write() as asked:  # it asks the transport, not the broker
                # What a channel refuses (it is out of memory, say) is said of that message.
                return isinstance(error, asked.connection_errors)
        except Exception:  # noqa: BLE001 -- there is no such transport, say
            return False


def _is_bound(queue: Any, exchange: str, key: str) -> bool:
    """Whether messages to an exchange, with this routing key, come into a queue (kombu's)."""
    own = queue.exchange
    if (own.name if own else "") != exchange:
        return False
    return own.type in ("topic", "fanout") or (key or queue.routing_key) == queue.routing_key


def cause_of(error: Exception) -> Exception:
    """Return what kombu has put into an error of its own: that says what is wrong."""
    cause = error.__cause__
    within = isinstance(error, OperationalError) and isinstance(cause, Exception)
    return cause if within else error  # type: ignore[return-value]  # it is one
