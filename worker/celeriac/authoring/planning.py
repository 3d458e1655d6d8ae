"""Planning: running a saga's function once, with placeholders, to get its static plan.

Owns: what a saga's function, its inputs and its options may be.  Refuses to know: its steps
(`building`), where plans are kept, and how runs are started.

Planning depends on nothing but the code: the same saga gives the same fingerprint in every
process, which is what lets a plan be stored once and found again.
"""

from __future__ import annotations

import re
import types
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celeriac.authoring.calling import planning
from celeriac.authoring.codecs import Codec
from celeriac.authoring.compensations import Compensation
from celeriac.authoring.flow import Flow
from celeriac.authoring.gates import gates_of, planned_gates
from celeriac.authoring.mapping import Mapper
from celeriac.authoring.options import (
    SAGA,
    check_named,
    delay_of,
    one_of,
    optional_ms,
    refuse_option,
)
from celeriac.authoring.placeholders import Placeholder
from celeriac.authoring.signatures import Shape
from celeriac.authoring.steps import Step, check_plain, is_celery_task
from celeriac.errors import DefinitionError, InputInvalid
from celeriac.machine import CompensationOrder, FromInput, OnDeadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.authoring.planned import Planned
    from celeriac.machine import Duration, Gate

RESERVED_INPUTS = ("id", "tags", "if_exists", "started_by")  # keyword arguments of `start`


def plan_saga(  # noqa: PLR0913 -- all that can be said of a saga
    function: Callable[..., Any],
    *,
    name: str,
    version: int = 1,
    deadline: Duration | None = None,
    on_deadline: OnDeadline = "compensate",
    compensation_order: CompensationOrder = "reverse",
    retention: Duration | None = None,
    answers: Any = None,
    max_steps: int | None = None,
    retries: int = 0,
    retry_delay: Duration = 5.0,
    limit: Any = None,
    adopted_undos: Mapping[str, Compensation[..., Any]] = types.MappingProxyType({}),
    look: Callable[[Any], Any] = lambda task: task,
    define: Callable[[Any], Any] = lambda function: function,
    **unknown: Any,
) -> Planned:
    """Call *function* once, with a Flow and placeholders for its inputs; return what it built.

    *adopted_undos* are the compensations of existing Celery tasks, by the task's name; *look* gives
    the task that something stands for, or what is known of it; *define* makes a step of the
    plain function of a condition.  Raises DefinitionError, with saga,
    step and parameter, for everything that is wrong.
    """
    for option in unknown:
        refuse_option(option, SAGA, saga=name)
    try:
        check_named(name)
        shape = _shape_of_saga(function)
        head = {
            "saga": name,
            "version": _whole("version", version),
            "params": tuple(shape.parameters),
            "deadline": optional_ms("deadline", deadline),
            "on_deadline": one_of("on_deadline", on_deadline, OnDeadline),
            "compensation_order": one_of(
                "compensation_order", compensation_order, CompensationOrder
            ),
            "retention": optional_ms("retention", retention),
            "max_steps": None if max_steps is None else _whole("max_steps", max_steps),
            "retries": _whole("retries", retries, least=0),
            "retry_delay": delay_of("retry_delay", retry_delay),
            "gates": _gates(limit, name, shape),
        }
        builder = Mapper(name, adopted_undos, look, define)
        planned = _passable(builder.close(head, shape, _run_once(function, builder, shape, name)))
        if answers is not None:
            planned = replace(planned, answers=Codec(answers, "answers"))
    except DefinitionError as error:
        if error.saga is not None:
            raise
        raise DefinitionError(
            error.problem, saga=name, step=error.step, parameter=error.parameter
        ) from error
    for step in planned.steps.values():
        if isinstance(step, Step):
            step.planned_in.append(name)
    return planned


def _gates(limit: Any, name: str, shape: Shape) -> tuple[Gate, ...]:
    gates = gates_of(limit, None, name, [*shape.parameters])
    kinds = {key: each.annotation for key, each in shape.parameters.items()}
    return planned_gates(gates, kinds, lambda key: FromInput(input=key))


def _passable(planned: Planned) -> Planned:
    """What was planned; raises DefinitionError if a step would wait for its own run."""
    limits = {gate.name for gate in planned.draft.gates if gate.rule.kind == "limit"}
    for node in planned.draft.all_nodes:
        for gate in node.gates:
            if gate.name in limits:
                raise DefinitionError(
                    f"waits at limit {gate.name!r} for a place that its own run has taken there: "
                    "give one of the two limits another name=",
                    step=node.name,
                )
    return planned


# --- the saga's function -----------------------------------------------------------------------


def _shape_of_saga(function: Callable[..., Any]) -> Shape:
    if isinstance(function, Step | Compensation) or is_celery_task(function):
        raise DefinitionError(f"a saga is made of a plain function, not of {function!r}")
    check_plain(function, "a saga")
    shape = Shape.of(function, bound=True)
    _check_inputs(shape)
    first = next(iter(Shape.of(function).parameters.values()), None)
    if first is None or not (first.annotation is Flow or first.name == "flow"):
        raise DefinitionError(
            f"the first parameter of a saga is its flow: def {function.__name__}(flow: Flow, …)"
        )
    shape.prepare()
    return shape


def _check_inputs(shape: Shape) -> None:
    if shape.context:
        raise DefinitionError(
            "a saga is planned before there is a run, so it has no StepContext: take it in a step",
            parameter=shape.context,
        )
    for key, each in shape.parameters.items():
        if key.startswith("*"):
            raise DefinitionError(
                "the inputs of a saga are a fixed number of named parameters: take one list or "
                "one model instead",
                parameter=key,
            )
        if key in RESERVED_INPUTS:
            raise DefinitionError(
                f"start(…, {key}=) already means something else: give the input another name",
                parameter=key,
            )
        if not each.required:
            _check_default(shape, key, each.default)


def _check_default(shape: Shape, key: str, default: Any) -> None:
    try:
        shape.dump_argument(key, default)
    except InputInvalid as error:
        raise DefinitionError(f"its default is not valid: {error}", parameter=key) from None


def _run_once(function: Callable[..., Any], builder: Mapper, shape: Shape, name: str) -> Any:
    values = {
        key: Placeholder(FromInput(input=key), each.annotation, builder, as_json=False)
        for key, each in shape.parameters.items()
    }
    args, kwargs = shape.arguments(None, values)
    try:
        with planning(name):
            return function(Flow(builder), *args, **kwargs)
    except DefinitionError:
        raise
    except NameError as error:
        raise DefinitionError(_about_name(error, function.__name__), saga=name) from error
    except Exception as error:
        raise DefinitionError(
            f"its function raised {type(error).__name__} while it was planned: {error}; it is "
            "called once, with placeholders, and only wires steps together",
            saga=name,
        ) from error


def _about_name(error: NameError, own: str) -> str:
    if own in (error.name, *re.findall(r"'(\w+)'", str(error))[:1]):
        return (
            "calls itself: a plan is finite; loop inside a step, or start another run from a step"
        )
    return f"its function raised {type(error).__name__} while it was planned: {error}"


def _whole(option: str, value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DefinitionError(f"{option} must be a whole number from {least}, not {value!r}")
    return value
