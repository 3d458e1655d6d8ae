"""The public face: `Sagas(app)` defines steps and sagas, and finds and starts runs.

Owns: what users may write, with its types and its promises.  Refuses to know: how any of it is
done (`app`).  This file is long because of the types: a `step` and a `saga` are each spelt three
times, so that an editor knows what comes of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from celeriac.app import (
    Definitions,
    FailureFilter,
    IfExists,
    Page,
    RunHandle,
    find_runs,
    handle_of,
    inputs_of,
    offload,
    prepare_purge,
    prepare_start,
    queue_stats,
    start_run,
    sweep_once,
    wire,
)
from celeriac.engine import Purge, Repair
from celeriac.errors import ConfigurationError, DefinitionError
from celeriac.views import Stats, stats_of
from celeriac.workers import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, timedelta

    from celery import Celery

    from celeriac.authoring import Flow, Planned, Step
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
        Start,
    )

__all__ = ["IfExists", "Saga", "Sagas"]

P = ParamSpec("P")
I = TypeVar("I")  # noqa: E741 -- the input of a saga
R = TypeVar("R")


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
        self._definitions = Definitions(self.runtime)
        self._sagas: dict[str, Saga[Any, Any]] = {}
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
        self._definitions.compensate(existing_task, undo_task)

    def _define_step(self, function: Any, options: Mapping[str, Any]) -> Step[Any, Any, Any]:
        return self._definitions.step(function, options)

    def _define_saga(self, function: Any, options: Mapping[str, Any]) -> Saga[Any, Any]:
        planned = self._definitions.saga(function, options)
        saga: Saga[Any, Any] = Saga(self, planned)
        saga.__doc__ = function.__doc__
        self._sagas[saga.name] = saga
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

    def runs(  # noqa: PLR0913 -- the filters
        self,
        *,
        status: str | Iterable[str] | None = None,
        saga: str | Saga[Any, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        owed: bool = False,
        asking: bool = False,
        failed_step: str | None = None,
        code: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of runs, newest first.

        `since` and `until` bound the start (a time, or how long ago).  `owed` are runs that owe
        something, `asking` those that ask whether a step took effect (both: either); `failed_step`
        ended the run or is owed, `code` is its error code.  `limit` is 1 to 200, `cursor` that of
        the page before.  Raises InputInvalid for a filter that makes no sense.
        """
        return find_runs(
            self.runtime,
            status=status,
            saga=saga.name if isinstance(saga, Saga) else saga,
            tags=tags,
            since=since,
            until=until,
            failed=FailureFilter(owed, asking, failed_step, code),
            limit=limit,
            cursor=cursor,
            handle=self._handle,
        )

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return how many runs there are, by saga and status."""
        engine = self.runtime.engine
        return engine.retry_while_unavailable(engine.store.counts)

    def stats(self) -> Stats:
        """Return how the runs stand as a whole; it takes no longer where there are many."""
        engine = self.runtime.engine
        found = engine.retry_while_unavailable(lambda: stats_of(engine.store))
        plans = [saga.planned.plan for saga in self.defined.values()]
        return found.model_copy(update={"queues": queue_stats(self.runtime, plans)})

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
        return prepare_purge(
            self.runtime, older_than, status=status, saga=saga, reason=reason, by=by
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
        return handle_of(self.runtime, run_id, decode)


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
            "a saga cannot be called: start a run with .start(…), or add its steps to this saga",
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

    async def astart(
        self,
        *inputs: I,
        id: str | None = None,  # noqa: A002 -- the word of the interface
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
        **named: Any,
    ) -> RunHandle[R]:
        """Do what `start` does for a coroutine, whose event loop goes on meanwhile.

        Whoever is cancelled while it awaits this may have started the run: with an *id*, one can
        ask again.
        """
        options: Any = {"id": id, "tags": tags, "if_exists": if_exists}
        return await offload(self.start, *inputs, **options, **named)

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
        client = self._sagas.runtime
        return prepare_start(client, self.planned, inputs, named, run_id, tags, if_exists)

    def _start(self, start: Start, texts: Mapping[str, str]) -> RunHandle[R]:
        start_run(self._sagas.runtime, self.planned, start, texts)
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
