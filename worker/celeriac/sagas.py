"""The public face: `Sagas(app)` defines steps and sagas, and finds and starts runs.

Owns: what users may write, with its types and its promises.  Refuses to know: how any of it is
done (`app`).  This file is long because of the types: a `step` and a `saga` are each spelt three
times, so that an editor knows what comes of them.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from celeriac.app import (
    BulkCommand,
    BulkVerb,
    Definitions,
    FailureFilter,
    IfExists,
    KeptDefinition,
    Page,
    RunHandle,
    Schedule,
    ScheduleDefinitions,
    bring_failure,
    bring_result,
    dump_known,
    find_runs,
    handle_of,
    inputs_of,
    inputs_of_texts,
    keep,
    kept_definition,
    kept_definitions,
    look_at,
    looked_up,
    newest_bulks,
    offload,
    prepare_purge,
    prepare_start,
    queue_stats,
    read_file,
    start_run,
    states_of,
    sweep_once,
    wire,
)
from celeriac.definitions import write_plan
from celeriac.engine import Purge, Repair, Ticks, steady
from celeriac.errors import ConfigurationError, DefinitionError, InputInvalid
from celeriac.views import LONGEST, StartedRuns, Stats, stats_of, throughput_of
from celeriac.workers import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, timedelta

    from celery import Celery
    from celery.schedules import crontab

    from celeriac.authoring import Answer, Flow, Planned, Signal, Step
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
    from celeriac.scheduling import Overlap
    from celeriac.views import BulkState, ScheduleState

__all__ = ["IfExists", "Saga", "Sagas"]

P = ParamSpec("P")
I = TypeVar("I")  # noqa: E741 -- the input of a saga
R = TypeVar("R")
T = TypeVar("T")


class Sagas:
    """Makes a Celery app durable: defines steps and sagas, finds and steers runs.

    Make one per app.  It reads no configuration and opens no connection before it has to.
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
        self._schedules = ScheduleDefinitions(app)
        self._kept = wire(app, self.runtime, self._ticks)
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
        ahead: bool = True,
        give_up_after: Duration | None = None,
        routes: tuple[str, ...] = (),
        **celery_task_options: Any,
    ) -> _StepDecorator: ...

    def step(self, function: Any = None, /, **options: Any) -> Any:
        """Make a function a step: a real Celery task, under its own name.

        `timeout` is how long one attempt may take (seconds, or text such as "30s"); `retry` says
        when to try again; `give_up_after` is how long all attempts may take together, from the
        first on; after a step with `pivot=True` the run only goes forward.  `routes` names the
        groups with which it may go on (`raise Route("manual")`), which is checked then.  With
        `ahead=False` each attempt gets a message of its own (see `saga_run_ahead`).  Other options
        go to Celery's `task`.

        `effect` declares what the downstream service guarantees: it honours the idempotency key
        (`keyed`), it stores key and tombstone in the effect's own transaction (`barrier`, see
        `celeriac.barrier`), or neither (`none`, such as an e-mail).  `on_unknown` says what follows
        an attempt with an unknown outcome, because it timed out or its worker died: `retry` (the
        default), `compensate`, or `operator` (the default for `none`): the run rests in `failed`
        until an operator retries or skips the step, or cancels the run.  Raises DefinitionError.
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
        answers: Any = None,
        max_steps: int | None = None,
        retries: int = 0,
        retry_delay: Duration = 5.0,
    ) -> _SagaDecorator: ...

    def saga(self, function: Any = None, /, **options: Any) -> Any:
        """Make a function a saga.  It is called once, now, with placeholders, to plan the saga.

        `deadline` is how long a run may take, `on_deadline` what happens then (`compensate` or
        `alert`), `compensation_order` in which order steps are undone (`reverse`, `forward`,
        `parallel`), `retention` how long a run is kept after its end.  `answers` is the
        type of what a step may say to the caller with `Abort(answer=)`; left out, an answer arrives
        as plain JSON.  A run that starts more than `max_steps` steps (1,024) fails.  `retries` is
        how often a run begins anew, `retry_delay` later, once all it did is undone because a step
        failed.  Raises DefinitionError.
        """
        decorator = _SagaDecorator(self, options)
        return decorator if function is None else decorator(function)

    def schedule(
        self,
        name: str,
        saga: Saga[I, Any],
        *inputs: I,
        every: crontab | timedelta,
        timezone: str | None = None,
        overlap: Overlap = "skip",
        catch_up: Duration = "1m",
        anchor: datetime | None = None,
        tags: Mapping[str, str] | None = None,
        **named: Any,
    ) -> Schedule:
        """Start a saga again and again, by the sweep: each tick once, whatever number of beats.

        `every` is a `celery.schedules.crontab`, read on the clock of `timezone` (the app's, if left
        out), or a `timedelta`, whose ticks lie on a grid: `anchor` is one of them (midnight of the
        first day of 1970 in UTC, if left out).  A tick with fixed hours comes once a day, whatever
        clocks do; one with hour `*`, or of a `timedelta`, whenever so much time has passed.

        `overlap` says what happens to a tick while the last run is not at rest: `skip` it, `queue`
        one, `cancel` that run and start once it is undone, or `allow` both.  `catch_up` is how late
        a tick may be: after an outage the newest one runs if it is no later.  A run has the id
        `nightly-20261128T030000Z` and the tag `schedule`.  Raises DefinitionError.
        """
        if not isinstance(saga, Saga) or saga.name not in self._sagas:
            raise DefinitionError(
                f"schedule {name!r}: give a saga of this app, not {saga!r}: the function that "
                "@sagas.saga decorates"
            )
        options: dict[str, Any] = {"timezone": timezone, "overlap": overlap, "anchor": anchor}
        name = self._schedules.define(
            name, saga.planned, inputs, named, every=every, catch_up=catch_up, tags=tags, **options
        )
        return Schedule(name, self._ticks, self._schedules)

    def compensate(self, existing_task: Any, undo_task: Any) -> None:
        """Make one existing Celery task the compensation of another.  Neither is changed.

        Call it before you define the sagas that use them.  Raises DefinitionError.
        """
        self._definitions.compensate(existing_task, undo_task)

    def _ticks(self) -> Ticks:
        """What sees to the schedules, for the process that asks."""
        runtime = self.runtime
        return Ticks(
            runtime.engine,
            runtime.dispatcher,
            self._schedules.scheduled(),
            lambda: steady() - runtime.began,
            self._schedules.told,
        )

    def load(self, path: str | Path) -> Saga[Any, Any]:
        """Define the saga that a YAML file describes; as if it stood there in Python.

        Raises FileInvalid with all that is wrong, each with file, line and column, and
        ConfigurationError where `celeriac[yaml]` is not installed.
        """
        return self._own(self._definitions.file(read_file(Path(path)), str(path), loaded=True))

    def from_file(self, path: str | Path) -> Saga[Any, Any]:
        """Return the saga that a YAML file describes, to be started; the app gets no new saga.

        Raises FileInvalid as `load` does.
        """
        return Saga(self, self._definitions.file(read_file(Path(path)), str(path), loaded=False))

    def define(self, path: str | Path) -> Saga[Any, Any]:
        """Keep the saga that a YAML file describes, by name and version, for all to start.

        A version never changes: the same again is nothing new.  Raises FileInvalid as `load` does,
        and DefinitionConflict if the version is kept as another one.
        """
        content = read_file(Path(path))
        saga = Saga[Any, Any](self, self._definitions.file(content, str(path), loaded=False))
        plan = saga.planned.plan
        keep(self.runtime.engine, plan.saga, plan.version, content.decode("utf-8-sig"))
        return saga

    def definition(self, name: str, version: int | None = None) -> Saga[Any, Any]:
        """Return the saga that was kept with `define`: the newest version, or this one.

        Raises DefinitionNotFound, and FileInvalid if it does not fit the app any more.
        """
        kept = kept_definition(self.runtime.engine, name, version)
        return Saga(self, self._definitions.file(kept.text.encode(), kept.name, loaded=False))

    def definitions(self) -> list[KeptDefinition]:
        """Return all definitions that are kept, by name, the newest version first."""
        return kept_definitions(self.runtime.engine)

    def _define_step(self, function: Any, options: Mapping[str, Any]) -> Step[Any, Any, Any]:
        return self._definitions.step(function, options)

    def _define_saga(self, function: Any, options: Mapping[str, Any]) -> Saga[Any, Any]:
        saga = self._own(self._definitions.saga(function, options))
        saga.__doc__ = function.__doc__
        return saga

    def _own(self, planned: Planned) -> Saga[Any, Any]:
        """Make a saga one of the app's."""
        saga: Saga[Any, Any] = Saga(self, planned)
        self._sagas[saga.name] = saga
        for signal in planned.signals.values():
            signal.belongs_to(self)
        return saga

    @property
    def defined(self) -> Mapping[str, Saga[Any, Any]]:
        """The sagas of this app by name."""
        return dict(self._sagas)

    @property
    def scheduled(self) -> tuple[str, ...]:
        """The names of the schedules that the code of this app has."""
        return self._schedules.names

    # --- finding -------------------------------------------------------------------------------

    def run(self, run_id: str) -> RunHandle[Any]:
        """Return the handle of a run; raise RunNotFound if there is none."""
        handle = self._handle(looked_up(run_id))
        saga = self._sagas.get(handle._read()[0].saga)  # noqa: SLF001 -- one family
        return saga._handle(run_id) if saga else handle  # noqa: SLF001

    def runs(  # noqa: PLR0913 -- the filters
        self,
        *,
        status: str | Iterable[str] | None = None,
        saga: str | Saga[Any, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        awaiting: bool = False,
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

        `awaiting` are runs that wait for a signal, such as an approval, whatever else they do.
        `since` and `until` limit when runs were started (a time, or how long ago).  `owed` are runs
        that owe something, `asking` those that ask whether a step took effect (both: either);
        `failed_step` ended the run or is owed, `code` is its error code.  `limit` is 1 to 200;
        `cursor` comes from the previous page.  Raises InputInvalid for an impossible filter.
        """
        return find_runs(
            self.runtime,
            status=status,
            saga=saga.name if isinstance(saga, Saga) else saga,
            tags=tags,
            awaiting=awaiting,
            since=since,
            until=until,
            failed=FailureFilter(owed, asking, failed_step, code),
            limit=limit,
            cursor=cursor,
            handle=self._handle,
        )

    def bulk(  # noqa: PLR0913 -- the filters
        self,
        verb: BulkVerb,
        *,
        runs: Iterable[str] | None = None,
        status: str | Iterable[str] | None = None,
        saga: str | Saga[Any, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        awaiting: bool = False,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        owed: bool = False,
        asking: bool = False,
        failed_step: str | None = None,
        code: str | None = None,
        reason: str = "",
        rps: float = 20.0,
        by: str = "",
    ) -> BulkCommand:
        """Look which runs a command would be for: those named in *runs*, or those of a filter.

        Nothing is done to them before `start(expected)` of what is returned, with the number of
        runs that were seen (`state().matched`).  Then the sweep gives the command to *rps* runs a
        second, whether or not this process is still there.  A run that has become something else
        since the look is left as it is.  Runs that ask what became of a step get no `retry` unless
        *asking*.  Raises InputInvalid, also for more than 10,000 runs.
        """
        filters = {
            "status": status if status is None or isinstance(status, str) else [*status],
            "saga": saga.name if isinstance(saga, Saga) else saga,
            "tags": tags,
            "awaiting": awaiting,
            "since": since,
            "until": until,
            "owed": owed,
            "asking": asking,
            "failed_step": failed_step,
            "code": code,
        }
        asked: Any = {"runs": runs, "filters": filters, "reason": reason, "rps": rps, "by": by}
        return look_at(self.runtime.engine, self.runs, verb, **asked)

    def bulk_named(self, bulk_id: str) -> BulkCommand:
        """Return the handle of a command for many runs; whether there is one is not asked yet."""
        return BulkCommand(bulk_id, self.runtime.engine)

    def bulks(self, limit: int = 50) -> list[BulkState]:
        """Return the commands for many runs that were looked at last, the newest first."""
        return newest_bulks(self.runtime.engine, limit)

    @overload
    def signal(
        self,
        run_id: str,
        signal: Signal[T],
        payload: T,
        id: str | None = None,
    ) -> Answer: ...

    @overload
    def signal(
        self,
        run_id: str,
        signal: str,
        payload: Any = None,
        id: str | None = None,
    ) -> Answer: ...

    def signal(
        self,
        run_id: str,
        signal: Any,
        payload: Any = None,
        id: str | None = None,  # noqa: A002
    ) -> Answer:
        """Send a signal to a run: what `run.signal` does."""
        return self._handle(run_id).signal(signal, payload, id=id)

    def schedules(self) -> list[ScheduleState]:
        """Return how all schedules stand, by name, also those of other versions of the code.

        One that was deleted is left out, and known by `schedule_named`.
        """
        return states_of(self._ticks())

    def schedule_named(self, name: str) -> Schedule:
        """Return the handle of a schedule, to steer it; whether there is one is not asked yet."""
        return Schedule(name, self._ticks, self._schedules)

    def complete(self, token: str, result: Any = None) -> None:
        """Bring the result of a step from outside: *token* is that of its attempt (`ctx.token`).

        The result is checked against what the step declares to return.  It may come before the step
        has returned `ctx.later(…)`: it is kept then, and counts whatever the step does.  The same
        result again is accepted.  Raises InputInvalid or PayloadTooLarge with nothing written;
        TokenUnknown, TokenVoid if the attempt no longer counts, TokenSettled if it has ended in
        another way.
        """
        client, dump = self.runtime, functools.partial(dump_known, self.app)
        bring_result(client.engine, client.dispatcher, dump, token, result)

    def fail(
        self,
        token: str,
        message: str,
        *,
        code: str | None = None,
        effect: bool | None = None,
        retry: bool = False,
    ) -> None:
        """Say from outside that a step has failed: what `Abort` with these arguments says.

        *effect* is False if it is proven to have had none: then it is not undone.  With *retry* the
        step may be tried again, by its policy.  Raises what `complete` raises.
        """
        client = self.runtime
        options: Any = {"code": code, "effect": effect, "retry": retry}
        bring_failure(client.engine, client.dispatcher, token, message, **options)

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return how many runs there are, by saga and status."""
        engine = self.runtime.engine
        return engine.retry_while_unavailable(engine.store.counts)

    def stats(self) -> Stats:
        """Return figures about all runs; takes no longer if there are many."""
        engine = self.runtime.engine
        found = engine.retry_while_unavailable(lambda: stats_of(engine.store))
        plans = [saga.planned.plan for saga in self.defined.values()]
        return found.model_copy(update={"queues": queue_stats(self.runtime, plans)})

    def throughput(self, hours: int = 24) -> tuple[StartedRuns, ...]:
        """Return how many runs were started in each of the last *hours* (1 to 168), oldest first.

        The last is the hour that has begun.  Counted are runs that are still here, from indexes.
        """
        if isinstance(hours, bool) or not isinstance(hours, int) or not 1 <= hours <= LONGEST:
            raise InputInvalid(f"hours: 1 to {LONGEST}, not {hours!r}")
        engine = self.runtime.engine
        return engine.retry_while_unavailable(lambda: throughput_of(engine.store, hours))

    def purge(
        self,
        older_than: Duration,
        *,
        status: str | Iterable[str] | None = None,
        saga: str | None = None,
        reason: str = "",
        by: str = "",
    ) -> Purge:
        """Prepare to remove runs that ended so long ago, before their retention is over.

        Nothing is removed yet: iterate over `purge.run()`, which yields how many runs are gone so
        far.  The archive gets each run first.  Raises InputInvalid for a status that is not at
        rest, and for `failed`: what is owed is never purged.
        """
        return prepare_purge(
            self.runtime, older_than, status=status, saga=saga, reason=reason, by=by
        )

    def sweep(self) -> int:
        """Sweep once, as the beat task does; return how many runs were looked at."""
        return sweep_once(self.runtime, self._ticks())

    def repair(self, *, dry_run: bool = False) -> Repaired:
        """Check that everything stored about runs is consistent, and mend what is not.

        It looks at every run, which takes time but delays no run; *dry_run* changes nothing.
        """
        return Repair(self.runtime.engine).run(dry_run=dry_run)

    def _written(self, planned: Planned) -> str:
        return write_plan(planned.plan, self._definitions.task_named, planned.shape)

    def _handle(
        self,
        run_id: str,
        decode: Callable[[str], Any] = json.loads,
        answer: Callable[[str], Any] = json.loads,
    ) -> RunHandle[Any]:
        return handle_of(self.runtime, run_id, decode, answer, self._definitions.signals)


class Saga(Generic[I, R]):
    """A named, versioned graph of steps, ready to be started."""

    def __init__(self, sagas: Sagas, planned: Planned) -> None:
        self.planned, self._sagas = planned, sagas

    @property
    def name(self) -> str:
        """The saga's name."""
        return self.planned.name

    def __repr__(self) -> str:
        return f"<saga {self.name}>"

    def as_yaml(self) -> str:
        """Return the saga as a YAML file, which `sagas.load` reads as the same plan."""
        return self._sagas._written(self.planned)  # noqa: SLF001 -- one family

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

        *id* makes it idempotent; the default is a new UUID (version 7).  *if_exists* says what
        happens if the id is taken: `join` returns that run if its input is equal, and raises
        RunConflict if not; `fail` raises RunExists; `restart` starts again if the run has ended.

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
        """Do what `start` does in a coroutine, without blocking its event loop.

        If the caller is cancelled meanwhile, the run may have been started: give an *id*, and you
        can start it again safely.
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

    def start_vars(
        self,
        variables: Mapping[str, str],
        *,
        id: str | None = None,  # noqa: A002
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
    ) -> RunHandle[R]:
        """Accept a run whose inputs are texts, each read by the type that it is for.

        `08:30` is a time where one is asked for; lists and objects are JSON.  Otherwise the same as
        `start`.
        """
        named = inputs_of_texts(self.planned.shape, variables)
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
        """Start when Django's transaction commits; return the run's id.  Checks the input now."""
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
        made = start_run(self._sagas.runtime, self.planned, start, texts)
        run = self._handle(start.run_id)
        run.joined = not made
        return run

    def _handle(self, run_id: str) -> RunHandle[R]:
        planned = self.planned
        return self._sagas._handle(run_id, planned.result, planned.answer)  # noqa: SLF001


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
