"""From a file to a plan: it is the plan that Python would have made, and every mistake is told."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- an annotation that is read
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from celeriac import DefinitionError, Flow, Sagas
from celeriac.authoring import plan_saga
from celeriac.machine import Constant, FromInput, FromStep, Guard, TextOf
from celeriac.testing import Lab
from tests.definitions.conftest import problems
from tests.definitions.shop import Order, approved, charge, is_big, pack, reserve, sagas, size_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.definitions.conftest import Read

HERE = "tests.definitions.shop"


def test_it_is_the_plan_of_python(read: Read) -> None:
    """Steps, conditions, maps, waits and values: the same nodes, guards and fingerprint."""

    def trip(flow: Flow, order: Order) -> list[str]:
        with flow.graph():
            hold = flow.step(reserve, order)
            with flow.when(is_big, order.quantity):
                flow.options(name="pay", timeout="30s").step(charge, Decimal("1.10"), "NO")
            route = flow.choose(size_of, order.quantity)
            with route.case("large"):
                flow.wait(approved, timeout="1d", on_timeout="continue")
            with route.default():
                flow.options(after=["pay"]).sleep("1h")
            return flow.map(pack, hold.items, size="XL", concurrency=3)

    steps = f"""
packed-up: {{task: post.mail, args: ["${{steps.pack.output}}"]}}
reserve:
  task: {HERE}.reserve
  kwargs: {{order: "${{vars.order}}"}}
  compensate: {HERE}.release
is_big: {{task: {HERE}.is_big, kwargs: {{quantity: "${{vars.order.quantity}}"}}}}
pay:
  task: {HERE}.charge
  kwargs: {{amount: 1.10, note: NO}}
  when: ${{steps.is_big.output}}
  timeout: 30s
size_of: {{task: {HERE}.size_of, kwargs: {{quantity: "${{vars.order.quantity}}"}}}}
approved:
  wait: {{signal: approved, timeout: 1d, on_timeout: continue}}
  when: {{of: "${{steps.size_of.output}}", is: large}}
sleep:
  sleep: 1h
  when: {{of: "${{steps.size_of.output}}", is_not: large}}
  depends_on: [pay]
pack:
  foreach: ${{steps.reserve.output.items}}
  concurrency: 3
  task: {HERE}.pack
  kwargs: {{size: XL}}
"""
    found = read(steps, vars="{order: {type: object}}", result="${steps.pack.output}")
    plan = found.planned.plan
    assert [node.name for node in plan.nodes][-1] == "packed-up"
    decider = sagas._definitions._decider
    other = plan_saga(trip, name="trip", define=decider).plan
    assert plan.nodes[:-1] == other.nodes
    assert plan.result == other.result


def test_a_step_waits_until_a_value_of_the_run(read: Read) -> None:
    """And another is to be taken up in its time; both as in Python, and written as they were."""

    def trip(flow: Flow, order: Order, begins: datetime) -> None:
        flow.sleep_until(begins)
        flow.options(expires="5m").step(reserve, order)

    steps = f"""
sleep: {{sleep_until: "${{vars.begins}}"}}
reserve:
  task: {HERE}.reserve
  kwargs: {{order: "${{vars.order}}"}}
  expires: 5m
  compensate: {HERE}.release
  depends_on: [sleep]
"""
    found = read(steps, vars="{order: {type: object}, begins: {type: datetime}}")
    decider = sagas._definitions._decider
    assert found.planned.plan.nodes == plan_saga(trip, name="trip", define=decider).plan.nodes
    written = found.as_yaml()
    assert 'sleep_until: "${vars.begins}"' in written
    assert "expires: 5m" in written
    text = "it: {sleep_until: '${vars.order}'}"
    ((_, _, told),) = problems(read, text, vars="{order: {type: string}}")
    assert "takes an aware datetime" in told


def test_values_keep_their_type_and_texts_are_put_together(read: Read) -> None:
    """A placeholder alone is its value; inside of a text it becomes part of the text."""
    steps = """
it:
  task: post.mail
  args: ["${vars.n}", "n=${vars.n}, ${vars.name}!"]
"""
    node = read(steps, vars="{n: 3, name: x}").planned.plan.nodes[0]
    assert node.args["to"] == FromInput(input="n")
    assert node.args["subject"] == TextOf(
        parts=(
            Constant(value="n="),
            FromInput(input="n"),
            Constant(value=", "),
            FromInput(input="name"),
            Constant(value="!"),
        )
    )


HOSTILE = '${vars.other}", "x": "\n\'; rm -rf / #{{7*7}}'


def test_a_value_stays_one_value(read: Read) -> None:
    """Quotes, newlines and `${` in a value are parts of it: it is put in after all was parsed."""
    steps = f"pay: {{task: {HERE}.charge, kwargs: {{amount: 1, note: 'a ${{vars.note}} z'}}}}"
    saga = read(steps, vars="{note: x, other: secret}", result="${steps.pay.output}")
    lab = Lab()
    run = lab.start(saga, note=HOSTILE)
    lab.run()
    assert run.result() == f"1 a {HOSTILE} z"


def test_all_mistakes_are_told(read: Read) -> None:
    """Not only the first: each with its line and column, in the order of the file."""
    steps = f"""
one: {{task: {HERE}.reserv, kwargs: {{order: "${{vars.ordr}}"}}}}
two:
  task: {HERE}.charge
  kwargs: {{amount: much, nota: x}}
  timeout: soon
  retry: {{max_attempts: 0, backof: none}}
  depends_on: [on]
three: {{task: {HERE}.pack, kwargs: {{item: "${{steps.two.output.x}}"}}, retires: 3}}
four: {{task: {HERE}.pack, kwargs: {{item: "${{steps.five.output}}"}}}}
five: {{task: {HERE}.pack, kwargs: {{item: "${{steps.four.output}}"}}}}
six: {{}}
seven: {{task: {HERE}.pack, when: "${{vars.order}} == 3"}}
eight: {{task: {HERE}.release}}
"""
    found = problems(read, steps, vars="{order: x}", deadlin="1d", result="${steps.nine.output}")
    places = [(line, column) for line, column, _ in found]
    assert places == sorted(places)
    said = "\n".join(f"{line}: {text}" for line, _, text in found)
    for words in (
        "3: 'deadlin' is no field of a definition: did you mean deadline?",
        "4: there is no step 'nine'",
        f"6: there is no task '{HERE}.reserv' in this app: did you mean {HERE}.reserve?",
        "6: there is no variable 'ordr'",
        "9: should be Decimal, not much",
        "9: step 'two', parameter 'nota'",
        "10: timeout is a duration, such as 30s, 10m or 2d, not 'soon'",
        "11: max_attempts is a whole number from 1",
        "11: 'backof' is no field of retry: did you mean backoff?",
        "12: there is no step 'on'",
        "13: 'retires' is no field of the step three",
        "14: steps wait for one another: four -> five -> four",
        "16: six: a step has one of task",
        "17: a condition asks a step that returns a bool",
        "17: step 'seven', parameter 'item'",
        "18: tests.definitions.shop.release is a compensation",
    ):
        assert words in said, words


UNASKED = """
a: {task: post.mail, args: [x], when: "${steps.b.output}"}
b: {task: post.mail, args: [x]}
"""
LEFT = f"""
b: {{task: {HERE}.is_big, kwargs: {{quantity: 1}}}}
a: {{task: {HERE}.pack, kwargs: {{item: x}}, when: "${{steps.b.output}}"}}
c: {{task: {HERE}.pack, kwargs: {{item: "${{steps.a.output}}"}}}}
"""
NO_CASE = f"""
b: {{task: {HERE}.size_of, kwargs: {{quantity: 1}}}}
a: {{task: post.mail, args: [x], when: {{of: "${{steps.b.output}}", is: small}}}}
"""
UNLIKE = f"a: {{task: post.mail, args: [x], compensate: {HERE}.refund}}"


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (UNASKED, "a predicate returns bool"),
        (LEFT, "made inside of a condition and leaves it"),
        (NO_CASE, "may answer 'large', for which there is neither case nor default"),
        (UNLIKE, "an existing Celery task by an existing Celery task"),
        (
            f"a: {{task: {HERE}.charge, kwargs: {{amount: 1}}, compensate: {HERE}.pack}}",
            "asks for a value that does not exist",
        ),
        ("a: {wait: nobody}", "there is no signal 'nobody'"),
        ("a: {task: post.mail, args: ['${secrets.KEY}']}", "only actions"),
        ("a: {task: post.mail, foreach: [1, 2]}", "of what is known here"),
        ("a: {sleep: 1h}", "has no steps"),
        ("a: {task: post.mail, depends_on: [a], args: [x]}", "a waits for itself"),
    ],
)
def test_mistakes_are_those_of_python(read: Read, steps: str, words: str) -> None:
    """What authoring refuses, a file refuses in its words."""
    assert words in "\n".join(text for _, _, text in problems(read, steps))


def test_a_compensation_may_be_named(read: Read) -> None:
    """A step undoes a step, and an existing task an existing one; each asks by name."""
    steps = f"""
pay: {{task: {HERE}.charge, kwargs: {{amount: 1}}, compensate: {HERE}.refund}}
mail: {{task: post.mail, args: [eve], compensate: post.unsend}}
"""
    pay, mail = read(steps).planned.plan.nodes
    assert pay.undo is not None
    assert (pay.undo.task, pay.undo.wants) == (f"{HERE}.refund", ("amount",))
    assert mail.undo is not None
    assert (mail.undo.task, mail.undo.wants) == ("post.unsend", ("to",))


def test_conditions_are_inherited(read: Read) -> None:
    """What depends on a question depends on what that depends on; a list says all of it."""
    steps = f"""
a: {{task: {HERE}.is_big, kwargs: {{quantity: 1}}}}
b: {{task: {HERE}.is_big, kwargs: {{quantity: 1}}, when: "${{steps.a.output}}"}}
c: {{task: post.mail, args: [x], when: "${{steps.b.output}}"}}
d: {{task: post.mail, args: [x], when: ["${{steps.b.output}}"]}}
e: {{task: post.mail, args: [x], when: {{of: "${{steps.a.output}}", is: false}}}}
"""
    yes_a, yes_b = (Guard(step=name, among=("true",)) for name in "ab")
    guards = {node.name: node.guards for node in read(steps).planned.plan.nodes}
    assert guards["c"] == (yes_a, yes_b)
    assert guards["d"] == (yes_b,)
    assert guards["e"] == (Guard(step="a", among=("false",)),)


def test_several_steps_for_each_element(read: Read) -> None:
    """`steps` of a step that has `foreach` are done for each element, under names of its own."""
    steps = f"""
ship:
  foreach: ${{vars.items}}
  as: parcel
  steps:
    label: {{task: {HERE}.pack, kwargs: {{item: "${{vars.parcel}}"}}}}
    send: {{task: {HERE}.pack, kwargs: {{item: "${{steps.label.output}}", size: L}}}}
  result: ${{steps.send.output}}
"""
    saga = read(steps, vars="{items: {type: 'list[string]'}}", result="${steps.ship.output}")
    assert [each.name for each in saga.planned.plan.all_nodes] == [
        "ship",
        "ship[].label",
        "ship[].send",
    ]
    lab = Lab()
    run = lab.start(saga, items=["a", "b"])
    lab.run()
    assert run.result() == ["a/S/L", "b/S/L"]


def test_a_run_of_a_file_in_the_lab(read: Read) -> None:
    """It runs like any other, with the defaults of its variables."""
    steps = f"""
reserve: {{task: {HERE}.reserve, kwargs: {{order: {{id: "${{vars.order}}", country: NO}}}}}}
pay: {{task: {HERE}.charge, kwargs: {{amount: 1.10, note: "${{steps.reserve.output.hold_id}}"}}}}
"""
    saga = read(steps, vars="{order: o1}", result="{paid: '${steps.pay.output}', for: NO}")
    assert saga.planned.plan.nodes[1].args["note"] == FromStep(step="reserve", path=("hold_id",))
    lab = Lab()
    run = lab.start(saga, id="run-1")
    lab.run()
    assert run.result() == {"paid": "1.10 o1@run-1", "for": "NO"}


def test_a_result_may_be_put_together(read: Read) -> None:
    """Of anything: it is plain JSON then, since nothing in a file says its type."""
    steps = f"reserve: {{task: {HERE}.reserve, kwargs: {{order: {{id: o1}}}}}}"
    saga = read(steps, result="{hold: '${steps.reserve.output}', all: ['${steps.reserve.output}']}")
    lab = Lab()
    run = lab.start(saga, id="run-1")
    held = {"hold_id": "o1@run-1", "items": ["DE"]}
    assert run.result(timeout=60) == {"hold": held, "all": [held]}


def test_a_file_is_loaded_once(tmp_path: Path) -> None:
    """A saga that is loaded is one of the app's, and its name is taken."""
    file = tmp_path / "loaded.yaml"
    file.write_text("saga: loaded_once\nsteps: {a: {task: post.mail, args: [x]}}\n")
    saga = sagas.load(file)
    assert sagas.defined["loaded_once"] is saga
    with pytest.raises(DefinitionError, match="is taken by a saga of the app's code"):
        sagas.load(file)
    assert isinstance(sagas, Sagas)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is an error like any other in a file."""
    assert "cannot be read: No such file" in str(problems(sagas.load, tmp_path / "none.yaml"))
