"""Scalars are read by the type of the field that they are for."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.definitions import read_given
from tests.definitions.conftest import problems

if TYPE_CHECKING:
    from tests.definitions.conftest import Read


def value(read: Read, parameter: str, text: str) -> Any:
    """What a parameter of `typed` is given by a text."""
    steps = f"it: {{task: tests.definitions.shop.typed, kwargs: {{{parameter}: {text}}}}}"
    return read(steps).planned.plan.nodes[0].args[parameter].value  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parameter", "text", "found"),
    [
        *[("text", text, text) for text in ("NO", "on", "yes", "~", "null", "true", "1e3")],
        *[("text", text, text) for text in ("1.10", "08:30", "0o7", "2026-11-30", "0x1f", "1_000")],
        ("text", "''", ""),
        ("text", "'5'", "5"),
        ("flag", "true", True),
        ("flag", "false", False),
        ("whole", "10", 10),
        ("number", "1.10", 1.1),
        ("number", "1e3", 1000.0),
        ("price", "1.10", "1.10"),
        ("price", "12345678901234567890.123456789", "12345678901234567890.123456789"),
        ("day", "2026-11-30", "2026-11-30"),
        ("day", "null", None),
        ("at", "08:30", "08:30:00"),
        ("moment", "2026-11-30T08:30:00Z", "2026-11-30T08:30:00Z"),
        ("size", "large", "large"),
    ],
)
def test_a_scalar_is_what_its_field_takes(
    read: Read, parameter: str, text: str, found: object
) -> None:
    """`NO` is a country, `1.10` a price with its digits, `08:30` a time."""
    assert value(read, parameter, text) == found
    assert type(value(read, parameter, text)) is type(found)


@pytest.mark.parametrize(
    ("parameter", "text", "words"),
    [
        ("flag", "NO", "should be bool, not NO"),
        ("flag", "on", "should be bool, not on"),
        ("flag", "'true'", 'should be bool, not "true"'),
        ("whole", "1.0", "should be int, not 1.0"),
        ("whole", "0o7", "should be int, not 0o7"),
        ("whole", "'5'", 'should be int, not "5"'),
        ("day", "30.11.2026", "should be"),
        ("at", "25:00", "should be"),
        ("size", "huge", "should be"),
        ("price", "much", "should be Decimal, not much"),
    ],
)
def test_what_a_field_does_not_take(read: Read, parameter: str, text: str, words: str) -> None:
    """Nothing is guessed: what is no value of the type is an error, at its place."""
    steps = f"it: {{task: tests.definitions.shop.typed, kwargs: {{{parameter}: {text}}}}}"
    [(line, column, said)] = problems(read, steps)
    assert (line, column) == (3, 55 + len(parameter))
    assert words in said


def test_without_a_type_json_decides(read: Read) -> None:
    """An existing task says no types: what JSON knows is JSON's, all else is text."""
    texts = "[NO, on, 1.10, 08:30, 0o7, 2026-11-30, 5, true, null, '5', 08]"
    steps = f"it: {{task: post.mail, kwargs: {{to: {texts}}}}}"
    found = read(steps).planned.plan.nodes[0].args["to"].value  # type: ignore[union-attr]
    assert found == ["NO", "on", 1.1, "08:30", "0o7", "2026-11-30", 5, True, None, "5", "08"]


def test_a_field_inside_of_a_model_has_its_own_type(read: Read) -> None:
    """The country of an order is text, its quantity a number."""
    order = "{id: 007, country: NO, quantity: 3}"
    steps = f"it: {{task: tests.definitions.shop.reserve, kwargs: {{order: {order}}}}}"
    found = read(steps).planned.plan.nodes[0].args["order"].value  # type: ignore[union-attr]
    assert found == {"id": "007", "country": "NO", "quantity": 3}


def test_a_variable_is_read_by_its_type(read: Read) -> None:
    """The type of a variable is said, or that of its default."""
    steps = "it: {task: post.mail, kwargs: {to: '${vars.a}'}}"
    saga = read(
        steps, vars="{a: eu, b: 3, c: 1.5, d: {type: decimal, default: 1.10}, e: {type: time}, f: }"
    )
    shape = saga.planned.shape.parameters
    assert [each.annotation for each in shape.values()] == [str, int, float, Decimal, time, Any]
    assert [each.default for each in shape.values()] == ["eu", 3, 1.5, Decimal("1.10"), None, None]
    assert [name for name, each in shape.items() if each.required] == ["e", "f"]


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("", str, ""),
        ("", str | None, ""),
        ("", Any, None),
        ("[1]", str, "[1]"),
        ('{"a": 1}', str, '{"a": 1}'),
        ("[1]", list[int], [1]),
        ("[draft] x", Any, "[draft] x"),
        ("true", str, "true"),
        ("true", bool, True),
        ("null", int | None, None),
    ],
)
def test_what_is_typed(text: str, annotation: Any, value: Any) -> None:
    """A text is that text, also an empty one, and one that looks like JSON."""
    assert read_given(text, annotation) == value
