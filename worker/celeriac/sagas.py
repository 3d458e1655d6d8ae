"""The public face: `Sagas(app)` defines steps and sagas, and finds and starts runs.

Owns: what users may write to define something, with its types and its promises.  Refuses to know:
how any of it is done, how a saga is started (`app/saga.py`), and what may be asked of runs
(`app/known_runs.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from celeriac.app import (
    IfExists,
    KeptDefinition,
    KnownRuns,
    Saga,
    Schedule,
    keep,
    kept_definition,
    kept_definitions,
    look_at_gate,
    look_at_gates,
    read_file,
    set_breaker,
    wire,
)
from celeriac.errors import ConfigurationError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from celery import Celery
    from celery.schedules import crontab

    from celeriac.authoring import Breaker, Flow, Limit, Planned, Rate, Step
    from celeriac.context import StepContext
    from celeriac.machine import (
        CompensationOrder,
        Duration,
        Effect,
        OnDeadline,
        OnUnknown,
        Retry,
    )
    from celeriac.scheduling import Overlap
    from celeriac.views import GateDetails, GateState

__all__ = ["IfExists", "Saga", "Sagas"]

P = ParamSpec("P")
I = TypeVar("I")  # noqa: E741 -- the input of a saga
R = TypeVar("R")


class Sagas(KnownRuns):
    """Makes a Celery app durable: defines steps and sagas, finds and steers runs.

    Make one per app.  It reads no configuration and opens no connection before it has to.
    """

    def __init__(self, app: Celery) -> None:
        if getattr(app, "celeriac", None) is not None:
            raise ConfigurationError(
                f"the app {app.main!r} has its Sagas already: import that one and share it"
            )
        super().__init__(app)
        self._kept = wire(app, self.runtime, self._ticks)
        app.celeriac = self

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
        expires: Duration | None = None,
        limit: Limit | Rate | Sequence[Limit | Rate] | None = None,
        breaker: Breaker | Sequence[Breaker] | None = None,
        routes: tuple[str, ...] = (),
        **celery_task_options: Any,
    ) -> _StepDecorator: ...

    def step(self, function: Any = None, /, **options: Any) -> Any:
        """Make a function a step: a real Celery task, under its own name.

        `timeout` is how long one attempt may take (seconds, or text such as "30s"); `retry` says
        when to try again; `give_up_after` is how long all attempts may take together, from the
        first on; `expires` is how long it may wait to be taken up for the first time: then it has
        failed, without any effect; after a step with `pivot=True` the run only goes forward.
        `routes` names the groups with which it may go on (`raise Route("manual")`), which is
        checked then.  With `ahead=False` each attempt gets a message of its own (see
        `saga_run_ahead`).  `limit` and `breaker` are gates that each attempt has to pass.  Other
        options go to Celery's `task`.

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
        limit: Limit | Rate | Sequence[Limit | Rate] | None = None,
    ) -> _SagaDecorator: ...

    def saga(self, function: Any = None, /, **options: Any) -> Any:
        """Make a function a saga.  It is called once, now, with placeholders, to plan the saga.

        `deadline` is how long a run may take, `on_deadline` what happens then (`compensate` or
        `alert`), `compensation_order` in which order steps are undone (`reverse`, `forward`,
        `parallel`), `retention` how long a run is kept after its end.  `answers` is the
        type of what a step may say to the caller with `Abort(answer=)`; left out, an answer arrives
        as plain JSON.  A run that starts more than `max_steps` steps (1,024) fails.  `retries` is
        how often a run begins anew, `retry_delay` later, once all it did is undone because a step
        failed.  `limit` says how many runs may be under way at a time.  Raises DefinitionError.
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

    def gates(self) -> list[GateState]:
        """Return how all limits, rates and breakers stand, by name."""
        return look_at_gates(self.runtime)

    def gate(self, name: str) -> GateDetails:
        """Return how one of them stands, who is inside and who waits; raise GateNotFound."""
        return look_at_gate(self.runtime, name)

    def open_breaker(self, name: str, *, by: str = "") -> None:
        """Let nothing through a breaker until somebody closes it; InputInvalid if it is none."""
        set_breaker(self.runtime, name, by, to_open=True)

    def close_breaker(self, name: str, *, by: str = "") -> None:
        """Let everything through a breaker again, those who wait first; InputInvalid as above."""
        set_breaker(self.runtime, name, by, to_open=False)

    def compensate(self, existing_task: Any, undo_task: Any) -> None:
        """Make one existing Celery task the compensation of another.  Neither is changed.

        Call it before you define the sagas that use them.  Raises DefinitionError.
        """
        self._definitions.compensate(existing_task, undo_task)

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
