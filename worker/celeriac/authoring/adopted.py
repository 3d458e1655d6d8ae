"""Existing Celery tasks in a saga: they run unmodified.

Owns: the retry policy that they have already, and making one the compensation of another.  Refuses
to know: sagas, and how a task is adopted by a worker.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from celeriac.authoring.compensations import Compensation, wanted
from celeriac.authoring.signatures import Shape
from celeriac.authoring.steps import is_celery_task
from celeriac.authoring.task_options import misfits_of
from celeriac.errors import DefinitionError
from celeriac.machine import Node, Plan, RetryRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


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


def is_promised(task: Any) -> bool:
    """Return whether *task* is only promised so far, so that nothing is known of its options."""
    return hasattr(type(task), "kept")


def settled_plan(
    plan: Plan, tasks: Iterable[Any], children: Mapping[str, Plan] = types.MappingProxyType({})
) -> Plan:
    """Return *plan* with the policies of those of *tasks* that were promised when it was made.

    *children* are the plans of the steps that are runs, by step.
    """
    rules = {task.name: adopted_retry(task.kept()) for task in tasks if is_promised(task)}
    if not (rules or children):
        return plan
    nodes = tuple(_settled(node, rules, children) for node in plan.nodes)
    fields = {name: getattr(plan, name) for name in Plan.model_fields}  # without what is cached
    return Plan(**{**fields, "nodes": nodes})


def _settled(node: Node, rules: Mapping[str, RetryRule], children: Mapping[str, Plan]) -> Node:
    update: dict[str, Any] = {}
    if node.map is not None:
        each = tuple(_settled(inner, rules, children) for inner in node.map.nodes)
        update["map"] = node.map.model_copy(update={"nodes": each})
    elif node.child is not None:
        update["child"] = node.child.model_copy(update={"plan": children[node.name]})
    elif node.task in rules:
        update["retry"] = rules[node.task]
    if node.undo is not None and node.undo.task in rules:
        update["undo"] = node.undo.model_copy(update={"retry": rules[node.undo.task]})
    return node.model_copy(update=update)


def adopted_retry(task: Any) -> RetryRule:
    """The policy of an existing Celery task: it retries when it asks for it, as it always did."""
    if is_promised(task):
        return RetryRule()
    for misfit in misfits_of(task):
        raise DefinitionError(misfit, step=task.name)
    # autoretry_for has a limit of its own; whichever is reached first, the task itself says so.
    own = (getattr(task, "retry_kwargs", None) or {}).get("max_retries", task.max_retries)
    limits, delay = (task.max_retries, own), int((task.default_retry_delay or 0) * 1000)
    return RetryRule(
        max_attempts=None if None in limits else max(0, *limits) + 1,
        backoff="none",
        initial_delay=delay,
        max_delay=max(delay, RetryRule().max_delay),
        jitter=False,
        retry_on=(),
        after_loss=bool(task.acks_late),
    )
