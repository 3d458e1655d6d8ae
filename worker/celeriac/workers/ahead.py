"""Running ahead: taking up what follows on a message, instead of sending a message for it.

Owns: the conditions for that, and what is told of it to the main process.  Refuses to know: what is
due (`engine` asks here only for that), and how an attempt is run (`edge`, `passage`).

What follows must be what a message would bring to this very place: a task that is known here, from
the same queue, without a rate limit.  After so many attempts, or a second, a message is sent all
the same, so that others on the queue get their turn; after a few attempts, as soon as they have
taken a little time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from billiard.compat import mem_rss
from celery.states import FAILURE, RETRY, SUCCESS
from celery.utils.saferepr import saferepr

from celeriac.engine import Delivery
from celeriac.machine import epoch_of
from celeriac.observing import log
from celeriac.points import reached
from celeriac.store import Lease
from celeriac.workers.intake import STRATEGY
from celeriac.workers.leases import REQUEST
from celeriac.workers.limits import Limits, handed, limits_of
from celeriac.workers.message_options import task_id
from celeriac.workers.pace import is_short
from celeriac.workers.progress import Position

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.engine import Attempt
    from celeriac.machine import Dispatch, Node, Phase, Run
    from celeriac.workers.progress import Progress
    from celeriac.workers.runtime import Runtime

_NOBODY = Lease("", "", "do", 0)
_LONGEST = 1.0  # s that may have passed on a message when it takes up another attempt
_LONGEST_BUNDLE = 0.5  # s that may have passed on one when it takes up an attempt of another run
_FEW, _QUICK = 10, 0.2  # after so many: s that may have passed by then


class Place(NamedTuple):
    """Where messages of a task go, as far as that matters here."""

    #: (exchange, routing key) of a message that came from there; none: never
    keys: frozenset[tuple[str, str]] = frozenset()
    priority: int = 0
    limited: bool = False  # by a time limit of its own


class Told(NamedTuple):
    """What became of an attempt that was run ahead, for whoever watches the worker."""

    task: str
    events: tuple[tuple[str, dict[str, Any]], ...] = ()  # (type, fields), as Celery tells them


class ReportedRuntime(float):
    """How long a message's own task took, as Celery tells it, and what was run ahead after it."""

    steps: tuple[Told, ...] = ()

    @classmethod
    def of(cls, seconds: float | None, steps: list[Told]) -> ReportedRuntime:
        """The same number, with *steps*."""
        made = cls(seconds or 0.0)
        made.steps = tuple(steps)
        return made


class RunAhead:
    """What may still follow on one message; see `Ahead` in the engine."""

    def __init__(
        self,
        runtime: Runtime,
        progress: Progress,
        request: Mapping[str, Any],
        limits: Limits | None,
    ) -> None:
        self.left = self.most = runtime.engine.terms.run_ahead
        self.limits = limits  # of the first attempt; None: the pool sees to limits
        self.told: list[Told] = []
        self._runtime, self._progress = runtime, progress
        self._began, self._taken = time.monotonic(), 0
        self._bundle_until = self._began + _LONGEST_BUNDLE
        self._message = self._uuid = request["id"]
        self._lease, self._saga, self._parent, self._nth = _NOBODY, "", "", 1
        whence = request.get("delivery_info") or {}
        self._key = (whence.get("exchange") or "", whence.get("routing_key") or "")
        self._priority = whence.get("priority") or 0
        self._at: Position | None = None
        self._was: tuple[Position | None, Lease, str, str] | None = None  # before it took
        self._failed = False  # the message's own attempt

    def begin(self, attempt: Attempt, uuid: str, task: Any, timelimit: Any) -> float | None:
        """An attempt is about to be called: from now on its own limits count.

        Returns the soft one, in seconds, as far as it is not the pool's business.
        """
        d = attempt.delivery
        self._saga, self._nth = attempt.plan.saga, attempt.run.tries
        self._lease = Lease(d.run_id, d.step, d.phase, d.attempt, d.epoch)
        limits = self.limits or Limits()
        if uuid != self._message and self.limits is not None:
            limits = limits_of(timelimit, task, self._progress.pool)
        told = self._at
        self._uuid = uuid
        named = told is None or (told.task_id, told.saga) == (uuid, self._saga)
        if limits.hard or (told is not None and told.hard) or not named:  # else enough was told
            until = time.monotonic() + limits.hard if limits.hard else 0.0
            self._tell(uuid, task.name, None, until, limits.hard or 0.0)
        return limits.soft

    def _tell(self, uuid: str, task: str, before: Lease | None, until: float, limit: float) -> bool:
        place = self._message, uuid, task, self._saga
        times = until, limit, self._failed
        self._at = Position(*place, self._lease, before, *times, self._parent, self._nth)
        return self._progress.tell(self._at)

    def failed(self, uuid: str) -> None:
        """An attempt has failed; what follows undoes it."""
        self._failed = self._failed or uuid == self._message

    def suits(self, node: Node, phase: Phase) -> bool:
        """Whether a message of a step would come to this place, as far as the step says."""
        place = place_of(self._runtime, node.task_of(phase))
        limited = place.limited or node.limit(phase) is not None
        return (
            self._key in place.keys
            and place.priority == self._priority
            and not (limited and self.limits is None)
        )

    def take(self, run: Run, node: Node, dispatch: Dispatch) -> str:
        """Return the nonce of the claim, if this is the place and the time; else nothing.

        The main process is told before anything is committed: it keeps both leases alive until it
        hears more.
        """
        longest = _LONGEST if self._taken < _FEW else _QUICK
        late = time.monotonic() > self._began + longest
        if self._progress.held or late or self._too_large():
            return ""
        self._was = self._at, self._lease, self._uuid, self._parent
        before, self._parent = self._lease, self._uuid
        epoch = epoch_of(run, dispatch.step)
        self._lease = Lease(run.id, dispatch.step, dispatch.phase, dispatch.attempt, epoch)
        self._uuid = uuid = task_id(run, dispatch.step, dispatch.phase, dispatch.attempt)
        # What is left of the attempt before it is still under that one's limit.
        until, limit = (self._at.hard, self._at.limit) if self._at else (0.0, 0.0)
        if not self._tell(uuid, node.task_of(dispatch.phase), before, until, limit):
            return ""
        delivery = Delivery(
            run.id, epoch, dispatch.step, dispatch.phase, dispatch.attempt, run.plan
        )
        reached("ahead.told", delivery)
        self.left -= 1
        self._taken += 1
        return self._runtime.new_holder()

    def brings_others(self, task: Any) -> bool:
        """Whether attempts of other runs may be taken up here that the message of *task* brings.

        They wait for one another, so each has to be short; and one that is sent to another place,
        or with a rate limit, is not for us to take up.
        """
        place = place_of(self._runtime, task.name)
        return self._key in place.keys and is_short(self._runtime.paces, task.name)

    def turn_to(self, delivery: Delivery, task: Any) -> bool:
        """Turn to an attempt of another run, before it is claimed; False: not here, or not now."""
        over = time.monotonic() > self._bundle_until
        if over or self._progress.held or self._too_large() or not self.brings_others(task):
            return False
        self.left, self._began, self._taken = self.most, time.monotonic(), 0
        d = delivery
        self._lease = Lease(d.run_id, d.step, d.phase, d.attempt, d.epoch)
        self._was, self._parent = None, ""
        named = f"{d.run_id}:{d.step}:{d.attempt}"  # it has its true name once its run is known
        return self._tell(named, task.name, None, 0.0, 0.0)

    def not_granted(self) -> None:
        """What was to follow is not ours: it may be at work elsewhere, under that very lease."""
        if self._was is None:
            return
        self._at, self._lease, self._uuid, self._parent = self._was
        if self._at is None:
            self._progress.forget(self._message)
        else:
            self._progress.tell(self._at)

    def _too_large(self) -> bool:
        most = self._progress.most_memory
        return bool(most) and mem_rss() > most

    def over(self) -> None:
        """The message is over."""
        if self._at is not None:
            self._progress.forget(self._message)

    # --- what is told of it --------------------------------------------------------------------

    def note(self, task: Any, request: Mapping[str, Any], began: float, told: Any) -> None:
        """Note what became of an attempt that was run ahead; *began* is by the clock."""
        events: tuple[tuple[str, dict[str, Any]], ...] = ()
        if self._progress.events_wanted and task.send_events:
            uuid = {"uuid": request["id"]}
            received = {
                **uuid,
                "name": task.name,
                "args": request["argsrepr"],
                "kwargs": request["kwargsrepr"],
                "root_id": request["root_id"],
                "parent_id": request["parent_id"],
                "retries": 0,
                "eta": None,
                "expires": None,
                "timestamp": began,
            }
            ended = _ended(told)
            if ended and ended[0] == "task-retried":
                # Its next attempt has the same id, and may have been received already: what that
                # is called must not be what this one was.
                for name in ("args", "kwargs", "retries"):
                    del received[name]
            events = (
                ("task-received", received),
                ("task-started", {**uuid, "timestamp": began}),
                *([(ended[0], {**uuid, **ended[1], "timestamp": time.time()})] if ended else []),
            )
        self.told.append(Told(task.name, events))


def _ended(told: Any) -> tuple[str, dict[str, Any]] | None:
    """The event that tells of the end of a task, as Celery's worker makes it; None: none."""
    state = told.info.state if told.info else SUCCESS
    if state == SUCCESS:
        return "task-succeeded", {"result": told.retstr, "runtime": told.runtime}
    if state not in (FAILURE, RETRY):
        return None
    error = told.info.retval
    trace = {"traceback": str(getattr(told.retval, "traceback", "") or "")}
    if state == RETRY:
        return "task-retried", {"exception": saferepr(getattr(error, "exc", error)), **trace}
    return "task-failed", {"exception": saferepr(error), **trace}


def may_run_ahead(task: Any, request: Mapping[str, Any]) -> RunAhead | None:
    """What may follow on a message; None: nothing, here."""
    runtime: Runtime = task.saga_runtime
    progress = runtime.progress
    if progress is None or (request.get("delivery_info") or {}).get("is_eager"):
        return None
    # Whatever a message says of it: only a main process of ours hands limits, and only to a child.
    limits = handed(request) if progress.forked and task.Request == REQUEST else None
    if limits is None and limits_of(request.get("timelimit"), task, progress.pool):
        return None  # the pool would end a later attempt at the limit of the first
    if limits is None and not _is_ours(task):
        return None
    made = RunAhead(runtime, progress, request, limits)
    made.left = made.most if _is_ours(task) else 0
    return made


def _is_ours(task: Any) -> bool:
    return (task.Request, task.Strategy) == (REQUEST, STRATEGY)


def place_of(runtime: Runtime, name: str) -> Place:
    """Where messages of a task go; nowhere that counts, if none may be spared.  Looked up once."""
    found: Place | None = runtime.places.get(name)
    if found is None:
        try:
            found = _place_of(runtime, name)
        except Exception as error:  # noqa: BLE001 -- a router may raise what it likes
            log.debug("nothing of %s is run ahead: %s", name, type(error).__name__)
            found = Place()
        runtime.places[name] = found
    return found


def _place_of(runtime: Runtime, name: str) -> Place:
    task = runtime.app._tasks.get(name)  # noqa: SLF001 -- app.tasks would finalize it
    if task is None or getattr(task, "saga_runtime", None) is not runtime or not _is_ours(task):
        return Place()
    throttled = task.rate_limit and not runtime.app.conf.worker_disable_rate_limits
    if throttled or task.saga_tracer is None:
        return Place()
    options = runtime.dispatcher.route_of(name)
    queue, priority = options["queue"], task.priority
    if priority is None:
        priority = options.get("priority")
    exchange = queue.exchange.name if queue.exchange else ""
    # The first is what Celery says where a queue has an exchange of the usual kind.
    keys = frozenset({("", queue.name), (exchange, queue.routing_key or "")})
    return Place(keys, priority or 0, bool(limits_of(None, task, Limits())))
