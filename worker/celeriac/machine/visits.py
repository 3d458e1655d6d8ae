"""Visits: the plan of a run, made of its groups in the order in which it has visited them.

Owns: how the nodes of a visit are called and what they are given, and that what stands behind the
step that left a group is guarded out.  Refuses to know: who says how a group is left, and what may
happen to a node: those of a visit are nodes like any others.

A saga with groups has a plan in which each group stands once.  Which of them a run visits, and how
often, is known only while it goes on: its routes are recorded.  The plan of a run has a row of
nodes for each visit, one row behind the other, so that all other rules need not know of groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.expressions import (
    Constant,
    Expression,
    FirstOf,
    FromItem,
    FromMap,
    FromStep,
    with_parts,
)
from celeriac.machine.guards import Guard
from celeriac.machine.numbering import in_visit, visit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from celeriac.machine.numbering import Routes
    from celeriac.machine.plans import Map, Node, Plan
    from celeriac.machine.runs import Run

_MOST_KEPT = 64  # runs whose plans are kept to be found again


def as_visited(plan: Plan, run: Run | None) -> Plan:
    """The plan of a run: its steps are those of the groups that it has visited until now."""
    if not plan.whole.groups:
        return plan
    return laid_out(plan, run.routes if run else ())


def laid_out(plan: Plan, routes: Routes) -> Plan:
    """The plan of a run that has left its groups so."""
    whole = plan.whole
    if not whole.groups:
        return plan
    found = whole.visited.get(routes)
    if found is None:
        if len(whole.visited) >= _MOST_KEPT:
            whole.visited.clear()
        found = whole.visited[routes] = _laid_out(whole, routes)
    return found


def visits_of(plan: Plan) -> Iterator[tuple[str, int, tuple[Node, ...]]]:
    """The visits that the plan of a run is made of, in order: group, number, and its nodes."""
    row: list[Node] = []
    for node in plan.nodes:
        place = (node.group, visit_of(node.name))
        if row and place != (row[0].group, visit_of(row[0].name)):
            yield row[0].group, visit_of(row[0].name), tuple(row)
            row = []
        row.append(node)
    if row:
        yield row[0].group, visit_of(row[0].name), tuple(row)


def _laid_out(plan: Plan, routes: Routes) -> Plan:
    groups = {name: [node for node in plan.nodes if node.group == name] for name in plan.groups}
    home = {node.name: node.group for node in plan.nodes}
    counts: dict[str, int] = {}
    nodes: list[Node] = []
    ends: tuple[str, ...] = ()
    left_by = [step for step, _ in routes]
    for place, group in enumerate((plan.groups[0], *(to for _, to in routes))):
        counts[group] = counts.get(group, 0) + 1
        visit = _Visit(group, counts, home)
        row = [visit.node(node, ends) for node in groups[group]]
        nodes += _left(row, left_by[place]) if place < len(left_by) else row
        waited_for = {name for node in row for name in node.after}
        ends = tuple(each.name for each in row if not each.covers and each.name not in waited_for)
    given = {name: getattr(plan, name) for name in type(plan).model_fields}
    given |= {"nodes": tuple(nodes), "max_steps": plan.most_steps}
    given["result"] = _Visit("", counts, home).value(plan.result)
    made = type(plan).model_construct(**given)
    vars(made).update(whole=plan, fingerprint=plan.fingerprint)
    return made


def _left(row: list[Node], router: str) -> Iterator[Node]:
    """The nodes of a visit that was left by a step: what stands behind that is guarded out."""
    behind = {router}
    for node in row:  # in a plan, what a step waits for comes before it
        if behind.isdisjoint(node.after):
            yield node
            continue
        behind.add(node.name)
        yield node.model_copy(update={"guards": (*node.guards, Guard(step=router, among=()))})


class _Visit:
    """One visit of a group, or what comes after all of them."""

    def __init__(self, group: str, counts: Mapping[str, int], home: Mapping[str, str]) -> None:
        """*counts* says how often each group was visited by then; *home* is the group of a step."""
        self._group, self._counts, self._home = group, dict(counts), home

    def node(self, node: Node, ends: tuple[str, ...]) -> Node:
        """A node of the group as it is in this visit; *ends* are the last ones of that before."""
        first = ends if not (node.after or node.covers) else ()
        changes = {
            "covers": self._names(node.covers),
            "confirms": self._name(node.confirms) if node.confirms else None,
            "map": self._map(node.map) if node.map else None,
        }
        return self._inside(node, first, changes)

    def _map(self, made: Map) -> Map:
        nodes = tuple(self._inside(each, (), {}) for each in made.nodes)
        return made.model_copy(update={"items": self.value(made.items), "nodes": nodes})

    def _inside(self, node: Node, first: tuple[str, ...], changes: Mapping[str, object]) -> Node:
        guards = tuple(
            each.model_copy(update={"step": self._name(each.step)}) for each in node.guards
        )
        args = {key: self.value(each) for key, each in node.args.items()}
        after = (*first, *self._names(node.after))
        own = {"name": self._name(node.name), "after": after, "args": args, "guards": guards}
        return node.model_copy(update={**own, **changes})

    def _names(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(self._name, names))

    def _name(self, name: str) -> str:
        return in_visit(name, self._counts[self._home_of(name)])

    def _home_of(self, name: str) -> str:
        return self._home[name.partition("[")[0]]

    def value(self, value: Expression) -> Expression:
        """An expression as it is in this visit: other groups count as they were visited last.

        There may be no value of another group: then it is None.
        """
        found = self._found(value)
        if found is None:
            return Constant(value=None)
        return FirstOf(first=(found,)) if self._of_another_group(value) else found

    def _found(self, value: Expression) -> Expression | None:
        """An expression with the names of this visit; None if nothing of it was ever reached."""
        if isinstance(value, FirstOf):
            found = [each for each in map(self._found, value.first) if each is not None]
            return value.model_copy(update={"first": tuple(found)}) if found else None
        if isinstance(value, FromItem):
            of = self.value(value.of) if value.of else None
            return value.model_copy(update={"item": self._name(value.item), "of": of})
        if isinstance(value, FromStep | FromMap):
            name = value.step if isinstance(value, FromStep) else value.map
            if self._home_of(name) not in self._counts:
                return None
            if isinstance(value, FromStep):
                return value.model_copy(update={"step": self._name(name)})
            each = self._found(value.each) or Constant(value=None)
            return value.model_copy(update={"map": self._name(name), "each": each})
        return with_parts(value, self.value)

    def _of_another_group(self, value: Expression) -> bool:
        if isinstance(value, FirstOf):
            return any(map(self._of_another_group, value.first))
        if isinstance(value, FromStep | FromMap):
            name = value.step if isinstance(value, FromStep) else value.map
            return self._home_of(name) != self._group
        return False
