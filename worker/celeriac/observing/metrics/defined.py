"""What an application says of its sagas: their deadlines, and how much waits in their queues.

Owns: which queues those are, and asking the broker for each.  Refuses to know: runs.  A broker that
is away, or cannot tell, is left out; the deadlines are there all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.observing.metrics.gauges import Sample
from celeriac.observing.observers import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from celery import Celery

    from celeriac.machine import Plan

# Each transport has an error of its own for a queue that does not exist (yet).
_NO_QUEUE = ("NotFound", "ChannelError")


def definitions(
    app: Celery,
    plans: Sequence[Plan],
    own_queue: str,
    queue_of: Callable[[str, str | None], Any],
) -> Iterator[Sample]:
    """All gauges of an application; *own_queue* is that of Celeriac's own messages.

    *queue_of* returns the queue (kombu's) that messages of a task are sent to, of the name that a
    saga gave or None.
    """
    yield from _deadlines(plans)
    yield from _waiting(app, sorted({own_queue, *_queues(queue_of, plans)}))


def _deadlines(plans: Iterable[Plan]) -> Iterator[Sample]:
    for plan in plans:
        if plan.deadline is not None:
            yield Sample("celeriac_deadline_seconds", (plan.saga,), plan.deadline / 1000)


def _queues(queue_of: Callable[[str, str | None], Any], plans: Iterable[Plan]) -> Iterator[str]:
    """Where the messages of all steps and compensations are sent."""
    for task, queue in {address for plan in plans for address in plan.addresses}:
        try:
            yield str(queue_of(task, queue).name)
        except Exception as error:  # noqa: BLE001 -- it is not declared, or a router fails
            log.debug("the queue of %s is left out: %s", task, type(error).__name__)


def _waiting(app: Celery, queues: Iterable[str]) -> Iterator[Sample]:
    try:
        # A connection of its own: it is asked in a thread that nobody waits for.
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            for queue in queues:
                yield Sample("celeriac_queue_messages", (queue,), _count(connection, queue))
    except Exception as error:  # noqa: BLE001 -- whichever transport; the other figures are served
        log.debug("how much waits in queues is left out: %s", type(error).__name__)


def _count(connection: Any, queue: str) -> int:
    # A channel for each: RabbitMQ closes the one that asked for a queue that is not there.
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue=queue, passive=True).message_count)
        except Exception as error:
            if type(error).__name__ in _NO_QUEUE:
                return 0
            raise
