"""Existing Celery tasks in a saga: they run unmodified.

Owns: the retry policy that they have already, and making one the compensation of another.  Refuses
to know: sagas, and how a task is adopted by a worker.
"""

from __future__ import annotations

from typing import Any

from celeriac.authoring.compensations import Compensation, wanted
from celeriac.authoring.signatures import Shape
from celeriac.authoring.steps import is_celery_task
from celeriac.errors import DefinitionError
from celeriac.machine import RetryRule


def define_adopted_compensation(existing: Any, undo: Any) -> Compensation[..., Any]:
    """Make the Celery task *undo* the compensation of the Celery task *existing*.

    Neither is changed.  *undo* may ask for the parameters of *existing*, `result` and `error`;
    what it has a default for may be something else.  Raises DefinitionError.
    """
    for each in (existing, undo):
        if not is_celery_task(each):
            raise DefinitionError(
                f"{each!r} is not a Celery task: sagas.compensate(task, undo_task) takes two "
                "existing tasks; a step made with @sagas.step has .compensation for this"
            )
    forward = Shape.of(existing.run, strict=False)
    shape = Shape.of(undo.run, strict=False)
    return Compensation(
        undo.run,
        name=undo.name,
        task=undo,
        shape=shape,
        retry=adopted_retry(undo),
        timeout=None,
        wants=wanted(existing.name, forward, shape, optional=True),
        adopted=True,
    )


def adopted_retry(task: Any) -> RetryRule:
    """The policy of an existing Celery task: it retries when it asks for it, as it always did."""
    # autoretry_for has a limit of its own; whichever is reached first, the task itself says so.
    own = (getattr(task, "retry_kwargs", None) or {}).get("max_retries", task.max_retries)
    limits, delay = (task.max_retries, own), int((task.default_retry_delay or 0) * 1000)
    return RetryRule(
        max_attempts=None if None in limits else max(limits) + 1,
        backoff="none",
        initial_delay=delay,
        max_delay=max(delay, RetryRule().max_delay),
        jitter=False,
        retry_on=(),
        after_loss=bool(task.acks_late),
    )
