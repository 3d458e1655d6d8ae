"""A plan is written as a file that is read as the same plan."""

from __future__ import annotations

import importlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from celeriac import Flow, Saga, Sagas
from celeriac.app.named import Named
from celeriac.definitions import plan_file
from celeriac.definitions.emitting import emitted
from celeriac.definitions.problems import Problems
from celeriac.definitions.spelling import spelled_constant
from celeriac.definitions.templates import Reference, parts_of, written
from celeriac.definitions.trees import read_tree
from celeriac.definitions.values import Values
from tests.definitions.shop import Order, charge, is_big, reserve, sagas

if TYPE_CHECKING:
    from celeriac.authoring import Planned
    from tests.definitions.conftest import Read

#: Where sagas of these tests and of the examples are at home.
HOMES = (
    *("tests.definitions.shop", "tests.terminal.shop", "tests.testing.sagas", "tests.testing.shop"),
    *("tests.testing.example_mistakes", "tests.testing.test_answers", "tests.web.shop"),
    *(
        "tests.testing.test_branches",
        "tests.testing.test_children",
        "tests.testing.test_conditions",
        "tests.testing.test_combinations",
        "tests.testing.test_groups",
        "tests.testing.test_maps",
    ),
    *("tests.testing.test_two_phase", "tests.testing.test_waits", "workflows.fulfilment"),
    *("workflows.order", "workflows.payment", "workflows.trip", "bench.app"),
)


def again(saga: Saga[Any, Any]) -> Planned:
    """What is read of the file that a saga is written as."""
    owner = saga._sagas
    its = owner._definitions
    known = (its._steps, its._adopted_undos, its.signals, its._acting)
    others = {name: each for name, each in its._planned.items() if name != saga.name}
    world = Named(its._recruits, *known, others, owner.runtime.rules, adopts=True)
    return plan_file(saga.as_yaml(), f"{saga.name}.yaml", world)


@pytest.mark.parametrize("home", HOMES)
def test_every_plan_comes_back(home: str) -> None:
    """Node by node, with its fingerprint: conditions, maps, scopes, two phases, waits and all."""
    found = importlib.import_module(home)
    several = {each for each in vars(found).values() if isinstance(each, Saga)}
    for each in list(vars(found).values()):
        several |= set(each.defined.values()) if isinstance(each, Sagas) else set()
    assert several
    for saga in several:
        plan, read = saga.planned.plan, again(saga).plan
        assert read == plan, saga.as_yaml()
        assert read.fingerprint == plan.fingerprint


def test_a_file_comes_back(read: Read) -> None:
    """Also what only files can say: texts with values inside."""
    steps = """
a: {task: post.mail, args: ["${vars.x} of $${y}", "n: ${vars.n}"], kwargs: {to: ["${vars.o.p[0]}"]}}
"""
    steps = steps.replace(", kwargs: {to:", ", kwargs: {cc:")
    saga = read(steps, vars="{x: a, n: 3, o: {type: object}}", version="3", deadline="90s")
    assert again(saga).plan == saga.planned.plan
    assert again(saga).shape.parameters == saga.planned.shape.parameters


def test_how_it_looks() -> None:
    """Short: what follows from a task, or from what a step uses, is left out."""
    own = Sagas(Celery("written", broker="memory://", set_as_current=False))

    @own.step(name="shop.reserve", timeout="5s")
    def reserve(order: str) -> str:
        return order

    @reserve.compensation(name="shop.release")
    def release(order: str) -> None:
        del order

    @own.saga(name="order", deadline="10m")
    def place(flow: Flow, order: str, country: str = "NO") -> str:
        flow.step(reserve, country)
        return flow.options(timeout="1m").step(reserve, order)

    assert place.as_yaml() == (
        "saga: order\n"
        "deadline: 10m\n"
        "vars:\n"
        "  order: {type: string}\n"
        "  country: {type: string, default: NO}\n"
        "steps:\n"
        "  reserve:\n"
        "    task: shop.reserve\n"
        '    kwargs: {order: "${vars.country}"}\n'
        "    compensate: shop.release\n"
        "  reserve-2:\n"
        "    task: shop.reserve\n"
        '    kwargs: {order: "${vars.order}"}\n'
        "    timeout: 1m\n"
        "    compensate: shop.release\n"
        "    depends_on: [reserve]\n"
        'result: "${steps.reserve-2.output}"\n'
    )


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(
        ["${vars.a}", "$${", "$either", "NO", "1.10", "null", "", "- a", "a: b", "#"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.just("$either"), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=PLAIN)
def test_every_constant_comes_back(value: Any) -> None:
    """Whatever JSON can hold: no text of it is taken for a number, an expression or YAML."""
    problems = Problems("a.yaml")
    tree = read_tree(emitted({"value": spelled_constant(value)}), problems)
    assert tree is not None
    assert len(problems) == 0
    nothing: Any = None
    found = Values(nothing, problems, nothing).of(tree.entries["value"], Any, nothing)  # type: ignore[union-attr]
    assert found == value
    assert type(found) is type(value)


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)
PATHS = st.lists(
    NAMES | st.integers(0, 99) | st.text('a.b[]" -', min_size=1, max_size=5), max_size=3
)
REFERENCES = st.builds(
    lambda kind, name, path: Reference(kind, name, tuple(path) if kind != "secrets" else ()),
    st.sampled_from(["vars", "steps", "secrets"]),
    NAMES,
    PATHS,
)


@given(parts=st.lists(st.text(max_size=6) | st.just("${") | REFERENCES, max_size=5))
def test_texts_with_expressions_come_back(parts: list[str | Reference]) -> None:
    """Constants and expressions are told apart, whatever they hold."""
    joined: list[str | Reference] = []
    for each in parts:
        if isinstance(each, str) and joined and isinstance(joined[-1], str):
            joined[-1] += each
        elif each != "":
            joined.append(each)
    assert parts_of(written(joined)) == joined


def test_a_condition_that_is_asked_inside_of_two_phases() -> None:
    """What is decided inside of a block is no condition of the block."""
    own = Sagas(Celery("phases", broker="memory://", set_as_current=False))

    @own.step
    def hold(amount: int) -> str:
        return str(amount)

    @hold.confirm
    def take(result: str) -> None:
        del result

    @own.step
    def far(amount: int) -> bool:
        return amount > 1

    @own.saga
    def inside(flow: Flow, amount: int) -> None:
        with flow.two_phase(), flow.when(far, amount):
            flow.step(hold, amount)

    @own.saga
    def outside(flow: Flow, amount: int) -> None:
        with flow.when(far, amount), flow.two_phase():
            flow.step(hold, amount)

    for saga in (inside, outside):
        assert again(saga).plan == saga.planned.plan, saga.as_yaml()


def test_one_undo_of_several_steps() -> None:
    """A scope, with a question and a branch inside, comes back."""

    def trip(flow: Flow, order: Order) -> None:
        with flow.undone_by(charge, Decimal(5)), flow.parallel():
            flow.step(reserve, order)
            with flow.sequence(), flow.when(is_big, order.quantity):
                flow.step(charge, Decimal(7))

    made = sagas.saga(name="scoped")(trip)
    assert again(made).plan == made.planned.plan, made.as_yaml()
