"""What a worker takes in: a saga's message in the form it was sent in, or not at all.

Owns: refusing messages of sagas that are not JSON, or not formed like a task's, before anything
of them is decoded or run.  Refuses to know: what a message asks for; that is claimed, or not.

An application may accept pickle for other tasks.  Celery decodes a message before any task sees
it, so this stands where Celery lets a task say how its messages are taken: its `Strategy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.exceptions import InvalidTaskError
from celery.worker.strategy import default

from celeriac.workers.headers import HEADER
from celeriac.workers.message_options import SIGNED

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

#: What Celery is to import where it takes in a message of ours.
STRATEGY = "celeriac.workers.intake:strategy"

JSON = "application/json"
_SIGNED = "application/data"  # of Celery's `auth`: checked, then JSON again


def strategy(task: Any, app: Celery, consumer: Any, **given: Any) -> Callable[..., Any]:
    """Return what Celery calls for each message of *task*: its own, behind our door."""
    take = default(task, app, consumer, **given)
    only_ours = not hasattr(task, "saga_runtime")  # the sweep and the errback
    form = _SIGNED if app.conf.task_serializer == SIGNED else JSON

    def taken(message: Any, *rest: Any, **more: Any) -> Any:
        if only_ours or HEADER in (message.headers or {}):
            _check(message, form)
        return take(message, *rest, **more)

    return taken


def _check(message: Any, form: str) -> None:
    """Raise InvalidTaskError, upon which Celery drops the message and says so."""
    if message.content_type != form:
        raise InvalidTaskError(f"a saga's message is {form}, this one {message.content_type!r}")
    if not _is_body(message.payload):
        raise InvalidTaskError("its body is not that of a task: [args, kwargs, embed]")
    if wrong := [name for name, fits in _HEADERS.items() if not fits(message.headers.get(name))]:
        raise InvalidTaskError(f"it has malformed headers: {', '.join(wrong)}")


def _is_body(body: Any) -> bool:
    if not isinstance(body, list | tuple) or len(body) != 3:  # noqa: PLR2004 -- its three parts
        return False
    args, kwargs, embed = body
    return isinstance(args, list) and isinstance(kwargs, dict) and isinstance(embed, dict | None)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _are_limits(value: Any) -> bool:
    # Celery counts on two, and on numbers, where nothing catches what it finds instead.
    return value is None or (
        isinstance(value, list)
        and len(value) == 2  # noqa: PLR2004 -- hard and soft
        and all(limit is None or isinstance(limit, int | float) for limit in value)
    )


_HEADERS: dict[str, Callable[[Any], bool]] = {
    "id": lambda value: isinstance(value, str),
    "root_id": _is_text,
    "parent_id": _is_text,
    "group": _is_text,
    "eta": _is_text,
    "expires": _is_text,
    "argsrepr": _is_text,
    "kwargsrepr": _is_text,
    "shadow": _is_text,
    "retries": _is_count,
    "timelimit": _are_limits,
}
