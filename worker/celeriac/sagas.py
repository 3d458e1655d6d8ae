"""The public face: `Sagas(app)` defines steps and sagas, and finds and starts runs.

Owns: putting the parts together for one Celery app.  Refuses
to know: what may be given to it (`given`), and how anything is decided, stored or sent.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from celeriac.app import (
    Page,
    RunHandle,
    checked_id,
    checked_statuses,
    checked_tags,
    dump_cursor,
    dump_plain,
    inputs_of,
    load_cursor,
    moment_ms,
    sweep_once,
    uuid7,
    wire,
)
from celeriac.authoring import (
    Flow,
    Planned,
    Shape,
    define_adopted_compensation,
    define_step,
    plan_saga,
)
from celeriac.engine import Purge, Repair
from celeriac.errors import (
    ConfigurationError,
    DefinitionError,
    InputInvalid,
    OutputInvalid,
    StepFailed,
)
from celeriac.machine import Start, duration_ms
from celeriac.points import reached
from celeriac.store import Query, payloads
from celeriac.views import Stats, stats_of
from celeriac.workers import Runtime, SagaTask, adopt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, timedelta

    from celery import Celery

    from celeriac.authoring import Compensation, Step
    from celeriac.context import StepContext
    from celeriac.engine import Repaired
    from celeriac.machine import (
        CompensationOrder,
        Duration,
        Effect,
        OnDeadline,
        OnUnknown,
        Retry,
        RunStatus,
    )

P = ParamSpec("P")
I = TypeVar("I")  # noqa: E741 -- the input of a saga
R = TypeVar("R")
IfExists = Literal["join", "fail", "restart"]
_LARGEST_PAGE = 200


class Sagas:
    """Makes a Celery app durable: defines steps and sagas, finds and steers runs.

    One for each app.  Nothing is read from the configuration, and no connection made, before it
    is needed.
    """

    def __init__(self, app: Celery) -> None:
        if getattr(app, "celeriac", None) is not None:
            raise ConfigurationError(
                f"the app {app.main!r} has its Sagas already: import that one and share it"
            )
        self.app = app
        self.runtime = Runtime(app)
        self._names: dict[str, str] = {}  # task name -> the function it was made of
        self._sagas: dict[str, Saga[Any, Any]] = {}
        self._adopted_undos: dict[str, Compensation[Any, Any]] = {}
        wire(app, self.runtime)
        app.celeriac = self

    # --- defining ------------------------------------------------------------------------------

    @overload
    def step(
        self, function: Callable[Concatenate[StepContext, P], R], /
    ) -> Step[P, Concatenate[StepContext, P], R]: ...

    @overload
    def step(self, function: Callable[P, R], /) -> Step[P, P, R]: ...

    @overload
    def step(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        effect: Effect = "keyed",
        on_unknown: OnUnknown | None = None,
        pivot: bool = False,
        **celery_task_options: Any,
    ) -> _StepDecorator: ...

    def step(self, function: Any = None, /, **options: Any) -> Any:
        """Make a function a step: a real Celery task, under its own name.

        `timeout` is how long one attempt may take; `retry` when to try again; `pivot=True` says
        that after this step the run only goes forward; everything else goes to Celery's `task`.

        `effect` says what the step's participant can do: honour the idempotency key (`keyed`),
        keep key and tombstone in the effect's own transaction (`barrier`, see
        `celeriac.barrier`), or neither (`none`, an e-mail).  `on_unknown` says what follows an
        attempt whose outcome nobody knows, since it timed out or its worker died: `retry` (the
        default), `compensate`, or `operator` (the default for `none`): the run rests in `failed`
        until somebody retries or skips the step, or cancels the run.  Raises DefinitionError.
        """
        decorator = _StepDecorator(self, options)
        return decorator if function is None else decorator(function)

    @overload
    def saga(self, function: Callable[[Flow], R], /) -> Saga[Any, R]: ...

    @overload
    def saga(self, function: Callable[[Flow, I], R], /) -> Saga[I, R]: ...

    @overload
    def saga(self, function: Callable[..., R], /) -> Saga[Any, R]: ...

    @overload
    def saga(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        deadline: Duration | None = None,
        on_deadline: OnDeadline = "compensate",
        compensation_order: CompensationOrder = "reverse",
        retention: Duration | None = None,
    ) -> _SagaDecorator: ...

    def saga(self, function: Any = None, /, **options: Any) -> Any:
        """Make a function a saga; it is called once, now, with placeholders, to plan it.

        `deadline` is how long a run may take, `on_deadline` what happens then (`compensate` or
        `alert`), `compensation_order` how steps are undone (`reverse`, `forward`, `parallel`),
        `retention` how long a run is kept after its end.  Raises DefinitionError.
        """
        decorator = _SagaDecorator(self, options)
        return decorator if function is None else decorator(function)

    def compensate(self, existing_task: Any, undo_task: Any) -> None:
        """Make one existing Celery task the compensation of another.  Neither is changed.

        To be said before the sagas that use them.  Raises DefinitionError.
        """
        undo = define_adopted_compensation(existing_task, undo_task)
        if existing_task.name in self._adopted_undos:
            raise DefinitionError("has its compensation already", step=existing_task.name)
        for saga in self._sagas.values():
            if existing_task.name in {task.name for task in saga.planned.adopted}:
                raise DefinitionError(
                    "its plan is made, without this compensation: call compensate before the saga",
                    saga=saga.name,
                    step=existing_task.name,
                )
        self._adopted_undos[existing_task.name] = undo

    def _define_step(self, function: Any, options: Mapping[str, Any]) -> Step[Any, Any, Any]:
        own = {"name", "timeout", "retry", "effect", "on_unknown", "pivot"}
        given = {name: value for name, value in options.items() if name in own}
        celery = {name: value for name, value in options.items() if name not in own}
        given["name"] = given.get("name") or self._task_name(function)
        return define_step(function, register=self._register, options=celery, **given)

    def _task_name(self, function: Any) -> str | None:
        name, module = getattr(function, "__name__", None), getattr(function, "__module__", None)
        return self.app.gen_task_name(name, module) if name and module else None

    def _register(self, function: Any, name: str | None, options: Mapping[str, Any]) -> Any:
        """Register the Celery task of a step or compensation."""
        name = name or self._task_name(function)
        assert name is not None  # functions have names, and others were refused before
        origin = f"{function.__module__}.{function.__qualname__}"
        if name in self._names:
            raise DefinitionError(
                f"the name is taken by {self._names[name]}: rename one, or give name=",
                step=name,
            )
        if options.get("bind"):
            raise DefinitionError(
                "bind=True does not go with a step: take a StepContext as the first parameter",
                step=name,
            )
        self._names[name] = origin
        return self.app.task(
            function,
            **{
                "base": SagaTask,
                "shared": False,  # with other apps in this process: a step belongs to one store
                "ignore_result": True,
                **options,
                "throws": (*options.get("throws", ()), StepFailed),
                "name": name,
                "saga_runtime": self.runtime,
                "saga_shape": Shape.of(function),
            },
        )

    def _define_saga(self, function: Any, options: Mapping[str, Any]) -> Saga[Any, Any]:
        name = str(options.get("name") or getattr(function, "__name__", repr(function)))
        if name in self._sagas:
            raise DefinitionError("the name is taken by another saga: give name=", saga=name)
        rest = {key: value for key, value in options.items() if key != "name"}
        planned = plan_saga(function, name=name, adopted_undos=self._adopted_undos, **rest)
        for task in planned.adopted:
            adopt(task, Shape.of(task.run, strict=False), self.runtime)
        saga: Saga[Any, Any] = Saga(self, planned)
        saga.__doc__ = function.__doc__
        self._sagas[name] = saga
        return saga

    @property
    def defined(self) -> Mapping[str, Saga[Any, Any]]:
        """The sagas of this app by name."""
        return dict(self._sagas)

    # --- finding -------------------------------------------------------------------------------

    def run(self, run_id: str) -> RunHandle[Any]:
        """Return the handle of a run; raise RunNotFound if there is none."""
        handle = self._handle(run_id)
        saga = self._sagas.get(handle._read()[0].saga)  # noqa: SLF001 -- one family
        return saga._handle(run_id) if saga else handle  # noqa: SLF001

    def runs(
        self,
        *,
        status: str | Iterable[str] | None = None,
        saga: str | Saga[Any, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of runs, newest first.

        `since` and `until` bound the start of a run (a time, or how long ago); `limit` is 1 to
        200; `cursor` is that of the page before.  Raises InputInvalid for a filter that makes no
        sense.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _LARGEST_PAGE:
            raise InputInvalid(f"limit is 1 to {_LARGEST_PAGE}, not {limit!r}")
        query = Query(
            statuses=checked_statuses(status),
            saga=saga.name if isinstance(saga, Saga) else saga,
            tags=checked_tags(tags),
            since=moment_ms(since),
            until=moment_ms(until),
            limit=limit + 1,
            cursor=load_cursor(cursor),
        )
        engine = self.runtime.engine
        found = engine.retry_while_unavailable(lambda: engine.store.find(query))
        page = found.runs[:limit]
        # Of one more than asked for, or where the search was left off for the time being.
        after = (page[-1].started_at, page[-1].id) if found.runs[limit:] else found.cursor
        handles = tuple(self._handle(run.id) for run in page)
        return Page(handles, dump_cursor(*after) if after else None, tuple(page), engine)

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return how many runs there are, by saga and status."""
        engine = self.runtime.engine
        return engine.retry_while_unavailable(engine.store.counts)

    def stats(self) -> Stats:
        """Return how the runs stand as a whole; it takes no longer where there are many."""
        engine = self.runtime.engine
        return engine.retry_while_unavailable(lambda: stats_of(engine.store))

    def purge(
        self,
        older_than: Duration,
        *,
        status: str | Iterable[str] | None = None,
        saga: str | None = None,
        reason: str = "",
        by: str = "",
    ) -> Purge:
        """Return what removes runs that ended so long ago, before their retention is over.

        Nothing is removed before that is asked for: `for removed in purge.run(): …` goes on as long
        as it is asked, with the number of runs that are gone.  The archive gets each run first.
        Raises InputInvalid for a status that is not at rest, and for `failed`: what is owed is
        never purged.
        """
        runtime = self.runtime
        store = runtime.engine.store
        return Purge(
            store,
            runtime.archivist,
            ended_before=store.read("").now - duration_ms(older_than),
            statuses=checked_statuses(status),
            saga=saga,
            by=by,
            reason=reason,
        )

    def sweep(self) -> int:
        """Sweep once, as the beat task does; return how many runs were looked at."""
        return sweep_once(self.runtime)

    def repair(self, *, dry_run: bool = False) -> Repaired:
        """Prove that everything stored of the runs fits together, and mend what does not.

        Looks at every run, so it takes its time, and holds up nobody; *dry_run* only looks.
        """
        return Repair(self.runtime.engine).run(dry_run=dry_run)

    def _handle(self, run_id: str, decode: Callable[[str], Any] = json.loads) -> RunHandle[Any]:
        runtime = self.runtime
        return RunHandle(run_id, runtime.engine, runtime.dispatcher, decode, self._dump_result)

    def _dump_result(self, task: str, result: Any) -> str:
        """Return what a task might have returned as JSON, as strictly as where it had done so."""
        known = self.app.tasks.get(task)
        if not isinstance(known, SagaTask) or known.saga_adopted:
            return dump_plain(task, result)
        try:
            return known.saga_shape.dump(result)
        except OutputInvalid as error:
            raise InputInvalid(str(error)) from None


class Saga(Generic[I, R]):
    """A named, versioned graph of steps, ready to be started."""

    def __init__(self, sagas: Sagas, planned: Planned) -> None:
        self.planned, self._sagas = planned, sagas

    @property
    def name(self) -> str:
        """The saga's name."""
        return self.planned.plan.saga

    def __repr__(self) -> str:
        return f"<saga {self.name}>"

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Refuse: a saga is started, not called."""
        raise DefinitionError(
            "a saga is not called: start a run with .start(…), or put steps into this saga",
            saga=self.name,
        )

    def start(
        self,
        *inputs: I,
        id: str | None = None,  # noqa: A002 -- the word of the interface
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
        **named: Any,
    ) -> RunHandle[R]:
        """Accept a run and return its handle; once this returns, the run will come to rest.

        *id* makes it idempotent (left out: a UUID of version 7).  *if_exists* says what happens
        when the id is taken: `join` returns that run if its input is equal, else RunConflict;
        `fail` raises RunExists; `restart` starts anew if it has ended.

        Raises InputInvalid or PayloadTooLarge with nothing written, StoreUnavailable, StoreFull.
        """
        start, texts = self._prepare(inputs, named, id, tags, if_exists)
        return self._start(start, texts)

    def start_json(
        self,
        text: str,
        *,
        id: str | None = None,  # noqa: A002
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
    ) -> RunHandle[R]:
        """Accept a run whose input is JSON text; otherwise the same as `start`.

        With one parameter, *text* is its value; with several, an object by parameter name.
        """
        named = inputs_of(self.planned.shape, text)
        start, texts = self._prepare((), named, id, tags, if_exists)
        return self._start(start, texts)

    def start_on_commit(
        self,
        *inputs: I,
        id: str | None = None,  # noqa: A002
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
        using: str | None = None,
        **named: Any,
    ) -> str:
        """Start once Django's transaction commits; return the run's id.  Checks the input now."""
        from django.db import transaction  # noqa: PLC0415 -- only where Django is in use

        start, texts = self._prepare(inputs, named, id, tags, if_exists)
        transaction.on_commit(lambda: self._start(start, texts), using=using)
        return start.run_id

    def _prepare(
        self,
        inputs: tuple[Any, ...],
        named: Mapping[str, Any],
        run_id: str | None,
        tags: Mapping[str, str] | None,
        if_exists: IfExists,
    ) -> tuple[Start, dict[str, str]]:
        if if_exists not in ("join", "fail", "restart"):
            raise InputInvalid(f"if_exists is 'join', 'fail' or 'restart', not {if_exists!r}")
        settings = self._sagas.runtime.settings
        texts = self.planned.shape.encode(inputs, named)
        for parameter, text in texts.items():
            what = f"input {parameter!r} of {self.name}"
            payloads.checked(what, text, settings.max_payload)
        start = Start(
            run_id=checked_id(run_id) if run_id is not None else uuid7(),
            digest=payloads.digest(self.name, texts),
            nonce=os.urandom(4).hex(),
            grace=settings.grace_ms,
            tags=checked_tags(tags),
            if_exists=if_exists,
        )
        return start, texts

    def _start(self, start: Start, texts: Mapping[str, str]) -> RunHandle[R]:
        runtime = self._sagas.runtime
        reached("start.asked", start.run_id)
        _, decided, now = runtime.engine.start(self.planned.plan, start, texts)
        reached("start.accepted", start.run_id)
        if decided.events:
            runtime.dispatcher.send(self.planned.plan, decided.run, decided.dispatches, now)
        reached("start.published", start.run_id)
        return self._handle(start.run_id)

    def _handle(self, run_id: str) -> RunHandle[R]:
        return self._sagas._handle(run_id, self.planned.result)  # noqa: SLF001


class _StepDecorator:
    """`@sagas.step(…)` with options."""

    def __init__(self, sagas: Sagas, options: Mapping[str, Any]) -> None:
        self._sagas, self._options = sagas, options

    @overload
    def __call__(
        self, function: Callable[Concatenate[StepContext, P], R], /
    ) -> Step[P, Concatenate[StepContext, P], R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, P, R]: ...

    def __call__(self, function: Any, /) -> Any:
        return self._sagas._define_step(function, self._options)  # noqa: SLF001


class _SagaDecorator:
    """`@sagas.saga(…)` with options."""

    def __init__(self, sagas: Sagas, options: Mapping[str, Any]) -> None:
        self._sagas, self._options = sagas, options

    @overload
    def __call__(self, function: Callable[[Flow], R], /) -> Saga[Any, R]: ...

    @overload
    def __call__(self, function: Callable[[Flow, I], R], /) -> Saga[I, R]: ...

    @overload
    def __call__(self, function: Callable[..., R], /) -> Saga[Any, R]: ...

    def __call__(self, function: Any, /) -> Any:
        return self._sagas._define_saga(function, self._options)  # noqa: SLF001
