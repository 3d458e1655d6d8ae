"""The queue of Celeriac's own tasks: the sweep's ticks, and the errback.

Owns: its name, and how it is declared where the application does not.  Refuses to know: who sends
to it and who takes from it.

It carries the namespace, so that two applications on one broker do not take each other's ticks:
where the application has set one, that is appended after a dot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError
from celeriac.settings import Settings, read_settings
from celeriac.workers.quorum import TYPE, default_type

if TYPE_CHECKING:
    from celery import Celery

#: Its name where the application has set no namespace.
QUEUE = "celeriac"


def own_queue(app: Celery) -> str:
    """Return the name of the queue of Celeriac's own tasks in *app*."""
    try:
        namespace = read_settings(app.conf).namespace
    except ConfigurationError:
        return QUEUE  # whoever starts with such a configuration is told elsewhere
    return QUEUE if namespace == Settings().namespace else f"{QUEUE}.{namespace}"


def declared(app: Celery) -> Any:
    """Return that queue (kombu's) as the application declares it, or else as we do.

    It is there also where task_create_missing_queues is off; and it is a quorum queue where the
    application's default queue is one: a RabbitMQ cluster may have no others.
    """
    queues, name = app.amqp.queues, own_queue(app)
    if name in queues:
        return queues[name]
    made = queues.new_missing(name)
    if kind := default_type(app):
        made.queue_arguments = {**(made.queue_arguments or {}), TYPE: kind}
    return queues.add(made)
