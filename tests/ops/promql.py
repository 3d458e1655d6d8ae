"""The part of PromQL that alerts and dashboard use, read into a tree.

Owns: its grammar.  Refuses to know: what an expression is worth (`prometheus`); and what is not
used here: it is an error, so nothing passes because it was not understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from celeriac.machine.policy import duration_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = {
    "absent",
    "clamp_min",
    "deriv",
    "histogram_quantile",
    "increase",
    "rate",
    "time",
}
AGGREGATIONS = {"sum", "min", "max"}
# From what binds least to what binds most.
OPERATORS = (
    ("or",),
    ("and", "unless"),
    ("==", "!=", "<=", "<", ">=", ">"),
    ("+", "-"),
    ("*", "/"),
)
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<range>\[\w+\]) | (?P<string>"[^"\\]*") | (?P<number>\d+(?:\.\d+)?)
        | (?P<word>[A-Za-z_:][\w:]*) | (?P<sign>=~|!~|==|!=|<=|>=|[-+*/<>=(){},])
    )""",
    re.VERBOSE,
)


class NotPromQL(ValueError):
    """An expression that makes no sense."""


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Selector:
    """A metric, or a span of it in ms."""

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()  # label, operator, value
    span: int | None = None


@dataclass(frozen=True)
class Call:
    """A function and what it is given."""

    name: str
    args: tuple[Tree, ...]


@dataclass(frozen=True)
class Aggregation:
    """Several series made one for each value of the labels *by*."""

    name: str
    by: tuple[str, ...]
    of: Tree


@dataclass(frozen=True)
class Operation:
    """Two sides; *on* are the labels by which they belong together (None: all)."""

    sign: str
    left: Tree
    right: Tree
    on: tuple[str, ...] | None = None


Tree = Number | Selector | Call | Aggregation | Operation


def parse(text: str) -> Tree:
    """Read an expression; raises NotPromQL."""
    reader = _Reader(_tokens(text))
    tree = reader.operation(0)
    if reader.rest():
        raise NotPromQL(f"{reader.rest()!r} follows the end of {text!r}")
    return tree


def selectors(tree: Tree) -> Iterator[Selector]:
    """Every metric that an expression names."""
    if isinstance(tree, Selector):
        yield tree
    for part in _parts(tree):
        yield from selectors(part)


def labels_asked_for(tree: Tree) -> Iterator[tuple[Selector, str]]:
    """Every label that an expression needs a metric to have."""
    match tree:
        case Selector(matchers=matchers):
            yield from ((tree, label) for label, _, _ in matchers)
        case Aggregation(by=names) | Operation(on=tuple(names)):
            yield from ((each, label) for each in selectors(tree) for label in names)
    for part in _parts(tree):
        yield from labels_asked_for(part)


def _parts(tree: Tree) -> tuple[Tree, ...]:
    match tree:
        case Call(args=args):
            return args
        case Aggregation(of=of):
            return (of,)
        case Operation(left=left, right=right):
            return (left, right)
    return ()


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise NotPromQL(f"what is {text[at : at + 20]!r} in {text!r}?")
        tokens.append(found[0].strip())
        at = found.end()
    return tokens


@dataclass
class _Reader:
    tokens: list[str]
    at: int = field(default=0)

    def rest(self) -> list[str]:
        return self.tokens[self.at :]

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.peek()
        if not token or (wanted and token not in wanted):
            raise NotPromQL(f"{token or 'the end'} where {' or '.join(wanted)} should be")
        self.at += 1
        return token

    def operation(self, level: int) -> Tree:
        if level == len(OPERATORS):
            return self.operand()
        left = self.operation(level + 1)
        while self.peek() in OPERATORS[level]:
            sign = self.take()
            on = self.names("on") if self.peek() == "on" else None
            left = Operation(sign, left, self.operation(level + 1), on)
        return left

    def operand(self) -> Tree:
        token = self.peek()
        if token == "(":  # noqa: S105 -- a token of the grammar
            self.take()
            inner = self.operation(0)
            self.take(")")
            return inner
        if token[:1].isdigit():
            return Number(float(self.take()))
        if token in AGGREGATIONS:
            return self.aggregation()
        if token in FUNCTIONS:
            return self.call()
        return self.selector()

    def aggregation(self) -> Tree:
        name = self.take()
        by = self.names("by") if self.peek() == "by" else None
        self.take("(")
        of = self.operation(0)
        self.take(")")
        if by is None:
            by = self.names("by") if self.peek() == "by" else ()
        return Aggregation(name, by, of)

    def names(self, word: str) -> tuple[str, ...]:
        self.take(word)
        self.take("(")
        found = [self.take()]
        while self.take(",", ")") == ",":
            found.append(self.take())
        return tuple(found)

    def call(self) -> Tree:
        name = self.take()
        self.take("(")
        args: list[Tree] = []
        if self.peek() != ")":
            args.append(self.operation(0))
            while self.peek() == ",":
                self.take()
                args.append(self.operation(0))
        self.take(")")
        return Call(name, tuple(args))

    def selector(self) -> Tree:
        name = self.take()
        if not re.fullmatch(r"[A-Za-z_:][\w:]*", name):
            raise NotPromQL(f"{name!r} is no metric")
        matchers = self.matchers() if self.peek() == "{" else ()
        span = duration_ms(self.take()[1:-1]) if self.peek().startswith("[") else None
        return Selector(name, matchers, span)

    def matchers(self) -> tuple[tuple[str, str, str], ...]:
        self.take("{")
        found = []
        while self.peek() != "}":
            label, sign, value = self.take(), self.take("=", "!=", "=~", "!~"), self.take()
            found.append((label, sign, value[1:-1]))
            if self.peek() == ",":
                self.take()
        self.take("}")
        return tuple(found)
