"""The variables of a file, its inputs, and the signals that it declares.

Owns: how they are written, and their types.  Refuses to know: where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.authoring import UNSAID
from celeriac.definitions.fields import Fields
from celeriac.definitions.kinds import KINDS, kind_named, kind_of
from celeriac.definitions.scalars import is_null, read_scalar
from celeriac.definitions.trees import Mapped, Scalar
from celeriac.errors import DefinitionError

if TYPE_CHECKING:
    from celeriac.definitions.problems import Problems
    from celeriac.definitions.trees import Tree

_VAR = ("type", "default", "description")
_RESERVED = ("self", "id", "tags", "if_exists")  # keyword arguments of `start`


@dataclass(frozen=True)
class Variable:
    """An input of the saga."""

    name: str
    annotation: Any
    required: bool
    default: Any = None


def read_variables(fields: Fields, problems: Problems) -> dict[str, Variable]:
    """The inputs of a saga, by name; what is wrong is added to *problems*."""
    mapped = fields.of_kind("vars", Mapped, "region: eu")
    found = {}
    for name, tree in mapped.entries.items() if mapped else ():
        mark = mapped.marks[name] if mapped else fields.mark
        if not name.isidentifier():
            problems.add(mark, f"a variable is letters, digits and _, not {name!r}")
        elif name in _RESERVED:
            problems.add(mark, f"start(…, {name}=) already means something else: rename it")
        else:
            found[name] = _variable(name, tree, problems)
    return found


def _variable(name: str, tree: Tree, problems: Problems) -> Variable:
    if not isinstance(tree, Mapped):
        if isinstance(tree, Scalar) and is_null(tree):
            return Variable(name, Any, required=True)
        default = _default(name, tree, UNSAID, problems)
        return Variable(name, kind_of(default), required=False, default=default)
    fields = Fields(tree, problems, _VAR, f"the variable {name}: a mapping says its type, and")
    kind = fields.of_kind("type", Scalar, "string")
    annotation = Any
    if kind is not None:
        try:
            annotation = kind_named(kind.text)
        except KeyError:
            known = ", ".join(KINDS)
            problems.add(
                kind.mark, f"{kind.text[:40]!r} is no type: there are {known}, list[string]"
            )
    default = fields.tree("default")
    if default is None:
        return Variable(name, annotation, required=True)
    value = _default(name, default, UNSAID if kind is None else annotation, problems)
    if kind is None:
        annotation = kind_of(value)
    return Variable(name, annotation, required=False, default=value)


def _default(name: str, tree: Tree, annotation: Any, problems: Problems) -> Any:
    """The default of a variable, as a value of JSON; None if it is wrong, which is told."""
    try:
        return read_scalar(tree, annotation) if isinstance(tree, Scalar) else plain_value(tree)
    except DefinitionError as error:
        problems.add(tree.mark, f"the default of {name} {error.problem}")
        return None


def read_signals(fields: Fields, problems: Problems) -> dict[str, Any]:
    """The types of the signals that a file declares, by name."""
    mapped = fields.of_kind("signals", Mapped, "approved: object")
    if mapped is None:
        return {}
    said = Fields(mapped, problems, tuple(mapped.entries), "signals")
    found = {}
    for name in mapped.entries:
        kind = said.of_kind(name, Scalar, "object")
        try:
            found[name] = Any if kind is None else kind_named(kind.text)
        except KeyError:
            problems.add(mapped.marks[name], f"{name} has a type: {', '.join(KINDS)}")
    return found


def plain_value(tree: Tree) -> Any:
    """The value of JSON that a tree is, where nobody said what should be there."""
    if isinstance(tree, Scalar):
        return read_scalar(tree, Any)
    if isinstance(tree, Mapped):
        return {key: plain_value(each) for key, each in tree.entries.items()}
    return [plain_value(each) for each in tree.items]
