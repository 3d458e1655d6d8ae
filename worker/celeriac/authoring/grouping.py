"""Groups: parts of a saga that its steps may leave for one another.

Owns: what may be a group, what a value of one is worth outside of it, and which steps may name one.
Refuses to know: which step waits for which (`blocks`), how often a group is visited, and what is
made of that (`machine/visits.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from celeriac.authoring.building import Builder
from celeriac.authoring.conditions import NO, YES, covers, in_common
from celeriac.authoring.names import checked_name
from celeriac.authoring.placeholders import (
    Placeholder,
    annotation_of,
    is_json,
    owner_of,
    source_of,
    steps_used,
)
from celeriac.errors import DefinitionError
from celeriac.machine import Choice, FirstOf, FromMap, FromStep, Guard, leaves_prepared

if TYPE_CHECKING:
    from celeriac.authoring.blocks import Region
    from celeriac.authoring.conditions import Guards
    from celeriac.authoring.planned import Planned
    from celeriac.authoring.signatures import Shape
    from celeriac.machine import Expression, Node

_ENDED_IN = "~"  # what stands for the group in which a run has ended; no step has such a name


class Grouper(Builder):
    """A plan in the making, which may consist of groups."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._groups: dict[str, range] = {}  # the places of the nodes of each

    def group(self, name: str) -> Region:
        """Return the block of what belongs to a group; raise DefinitionError."""
        self._check_open()
        region = self.blocks.group(name)
        region.ahead, region.behind = self._begin_group, self._end_group
        return region

    def _begin_group(self, region: Region) -> None:
        self._check_group(region.group)
        first = len(self.nodes)
        self._groups[region.group] = range(first, first)

    def _end_group(self, region: Region) -> None:
        name = region.group
        self._groups[name] = range(self._groups[name].start, len(self.nodes))
        if not self._groups[name]:
            raise DefinitionError(
                f"group {name!r} has no steps: write them inside of its block", saga=self.saga
            )

    def _check_group(self, name: str) -> None:
        problem = None
        try:
            checked_name(name)
        except DefinitionError as error:
            problem = error.problem
        if problem is None and name in self._groups:
            problem = "stands in the saga twice: give each group a name of its own"
        elif problem is None and self.blocks.is_inside:
            problem = (
                "stands inside of another block: groups are the outermost blocks of a saga, and "
                "everything else stands inside of one"
            )
        if problem:
            raise DefinitionError(f"group {name!r}: {problem}", saga=self.saga)

    # --- values of other groups ----------------------------------------------------------------

    def as_used(self, value: Any) -> Any:
        """The value as it is where it is used: one of another group may be None."""
        if isinstance(value, Placeholder):
            return self._perhaps(value)
        if isinstance(value, Mapping):
            return {key: self.as_used(each) for key, each in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.as_used(each) for each in value)
        return value

    def hinted(self, error: DefinitionError, value: Any) -> DefinitionError:
        """What is wrong with a value that is used here; of another group, it may be missing."""
        if not isinstance(value, Placeholder) or self._perhaps(value) is value:
            return error
        return DefinitionError(
            f"{error.problem}; {value!r} is of another group, so it is None unless the run was "
            "there: allow None, or write flow.either(value, …)",
            parameter=error.parameter,
        )

    def _perhaps(self, value: Placeholder) -> Placeholder:
        source = source_of(value)
        if owner_of(value) is not self or not self._may_be_missing(source):
            return value
        kind = in_common([annotation_of(value), None])
        return Placeholder(source, kind, self, as_json=is_json(value))

    def _may_be_missing(self, value: Expression) -> bool:
        here, homes = self.blocks.here_in, self._homes_of(value)
        ends = self._ends_in(here)
        return len(homes) == 1 and not homes & ends

    def _ends_in(self, here: str) -> set[str]:
        """The groups of which all values are there: this one, or the only one there is."""
        return {here} if here or len(self._groups) != 1 else {here, *self._groups}

    def _homes_of(self, value: Expression) -> set[str]:
        """The groups that a reference to results is about; none if it is there anyway."""
        if not isinstance(value, FromStep | FromMap | FirstOf):
            return set()
        parts = value.first if isinstance(value, FirstOf) else (value,)
        if any(not isinstance(each, FromStep | FromMap) for each in parts):
            return set()  # the input, or what is written in the saga
        return {self.blocks.group_of(step) for each in parts for step in steps_used(each)}

    def check_asked(self, chooser: str) -> None:
        """Raise DefinitionError unless a condition may ask this step here."""
        home = self.blocks.group_of(chooser)
        if home != self.blocks.here_in:
            raise DefinitionError(
                f"answers in group {home!r}, where the run may never have been: ask in the group "
                "whose steps depend on it",
                saga=self.saga,
                step=chooser,
            )

    def _named_steps(self, each: Any) -> Iterator[str]:
        """The steps that *each* of `after` stands for, all of this group."""
        for step in super()._named_steps(each):
            if self.blocks.group_of(step) != self.blocks.here_in:
                raise DefinitionError(
                    f"{step} is of group {self.blocks.group_of(step)!r}, and no step waits for one "
                    "of another group: when a group begins, whatever ran before has ended"
                )
            yield step

    def check_there(self, value: Expression, given: Guards) -> None:
        """Raise DefinitionError unless a value exists wherever all that is *given* holds."""
        if isinstance(value, FirstOf) and self._may_be_missing(value):
            # It exists wherever its group was visited to its end: else it is None.
            needs = [super(Grouper, self)._needs(each) for each in value.first]
            if covers(needs, given, self.choices):
                return
        super().check_there(value, given)

    def _needs(self, value: Expression) -> Guards:
        """What must hold for a value: of another group also that the run has ended there."""
        guards, here = super()._needs(value), self.blocks.here_in
        if not isinstance(value, FromStep | FromMap):
            return guards
        (group,) = self._homes_of(value)
        if group in self._ends_in(here):
            return guards
        if here:  # whether the run was there before, nobody knows
            was_there = f"{_ENDED_IN}{group}"
            self.choices[was_there] = Choice(labels=(YES, NO))
            return (*guards, Guard(step=was_there, among=(YES,)))
        self.choices[_ENDED_IN] = Choice(labels=tuple(self._groups))
        return (*guards, Guard(step=_ENDED_IN, among=(group,)))

    # --- the plan ------------------------------------------------------------------------------

    def close(self, plan: Mapping[str, Any], shape: Shape, returned: Any) -> Planned:
        """Take no more steps, and put the plan together."""
        planned = super().close(plan, shape, returned)
        for node in planned.draft.all_nodes:
            if node.routes:
                self._check_routes(planned, node)
        return planned

    def _final_nodes(self) -> tuple[Node, ...]:
        nodes = super()._final_nodes()
        if not self._groups:
            return nodes
        group_at = {place: name for name, places in self._groups.items() for place in places}
        outside = [node.name for place, node in enumerate(nodes) if place not in group_at]
        if outside:
            raise DefinitionError(
                f"has groups, and {', '.join(outside)} outside of them: a run begins with the "
                "first group and ends in one, so write each step inside of a group",
                saga=self.saga,
            )
        return tuple(
            node.model_copy(update={"group": group_at[place]}) for place, node in enumerate(nodes)
        )

    def _check_routes(self, planned: Planned, node: Node) -> None:
        """Raise DefinitionError for a step that says that it leaves its group, and may not."""
        plan, problem = planned.draft, None
        unknown = [each for each in node.routes if each not in plan.groups]
        if not plan.groups:
            problem = "and its saga has none: write `with flow.group(…):` around its steps"
        elif unknown:
            groups = ", ".join(map(repr, plan.groups))
            problem = f"and there is no group {unknown[0]!r}: the saga has {groups}"
        elif node.name not in plan.by_name:
            problem = "and it is a step of an element of a map: let a step behind the map do so"
        elif node.choice or node.confirms:
            problem = "and it answers or confirms: let a step of its own do so"
        elif leaves_prepared(plan, node.name):
            problem = (
                "and what is prepared would be neither confirmed nor cancelled: let a step before "
                "or behind the block of flow.two_phase do so"
            )
        elif beside := self.blocks.beside(node.name):
            problem = (
                f"and {', '.join(beside)} may be at work beside it: let a step behind the block "
                "do so"
            )
        if problem:
            said = ", ".join(map(repr, node.routes))
            raise DefinitionError(
                f"says that it may go on with {said} (routes=), {problem}",
                saga=self.saga,
                step=node.name,
            )
