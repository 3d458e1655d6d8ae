"""What must be so before a message of ours is sent or taken in, whatever else an application sends.

Owns: the settings of Celery's under which no message of ours arrives, and the tasks that could not
be run.  Refuses to know: who asks (who starts a run, workers, beats), and what works but endangers
runs; that is the doctor's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu import serialization
from kombu.exceptions import KombuError

from celeriac.authoring import misfits_of
from celeriac.errors import ConfigurationError
from celeriac.workers.canvas import ERRBACK, GUARD
from celeriac.workers.intake import JSON
from celeriac.workers.message_options import SIGNED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

_dumps: Any = serialization.dumps  # kombu has no types
_loads: Any = serialization.loads
# What the body of a saga's message consists of.
_BODY: list[Any] = [
    [],
    {GUARD: "order-42"},
    {
        "callbacks": None,
        "errbacks": [{"task": ERRBACK, "args": ["order-42"], "immutable": True}],
        "chain": [{"task": "shop.ship", "options": {"time_limit": 1.5, "retries": 2}}],
        "chord": None,
    },
]


def check_messages(app: Celery) -> None:
    """Raise ConfigurationError if no message of ours can arrive under the settings of *app*."""
    protocol = app.conf.task_protocol
    if protocol != 2:  # noqa: PLR2004 -- the first one that has headers
        raise ConfigurationError(
            f"task_protocol: with {protocol!r} messages have no headers, and those say which step "
            "of which run is meant; remove the setting, or write app.conf.task_protocol = 2"
        )
    if app.conf.task_serializer != SIGNED:
        _check_json()


def check_tasks(app: Celery, unfit: Mapping[str, str]) -> None:
    """Raise ConfigurationError if a step of a saga could not be run here.

    *unfit* are the tasks that could not be adopted, and why.
    """
    for name, task in app.tasks.items():
        why = [unfit[name]] if name in unfit else []
        if hasattr(task, "saga_runtime"):
            why = misfits_of(task)
        if why:
            raise ConfigurationError(
                f"the task {name} cannot be a step here: {why[0]}; look at its options, and at "
                "task_annotations"
            )


def _check_json() -> None:
    try:
        form, encoding, text = _dumps(_BODY, serializer="json")
        same = form == JSON and _loads(text, form, encoding, accept=["json", JSON]) == _BODY
        told = f"it writes {form}" if form != JSON else "what it reads is not what it wrote"
    except (KombuError, TypeError, ValueError, LookupError) as error:
        same, told = False, f"it raises {type(error).__name__}: {error}"
    if not same:
        raise ConfigurationError(
            "task_serializer: another serializer was registered as 'json', and a saga's message is "
            f"plain JSON ({told}); register it under a name of its own, such as "
            "kombu.serialization.register('json-of-mine', …), and set task_serializer = "
            "'json-of-mine'"
        )
