"""Instances of a node: how they are called, and many of them told in a few words.

Owns: the names of instances (`ship[3]`, `pack[3].label`, `ask~2`), sets of whole numbers as ranges,
and the instances of one map: those that rest are told by what they are alike in.  Refuses to know:
what a step is, and what may happen to one.

A map of ten thousand elements is worked on ten at a time, so nearly all of its elements rest, and
nearly all of those look the same.  They are told as ranges: what a transition costs does not grow
with the number of elements.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

#: How a run has left groups: the step that said so, and the group that it went on with.
Routes = tuple[tuple[str, str], ...]
#: What stands in the name of a node of a map where its instances have their number.
EVERY = "[]"
_NUMBERED = re.compile(r"(?P<map>.+?)\[(?P<number>0|[1-9][0-9]{0,8})\](?P<rest>.*)", re.DOTALL)


class InstanceName(NamedTuple):
    """The name of an instance, taken apart."""

    map: str  # the node that was made several times
    number: int  # 0-based
    rest: str  # what follows the number, of a step of a fragment: `.label`

    @property
    def node(self) -> str:
        """The name of the node that it is an instance of."""
        return f"{self.map}{EVERY}{self.rest}"


def instance_of(name: str) -> InstanceName | None:
    """Take the name of an instance apart; None if it is the name of no instance."""
    found = _NUMBERED.fullmatch(name) if "[" in name else None
    return InstanceName(found["map"], int(found["number"]), found["rest"]) if found else None


def numbered(node: str, number: int) -> str:
    """The name of an instance of *node*; a node that is made once keeps its name."""
    return node.replace(EVERY, f"[{number}]", 1)


def map_of(node: str) -> str:
    """The name of the map that a node belongs to; empty if it is made once."""
    before, found, _ = node.partition(EVERY)
    return before if found else ""


def in_visit(node: str, number: int) -> str:
    """The name that a node has in a visit of its group; in the first one it keeps its own."""
    if number == 1:
        return node
    name, element, rest = node.partition("[")
    return f"{name}~{number}{element}{rest}"


def in_any_visit(name: str) -> str:
    """What a step is called whichever visit of its group it belongs to."""
    own, element, rest = name.partition("[")
    return f"{own.partition('~')[0]}{element}{rest}"


def visit_of(name: str) -> int:
    """Which visit of its group a step belongs to, by its name."""
    _, _, number = name.partition("[")[0].rpartition("~")
    return int(number) if number.isdecimal() and "~" in name else 1


@dataclass(frozen=True, slots=True)
class Ranges:
    """A set of whole numbers from 0, as the bounds of its ranges: `0,3,5,6` is 0, 1, 2 and 5."""

    bounds: tuple[int, ...] = ()

    def __contains__(self, number: int) -> bool:
        return bisect_right(self.bounds, number) % 2 == 1

    def __len__(self) -> int:
        return sum(self.bounds[1::2]) - sum(self.bounds[::2])

    def __iter__(self) -> Iterator[int]:
        for start, stop in zip(self.bounds[::2], self.bounds[1::2], strict=True):
            yield from range(start, stop)

    def __reversed__(self) -> Iterator[int]:
        for start, stop in zip(self.bounds[-2::-2], self.bounds[::-2], strict=True):
            yield from range(stop - 1, start - 1, -1)

    def toggled(self, number: int) -> Ranges:
        """The set with *number* if it was without, else without it."""
        bounds = list(self.bounds)
        for bound in (number, number + 1):
            place = bisect_right(bounds, bound)
            if place and bounds[place - 1] == bound:
                del bounds[place - 1]
            else:
                bounds.insert(place, bound)
        return Ranges(tuple(bounds))


@dataclass(frozen=True)
class Instances(Generic[T]):
    """The elements of one map: how many there are, how many were begun, and those that rest.

    An element that rests is told by what each of its steps is (`alike`), in the order of `nodes`.
    Those that were begun and do not rest are kept by their names, elsewhere.
    """

    nodes: tuple[str, ...]  # the names of the nodes of an element
    count: int
    begun: int = 0
    order: int = 0  # when the first of them was started, among the steps of the run
    alike: tuple[tuple[tuple[T, ...], Ranges], ...] = ()

    @property
    def resting(self) -> int:
        """How many elements rest."""
        return sum(len(numbers) for _, numbers in self.alike)

    def of(self, number: int) -> tuple[T, ...] | None:
        """What the steps of an element that rests are; None if it does not rest."""
        return next((each for each, numbers in self.alike if number in numbers), None)

    def get(self, name: InstanceName) -> T | None:
        """What one step of an element that rests is; None if it does not rest, or is none."""
        found = self.of(name.number) if name.node in self.nodes else None
        return None if found is None else found[self.nodes.index(name.node)]

    def with_resting(self, number: int, states: tuple[T, ...]) -> Instances[T]:
        """The same, with an element that rests now."""
        alike = dict(self.alike)
        alike[states] = alike.get(states, Ranges()).toggled(number)
        return Instances(self.nodes, self.count, self.begun, self.order, tuple(alike.items()))

    def without_resting(self, number: int) -> Instances[T]:
        """The same, with an element that rests no more."""
        kept = (
            (each, numbers.toggled(number) if number in numbers else numbers)
            for each, numbers in self.alike
        )
        alike = tuple((each, numbers) for each, numbers in kept if numbers.bounds)
        return Instances(self.nodes, self.count, self.begun, self.order, alike)

    def names(self, number: int) -> tuple[str, ...]:
        """The names of the steps of an element."""
        return tuple(numbered(node, number) for node in self.nodes)

    def those(self, wanted: Callable[[T], bool]) -> Iterator[tuple[str, T]]:
        """The steps of elements that rest, by name, that are as *wanted*; the last one first."""
        chosen = [
            (
                numbers,
                [(n, each) for n, each in zip(self.nodes, states, strict=True) if wanted(each)],
            )
            for states, numbers in self.alike
        ]
        several = [(numbers, found) for numbers, found in chosen if found]
        for number, found in _last_first(several):
            for node, state in reversed(found):
                yield numbered(node, number), state

    def items(self) -> Iterator[tuple[str, T]]:
        """All steps of elements that rest, by name, in the order of the elements."""
        yield from reversed(list(self.those(lambda _: True)))


def _last_first(several: Iterable[tuple[Ranges, T]]) -> Iterator[tuple[int, T]]:
    """The numbers of several sets, the largest first, each with what its set comes with."""
    heads = [(reversed(numbers), what) for numbers, what in several]
    front = [(next(numbers, -1), numbers, what) for numbers, what in heads]
    while front:
        place = max(range(len(front)), key=lambda each: front[each][0])
        number, numbers, what = front[place]
        if number < 0:
            return
        yield number, what
        front[place] = (next(numbers, -1), numbers, what)
