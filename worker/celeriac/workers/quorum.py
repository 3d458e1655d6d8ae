"""Whether the queues of an application are RabbitMQ's quorum queues, and what follows for ours.

Owns: reading that off Celery's configuration.  Refuses to know: who declares queues, and who sends
messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.utils.quorum_queues import detect_quorum_queues

from celeriac.machine import SHORT_DELAY
from celeriac.observing import log

if TYPE_CHECKING:
    from celery import Celery

TYPE = "x-queue-type"


def default_type(app: Celery) -> str | None:
    """What the default queue of *app* is declared to be; None: what the broker makes of it."""
    default: Any = app.amqp.queues.get(app.conf.task_default_queue)
    return ((default.queue_arguments if default is not None else None) or {}).get(TYPE)


def longest_eta(app: Celery) -> int:
    """For how many ms a message of *app* may be held back, at most; 0 where none may be (F19)."""
    try:
        with app.connection_for_write() as asked:  # the transport, not the broker
            kind = asked.transport.driver_type
        return 0 if detect_quorum_queues(app, kind)[0] else SHORT_DELAY
    except Exception as error:  # noqa: BLE001 -- there is no such transport, say
        log.debug("nobody can say what the broker holds back: %s", type(error).__name__)
        return SHORT_DELAY
