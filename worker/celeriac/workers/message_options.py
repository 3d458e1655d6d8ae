"""What the message of an attempt says beside its task: id, header, time limits, place, text shown.

Owns: each of these, and telling the message of an attempt in a chain.  Refuses to know: how
messages are made and sent (`canvas`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.engine import asked_for
from celeriac.machine import key_of
from celeriac.workers.headers import HEADER, parse_header, words_of
from celeriac.workers.message_text import texts_of
from celeriac.workers.routes import PLACE

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.machine import Dispatch, Node, Phase, Run

#: Celery's signed messages: an application that has them wants ours signed too.
SIGNED = "auth"


def written(app: Celery) -> dict[str, str]:
    """How our messages are written: as JSON, whatever the application sends otherwise."""
    return {} if app.conf.task_serializer == SIGNED else {"serializer": "json"}


def message_options(run: Run, dispatch: Dispatch) -> dict[str, Any]:
    """What tells the message of an attempt from any other: id, header, and the text shown."""
    return {
        "task_id": task_id(run, dispatch.step, dispatch.phase, dispatch.attempt),
        "retries": dispatch.attempt - 1,  # what Flower counts, also where the sweep sends it
        "headers": {HEADER: words_of(run, dispatch)},
        **texts_of(run, dispatch),
    }


def task_id(run: Run, step: str, phase: Phase, attempt: int) -> str:
    """The Celery task id of an attempt: `order-42:charge:1`, `order-42:charge:undo:1`.

    Sent again, it has another: `order-42:charge:1.2`.  Whoever has revoked the first, as the red
    button in Flower does, has workers discard whatever comes under that id (F18).
    """
    direction = run.step(step).direction(phase)
    again = (
        f".{direction.sends + 1}" if direction.sends and attempt == direction.attempt + 1 else ""
    )
    return f"{key_of(run, step)}:{step}:{'' if phase == 'do' else 'undo:'}{attempt}{again}"


def carries_on(rest: Any, dispatch: Dispatch) -> bool:
    """True if *rest*, the chain of a running task, begins with the message of *dispatch*."""
    if not rest:
        return False
    try:
        following = parse_header(rest[-1]["options"]["headers"][HEADER])
    except (KeyError, IndexError, TypeError):
        return False  # whatever it is, it is not ours
    return following is not None and following[2:5] == (
        dispatch.step,
        dispatch.phase,
        dispatch.attempt,
    )


def sent_as(node: Node, run: Run, dispatch: Dispatch) -> dict[str, Any]:
    """What the saga says of the messages of a step, and its task of the attempts after a retry.

    A compensation goes where its task does, unless that asks for something else.
    """
    said = {} if dispatch.phase == "undo" else {"queue": node.queue, "priority": node.priority}
    asked = asked_for(run, dispatch)
    if any(name in asked for name in PLACE):
        said["queue"] = None
    return {name: value for name, value in {**said, **asked}.items() if value is not None}


def time_limits(node: Node, phase: Phase, grace: int) -> dict[str, float]:
    """The time limits of an attempt, in seconds, as Celery calls them."""
    limit = node.limit(phase)
    if limit is None:
        return {}
    # Soft first, so that the step can tell; hard before the state gives the attempt up.
    return {"soft_time_limit": limit / 1000, "time_limit": (limit + grace // 2) / 1000}
