"""The states of all steps of a run that were ever touched, by name.

Owns: the mapping `Steps`: which of its steps are kept as they were read until somebody asks for
them, and how those elements of a map are kept that rest.  Refuses to know: what a state means
(`steps`), and how it is read and written (`store`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from celeriac.machine.numbering import instance_of
from celeriac.machine.steps import PENDING, StepState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from celeriac.machine.numbering import Instances


class Steps(Mapping[str, StepState]):
    """The steps of a run that were ever touched, by name.

    Most steps of a long run are settled, and what happens next asks for few of them.  So they may
    stay in whatever form they were read in, until somebody asks for one by its name, or for all.
    """

    __slots__ = ("maps", "open", "settled")

    def __init__(
        self,
        known: Mapping[str, StepState] | None = None,
        settled: Mapping[str, StepState] | None = None,
        maps: Mapping[str, Instances[StepState]] | None = None,
    ) -> None:
        """*known* are steps in any state; *settled* holds settled ones, if they are in no other."""
        #: All that are not settled, and those that have moved since the run was read.
        self.open: Mapping[str, StepState] = {} if known is None else known
        #: The others; a name that is in `open` as well means what it means there.
        self.settled: Mapping[str, StepState] = {} if settled is None else settled
        #: The elements of each map whose list was counted; those that rest are only here.
        self.maps: Mapping[str, Instances[StepState]] = {} if maps is None else maps

    def put(self, changed: Mapping[str, StepState]) -> Steps:
        """Return the steps with some *changed*, or added."""
        steps = self._woken(changed) if self.maps else self
        return Steps({**steps.open, **changed}, steps.settled, steps.maps)

    def _woken(self, names: Iterable[str]) -> Steps:
        """The steps, with the elements that *names* belong to among those that are open."""
        steps = self
        for name in names:
            found = None if name in steps.open else instance_of(name)
            instances = steps.maps.get(found.map) if found else None
            states = instances.of(found.number) if found and instances else None
            if found and instances and states:
                several = dict(zip(instances.names(found.number), states, strict=True))
                maps = {**steps.maps, found.map: instances.without_resting(found.number)}
                steps = Steps({**steps.open, **several}, steps.settled, maps)
        return steps

    def with_map(self, name: str, instances: Instances[StepState]) -> Steps:
        """Return the steps with what is known of the elements of a map."""
        return Steps(self.open, self.settled, {**self.maps, name: instances})

    def rested(self, name: str) -> Steps:
        """Return the steps, with the element that *name* belongs to told shortly, if it rests."""
        found = instance_of(name) if self.maps else None
        instances = self.maps.get(found.map) if found else None
        if not (found and instances) or found.number >= instances.begun or name not in self.open:
            return self
        names = instances.names(found.number)
        states = [self.open.get(each, PENDING) for each in names]
        if not all(state.rests for state in states):
            return self
        others = {each: state for each, state in self.open.items() if each not in names}
        told = instances.with_resting(found.number, tuple(state.resting for state in states))
        return Steps(others, self.settled, {**self.maps, found.map: told})

    def parted(self, names: Collection[str]) -> tuple[Steps, Steps]:
        """The steps called *names*, with all elements of those that are maps; and the others."""
        parts: tuple[dict[str, StepState], dict[str, StepState]] = ({}, {})
        for name, step in self.told_apart():
            found = instance_of(name) if self.is_element(name) else None
            parts[(found.map if found else name) not in names][name] = step
        maps = [
            {n: m for n, m in self.maps.items() if (n in names) is mine} for mine in (True, False)
        ]
        return Steps(parts[0], maps=maps[0]), Steps(parts[1], maps=maps[1])

    @property
    def made_once(self) -> int:
        """How many steps there are beside those of the elements of maps."""
        others = sum(map(self.is_element, self.open)) if self.maps else 0
        return len(self.open) + len(self.settled) - self._twice - others

    def is_element(self, name: str) -> bool:
        """True if a step belongs to an element of a map."""
        found = instance_of(name) if self.maps else None
        return found is not None and found.map in self.maps

    def told_apart(self) -> Iterator[tuple[str, StepState]]:
        """All but the elements of maps that rest."""
        yield from ((name, step) for name, step in self.settled.items() if name not in self.open)
        yield from self.open.items()

    def __getitem__(self, name: str) -> StepState:
        found = self.open.get(name)
        if found is None and self.maps:
            instance = instance_of(name)
            instances = self.maps.get(instance.map) if instance else None
            found = instances.get(instance) if instance and instances else None
        return self.settled[name] if found is None else found

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self.settled if name not in self.open)
        yield from self.open
        for instances in self.maps.values():
            yield from (name for name, _ in instances.items())

    def __len__(self) -> int:
        resting = sum(each.resting * len(each.nodes) for each in self.maps.values())
        return len(self.open) + len(self.settled) - self._twice + resting

    @property
    def _twice(self) -> int:
        return sum(name in self.settled for name in self.open) if self.settled else 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Steps):
            return NotImplemented
        return self.maps == other.maps and dict(self.told_apart()) == dict(other.told_apart())

    __hash__ = None  # type: ignore[assignment]  # as any mapping

    def __repr__(self) -> str:
        return f"Steps({dict(self)!r})"
