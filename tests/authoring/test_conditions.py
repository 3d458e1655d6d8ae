"""Conditions as they are written: when, choose and either, and which mistakes are found at once.

Owns: guards and choices in plans, and errors when a saga is defined.  Refuses to know: what a run
makes of them (`tests/machine/test_choices.py`).

The file is long because each mistake is a saga of its own.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import pytest
from celery import Celery
from pydantic import BaseModel

from celeriac import DefinitionError, Flow, Sagas

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.machine import Node

sagas = Sagas(Celery("parcels", set_as_current=False))


class Size(Enum):
    """What an Enum may look like."""

    SMALL = "small"
    LARGE = "large"


class Box(BaseModel):
    """A value with a field."""

    label: str


def is_heavy(grams: int) -> bool:
    """A predicate."""
    return grams > 1000


def size_of(grams: int) -> Literal["small", "large"]:
    """A router of a few labels."""
    return "small" if grams < 1000 else "large"


def kind_of(grams: int) -> Size:
    """A router with an Enum."""
    return Size(size_of(grams))


def word_for(grams: int) -> str:
    """A router of any text."""
    return str(grams)


def untyped(grams):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 -- on purpose
    """Does not say what it returns."""
    return grams


def number_of(grams: int) -> int:
    """A router of none of these."""
    return grams


@sagas.step
def weigh(grams: int) -> int:
    """A step."""
    return grams


@sagas.step
def box(grams: int) -> Box:
    """A step that makes something."""
    return Box(label=str(grams))


@sagas.step
def tape(label: str) -> str:
    """A step that needs something."""
    return label


@sagas.step
def paint(grams: int) -> bool:
    """A step that can be undone, so it is no predicate."""
    return bool(grams)


@paint.compensation
def unpaint(grams: int) -> None:
    """Undo it."""


def nodes(build: Callable[[Flow, int], Any], **options: Any) -> dict[str, Node]:
    """The nodes of a saga by name."""

    def parcel(flow: Flow, grams: int) -> None:
        build(flow, grams)

    name = f"parcel-{len(sagas.defined)}"
    return dict(sagas.saga(name=name, **options)(parcel).planned.plan.by_name)


def guards(found: dict[str, Node], name: str) -> list[str]:
    """What a step depends on, in short."""
    return [
        f"{guard.step} {'not ' if guard.but else ''}{'|'.join(guard.among)}"
        for guard in found[name].guards
    ]


def test_a_predicate_is_a_step_of_its_own_name() -> None:
    """Tried again like one, with nothing to undo; what is inside waits for it."""

    def build(flow: Flow, grams: int) -> None:
        with flow.when(is_heavy, grams):
            flow.step(weigh, grams)
        with flow.otherwise():
            flow.step(weigh, grams)
        flow.step(weigh, grams)

    found = nodes(build)
    assert found["is_heavy"].task == f"{__name__}.is_heavy"
    assert found["is_heavy"].undo is None
    assert found["is_heavy"].choice is not None
    assert (guards(found, "weigh"), guards(found, "weigh-2")) == (
        ["is_heavy true"],
        ["is_heavy false"],
    )
    assert found["weigh"].after == found["weigh-2"].after == ("is_heavy",)
    assert found["weigh-3"].after == ("weigh", "weigh-2")
    assert not found["weigh-3"].guards


@pytest.mark.parametrize("router", [size_of, kind_of])
def test_cases_stand_beside_each_other(router: Any) -> None:
    """Written one after the other, they are alternatives; what follows waits for all."""

    def build(flow: Flow, grams: int) -> None:
        route = flow.choose(router, grams)
        with route.case("small" if router is size_of else Size.SMALL):
            flow.step(weigh, grams)
            flow.step(weigh, grams)
        with route.case("large" if router is size_of else Size.LARGE):
            pass
        flow.step(box, grams)

    found = nodes(build)
    name = router.__name__
    assert found[name].choice == found[name].choice.model_copy(  # type: ignore[union-attr]
        update={"labels": ("small", "large"), "default": False}
    )
    assert (guards(found, "weigh"), found["box"].after) == ([f"{name} small"], ("weigh-2",))


def test_a_default_takes_the_rest() -> None:
    """It comes last, and several labels may share a case."""

    def build(flow: Flow, grams: int) -> None:
        route = flow.choose(word_for, grams)
        with route.case("one", "two"):
            flow.step(weigh, grams)
        with route.default():
            flow.step(box, grams)

    found = nodes(build)
    assert guards(found, "box") == ["word_for not one|two"]
    assert found["word_for"].choice is not None
    assert found["word_for"].choice.default


def test_conditions_inside_conditions_and_beside_branches() -> None:
    """All that is around a step has to hold; a condition in a parallel block is a branch."""

    def build(flow: Flow, grams: int) -> None:
        with flow.parallel():
            with flow.when(is_heavy, grams):
                with flow.when(is_heavy, grams):
                    flow.step(weigh, grams)
                with flow.otherwise():
                    flow.step(box, grams)
            with flow.otherwise():
                flow.step(tape, "no")
            flow.options(name="beside").step(weigh, grams)
        flow.options(name="last").step(weigh, grams)

    found = nodes(build)
    assert guards(found, "weigh") == ["is_heavy true", "is_heavy-2 true"]
    assert guards(found, "box") == ["is_heavy true", "is_heavy-2 false"]
    assert found["tape"].after == ("is_heavy",)
    assert found["beside"].after == ()
    assert found["last"].after == ("weigh", "box", "tape", "beside")


def test_in_a_graph_a_condition_waits_for_what_it_asks_about() -> None:
    """And for nothing else."""

    def build(flow: Flow, grams: int) -> None:
        with flow.graph():
            first = flow.step(weigh, grams)
            flow.options(name="beside").step(weigh, grams)
            with flow.when(is_heavy, first):
                flow.step(box, grams)

    found = nodes(build)
    assert (found["is_heavy"].after, found["box"].after) == (("weigh",), ("is_heavy",))


def test_a_value_leaves_its_condition_through_either() -> None:
    """The first that exists, also a field of it; a constant may come last."""

    def build(flow: Flow, grams: int) -> None:
        with flow.when(is_heavy, grams):
            heavy = flow.step(box, grams)
            flow.step(tape, heavy.label)
        with flow.otherwise():
            light = flow.step(box, grams)
        both = flow.either(heavy, light)
        flow.step(tape, both.label)
        flow.step(tape, flow.either(light.label, "none"))

    found = nodes(build)
    assert found["tape-2"].args["label"].model_dump(exclude_defaults=True) == {
        "first": ({"step": "box"}, {"step": "box-2"}),
        "path": ("label",),
    }
    assert found["tape-3"].args["label"].model_dump(exclude_defaults=True) == {
        "first": ({"step": "box-2", "path": ("label",)}, {"value": "none"}),
    }


def test_what_covers_every_way_needs_no_more() -> None:
    """All cases of a router, some of them split further."""

    def build(flow: Flow, grams: int) -> None:
        route = flow.choose(size_of, grams)
        with route.case("small"):
            a = flow.step(box, grams)
        with route.case("large"):
            with flow.when(is_heavy, grams):
                b = flow.step(box, grams)
            with flow.otherwise():
                c = flow.step(box, grams)
            flow.step(tape, flow.either(b, c).label)
        flow.step(tape, flow.either(a, b, c).label)

    assert "tape-2" in nodes(build)


def test_one_function_is_one_task_in_all_sagas() -> None:
    """It can decide in many."""
    for _ in range(2):

        def build(flow: Flow, grams: int) -> None:
            with flow.when(is_heavy, grams):
                flow.step(weigh, grams)

        assert nodes(build)["is_heavy"].task == f"{__name__}.is_heavy"


def test_a_pivot_in_one_case_has_nothing_beside_it_in_the_other() -> None:
    """Only one of them is done."""

    @sagas.step(name="parcels.seal", pivot=True)
    def seal(grams: int) -> None:
        """No way back."""

    def build(flow: Flow, grams: int) -> None:
        with flow.when(is_heavy, grams):
            flow.step(seal, grams)
        with flow.otherwise():
            flow.step(weigh, grams)

    assert nodes(build)["seal"].pivot


# --- mistakes ----------------------------------------------------------------------------------


def _leaves(flow: Flow, grams: int) -> None:
    with flow.when(is_heavy, grams):
        made = flow.step(box, grams)
    flow.step(tape, made.label)


def _one_of_two(flow: Flow, grams: int) -> None:
    with flow.when(is_heavy, grams):
        made = flow.step(box, grams)
    other = flow.choose(size_of, grams)
    with other.case("small"):
        more = flow.step(box, grams)
    with other.case("large"):
        pass
    flow.step(tape, flow.either(made, more).label)


def _otherwise_late(flow: Flow, grams: int) -> None:
    with flow.when(is_heavy, grams):
        pass
    flow.step(weigh, grams)
    with flow.otherwise():
        pass


def _otherwise_twice(flow: Flow, grams: int) -> None:
    with flow.when(is_heavy, grams):
        pass
    with flow.otherwise():
        pass
    with flow.otherwise():
        pass


def _cases(*labels: Any, default: int = 0, router: Any = size_of) -> Callable[[Flow, int], None]:
    def build(flow: Flow, grams: int) -> None:
        route: Any = flow.choose(router, grams)
        for each in labels:
            with route.case(each):
                pass
        for _ in range(default):
            with route.default():
                pass

    return build


def _inside(flow: Flow, grams: int) -> None:
    route = flow.choose(word_for, grams)
    with route.case("one"), route.case("two"):
        flow.step(weigh, grams)


def _after_default(flow: Flow, grams: int) -> None:
    route = flow.choose(word_for, grams)
    with route.default():
        pass
    with route.case("one"):
        pass


def _either(*values: Any) -> Callable[[Flow, int], Any]:
    return lambda flow, grams: flow.either(*(grams if each is ... else each for each in values))


MISTAKES: dict[str, tuple[Callable[[Flow, int], Any], str]] = {
    "a value leaves": (_leaves, r"step 'tape', parameter 'label': the result of box is made ins"),
    "none may exist": (_one_of_two, r"none of box, box-2 may be there: add another value"),
    "otherwise too late": (_otherwise_late, r"otherwise\(\) belongs directly behind"),
    "otherwise twice": (_otherwise_twice, r"otherwise\(\) belongs directly behind"),
    "a case is missing": (_cases("small"), r"step 'size_of': may answer 'large', for which"),
    "a case is impossible": (_cases("small", "huge"), r"never answers 'huge', only 'small', 'la"),
    "a case in another": (_inside, r"step 'word_for': has a case inside of another case of it"),
    "a case twice": (_cases("small", "small"), r"has two cases for 'small'"),
    "a case for no text": (_cases(3), r"a case is for a label, text or a member"),
    "a default for nothing": (_cases("small", "large", default=1), r"nothing left for a default"),
    "two defaults": (_cases("small", default=2), r"has two defaults"),
    "a case after the default": (_after_default, r"has a default already, which comes last"),
    "no case": (_cases(router=word_for), r"is a router without a case"),
    "a router of numbers": (_cases("1", router=number_of), r"returns int, and a router returns"),
    "a router that does not say": (_cases("1", router=untyped), r"a router returns str, a Lit"),
    "a predicate of numbers": (
        lambda flow, grams: flow.when(number_of, grams),  # type: ignore[call-overload]
        r"step 'number_of': returns int, and a predicate returns bool",
    ),
    "a predicate with an undo": (lambda flow, grams: flow.when(paint, grams), r"so it only looks"),
    "a predicate without a name": (lambda flow, _: flow.when(lambda: True), r"is a lambda"),
    "a predicate with wrong arguments": (
        lambda flow, _: flow.when(is_heavy, "much"),  # type: ignore[call-overload]
        r"step 'is_heavy', parameter 'grams': ",
    ),
    "a condition nobody enters": (
        lambda flow, grams: flow.when(is_heavy, grams),
        r"flow\.when\(\) does nothing by itself",
    ),
    "either of one": (_either(...), r"flow\.either: takes results of steps"),
    "either behind a constant": (_either(..., 3, ...), r"3 always exists, so what follows"),
}


@pytest.mark.parametrize(("build", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_an_error_when_the_saga_is_defined(
    build: Callable[[Flow, int], Any], says: str
) -> None:
    """It names the saga and the step, and says what to write instead."""
    with pytest.raises(DefinitionError, match=says) as caught:
        nodes(build)
    assert caught.value.saga is not None


def test_a_result_that_may_not_be_there_is_none() -> None:
    """The saga's own result leaves its condition like any other value."""

    def parcel(flow: Flow, grams: int) -> Box:
        with flow.when(is_heavy, grams):
            made = flow.step(box, grams)
        return made  # noqa: RET504 -- as an author would write it

    with pytest.raises(DefinitionError, match="its result the result of box is made inside"):
        sagas.saga(parcel)
