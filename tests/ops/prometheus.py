"""What Prometheus would make of a few scrapes: the worth of an expression, and who is called.

Owns: the meaning of the PromQL that is used here, without Prometheus's extrapolation: an increase
is what was seen to increase.  Refuses to know: which alerts there are.  Where `promtool` is to be
had the same stories are told to it too (`test_alerts`), so the two agree.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.ops.promql import Aggregation, Call, Number, Operation, Selector, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]  # of an instant; a constant has no labels
Scrape = dict[tuple[str, Labels], float]

NAME = "__name__"
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else (math.nan if a == 0 else math.copysign(math.inf, a)),
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MATCHES: dict[str, Callable[[str, str], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "=~": lambda value, pattern: bool(re.fullmatch(pattern, value)),
    "!~": lambda value, pattern: not re.fullmatch(pattern, value),
}
_MERGE: dict[str, Callable[[list[float]], float]] = {"sum": sum, "min": min, "max": max}


@dataclass
class Prometheus:
    """Scrapes by their time, in ms."""

    scrapes: dict[int, Scrape] = field(default_factory=dict)

    def scrape(self, at: int, series: Scrape) -> None:
        """Note what was served at a time."""
        self.scrapes[at] = series

    def value(self, tree: Tree, at: int) -> Vector:
        """What an expression is worth at a time."""
        return _Look(self.scrapes, at).value(tree)

    def fires(self, tree: Tree, at: int, patience: int = 0) -> list[Labels]:
        """The series for which an expression has held at every scrape of the last *patience* ms."""
        times = [time for time in self.scrapes if at - patience <= time <= at]
        if not times or (patience and min(self.scrapes) > at - patience):
            return []
        held = [set(self.value(tree, time)) for time in times]
        return sorted(set.intersection(*held), key=sorted)


@dataclass(frozen=True)
class _Look:
    scrapes: Mapping[int, Scrape]
    at: int

    def value(self, tree: Tree) -> Vector:
        match tree:
            case Number(value):
                return {frozenset(): value}
            case Selector(span=None):
                return self._now(tree)
            case Call():
                return self._call(tree)
            case Aggregation():
                return self._merged(tree)
            case Operation():
                return self._operated(tree)
        msg = f"{tree} is a span, and no value"
        raise TypeError(msg)

    def _now(self, tree: Selector) -> Vector:
        times = [time for time in self.scrapes if time <= self.at]
        return _selected(self.scrapes[max(times)], tree) if times else {}

    def _spans(self, tree: Tree) -> dict[Labels, list[tuple[int, float]]]:
        assert isinstance(tree, Selector)
        assert tree.span is not None
        found: dict[Labels, list[tuple[int, float]]] = {}
        for time in sorted(self.scrapes):
            if self.at - tree.span <= time <= self.at:
                for labels, value in _selected(self.scrapes[time], tree).items():
                    found.setdefault(labels, []).append((time, value))
        return {labels: points for labels, points in found.items() if len(points) > 1}

    def _call(self, tree: Call) -> Vector:
        match tree:
            case Call("time", ()):
                return {frozenset(): self.at / 1000}
            case Call("absent", (Selector() as of,)):
                exact = frozenset((label, text) for label, sign, text in of.matchers if sign == "=")
                return {} if self.value(of) else {exact: 1.0}
            case Call("increase", (of,)):
                return _each(self._spans(of), _increase)
            case Call("deriv", (of,)):
                return _each(self._spans(of), _slope)
        msg = f"{tree.name} is not known here"
        raise NotImplementedError(msg)

    def _merged(self, tree: Aggregation) -> Vector:
        groups: dict[Labels, list[float]] = {}
        for labels, value in self.value(tree.of).items():
            kept = frozenset((label, text) for label, text in labels if label in tree.by)
            groups.setdefault(kept, []).append(value)
        return {labels: _MERGE[tree.name](values) for labels, values in groups.items()}

    def _operated(self, tree: Operation) -> Vector:
        left, right = self.value(tree.left), self.value(tree.right)
        if tree.sign in ("and", "or", "unless"):
            return _joined(tree, left, right)
        found: Vector = {}
        for labels, mine in left.items():
            for others, theirs in right.items():
                alone = _is_constant(tree.left) or _is_constant(tree.right)
                if alone or _key(labels, tree.on) == _key(others, tree.on):
                    kept = others if _is_constant(tree.left) else labels
                    _operate(found, tree.sign, kept, mine, theirs)
        return found


def _selected(scrape: Scrape, tree: Selector) -> Vector:
    found: Vector = {}
    for (name, labels), value in scrape.items():
        texts = dict(labels)
        if name == tree.name and all(
            _MATCHES[sign](texts.get(label, ""), text) for label, sign, text in tree.matchers
        ):
            found[labels] = value
    return found


def _each(
    spans: Mapping[Labels, list[tuple[int, float]]],
    worth: Callable[[list[tuple[int, float]]], float],
) -> Vector:
    return {labels: worth(points) for labels, points in spans.items()}


def _increase(points: Iterable[tuple[int, float]]) -> float:
    """A counter that goes back began anew."""
    values = [value for _, value in points]
    return sum(new - old if new >= old else new for old, new in pairwise(values))


def _slope(points: Iterable[tuple[int, float]]) -> float:
    """How much more in a second, by least squares."""
    times, values = zip(*points, strict=True)
    mid, mean = sum(times) / len(times), sum(values) / len(values)
    rise = sum((time - mid) * (value - mean) for time, value in zip(times, values, strict=True))
    return float(1000 * rise / sum((time - mid) ** 2 for time in times))


def _is_constant(tree: Tree) -> bool:
    match tree:
        case Number() | Call("time"):
            return True
        case Operation(left=left, right=right):
            return _is_constant(left) and _is_constant(right)
    return False


def _key(labels: Labels, on: tuple[str, ...] | None) -> Labels:
    return labels if on is None else frozenset(each for each in labels if each[0] in on)


def _operate(found: Vector, sign: str, labels: Labels, mine: float, theirs: float) -> None:
    if sign in _ARITHMETIC:
        found[labels] = _ARITHMETIC[sign](mine, theirs)
    elif _COMPARISONS[sign](mine, theirs):
        found[labels] = mine


def _joined(tree: Operation, left: Vector, right: Vector) -> Vector:
    mine = {_key(labels, tree.on) for labels in left}
    theirs = {_key(labels, tree.on) for labels in right}
    if tree.sign == "or":
        more = {each: n for each, n in right.items() if _key(each, tree.on) not in mine}
        return {**left, **more}
    wanted = tree.sign == "and"
    return {each: n for each, n in left.items() if (_key(each, tree.on) in theirs) == wanted}
