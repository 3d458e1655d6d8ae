"""What may not stand inside of what: an error when the saga is defined, with what to write instead.

Owns: these refusals.  Refuses to know: what may, and what comes of it
(`tests/testing/test_combinations.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import DefinitionError, Flow, Sagas

if TYPE_CHECKING:
    from collections.abc import Callable

app = Celery("nesting", set_as_current=False)
sagas = Sagas(app)


@sagas.step
def one(x: str) -> str:
    """A step."""
    return x


@sagas.step
def many(x: str) -> list[str]:
    """What is mapped."""
    return [x]


@sagas.step
def hold(x: str) -> str:
    """Prepare."""
    return x


@hold.compensation
def release(x: str) -> None:
    """Cancel."""


@hold.confirm
def sell(x: str) -> None:
    """Confirm."""


@sagas.step
def call_off(x: str) -> None:
    """Undo several."""


@sagas.saga
def part(flow: Flow, x: str) -> str:
    """A child."""
    return flow.step(one, x)


def with_map(flow: Flow, x: str) -> Any:
    """Map."""
    return flow.map(one, flow.step(many, x))


def with_scope(flow: Flow, x: str) -> str:
    """Undo several as one."""
    with flow.undone_by(call_off, x):
        return flow.step(one, x)


def with_wait(flow: Flow, x: str) -> str:
    """Wait."""
    flow.sleep("1h")
    return flow.step(one, x)


def with_phases(flow: Flow, x: str) -> Any:
    """Decide."""
    with flow.two_phase():
        return flow.step(hold, x)


def with_child(flow: Flow, x: str) -> str:
    """Have a run of its own."""
    return flow.child(part, x)


def with_group(flow: Flow, x: str) -> str:
    """Be a group."""
    with flow.group("inner"):
        return flow.step(one, x)


def in_elements(piece: Any) -> Callable[[Flow, str], Any]:
    """A saga that maps *piece*."""

    def build(flow: Flow, x: str) -> Any:
        return flow.map(piece, flow.step(many, x))

    return build


def in_scope(piece: Any) -> Callable[[Flow, str], Any]:
    """A saga with *piece* in a scope."""

    def build(flow: Flow, x: str) -> Any:
        with flow.undone_by(call_off, x):
            flow.step(one, x)
            return piece(flow, x)

    return build


def in_phases(piece: Any) -> Callable[[Flow, str], Any]:
    """A saga with *piece* in two phases."""

    def build(flow: Flow, x: str) -> Any:
        with flow.two_phase():
            flow.step(hold, x)
            return piece(flow, x)

    return build


def in_branch(piece: Any) -> Callable[[Flow, str], Any]:
    """A saga with *piece* as a branch."""

    def build(flow: Flow, x: str) -> Any:
        with flow.parallel():
            flow.step(one, x)
            with flow.sequence():
                return piece(flow, x)

    return build


def of_text(flow: Flow, x: str) -> Any:
    """Map what is no list."""
    return flow.map(one, x)  # type: ignore[call-overload]


def of_perhaps(flow: Flow, x: str) -> Any:
    """Map what may be None."""
    return flow.map(one, flow.either(flow.step(many, x), None))  # type: ignore[call-overload]


def of_known(flow: Flow, x: str) -> Any:
    """Map what is written there."""
    return flow.map(one, [x, "a"])


REFUSED: dict[str, tuple[Callable[[Flow, str], Any], str]] = {
    "a map in a map": (
        in_elements(with_map),
        r"with_map, which is mapped.*one list of all in a step before.*flow\.child",
    ),
    "a scope in an element": (in_elements(with_scope), "'with_scope'.*a compensation of its own"),
    "a wait in an element": (in_elements(with_wait), "'with_wait'.*the wait before or behind"),
    "phases in an element": (in_elements(with_phases), "'with_phases'.*in the saga itself"),
    "a group in an element": (in_elements(with_group), "'inner'.*outermost blocks"),
    "a lambda": (in_elements(lambda f, x: f.step(one, x)), "write def"),
    "a map in a scope": (in_scope(with_map), "write the map behind the block"),
    "a child in a scope": (in_scope(with_child), r"'part'.*flow\.child outside of flow\.undone_by"),
    "phases in a scope": (in_scope(with_phases), "scopes do not nest"),
    "a group in a scope": (in_scope(with_group), "'inner'.*outermost blocks"),
    "a map in phases": (in_phases(with_map), "write the map behind the block"),
    "a child in phases": (in_phases(with_child), r"'part'.*flow\.child outside of flow\.two_phase"),
    "a scope in phases": (in_phases(with_scope), "'call_off'.*scopes do not nest"),
    "phases in a branch": (in_branch(with_phases), "two_phase"),
    "a group in a branch": (in_branch(with_group), "'inner'.*outermost blocks"),
    "a map of a text": (of_text, "'one', parameter 'items'.*is str.*make one in a step"),
    "a map of what may be None": (
        of_perhaps,
        r"'one', parameter 'items'.*make one in a step, or write flow\.either\(…, \[\]\)",
    ),
    "a map of what is known": (of_known, r"'one', parameter 'items'.*write a flow\.step for each"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_says_what_to_write(what: str) -> None:
    """With the saga, and the step and the parameter that it is about, if it is about one."""
    build, words = REFUSED[what]
    with pytest.raises(DefinitionError, match=words) as caught:
        sagas.saga(name=what.replace(" ", "_"))(build)
    assert caught.value.saga == what.replace(" ", "_")


def test_a_list_or_nothing_is_mapped() -> None:
    """What may not be there has a list in its place."""

    @sagas.saga
    def perhaps(flow: Flow, x: str) -> list[str]:
        with flow.when(is_long, x):
            found = flow.step(many, x)
        return flow.map(one, flow.either(found, []))

    @sagas.saga
    def otherwise(flow: Flow, x: str) -> list[str]:
        with flow.when(is_long, x):
            found = flow.step(many, x)
        return flow.map(one, flow.either(found, ["a", "b"]))

    assert [node.name for node in perhaps.planned.plan.nodes] == ["is_long", "many", "one"]
    assert otherwise.planned.plan.nodes[-1].map is not None


def is_long(x: str) -> bool:
    """A predicate."""
    return len(x) > 3
