"""The task class of steps, and adopting tasks into it: a task that was adopted is what it was.

Owns: how a saga's message of a task is sent without arguments, where the edge takes the place of
Celery's tracer, and what `self.retry` and `self.replace` mean in a saga.  Refuses to know: the life
of an attempt (`edge`).

Each adopted task gets a class of its own, between itself and the class that it had.  Whatever is
not about a saga's message goes on to that.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.app.trace import build_tracer, task_has_custom
from celery.local import Proxy
from celery.result import EagerResult
from celery.states import SUCCESS
from kombu.exceptions import KombuError

from celeriac.errors import DefinitionError, StepFailed
from celeriac.observing import log
from celeriac.points import reached
from celeriac.workers.edge import around, attempt
from celeriac.workers.headers import HEADER, delivery_of
from celeriac.workers.intake import STRATEGY
from celeriac.workers.leases import REQUEST
from celeriac.workers.message_options import written
from celeriac.workers.passage import passing
from celeriac.workers.retries import ask, asked, is_asking, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from celeriac.authoring import Shape
    from celeriac.workers.runtime import Runtime

_sending: ContextVar[bool] = ContextVar("celeriac_sending", default=False)


class SagaTask(Task):  # type: ignore[misc]  # Celery has no types
    """A task that can be a step of a saga.  Called in any other way it is what it always was."""

    abstract = True
    saga_tracer = None  # Celery's own, in a worker
    saga_adopted = False  # True: it is told, and tells, what it would without us
    if TYPE_CHECKING:  # at run time they would hide the annotations of the task itself
        saga_runtime: Runtime
        saga_shape: Shape

    # --- a worker ------------------------------------------------------------------------------

    @property
    def __trace__(self) -> Any:
        """What a worker calls for each message; Celery sets it to the tracer that it has built."""
        return self.__dict__.get("_saga_trace")

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        self.__dict__["_saga_trace"] = tracer and around(self, tracer)
        self.__dict__["saga_tracer"] = tracer

    @__trace__.deleter
    def __trace__(self) -> None:
        self.__dict__.pop("_saga_trace", None)

    def apply(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Run the task here and now; a saga's message is an attempt here too."""
        headers = options.get("headers")
        if not _is_ours(headers):
            return super().apply(args, kwargs, *rest, **options)
        uuid = options.pop("task_id", None)
        eagerly = functools.partial(super().apply, **{**options, "throw": False})

        def trace(uuid: str, args: Any, kwargs: Any, request: Any) -> Any:
            return _Told(eagerly(args, kwargs, task_id=uuid, retries=request["retries"]))

        request = {"id": uuid, "headers": headers, "delivery_info": {"is_eager": True}}
        told = attempt(self, trace, uuid, request)
        if isinstance(told, _Told):
            return told.result
        return EagerResult(uuid, None, told.info.state if told.info else SUCCESS, name=self.name)

    # --- sending -------------------------------------------------------------------------------

    def apply_async(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Send a message; a saga's holds no arguments, so they are not checked."""
        if not _is_ours(options.get("headers")):
            return super().apply_async(args, kwargs, *rest, **options)
        options = {**options, **written(self._get_app()), "ignore_result": True}
        options.pop("add_to_parent", None)
        # A run's deadline is its own: a message that expires in a queue would only be sent again,
        # and a step with a backlog longer than that never be run.
        options["expires"] = None
        reached("message.publishing", options["headers"][HEADER])
        with _sent_by_saga():
            sent = self._send(kwargs, *rest, **options)
        reached("message.published", options["headers"][HEADER])
        return sent

    def _send(self, kwargs: Any, *rest: Any, **options: Any) -> Any:
        try:
            return super().apply_async((), kwargs, *rest, **options)
        except (KombuError, OSError, RuntimeError):
            raise
        except Exception as error:
            if type(self).apply_async is SagaTask.apply_async and not _overrides(self):
                raise
            # Their own `apply_async` looked for the arguments, and a saga's message has none.
            log.warning("%s: its apply_async raised %s; sent without", self.name, type(error))
            return Task.apply_async(self, (), kwargs, *rest, **options)

    @property
    def __header__(self) -> Any:
        """What checks the arguments of a message: those of a saga's are read at the claim."""
        found = super().__header__
        return _anything if _sending.get() else found

    @property
    def _dump_pydantic_arguments(self) -> Any:
        return None if _sending.get() else super()._dump_pydantic_arguments

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> Any:
        """Another name for the message; theirs may want arguments, which a saga's does not have."""
        try:
            return super().shadow_name(args, kwargs, options)
        except Exception:
            if not _sending.get():
                raise
            return None

    # --- in its body ---------------------------------------------------------------------------

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Ask for another attempt, as in any Celery task; in a saga, the run decides."""
        again = functools.partial(
            super().retry, args, kwargs, exc, throw, eta, countdown, max_retries, **options
        )
        if not self._in_attempt():
            return again()
        seconds(eta, countdown, self.default_retry_delay)  # refused here, where it is asked for
        self.request.saga_again = wish = ask(again)  # with throw=False it comes back
        return wish

    def signature_from_request(
        self,
        request: Any = None,
        args: Any = None,
        kwargs: Any = None,
        queue: Any = None,
        **extra: Any,
    ) -> Any:
        """The message that repeats a request."""
        made = super().signature_from_request(request, args, kwargs, queue, **extra)
        if not is_asking():
            return made
        given = args is not None or kwargs is not None
        return asked(made, given, {**extra, "queue": queue})

    subtask_from_request = signature_from_request

    def replace(self, sig: Any) -> Any:
        """Run another task in the place of this one; in a saga there is no such thing."""
        if self._in_attempt():
            raise DefinitionError(
                "self.replace does not go with a saga, which would not know how the other task "
                "ends: make that task a step, or call it and return its result",
                step=self.name,
            )
        return super().replace(sig)

    def _in_attempt(self) -> bool:
        request = self.request
        return not request.called_directly and delivery_of(request) is not None


def _is_ours(headers: Any) -> bool:
    return isinstance(headers, Mapping) and HEADER in headers


class _Told:
    """What came out of a task that was run here and now, as a tracer would say it."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.retval = result.result
        self.info = None if result.successful() else self
        self.state = result.state


@contextmanager
def _sent_by_saga() -> Iterator[None]:
    token = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(token)


def _anything(*_: Any, **__: Any) -> None:
    """Check nothing."""


def _overrides(task: SagaTask) -> bool:
    """Return whether the class that *task* had before sends messages in a way of its own."""
    kinds = [kind for kind in type(task).__mro__ if not issubclass(kind, SagaTask)]
    return next(kind for kind in kinds if "apply_async" in vars(kind)) is not Task


# --- adopting ----------------------------------------------------------------------------------


def itself(task: Any) -> Any:
    """Return the task that Celery's proxy stands for.

    Only this task's promise is kept; asking app.tasks would keep all of them, before the app has
    its configuration.
    """
    while issubclass(type(task), Proxy):
        task = task._get_current_object()  # noqa: SLF001 -- Celery's own way to ask
    return task


def adopt(task: Any, shape: Shape, runtime: Runtime, *, own: bool = False) -> None:
    """Make an existing task able to be a step; *own*: it was made to be one.

    Idempotent; to be done before a worker builds its tracer (F14).
    """
    task = itself(task)
    if isinstance(task, SagaTask):
        return
    kind = type(task)
    body: dict[str, Any] = {
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
        "__annotations__": dict(getattr(task, "__annotations__", {})),
        "abstract": kind.abstract,
        "saga_runtime": runtime,
        "saga_shape": shape,
        "saga_adopted": not own,
        # A task with a request class of its own keeps it; its deaths show a little later.
        "Request": REQUEST if kind.Request == Task.Request else kind.Request,
        "Strategy": STRATEGY if kind.Strategy == Task.Strategy else kind.Strategy,
        # One class, too, is what Celery asks an error for.
        "throws": ((kind.throws,) if isinstance(kind.throws, type) else tuple(kind.throws or ()))
        + (StepFailed,),
    }
    # Celery calls one of the two, whichever there is; only that one is ours.
    called = bool(task_has_custom(task, "__call__"))
    if called:
        body["__call__"] = _settling_call(kind)
    if isinstance(kind.before_start, types.FunctionType) and task_has_custom(task, "before_start"):
        body["before_start"] = _settling_hook(kind)
    built = task.__dict__.pop("__trace__", None)
    task.__class__ = type(kind.__name__, (SagaTask, kind), body)
    if not called:
        task.run = _settling_run(task, task.run)
    if built is not None:  # a worker has begun already, with the task as it was
        app = task._get_app()  # noqa: SLF001 -- Celery's own
        task.__trace__ = build_tracer(task.name, task, app.loader, app=app)


def _settling_call(kind: Any) -> Callable[..., Any]:
    @functools.wraps(kind.__call__)
    def settling(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = passing(self)
        if found is None:
            return kind.__call__(self, *args, **kwargs)
        return found.body(functools.partial(kind.__call__, self, *args, **kwargs))

    return settling


def _settling_run(task: Any, run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def settling(*args: Any, **kwargs: Any) -> Any:
        found = passing(task)
        if found is None:
            return run(*args, **kwargs)
        return found.body(functools.partial(run, *args, **kwargs))

    return settling


def _settling_hook(kind: Any) -> Callable[..., Any]:
    @functools.wraps(kind.before_start)
    def before_start(self: Any, task_id: str, args: Any, kwargs: Any) -> Any:
        found = passing(self)
        if found is None:
            return kind.before_start(self, task_id, args, kwargs)
        return found.hook(functools.partial(kind.before_start, self, task_id, args, kwargs))

    return before_start
