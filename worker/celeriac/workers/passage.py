"""One attempt on its way through Celery's own tracer of its task.

Owns: arguments, the body, settling, and how the end of an attempt is told to Celery (result, Retry,
Ignore, or an error that calls `link_error`).  Refuses to know: who was granted the attempt
(`edge`), what follows (`transitions`), and how a body's failure is taken (`bodies`).

The body settles the attempt, on the one call that the tracer makes, so that nothing is published
before it is recorded.  Whatever else comes out of the tracer, such as a `before_start` that
raised, settles it afterwards.  The file is long because the way of an attempt is told in one piece.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from billiard.process import current_process
from celery import Task
from celery.app.task import Context
from celery.app.trace import TraceInfo, trace_ok_t
from celery.exceptions import Ignore, Reject, Retry, WorkerShutdown, WorkerTerminate
from celery.states import FAILURE, IGNORED, RETRY

from celeriac.context import entered
from celeriac.engine import AttemptFailure, Deferred, Work, carry_out, prepare, report, taken
from celeriac.errors import CommandRefused, RunNotFound, StepFailed, StoreError
from celeriac.failure import ends_who_tells
from celeriac.machine import Dispatch
from celeriac.observing import log
from celeriac.points import reached
from celeriac.workers.canvas import GUARD
from celeriac.workers.limits import soft_limit
from celeriac.workers.message_options import carries_on, message_options, task_id, time_limits
from celeriac.workers.retries import (
    classify_celery_error,
    rejected,
    retrying,
    tell_unheeded,
    timed_out,
)
from celeriac.workers.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.context import StepContext
    from celeriac.engine import Attempt, Ended, Output, Prepared
    from celeriac.failure import Failure
    from celeriac.machine import Transition
    from celeriac.workers.ahead import RunAhead

    #: `(id, args, kwargs, request) -> (result, info, seconds, text)`, as Celery builds it.
    Tracer = Callable[..., Any]

#: What Celery is told of a step whose result comes from outside.
LATER = "its result comes from outside"

_passage: ContextVar[Passage | None] = ContextVar("celeriac_passage", default=None)


def passing(task: Any) -> Passage | None:
    """The attempt whose body the tracer is about to call, if that is what *task* is called for."""
    found = _passage.get()
    if found is None or found.begun or found.task is not task:
        return None
    request = task.request_stack.top
    if request is None or request.called_directly or request.id != found.uuid:
        return None  # somebody else calls it: from a hook, or with apply()
    return found


class Passage:
    """One attempt on its way through Celery's tracer."""

    def __init__(
        self,
        task: Any,
        work: Work,
        uuid: str,
        request: dict[str, Any],
        ahead: RunAhead | None = None,
    ) -> None:
        """*ahead*: what may be taken up on the same message, as far as anything may."""
        self.task, self.uuid, self.request = task, uuid, request
        self.work = work._replace(tell=Teller(task, uuid, request, work.attempt))
        self.following: Attempt | None = None  # taken up along with the end of this one
        self._ahead = ahead
        self._context: StepContext | None = None
        self.begun = False  # its body, or a hook before it, was called
        self._over = False  # its end was recorded, or could not be
        self._headers: Mapping[str, Any] | None = None  # those that Celery finds in its request

    def pass_through(self, tracer: Tracer) -> Any:
        """Call the tracer with what the attempt is given, and see that the attempt ends."""
        soft = None
        if self._ahead is not None:
            timelimit = self.request.get("timelimit")
            soft = self._ahead.begin(self.work.attempt, self.uuid, self.task, timelimit)
        given = prepare(self.work, classify_celery_error, ends_process)
        if isinstance(given, AttemptFailure):
            return self._without_body(given)
        self._context = given.context
        token = _passage.set(self)
        try:
            with entered(given.context), soft_limit.within(soft):
                told = tracer(self.uuid, given.args, given.kwargs, self._asked(given))
        except BaseException as error:
            if not self._over and not ends_process(error):
                self._end_outside(taken(self.work, error, classify_celery_error))
            raise
        finally:
            _passage.reset(token)
        if not self._over:
            self._end_outside(taken(self.work, _came_out(told), classify_celery_error))
        return told

    def _asked(self, given: Prepared) -> dict[str, Any]:
        """The request as if the arguments had been in the message."""
        whence = {**(self.request.get("delivery_info") or {}), "redelivered": False}
        return {
            **self.request,
            "args": given.args,
            "kwargs": given.kwargs,
            "retries": self.work.attempt.delivery.attempt - 1,
            "delivery_info": whence,  # whether it came twice was decided at the claim
        }

    # --- inside of the tracer ------------------------------------------------------------------

    def hook(self, call: Callable[[], Any]) -> Any:
        """Call a hook that comes before the body; what it raises ends the attempt."""
        self.begun = True
        error: BaseException
        try:
            found = call()
        except BaseException as raised:
            if ends_process(raised):
                raise
            error = raised
        else:
            self.begun = False
            return found
        return self._end_inside(taken(self.work, error, classify_celery_error), None)

    def body(self, call: Callable[[], Any]) -> Any:
        """Call the body, and record how it ended before Celery hears of it."""
        self.begun = True
        assert self._context is not None  # it was there before the tracer was called
        ended, result = carry_out(
            self.work, self._context, call, classify_celery_error, ends_process
        )
        request = self.task.request
        self._headers = request.headers
        again = getattr(request, "saga_again", None)
        if again is not None and not isinstance(ended, AttemptFailure):
            ended = taken(self.work, again, classify_celery_error)
        if soft_limit.disarm():
            log.warning("%s: its soft time limit was exceeded", self.work.name)
        reached("step.performed", self.work.attempt.delivery)
        # Only now, outside of any handler: Celery would show what the body raised, and the payload
        # it may hold, in its events and logs as the context of what is raised here.
        return self._end_inside(ended, result)

    def _end_inside(self, ended: Output | AttemptFailure, result: Any) -> Any:
        ended = self._in_time(ended)
        told = self._settle(ended, self.task.request)
        if told is None and isinstance(ended, Deferred):
            return LATER  # what Celery and Flower are told; it is no result
        if told is None:
            return result if self.work.adopted else None
        if isinstance(ended, AttemptFailure) and told is ended.error:
            raise told
        raise told from None

    def _in_time(self, ended: Output | AttemptFailure) -> Output | AttemptFailure:
        """Return *ended*, told as a time-out if the pool ended the body at its time limit."""
        if not isinstance(ended, AttemptFailure):
            return ended
        hard = (self.request.get("timelimit") or (None,))[0]  # as Celery's worker chooses it
        limit = hard or self.task.time_limit or self.task.app.conf.task_time_limit
        return timed_out(ended.error, limit) or ended

    # --- beside the tracer ---------------------------------------------------------------------

    def _without_body(self, failed: AttemptFailure) -> Any:
        """The arguments could not be put together: nothing of the task was called."""
        request = Context(self.request, args=[], kwargs={}, called_directly=False)
        told = self._settle(failed, request)
        if isinstance(told, Ignore):
            return ignored_message(self.task, self.request, told)
        state = RETRY if isinstance(told, Retry) else FAILURE
        info = TraceInfo(state, told)
        try:
            raise told or failed.error  # noqa: TRY301 -- Celery asks for the error at work
        except BaseException:  # noqa: BLE001 -- it is told, and no more
            einfo = self._handled(info, request)
        return trace_ok_t(einfo, info, 0.0, None)

    def _handled(self, info: TraceInfo, request: Context) -> ExceptionInfo:
        try:
            return info.handle_error_state(self.task, request)
        except Exception:  # noqa: BLE001 -- it is logged
            log.exception("%s: a hook raised", self.work.name)
            return ExceptionInfo()

    def _end_outside(self, ended: Output | AttemptFailure) -> None:
        """Record an end that Celery has made known already, and send what follows from it."""
        self._over = True
        ended = self._in_time(ended)
        attempt = self.work.attempt
        try:
            if isinstance(ended, AttemptFailure):
                done = self.work.engine.fail(attempt, *report(self.work, ended)).done
            else:
                done = self.work.engine.complete(attempt, ended).done
        except (CommandRefused, RunNotFound, StoreError) as refused:
            log.warning("%s: its report was refused: %s", self.work.name, refused)
            return
        self._send(done)

    # --- settling ------------------------------------------------------------------------------

    def _settle(self, ended: Output | AttemptFailure, request: Any) -> BaseException | None:
        """Record the end of the attempt; return what Celery is to be told by raising it."""
        self._over = True
        try:
            if isinstance(ended, AttemptFailure):
                return self._fail(ended, request)
            self._complete(ended, request)
        except (CommandRefused, RunNotFound) as refused:
            # The id was started anew, or the run is gone: nobody is left who could use the report.
            log.warning("%s: its report was refused: %s", self.work.name, refused)
            return _ignore(f"{self.work.name}: {refused.code}")
        finally:
            if self._ahead is not None and self.following is None:
                self._ahead.not_granted()
        return None

    def _complete(self, output: Output, request: Any) -> None:
        """Record a success; a late one ends its task too, and at most is undone."""
        ended = self.work.engine.complete(self.work.attempt, output, self._ahead)
        reached("step.settled", self.work.attempt.delivery)
        if self._goes_on(ended, request):
            return
        done = ended.done
        if len(done.dispatches) == 1 and carries_on(request.chain, done.dispatches[0]):
            return  # this task's own chain sends it
        request.chain = None  # its next link would not be due
        self._send(done)

    def _send(self, done: Transition) -> None:
        attempt = self.work.attempt
        now = done.events[-1].at if done.events else attempt.now
        dispatcher = self.task.saga_runtime.dispatcher
        self.work.engine.send(dispatcher, attempt.plan, done.run, done.dispatches, now)

    def _fail(self, failed: AttemptFailure, request: Any) -> BaseException:
        recorded = report(self.work, failed)
        if self._ahead:
            self._ahead.failed(self.uuid)
        ended = self.work.engine.fail(self.work.attempt, *recorded, ahead=self._ahead)
        done = ended.done
        reached("failure.settled", self.work.attempt.delivery)
        request.chain = None
        self._goes_on(ended, request)
        return self._tale(failed, recorded.failure, done, request)

    def _goes_on(self, ended: Ended, request: Any) -> bool:
        """True if what follows was taken up: then Celery need send nothing.

        A report that was decided anew may have more that follows: that is sent.
        """
        self.following = ended.following
        if self.following is None:
            return False
        request.chain = request.errbacks = None
        self._send(ended.done)
        return True

    def next(self, task: Any, work: Work) -> Passage:
        """The attempt that was taken up along with the end of this one; Celery is told its own.

        The last one has what is left of the chain, so that Celery passes that on.
        """
        d = work.attempt.delivery
        dispatch = Dispatch(d.step, d.phase, d.attempt, work.attempt.now)
        whole = self.request.get("chain")
        request = {
            **_request_of(self.request, task, work.attempt, dispatch),
            "root_id": self.request.get("root_id") or self.uuid,
            "parent_id": self.uuid,
            "chain": whole[:-1] if whole and carries_on(whole, dispatch) else None,
        }
        if self._headers and not self.request.get("headers"):
            # Celery finds the same among what it does not know, by looking for that in each.
            request["headers"] = {name: request.get(name) for name in self._headers}
        return Passage(task, work, request["id"], request, self._ahead)

    def _tale(
        self, failed: AttemptFailure, failure: Failure, done: Transition, request: Any
    ) -> BaseException:
        """Return what makes Celery do, and Flower show, what the run has decided."""
        told = self._error(failed, failure)
        event = done.events[0] if done.events else None
        if event is None or "retry" not in event.data:
            return told  # used up, or too late: link_error asks for what is to be undone
        # `self.retry()` without `exc=` tells of no error.
        cause = None if self.work.adopted and isinstance(failed.error, Retry) else told
        wait = event.data["retry"] - event.at
        delay = wait / 1000
        if request.is_eager:
            self._send(done)  # in this process, once this attempt is over
            return retrying(cause, delay, str(told))
        waits = wait > self.work.engine.longest_eta or not done.dispatches
        tell_unheeded(self.work.name, failed.again, waits=waits)
        if not waits:
            return self._retry(cause, done.dispatches[0], delay, request, failed)
        # A long wait is the wake index's business; Flower shows RETRY all the same.
        when = datetime.now(UTC) + timedelta(seconds=delay)
        return retrying(cause, when, None if self.work.adopted else str(told))

    def _error(self, failed: AttemptFailure, failure: Failure) -> BaseException:
        """What Celery is told: an adopted task's error itself, and only the kind of a step's."""
        error = failed.error
        odd = isinstance(error, Ignore | Reject | Retry) or not isinstance(error, Exception)
        if self.work.adopted and not odd and not ends_who_tells(error):
            return error
        if failed.kind == "timeout" and not odd:  # the words are ours, and hold no payload
            return StepFailed(f"{self.work.name}: {failure.message}")
        code = f" ({failure.code})" if failure.code else ""
        return StepFailed(f"{self.work.name}: {failure.type}{code}")

    def _retry(
        self,
        cause: BaseException | None,
        dispatch: Dispatch,
        delay: float,
        request: Any,
        failed: AttemptFailure,
    ) -> BaseException:
        """Send the next attempt as Celery's own retry does, so that Flower shows one task."""
        attempt = self.work.attempt
        asked = failed.again.options if failed.again else {}
        options = {**asked, **message_options(attempt.run, dispatch)}
        del options["task_id"]  # a retry keeps its id
        headers = asked.get("headers") or {}
        options["headers"] = {**(request.headers or {}), **headers, **options["headers"]}
        message = Task.signature_from_request(
            self.task,
            request,
            (),
            {GUARD: attempt.run.id},  # never the arguments: they are read at the claim
            countdown=delay,
            **options,
        )
        try:
            message.apply_async()
        except Exception as error:  # noqa: BLE001 -- the state says what should be on its way
            log.warning("%s not sent again (%s)", self.work.name, type(error).__name__)
            return rejected(error)
        return retrying(cause, delay, sig=message)


def of_another_run(
    task: Any, work: Work, request: Mapping[str, Any], ahead: RunAhead | None
) -> Passage:
    """An attempt of a task that came in the message of another one, whose *request* this is."""
    attempt, d = work.attempt, work.attempt.delivery
    dispatch = Dispatch(d.step, d.phase, d.attempt, attempt.now)
    own = _request_of(request, task, attempt, dispatch)
    root = task_id(attempt.run, attempt.plan.steps[0].name, "do", 1)
    own |= {
        "root_id": root,
        "parent_id": None if root == own["id"] else root,
        "chain": None,
        "errbacks": [task.saga_runtime.dispatcher.errback(attempt.run)],
    }
    return Passage(task, work, own["id"], own, ahead)


def _request_of(
    request: Mapping[str, Any], task: Any, attempt: Attempt, dispatch: Dispatch
) -> dict[str, Any]:
    """The request of an attempt that had no message of its own, but for its relatives."""
    options = message_options(attempt.run, dispatch)
    limits = time_limits(attempt.node, dispatch.phase, attempt.run.grace)
    own = {
        **request,
        **options["headers"],
        "id": options["task_id"],
        "task": task.name,
        "argsrepr": options["argsrepr"],
        "kwargsrepr": options["kwargsrepr"],
        "correlation_id": options["task_id"],
        "retries": 0,
        "timelimit": [limits.get("time_limit"), limits.get("soft_time_limit")],
        "eta": None,
        "expires": None,
        "shadow": None,
    }
    if request.get("headers"):
        own["headers"] = {**request["headers"], **options["headers"]}
    return own


def _ignore(why: str) -> Exception:
    made: Exception = Ignore(why)
    return made


def _came_out(told: Any) -> Any:
    """What a tracer's answer says of a body that nobody saw: its result, or what was raised."""
    if told.info is None:
        return told.retval
    error = told.info.retval
    return error if isinstance(error, BaseException) else RuntimeError(f"state {told.info.state}")


def ignored_message(task: Any, request: Mapping[str, Any], ignored: Ignore) -> Any:
    """Tell Celery, as its tracer does, that a message was for nothing."""
    info = TraceInfo(IGNORED, ignored)
    try:
        raise ignored
    except Ignore:
        einfo = ExceptionInfo(internal=True)
        info.handle_ignore(task, Context(request, args=[], kwargs={}))
    return trace_ok_t(einfo, info, 0.0, None)


def ends_process(error: BaseException) -> bool:
    """Return whether the process of a pool, or a worker that runs steps itself, is to end."""
    if threading.current_thread() is not threading.main_thread():
        return False  # threads, gevent and eventlet: their pools swallow it, and wait for ever
    if current_process().name == "MainProcess":
        # The solo pool.  Celery asks the worker to end with these two, and with nothing else.
        return isinstance(error, WorkerShutdown | WorkerTerminate)
    return isinstance(error, SystemExit | KeyboardInterrupt)
