"""The edge: what stands between a saga's message and Celery's own tracer of its task.

Owns: which messages are attempts, and the order of what one message brings.  Refuses to know: how
an attempt is claimed (`claiming`), and how it goes on (`passage`).

::

    message -> claim -> arguments -> Celery's tracer(real arguments, real request) -> settle -> next

Whatever Celery does around a task (hooks, signals, a class with a `__call__` of its own) it does
with the arguments of the attempt, and only if the attempt was granted.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.app.trace import trace_ok_t
from celery.exceptions import Ignore

from celeriac.observing import log
from celeriac.points import reached
from celeriac.workers.ahead import ReportedRuntime, may_run_ahead
from celeriac.workers.bundles import take_others
from celeriac.workers.claiming import glances_at, granted, send_again, work_of
from celeriac.workers.headers import header_in, parse_header
from celeriac.workers.limits import HANDED
from celeriac.workers.pace import note
from celeriac.workers.passage import Passage, ignored_message, of_another_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.engine import Delivery
    from celeriac.workers.ahead import RunAhead

    #: `(id, args, kwargs, request) -> (result, info, seconds, text)`, as Celery builds it.
    Tracer = Callable[..., Any]


def around(task: Any, tracer: Tracer) -> Tracer:
    """Return what a worker is to call in the place of the tracer that Celery built for *task*."""

    def trace(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        header = header_in(request)
        if not header:
            return tracer(uuid, args, kwargs, request)  # none of ours
        return attempt(task, tracer, uuid, request)

    return trace


def attempt(task: Any, tracer: Tracer, uuid: str, request: dict[str, Any]) -> Any:
    """Let one attempt pass; return what Celery's tracer does of a task that ended in this way."""
    delivery = parse_header(header_in(request))
    if delivery is None:
        return ignored_message(task, request, Ignore(f"{task.name}: its saga header is malformed"))
    reached("step.arrived", delivery)
    ahead, others = may_run_ahead(task, request), take_others(request)
    request.pop(HANDED, None)  # between the main process and us
    if ahead is None or (others and not ahead.brings_others(task)):
        send_again(task, others)
        others = []
    own = partial(_own, task, tracer, uuid, request, delivery, ahead)
    if ahead is None:
        return own()
    try:
        told = _with_others(own, others, task, request, ahead) if others else own()
    finally:
        ahead.over()
    return (
        told._replace(runtime=ReportedRuntime.of(told.runtime, ahead.told)) if ahead.told else told
    )


def _own(
    task: Any,
    tracer: Tracer,
    uuid: str,
    request: dict[str, Any],
    delivery: Delivery,
    ahead: RunAhead | None,
) -> Any:
    """Let the message's own attempt pass, and what is taken up behind it."""
    try:
        work = granted(task, delivery, request, ahead)
    except Ignore as ignored:
        return ignored_message(task, request, ignored)
    if work is None:
        return trace_ok_t(None, None, 0.0, "None")
    passage = Passage(task, work, uuid, request, ahead)
    if ahead is None:
        return passage.pass_through(tracer)
    told, raised = _passed(passage, tracer)
    _what_follows(passage, ahead)
    if raised is not None:
        raise raised
    return told


def _with_others(
    own: Callable[[], Any],
    others: Sequence[Delivery],
    task: Any,
    request: dict[str, Any],
    ahead: RunAhead,
) -> Any:
    """Let the message's own attempt pass, then those of other runs; return what is told of it."""
    told, raised = _caught(own)
    glances = glances_at(task, others, ahead)
    for number, delivery in enumerate(others):
        if not ahead.turn_to(delivery, task):
            send_again(task, others[number:])
            break
        try:
            work = granted(task, delivery, request, ahead, glances.get(delivery.run_id))
        except Ignore as ignored:
            log.debug("%s", ignored)
            continue
        if work is not None:
            passage = of_another_run(task, work, request, ahead)
            _pass_and_note(passage, ahead)
            _what_follows(passage, ahead)
    if raised is not None:
        raise raised
    return told


def _what_follows(passage: Passage, ahead: RunAhead) -> None:
    """Let those pass that are taken up behind an attempt, one after the other."""
    app, engine = passage.task.app, passage.work.engine
    while passage.following is not None:
        attempt = passage.following
        reached("ahead.claimed", attempt.delivery)
        task = app.tasks[attempt.node.task_of(attempt.delivery.phase)]
        passage = passage.next(task, work_of(task, attempt, engine))
        _pass_and_note(passage, ahead)


def _pass_and_note(passage: Passage, ahead: RunAhead) -> None:
    """Let an attempt pass that has no message of its own, and note what Celery is to be told."""
    began = time.time()
    found, error = _passed(passage, passage.task.saga_tracer)
    if found is not None:
        ahead.note(passage.task, passage.request, began, found)
    elif error is not None:
        log.warning("%s: a hook raised %s", passage.work.name, type(error).__name__)


def _passed(passage: Passage, tracer: Tracer) -> tuple[Any, Exception | None]:
    """Let one attempt pass, and note how long that took."""
    began = time.monotonic()
    found = _caught(partial(passage.pass_through, tracer))
    note(passage.task.saga_runtime.paces, passage.task.name, time.monotonic() - began)
    return found


def _caught(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Call something; what comes out of a tracer must not keep the next from its turn."""
    try:
        return call(), None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 -- raised again, or logged
        return None, error
