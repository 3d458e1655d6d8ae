"""Payloads: where they are kept with a run, and how arguments are put together from them.

Owns: the names of a run's payload fields, and the evaluation of a plan's expressions over them.
Refuses to know: types.  A payload is JSON text from the moment it is recorded until a step's own
signature validates it; nothing here is ever evaluated.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from celeriac.errors import OutputInvalid, PayloadTooLarge, SagaError
from celeriac.failure import Failure
from celeriac.machine import (
    Constant,
    DictOf,
    Expression,
    FirstOf,
    FromInput,
    FromStep,
    ListOf,
    Node,
    Phase,
    PhaseStatus,
    Plan,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.machine import Run

NULL = "null"
_OUTPUT = "out:"
#: The failure that made the run turn round.
CAUSE = "cause"
#: The result of a run that one of its steps has ended.
RESULT = "result"


def input_field(parameter: str) -> str:
    """The field of one parameter of the saga."""
    return f"in:{parameter}"


def output_field(step: str) -> str:
    """The field of a step's result; written once."""
    return f"{_OUTPUT}{step}"


def worth_keeping(fields: Mapping[str, str]) -> dict[str, str]:
    """The payloads without results that are null: what is not there is null.

    Many steps return nothing, and a field costs some 70 bytes.  A result is written once (I15), so
    there is none that this could leave behind.
    """
    return {
        name: text for name, text in fields.items() if text != NULL or not name.startswith(_OUTPUT)
    }


def with_nulls(run: Run, fields: Mapping[str, str]) -> dict[str, str]:
    """All payloads of a run, with the results that were not worth keeping."""
    done = (name for name, step in run.steps.items() if step.do.state is PhaseStatus.DONE)
    return {**{output_field(name): NULL for name in done}, **fields}


def error_field(step: str, phase: Phase) -> str:
    """The field of the newest failure of a step, or of its compensation."""
    return f"err:{step}" if phase == "do" else f"uerr:{step}"


def answer_field(step: str) -> str:
    """The field of what a step that aborted has to say to the caller."""
    return f"ans:{step}"


def beat_field(step: str, phase: Phase) -> str:
    """The field of what the newest attempt said in its last heartbeat."""
    return f"beat:{step}" if phase == "do" else f"ubeat:{step}"


def again_field(step: str, phase: Phase) -> str:
    """The field of the arguments that an attempt asked to be tried again with."""
    return f"again:{step}" if phase == "do" else f"uagain:{step}"


def signal_field(key: str) -> str:
    """The field of the payload of a signal; written once."""
    return f"sig:{key}"


def signal_key(given: str) -> str:
    """What stands for the id of a signal: 16 hexadecimal digits."""
    return hashlib.blake2b(given.encode(), digest_size=8).hexdigest()


def fields_of(expression: Expression) -> Iterator[str]:
    """The payload fields an expression needs."""
    if isinstance(expression, FromInput):
        yield input_field(expression.input)
    elif isinstance(expression, FromStep):
        yield output_field(expression.step)
    elif isinstance(expression, FirstOf):
        for item in expression.first:
            yield from fields_of(item)
    elif isinstance(expression, ListOf):
        for item in expression.items:
            yield from fields_of(item)
    elif isinstance(expression, DictOf):
        for item in expression.entries.values():
            yield from fields_of(item)


def wanted(node: Node, phase: Phase) -> tuple[str, ...]:
    """The payload fields that an attempt of *node* needs."""
    found = {beat_field(node.name, phase): None}
    for name, expression in node.args.items():
        if phase == "do" or (node.undo and name in node.undo.wants):
            found.update(dict.fromkeys(fields_of(expression)))
    if phase == "undo" and node.undo:
        found.update({output_field(node.name): None} if "result" in node.undo.wants else {})
        found.update({CAUSE: None} if "error" in node.undo.wants else {})
    return tuple(found)


def arguments(node: Node, phase: Phase, fields: Mapping[str, str], run: Run) -> dict[str, str]:
    """The arguments of an attempt of *run* by parameter name, as JSON text."""
    if phase == "do":
        return {name: resolve(expression, fields, run) for name, expression in node.args.items()}
    assert node.undo is not None
    found = {}
    for name in node.undo.wants:
        # A forward parameter comes first: a step may well have one that is called `error`.
        if name in node.args:
            found[name] = resolve(node.args[name], fields, run)
        elif name == "result":
            found[name] = fields.get(output_field(node.name), NULL)
        elif name == "error":
            found[name] = fields.get(CAUSE, NULL)
    return found


def resolve(expression: Expression, fields: Mapping[str, str], run: Run) -> str:
    """The value of an expression in *run* as JSON text; a payload that is not there is null."""
    if isinstance(expression, Constant):
        return json.dumps(expression.value)
    if isinstance(expression, ListOf):
        return "[" + ",".join(resolve(item, fields, run) for item in expression.items) + "]"
    if isinstance(expression, DictOf):
        entries = expression.entries.items()
        pairs = (f"{json.dumps(key)}:{resolve(each, fields, run)}" for key, each in entries)
        return "{" + ",".join(pairs) + "}"
    if isinstance(expression, FirstOf):
        found = next((each for each in expression.first if _exists(each, fields, run)), None)
        text = NULL if found is None else resolve(found, fields, run)
    else:
        text = fields.get(next(fields_of(expression)), NULL)
    return _follow(text, expression.path) if expression.path else text


def _exists(expression: Expression, fields: Mapping[str, str], run: Run) -> bool:
    """True unless it is the result of a step that has none: it was skipped."""
    if not isinstance(expression, FromStep):
        return True
    done = run.step(expression.step).do.state is PhaseStatus.DONE
    return done or output_field(expression.step) in fields


def _follow(text: str, path: tuple[str | int, ...]) -> str:
    value: Any = json.loads(text)
    for key in path:
        try:
            # A text has items too, but nobody means its letters.
            value = None if isinstance(value, str) else value
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise OutputInvalid(
                f"there is no {'.'.join(map(str, path))!r} in the recorded value: "
                "does its type still fit the saga?"
            ) from None
    return json.dumps(value)


def choice_of(node: Node, output: str, wrong: type[SagaError]) -> str:
    """What the result of a step (JSON text) chooses, if others are guarded by it; else nothing.

    Raises *wrong* for an answer that there is no case for.
    """
    if node.choice is None:
        return ""
    value = json.loads(output)
    label = value if isinstance(value, str) else output
    if not node.choice.knows(label):
        raise wrong(
            f"{node.name} answered {label!r}; there are cases for "
            f"{', '.join(map(repr, node.choice.labels))}, and no default"
        )
    return label


def result_fields(plan: Plan, run: Run) -> tuple[str, ...]:
    """The payload fields that the result of a run needs."""
    return (RESULT,) if run.ended_by else tuple(dict.fromkeys(fields_of(plan.result)))


def result_of(plan: Plan, run: Run, fields: Mapping[str, str]) -> str:
    """The result of a run that completed, as JSON text."""
    return fields.get(RESULT, NULL) if run.ended_by else resolve(plan.result, fields, run)


def checked(what: str, text: str, limit: int) -> str:
    """Return *text*; raise PayloadTooLarge if it is over *limit* bytes."""
    size = len(text.encode())
    if size > limit:
        raise PayloadTooLarge(what, size, limit)
    return text


def digest(saga: str, inputs: Mapping[str, str]) -> str:
    """16 hexadecimal digits that tell one input from another."""
    canonical = {name: json.loads(text) for name, text in inputs.items()}
    text = json.dumps([saga, canonical], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_failure(text: str | None) -> Failure | None:
    """The failure that was recorded, if one was."""
    return Failure.model_validate_json(text) if text and text != NULL else None
