"""The tasks of an app as the lab runs them: the user's own functions, called as a worker would.

Owns: finding the task behind each step, and calling it with a request of its own, so that
`self.request`, `self.retry` and a task class of one's own work.  Refuses to know: the app's broker
and its store, which are not touched.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from celery._state import _task_stack
from celery.app.trace import task_has_custom
from celery.local import Proxy

from celeriac.authoring import Compensation, Step
from celeriac.context import StepContext, current, entered
from celeriac.errors import ConfigurationError
from celeriac.sagas import Saga
from celeriac.settings import Settings, read_settings
from celeriac.testing.broker import QUEUE
from celeriac.testing.fault_points import UNDO
from celeriac.workers import HEADER, Promised, task_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.app import Family
    from celeriac.authoring import Shape, Signal
    from celeriac.engine import Attempt
    from celeriac.workers import Runtime


@dataclass(frozen=True, slots=True)
class Body:
    """A task that can be run as an attempt."""

    name: str
    shape: Shape
    adopted: bool
    task: Any

    def call(self, attempt: Attempt, *args: Any, **kwargs: Any) -> Any:
        """Call the task as a worker does when its message has arrived."""
        task = _resolved(self.task)
        with _requested(task, attempt):
            # As a worker does: with whatever the task's class does around it.
            call = task if task_has_custom(task, "__call__") else task.run
            return call(*args, **kwargs)


def late_request(body: Body, attempt: Attempt, args: Sequence[Any], kwargs: Any) -> None:
    """What is left of a worker that died: what its body asks of others, and not of the store."""
    silent = replace(
        current(),
        on_heartbeat=lambda _: None,
        on_progress=lambda *_: None,
        on_tags=lambda _: None,
    )
    given = [silent if isinstance(each, StepContext) else each for each in args]
    with entered(silent):
        body.call(attempt, *given, **kwargs)


class VirtualTasks:
    """The tasks of one app, by name, and the names of the steps they belong to."""

    def __init__(self) -> None:
        self.sagas: Family | None = None
        self.steps: set[str] = set()
        self.signals: dict[str, Signal[Any]] = {}
        self._bodies: dict[str, Body] = {}

    @property
    def settings(self) -> Settings:
        """The settings of the app; but each attempt gets a message, since more can befall it so.

        What a crash leaves of attempts that run ahead is a state that comes about so too (I24).
        """
        found = Settings() if self.sagas is None else read_settings(self.sagas.app.conf)
        return found.model_copy(update={"run_ahead": 0})

    def add_saga(self, saga: Saga[Any, Any]) -> None:
        """Learn the tasks of a saga, and of its app; raise ConfigurationError for another app."""
        if not isinstance(saga, Saga):
            raise ConfigurationError(
                f"the lab starts sagas, not {saga!r}: give the function that @sagas.saga decorates"
            )
        family = saga._sagas  # noqa: SLF001 -- one family
        if self.sagas is not None and self.sagas is not family:
            raise ConfigurationError(
                f"{saga.name} belongs to the app {family.app.main!r}, and this lab works for "
                f"{self.sagas.app.main!r}: one lab holds one app; use another Lab()"
            )
        self.sagas = family
        for each in (*family.defined.values(), saga):
            self._learn(each)

    def add(self, name: str, step: Step[Any, Any, Any]) -> None:
        """Learn a step, under the name it has in a plan, and its compensation."""
        self.steps.add(name)
        self._know_both(step)

    def body(self, name: str) -> Body:
        """Return the task called *name*."""
        return self._bodies[name]

    @property
    def runtime(self) -> Runtime:
        """What is known of the sagas' types."""
        assert self.sagas is not None  # or there would be no run
        return self.sagas.runtime

    def _learn(self, saga: Saga[Any, Any]) -> None:
        self.signals.update(saga.planned.signals)
        for task in saga.planned.steps.values():
            if isinstance(task, Step):
                self._know_both(task)
            elif isinstance(task, Compensation):  # a confirm
                self._know(task, adopted=False)
        # What covers others only undoes: as a step nobody ever gets there.
        covering = {node.name for node in saga.planned.draft.nodes if node.covers}
        names = saga.planned.steps
        self.steps.update(f"{UNDO}{name}" if name in covering else name for name in names)
        for task in saga.planned.adopted:
            found = _resolved(task)
            self._bodies[found.name] = Body(found.name, found.saga_shape, True, found)

    def _know_both(self, step: Step[Any, Any, Any]) -> None:
        self._know(step, adopted=False)
        if step.undo is not None:
            self._know(step.undo, adopted=step.undo.adopted)

    def _know(self, each: Step[Any, Any, Any] | Compensation[..., Any], *, adopted: bool) -> None:
        self._bodies[each.name] = Body(each.name, each.shape, adopted, each.task)


def family_of(step: Step[Any, Any, Any]) -> Family:
    """Return the sagas of the app that a step was defined for."""
    found: Family = _resolved(step.task).app.celeriac
    return found


def _resolved(task: Any) -> Any:
    if isinstance(task, Promised):
        return task.kept()
    while issubclass(type(task), Proxy):
        task = task._get_current_object()  # noqa: SLF001 -- Celery's own way to ask
    return task


@contextmanager
def _requested(task: Any, attempt: Attempt) -> Iterator[None]:
    """Give *task* the request of an attempt, for the length of a `with`."""
    d = attempt.delivery
    _task_stack.push(task)
    task.push_request(
        id=task_id(attempt.run, d.step, d.phase, d.attempt),
        called_directly=False,
        retries=d.attempt - 1,
        headers={HEADER: [*d]},
        delivery_info={"routing_key": QUEUE},
        args=(),
        kwargs={},
    )
    try:
        yield
    finally:
        task.pop_request()
        _task_stack.pop()
