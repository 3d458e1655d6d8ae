"""What a worker's main process does about messages whose children run ahead.

Owns: leaving time limits to the children and killing those that are over a hard one, holding them
back, and telling Celery what became of each attempt.  Refuses to know: leases (`leases` asks
here where a message has got to), and what is run ahead (`ahead`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import billiard
from celery import signals
from celery.bootsteps import RUN
from celery.worker import state

from celeriac.observing import log, title
from celeriac.workers.headers import HEADER, header_in, parse_header
from celeriac.workers.limits import HANDED, Limits, limits_of
from celeriac.workers.message_text import shown_of
from celeriac.workers.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.workers.progress import Position

_ENDED = "celeriac_ended"
_BEGINNING = ("task-received", "task-started")


def shared_progress(worker: Any) -> Progress | None:
    """What a worker's children tell where they have got to; before there are any.

    None: nothing is to be run ahead in this worker.
    """
    # It counts messages: with one for each attempt, it counts attempts.
    if getattr(worker, "max_tasks_per_child", None):
        return None
    progress = Progress()
    progress.pool = Limits(worker.soft_time_limit or None, worker.time_limit or None)
    progress.most_memory = getattr(worker, "max_memory_per_child", None) or 0
    progress.want_events(bool(worker.task_events))
    return progress


class Supervision:
    """Looks after the messages of one worker, several times a second."""

    def __init__(self, worker: Any, progress: Progress) -> None:
        self._worker, self._progress = worker, progress
        self._options = self._told_of_tasks()
        self._stopping = False
        self._known: set[str] = set()  # ids of attempts that Celery was told of
        signals.worker_shutting_down.connect(self._stop)

    def positions(self) -> Mapping[str, Position]:
        """What was told last of each message, by its id."""
        return self._progress.positions()

    def look(self) -> None:
        """Hold children back where that is due, and end those that are over their limit."""
        self._progress.hold(self._is_stopping() or self._told_of_tasks() != self._options)
        self._progress.want_events(_tells_of_tasks(self._worker.consumer.event_dispatcher))
        now = time.monotonic()
        positions = self._progress.positions()
        self._know(positions)
        for request in list(state.active_requests):
            at = positions.get(request.id)
            if at is not None and at.hard and now >= at.hard and not hasattr(request, _ENDED):
                setattr(request, _ENDED, True)
                self._end(request, at)

    def _know(self, positions: Mapping[str, Position]) -> None:
        """Let Celery find a request under the id of the attempt that its message has got to.

        Whoever terminates that task then ends the child that is at it.  What takes so long that it
        is seen here is told of now, and not only when the message is over.
        """
        active = {request.id: request for request in list(state.active_requests)}
        ahead = {
            at.task_id: active[message] for message, at in positions.items() if message in active
        }
        ahead = {task_id: request for task_id, request in ahead.items() if task_id != request.id}
        for task_id in self._known - ahead.keys():
            state.requests.pop(task_id, None)
        state.requests.update(ahead)
        for task_id in ahead.keys() - self._known:
            self._soon(_tell_begun, ahead[task_id], positions[ahead[task_id].id])
        self._known = set(ahead)

    def _soon(self, act: Callable[..., object], *about: Any) -> None:
        """Let the worker's main loop do it, which alone may; without one, do it here."""
        hub = self._worker.hub
        if hub is None:
            act(*about)
        elif self._is_stopping():
            hub.call_later(0, act, *about)  # all that still happens while its children end
        else:
            hub.call_soon(act, *about)

    def _stop(self, sender: Any = None, **_: Any) -> None:
        """A signal has asked the worker to end: what runs is the last."""
        if sender == self._worker.hostname:
            self._stopping = True
            self._progress.hold(True)

    def _is_stopping(self) -> bool:
        asked = state.should_stop is not None or state.should_terminate is not None
        return self._stopping or asked or self._worker.blueprint.state != RUN

    def _told_of_tasks(self) -> dict[str, Any]:
        """What operators can change of tasks while a worker runs, which its children do not see."""
        return {
            name: (task.rate_limit, task.time_limit, task.soft_time_limit)
            for name, task in self._worker.app.tasks.items()
            if hasattr(task, "saga_runtime")
        }

    def _end(self, request: Any, at: Position) -> None:
        job = request._apply_result and request._apply_result()  # noqa: SLF001 -- Celery's own
        if job is None:
            return
        self._soon(self._kill, request, job, at)

    def _kill(self, request: Any, job: Any, at: Position) -> None:
        """End the child that is at an attempt, unless it has got further meanwhile."""
        newest = self._progress.positions().get(request.id)
        if newest is None or newest.task_id != at.task_id:
            delattr(request, _ENDED)  # what it is at now has a limit of its own
            return
        job._timeout = at.limit  # noqa: SLF001 -- what the pool says of it
        self._worker.pool._pool.on_hard_timeout(job)  # noqa: SLF001


# --- a request ---------------------------------------------------------------------------------


def supervise(kind: Any) -> None:
    """Give a worker's class of requests what is ours: Celery makes one for each task."""
    execute, succeed = kind.execute_using_pool, kind.on_success

    def execute_using_pool(self: Any, pool: Any, **options: Any) -> Any:
        handed = _hand_limits(self, pool)
        job = execute(self, pool, **options)
        if handed:
            # Not before: Celery would take those of the task for it.  Nor a limit far away: its
            # timers stay, even those that were cancelled, until their time has come.
            job._timeout = job._soft_timeout = None  # noqa: SLF001 -- nobody has taken it up yet
        return job

    def on_success(self: Any, told: Any, **options: Any) -> Any:
        done = succeed(self, told, **options)
        for each in getattr(told[2], "steps", ()):
            state.total_count.update({each.task: 1})
            state.all_total_count[0] += 1
            _send(self, each.events)
        return done

    kind.execute_using_pool, kind.on_success = execute_using_pool, on_success


def _tells_of_tasks(dispatcher: Any) -> bool:
    """True if a worker sends events of tasks, and not only those of itself."""
    if not (dispatcher and dispatcher.enabled):
        return False
    return not dispatcher.groups or "task" in dispatcher.groups


def _send(request: Any, events: Any) -> None:
    eventer = request._eventer  # noqa: SLF001 -- Celery's own
    if eventer and eventer.enabled:
        for kind, fields in events:
            if not (fields["uuid"] in _begun(request) and kind in _BEGINNING):
                eventer.send(kind, **fields)


def _begun(request: Any) -> set[str]:
    """The attempts of a message of which it was told already that they have begun."""
    found: set[str] = request.__dict__.setdefault("celeriac_begun", set())
    return found


def _tell_begun(request: Any, at: Position) -> None:
    """Tell that the attempt that a message has got to was received, and has begun."""
    task = request.task.app.tasks[at.task]
    eventer = request._eventer  # noqa: SLF001 -- Celery's own
    if not (eventer and eventer.enabled and task.send_events) or at.task_id in _begun(request):
        return
    _begun(request).add(at.task_id)
    args, kwargs = _shown(at)
    root = request.root_id or request.id
    whose = {"name": at.task, "root_id": root, "parent_id": at.parent, "retries": 0}
    eventer.send("task-received", uuid=at.task_id, args=args, kwargs=kwargs, **whose)
    eventer.send("task-started", uuid=at.task_id)


def _shown(at: Position) -> tuple[str, str]:
    """What is told of an attempt in the place of its arguments."""
    d = at.lease
    kwargs = shown_of(at.saga, d.run_id, d.step, d.phase, d.attempt, at.nth)
    return title(d.run_id, d.step, d.phase, d.attempt, at.nth), kwargs


def _hand_limits(request: Any, pool: Any) -> bool:
    """Leave the time limits of a message to the child that gets it; False: to the pool."""
    progress = request.task.saga_runtime.progress
    if progress is None or progress.crowded or not _forks(pool):
        return False
    if not header_in(request.request_dict):
        return False  # a direct call
    limits = limits_of(request.time_limits, request.task, progress.pool)
    request.request_dict[HANDED] = list(limits)
    return True


def _forks(pool: Any) -> bool:
    """True if the children share memory with the main process, and it can kill them."""
    kinds = {kind.__module__ for kind in type(getattr(pool, "_pool", None)).__mro__}
    return "celery.concurrency.asynpool" in kinds and billiard.get_start_method() == "fork"


def position_of(request: Any) -> Position | None:
    """The attempt that a worker's request has got to; None: still its own, as far as is known."""
    progress = request.task.saga_runtime.progress
    return None if progress is None else progress.positions().get(request.id)


def become(request: Any, at: Position) -> None:
    """Let what Celery tells of the end of a message's process be said of the attempt it was at.

    The attempts before it have ended well, or at least were recorded.
    """
    hint = parse_header(request.request_dict.get(HEADER))
    if hint is None or at.task_id == request.id:
        return
    state.task_ready(request)
    # What it brought is on record, or the sweep brings it again.  Whether it is acknowledged late
    # must not be asked of the task that it becomes now.
    request.acknowledge()
    if at.failed:
        request.send_event("task-failed", exception="StepFailed", traceback="")
    else:
        request.send_event("task-succeeded", result="None", runtime=0.0)
    _tell_begun(request, at)
    d, task = at.lease, request.task.app.tasks[at.task]
    text, kwargs = _shown(at)
    changed: Mapping[str, Any] = {
        "id": at.task_id,
        "task": at.task,
        "parent_id": at.parent,
        "argsrepr": text,
        "kwargsrepr": kwargs,
        HEADER: [*hint._replace(**d._asdict())],
    }
    request._request_dict = {**request.request_dict, **changed}  # noqa: SLF001 -- as it reads it
    request.id, request.name, request._task = at.task_id, at.task, task  # noqa: SLF001
    request.__dict__.pop("_context", None)
    request._argsrepr, request._kwargsrepr = text, kwargs  # noqa: SLF001
    log.debug("%s was run ahead", text)
