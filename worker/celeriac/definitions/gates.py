"""The gates of a file: `limit` of the saga, `limit` and `breaker` of an action.

Owns: how they are written.  Refuses to know: which numbers there may be (`authoring`), and where a
key comes from.  A task brings its own gates, from the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.authoring import Breaker, Limit, Rate, gates_of
from celeriac.definitions.fields import Fields
from celeriac.definitions.trees import Listed, Mapped, Scalar
from celeriac.errors import DefinitionError

if TYPE_CHECKING:
    from celeriac.definitions.problems import Mark, Problems
    from celeriac.definitions.trees import Tree
    from celeriac.machine import Rule

_LIMIT = ("most", "per", "key", "name")
_BREAKER = ("name", "failures", "within", "open_for", "key")


@dataclass(frozen=True)
class GateText:
    """A gate as it stands in the file."""

    mark: Mark
    name: str
    rule: Rule
    key: Scalar | None


def read_gates(fields: Fields, owner: str, problems: Problems) -> list[GateText]:
    """The gates of a saga or step; *owner* is what a limit is called that has no name."""
    found = []
    for field, read in (("limit", _limit), ("breaker", _breaker)):
        tree = fields.tree(field)
        for each in tree.items if isinstance(tree, Listed) else [tree] if tree else []:
            made, key = read(each, problems)
            if made is None:
                continue
            given = {"limit": None, "breaker": None, field: made}
            try:
                ((name, rule, _),) = gates_of(**given, owner=owner, parameters=())
            except DefinitionError as error:
                problems.add(each.mark, error.problem)
                continue
            found.append(GateText(each.mark, name, rule, key))
    for n, gate in enumerate(found):
        if gate.name in [other.name for other in found[:n]]:
            problems.add(gate.mark, f"has two gates called {gate.name!r}: give one another name")
    return found


def _limit(tree: Tree, problems: Problems) -> tuple[Limit | Rate | None, Scalar | None]:
    if isinstance(tree, Scalar):
        tree = Mapped(tree.mark, {"most": tree}, {"most": tree.mark})
    if not isinstance(tree, Mapped):
        problems.add(tree.mark, "limit is such as 5, or {most: 100, per: 1s, name: bank}")
        return None, None
    fields = Fields(tree, problems, _LIMIT, "limit")
    if "most" not in fields:
        problems.add(tree.mark, "limit has no most: {most: 5}")
    most = fields.whole("most")
    key, name = fields.of_kind("key", Scalar, "${vars.card}"), fields.read("name", str, "bank")
    if most is None:
        return None, None
    if "per" not in fields:
        return Limit(most, name=name), key
    per = fields.duration("per")
    return (None if per is None else Rate(most, per=per / 1000, name=name)), key


def _breaker(tree: Tree, problems: Problems) -> tuple[Breaker | None, Scalar | None]:
    if not isinstance(tree, Mapped):
        problems.add(tree.mark, "breaker is such as {name: bank, failures: 5, within: 1m}")
        return None, None
    fields = Fields(tree, problems, _BREAKER, "breaker")
    name = fields.read("name", str, "bank")
    if not name:
        problems.add(tree.mark, "breaker has no name: {name: bank}")
    given: dict[str, Any] = {"failures": fields.whole("failures")}
    for each in ("within", "open_for"):
        length = fields.duration(each)
        given[each] = None if length is None else length / 1000
    said = {each: value for each, value in given.items() if value is not None}
    key = fields.of_kind("key", Scalar, "${vars.card}")
    return (Breaker(name, **said) if name else None), key
