"""What waits for what: sequences, parallel blocks, graphs and fragments, inside one another.

Owns: `after` in the plans that come of them, names and options, and which mistakes are errors when
a saga is defined.  Refuses to know: what a run makes of it (`tests/machine/test_branches.py`).
"""

# ruff: noqa: ARG001 -- the sagas here are planned, and never run
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import DefinitionError, Flow, Retry, Sagas

if TYPE_CHECKING:
    from celeriac.machine import Plan

sagas = Sagas(Celery("trips", set_as_current=False))
Build = Callable[[Flow, str], object]


@sagas.step
def book(what: str) -> str:
    """Book anything."""
    return what


@sagas.step
def look(*seen: str) -> str:
    """Use whatever there is."""
    return " ".join(seen)


@sagas.step(pivot=True)
def pay(what: str) -> str:
    """No way back from here."""
    return what


def planned(build: Build, **options: Any) -> Plan:
    """The plan of a saga."""

    def trip(flow: Flow, city: str) -> None:
        build(flow, city)

    count = len(sagas.defined)
    return sagas.saga(name=f"trip-{count}", **options)(trip).planned.plan


def waits(build: Build) -> dict[str, tuple[str, ...]]:
    """What each step waits for."""
    return {node.name: node.after for node in planned(build).nodes}


def one(flow: Flow, name: str, *uses: str) -> str:
    """A step of this name."""
    return flow.options(name=name).step(look, *uses)


# --- blocks ------------------------------------------------------------------------------------


def test_steps_in_a_parallel_block_wait_for_what_came_before_it() -> None:
    """And what comes behind it waits for all of them."""

    def build(flow: Flow, city: str) -> None:
        one(flow, "a")
        with flow.parallel():
            one(flow, "b")
            one(flow, "c")
            with flow.sequence():
                one(flow, "d")
                one(flow, "e")
        one(flow, "f")
        one(flow, "g")

    assert waits(build) == {
        "a": (),
        "b": ("a",),
        "c": ("a",),
        "d": ("a",),
        "e": ("d",),
        "f": ("b", "c", "e"),
        "g": ("f",),
    }


def test_a_run_may_begin_and_end_side_by_side() -> None:
    """Nothing has to come before a block, or behind it."""

    def build(flow: Flow, city: str) -> None:
        with flow.parallel():
            one(flow, "a")
            with flow.parallel():
                one(flow, "b")
                one(flow, "c")
        with flow.parallel():
            one(flow, "d")
            one(flow, "e")

    assert waits(build) == {
        **dict.fromkeys("abc", ()),
        **dict.fromkeys("de", ("a", "b", "c")),
    }


def test_empty_blocks_are_nothing() -> None:
    """What follows waits for what came before them."""

    def build(flow: Flow, city: str) -> None:
        one(flow, "a")
        with flow.parallel():
            with flow.sequence(), flow.graph():
                pass
            one(flow, "b")
        with flow.parallel():
            pass
        one(flow, "c")

    assert waits(build) == {"a": (), "b": ("a",), "c": ("b",)}


def test_in_a_graph_a_step_waits_for_what_it_uses() -> None:
    """For nothing else, and not twice for what another wait implies."""

    def build(flow: Flow, city: str) -> None:
        a = one(flow, "a")
        with flow.graph():
            b = one(flow, "b", a)
            c = one(flow, "c", b, city)
            one(flow, "d", a)
            one(flow, "e", b, c)
            flow.options(name="f", after=[c, "d"]).step(look)
        one(flow, "g")

    assert waits(build) == {
        "a": (),
        "b": ("a",),
        "c": ("b",),
        "d": ("a",),
        "e": ("c",),
        "f": ("c", "d"),
        "g": ("e", "f"),
    }


def test_blocks_inside_of_a_graph_wait_for_what_they_use() -> None:
    """In a block the order of the block holds, and beside it that of the values."""

    def build(flow: Flow, city: str) -> None:
        with flow.graph():
            a = one(flow, "a")
            b = one(flow, "b")
            with flow.sequence():
                one(flow, "c", a)
                one(flow, "d", b)
            with flow.parallel():
                one(flow, "e", b)
                one(flow, "f")

    assert waits(build) == {
        "a": (),
        "b": (),
        "c": ("a",),
        "d": ("b", "c"),
        "e": ("b",),
        "f": (),
    }


def test_six_blocks_of_ten_wait_for_no_more_than_the_block_before() -> None:
    """However many blocks there were."""

    def build(flow: Flow, city: str) -> None:
        for block in range(6):
            with flow.parallel():
                for branch in range(10):
                    one(flow, f"s{block}-{branch}")

    assert {len(after) for after in waits(build).values()} == {0, 10}


def test_what_nobody_says_is_not_in_the_plan() -> None:
    """So plans that earlier versions have stored are the plans of their sagas still."""

    def build(flow: Flow, city: str) -> None:
        flow.step(book, city)
        flow.step(book, city)

    first, second = planned(build).model_dump(exclude_defaults=True)["nodes"]
    assert set(first) == {"name", "task", "args"}
    assert set(second) == {"name", "task", "args", "after"}


# --- fragments, names and options --------------------------------------------------------------


def test_a_fragment_is_a_function_that_is_called() -> None:
    """Its names stand behind a prefix, and may occur once under each."""

    def bill(flow: Flow, who: str) -> str:
        with flow.named("step"):
            one(flow, "check", who)
        return flow.step(book, who)

    def build(flow: Flow, city: str) -> None:
        paid = city
        for prefix in ("ours", "theirs"):
            with flow.named(prefix):
                paid = bill(flow, city)
        flow.step(book, paid)

    assert list(waits(build)) == [
        *("ours.step.check", "ours.book"),
        *("theirs.step.check", "theirs.book"),
        "book",
    ]


def test_a_fragment_under_a_name_is_one_branch() -> None:
    """Its steps follow one another, unless it stands in a graph."""

    def both(flow: Flow, city: str) -> None:
        for name in ("p", "q"):
            with flow.named(name):
                one(flow, "a")
                one(flow, "b")

    def build(flow: Flow, city: str) -> None:
        with flow.parallel():
            both(flow, city)
        with flow.graph(), flow.named("g"):
            both(flow, city)

    ends = ("p.b", "q.b")
    assert waits(build) == {
        "p.a": (),
        "p.b": ("p.a",),
        "q.a": (),
        "q.b": ("q.a",),
        **dict.fromkeys(("g.p.a", "g.p.b", "g.q.a", "g.q.b"), ends),
    }


def test_a_saga_says_its_own_of_a_step() -> None:
    """The step itself, and its place in another saga, stay as they are."""

    def build(flow: Flow, city: str) -> None:
        special = flow.options(
            timeout="2s", retry=Retry(max_attempts=7), queue="slow", priority=0, name="special"
        )
        special.step(book, city)
        flow.step(book, city)

    special, plain = planned(build).nodes
    assert (special.timeout, special.retry.max_attempts) == (2_000, 7)
    assert (special.queue, special.priority) == ("slow", 0)
    assert (special.queue_of("do"), special.queue_of("undo")) == ("slow", None)
    assert (plain.name, plain.timeout, plain.queue, plain.priority) == ("book", None, None, None)
    assert plain.retry == book.retry


def test_a_retry_of_the_saga_keeps_what_the_step_says_of_losses() -> None:
    """Whether an unknown outcome may be tried again is a matter of the effect."""

    @sagas.step(name="trips.post", effect="none")
    def post(what: str) -> None:
        """Honour no key."""

    def build(flow: Flow, city: str) -> None:
        flow.options(retry=Retry(max_attempts=7)).step(post, city)

    rule = planned(build).nodes[0].retry
    assert (rule.max_attempts, rule.after_loss) == (7, False)


# --- mistakes ----------------------------------------------------------------------------------


def _across(flow: Flow, city: str) -> None:
    with flow.parallel():
        a = one(flow, "a")
        one(flow, "b", a)


def _across_blocks(flow: Flow, city: str) -> None:
    with flow.graph(), flow.parallel():
        with flow.sequence():
            a = one(flow, "a")
        with flow.sequence():
            flow.options(name="b", after=[a]).step(look)


def _beside_the_pivot(flow: Flow, city: str) -> None:
    with flow.parallel():
        flow.step(pay, city)
        one(flow, "b")


def _unentered(flow: Flow, city: str) -> None:
    flow.parallel()
    one(flow, "a")


def _unnamed(flow: Flow, city: str) -> None:
    flow.named("mine")
    one(flow, "a")


def _twice(flow: Flow, city: str) -> None:
    block = flow.parallel()
    with block:
        one(flow, "a")
    with block:
        one(flow, "b")


MISTAKES: dict[str, tuple[Build, str]] = {
    "a value of another branch": (
        _across,
        r"step 'b', parameter '\*seen': a runs side by side with this step",
    ),
    "a wait for another branch": (_across_blocks, r"step 'b', parameter 'after': a runs side"),
    "beside the pivot": (_beside_the_pivot, r"step 'pay': is the pivot, and b may still be"),
    "a block that nobody enters": (_unentered, r"flow\.parallel\(\) does nothing by itself"),
    "a prefix of nothing": (_unnamed, r"flow\.named\(\) does nothing by itself"),
    "a block that is entered twice": (_twice, r"is entered once"),
    "a name that is taken": (
        lambda flow, _: [one(flow, "a"), one(flow, "a")][0] and None,
        r"step 'a': the name is taken",
    ),
    "a name with a colon": (lambda flow, _: one(flow, "a:b") and None, r"a name is text without"),
    "a prefix with a dot": (lambda flow, _: flow.named("a.b").__enter__(), r"a name is text"),
    "a wait for nothing": (
        lambda flow, _: flow.options(after=["later"]).step(look) and None,
        r"takes results of steps and names of steps before this one, not 'later'",
    ),
    "a wait for text": (lambda flow, _: flow.options(after="a").step(look) and None, r"is a list"),
    "a priority that is none": (
        lambda flow, _: flow.options(priority=300).step(look) and None,
        r"priority is a whole number from 0 to 255",
    ),
    "a queue without a name": (
        lambda flow, _: flow.options(queue="").step(look) and None,
        r"queue is the name of a queue",
    ),
    "a time that is none": (
        lambda flow, _: flow.options(timeout="soon").step(look) and None,
        r"timeout: ",
    ),
}


@pytest.mark.parametrize(("build", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_an_error_when_the_saga_is_defined(build: Build, says: str) -> None:
    """It names the saga, the step and the parameter, and says what to write instead."""
    with pytest.raises(DefinitionError, match=says) as caught:
        planned(build)
    assert caught.value.saga is not None


def test_what_comes_before_and_behind_a_pivot_may_stand_side_by_side() -> None:
    """Only what is beside it may not."""

    def build(flow: Flow, city: str) -> None:
        for name in ("before", "behind"):
            with flow.parallel():
                one(flow, f"{name}-1")
                one(flow, f"{name}-2")
            if name == "before":
                flow.step(pay, city)

    assert planned(build).pivot == "pay"
