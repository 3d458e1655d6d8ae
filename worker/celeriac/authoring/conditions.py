"""Conditions: what an answer may be, and what of a saga exists under which of them.

Owns: the labels of predicates and routers, and whether guards imply, exclude or cover one another.
Refuses to know: steps and blocks.  Pure functions, over guards alone.
"""

from __future__ import annotations

import enum
import types
import typing
from typing import TYPE_CHECKING, Any, Literal

from celeriac.authoring.annotations import described, element_of, plain
from celeriac.errors import DefinitionError
from celeriac.machine import Choice, Guard, excludes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

YES, NO = "true", "false"
Guards = tuple[Guard, ...]


def labels_of(annotation: Any) -> tuple[str, ...] | None:
    """The labels that a router of this type may answer; None: any text.  DefinitionError."""
    annotation = plain(annotation)
    if annotation is str:
        return None
    if typing.get_origin(annotation) is Literal:
        found = typing.get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        found = tuple(each.value for each in annotation)
    else:
        raise DefinitionError(
            f"returns {described(annotation)}, and a router returns str, a Literal or an Enum of "
            "text: annotate what it returns"
        )
    odd = [label for label in found if not isinstance(label, str) or not label]
    if odd:
        raise DefinitionError(f"may answer {odd[0]!r}, and labels are text, not empty")
    return tuple(map(str, found))


def label(value: Any) -> str:
    """The label that an author wrote for a case; DefinitionError for what is none."""
    found = value.value if isinstance(value, enum.Enum) else value
    if not isinstance(found, str) or not found:
        raise DefinitionError(f"a case is for a label, text or a member of an Enum, not {value!r}")
    return str(found)


def covers(alternatives: Sequence[Guards], given: Guards, choices: Mapping[str, Choice]) -> bool:
    """True if one of the alternatives exists in any run in which all that is *given* holds.

    *choices* are those of the steps that the guards are about, as far as cases were written.
    """
    known = set(given)
    left = [tuple(guard for guard in each if guard not in known) for each in alternatives]
    left = [each for each in left if not excludes(each, given)]
    if any(not each for each in left):
        return True
    if not left:
        return False
    step = left[0][0].step
    met = ([_met(step, answer, each) for each in left] for answer in _answers(choices[step]))
    return all(covers([each for each in one if each is not None], (), choices) for one in met)


def _answers(choice: Choice) -> tuple[str | None, ...]:
    """What may be answered; None is whatever there is no case for."""
    return (*choice.labels, None) if choice.default else choice.labels


def _met(step: str, answer: str | None, guards: Guards) -> Guards | None:
    """The guards without those about *step*; None if this answer does not meet them."""
    mine = [guard for guard in guards if guard.step == step]
    if any((answer in guard.among) is guard.but for guard in mine):
        return None
    return tuple(guard for guard in guards if guard.step != step)


def in_common(annotations: Sequence[Any]) -> Any:
    """The type of a value that may be of any of these."""
    found = tuple(dict.fromkeys(types.NoneType if each is None else each for each in annotations))
    return found[0] if len(found) == 1 else typing.Union[found]  # noqa: UP007 -- not known before


def kind_of(value: Any) -> Any:
    """The type of a constant; of a list of texts or numbers, with that of what it holds."""
    held = {type(each) for each in value} if type(value) in (list, tuple) else set()
    if held and held <= {str, int, float, bool}:
        kind = in_common(sorted(held, key=repr))
        return list[kind] if type(value) is list else tuple[kind, ...]  # type: ignore[valid-type]
    return type(value)


def is_list(annotation: Any) -> bool:
    """True if a value of this type can be mapped."""
    try:
        element_of(annotation)
    except DefinitionError:
        return False
    return plain(annotation) is not Any
