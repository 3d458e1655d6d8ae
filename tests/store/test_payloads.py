"""Where payloads are kept, and how the arguments of an attempt are put together from them.

Owns: expressions over recorded values, what is read for an attempt, sizes and digests.  Refuses to
know: types, and who records what.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import OutputInvalid, PayloadTooLarge
from celeriac.failure import Failure
from celeriac.machine.expressions import Constant, DictOf, Expression, FromInput, FromStep, ListOf
from celeriac.machine.plans import Node, Plan, Undo
from celeriac.machine.runs import Run, RunStatus
from celeriac.store.payloads import (
    CAUSE,
    RESULT,
    arguments,
    checked,
    digest,
    load_failure,
    resolve,
    result_fields,
    result_of,
    wanted,
)
from tests.machine.story import started

RUN = started("reserve").run  # it matters where a value may be one of several
FIELDS = {
    "in:order": json.dumps({"id": "order-42", "lines": [{"sku": "A"}, {"sku": "B"}], "note": None}),
    "out:reserve": json.dumps({"hold": "hold-1", "amount": 12345678901234567890, "rate": 0.1}),
    "out:notify": "null",
}
ORDER, HOLD = FromInput(input="order"), FromStep(step="reserve")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (ORDER, {"id": "order-42", "lines": [{"sku": "A"}, {"sku": "B"}], "note": None}),
        (FromInput(input="order", path=("id",)), "order-42"),
        (FromInput(input="order", path=("lines", 1, "sku")), "B"),
        (FromInput(input="order", path=("lines", -1, "sku")), "B"),
        (FromInput(input="order", path=("note",)), None),
        (FromStep(step="reserve", path=("amount",)), 12345678901234567890),
        (FromStep(step="notify"), None),
        (FromStep(step="never ran"), None),
        (Constant(value={"a": [1, "é", None, True]}), {"a": [1, "é", None, True]}),
        (ListOf(items=()), []),
        (ListOf(items=(Constant(value=1), HOLD)), [1, json.loads(FIELDS["out:reserve"])]),
        (DictOf(entries={}), {}),
        (
            DictOf(entries={'"quoted"': FromStep(step="reserve", path=("hold",))}),
            {'"quoted"': "hold-1"},
        ),
        (
            DictOf(entries={"all": ListOf(items=(DictOf(entries={"n": Constant(value=0)}),))}),
            {"all": [{"n": 0}]},
        ),
    ],
)
def test_an_expression_takes_its_value_from_the_record(expression: Expression, value: Any) -> None:
    """Inputs, results, constants, and lists and mappings of them, as deep as they go."""
    assert json.loads(resolve(expression, FIELDS, RUN)) == value


@given(json_values)
def test_a_recorded_value_is_passed_on_as_it_is(value: Any) -> None:
    """Whatever JSON can hold comes through, whole, inside others, and by a path (I15)."""
    fields = {"out:reserve": json.dumps(value), "in:order": json.dumps({"deep": [value]})}
    deep = FromInput(input="order", path=("deep", 0))
    both = ListOf(items=(HOLD, deep, Constant(value=value), DictOf(entries={"k": HOLD})))
    assert resolve(HOLD, fields, RUN) == fields["out:reserve"]
    assert json.loads(resolve(both, fields, RUN)) == [value, value, value, {"k": value}]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (("missing",), "missing"),
        (("lines", 2), "lines.2"),
        (("lines", "sku"), "lines.sku"),
        (("id", 0), "id.0"),
        (("id", "length"), "id.length"),
        (("note", "text"), "note.text"),
        (("lines", 0, "sku", "size"), "lines.0.sku.size"),
    ],
)
def test_a_path_that_leads_nowhere_names_itself(path: tuple[str | int, ...], shown: str) -> None:
    """A value that was recorded by an older version of a step is a clear error, not a crash."""
    with pytest.raises(OutputInvalid, match=f"there is no '{shown}' in the recorded value"):
        resolve(FromInput(input="order", path=path), FIELDS, RUN)


def node(**values: Any) -> Node:
    """A step with arguments from everywhere, and an undo that asks for *wants*."""
    known: dict[str, Any] = {
        "name": "charge",
        "task": "shop.charge",
        "args": {"order": ORDER, "hold": HOLD, "limit": Constant(value=5)},
        "undo": Undo(task="shop.refund", wants=values.pop("wants", ())),
    }
    return Node(**{**known, **values})


def test_an_attempt_reads_what_it_needs_and_no_more() -> None:
    """The fields of its arguments, and what its last attempt left in a heartbeat."""
    assert wanted(node(), "do") == ("beat:charge", "in:order", "out:reserve")


def test_a_compensation_reads_what_it_asks_for() -> None:
    """Parameters it does not name are not read, nor sent to it."""
    assert wanted(node(), "undo") == ("ubeat:charge",)
    assert arguments(node(), "undo", FIELDS, RUN) == {}

    asking = node(wants=("order", "result", "error"))
    assert wanted(asking, "undo") == ("ubeat:charge", "in:order", "out:charge", CAUSE)
    fields = {**FIELDS, "out:charge": '"p-1"', CAUSE: '{"type":"X"}'}
    assert arguments(asking, "undo", fields, RUN) == {
        "order": FIELDS["in:order"],
        "result": '"p-1"',
        "error": '{"type":"X"}',
    }


def test_a_compensation_without_result_and_error_gets_null() -> None:
    """An unknown outcome has no result, and a cancelled run no error."""
    asking = node(wants=("result", "error"))
    assert arguments(asking, "undo", FIELDS, RUN) == {"result": "null", "error": "null"}


@pytest.mark.parametrize("name", ["result", "error"])
def test_a_forward_parameter_comes_before_a_word_of_ours(name: str) -> None:
    """A step may have a parameter called `error` or `result`; its undo gets that one."""
    asking = node(args={name: HOLD}, wants=(name,))
    fields = {**FIELDS, "out:charge": '"of charge"', CAUSE: '"the cause"'}
    assert arguments(asking, "undo", fields, RUN) == {name: FIELDS["out:reserve"]}
    assert "out:reserve" in wanted(asking, "undo")


def test_the_result_of_a_run_needs_its_fields_once() -> None:
    """A result that is made of several steps is read in one go."""
    result = DictOf(entries={"a": HOLD, "b": ListOf(items=(HOLD, ORDER, Constant(value=1)))})
    plan = Plan(saga="s", nodes=(), result=result)
    run = Run("r", "s", "", RunStatus.RUNNING, 0, 0)
    assert result_fields(plan, run) == ("out:reserve", "in:order")
    assert result_fields(plan, replace(run, ended_by="a")) == (RESULT,)
    assert result_of(plan, replace(run, ended_by="a"), {RESULT: "7"}) == "7"


def test_a_payload_over_the_limit_is_refused_by_its_bytes() -> None:
    """Not by its letters; the message says how large it is and what to do."""
    assert checked("the input", '"ééé"', 8) == '"ééé"'
    with pytest.raises(PayloadTooLarge, match="the input is 8 bytes as JSON, over the limit of 7"):
        checked("the input", '"ééé"', 7)


def test_a_digest_tells_inputs_apart() -> None:
    """The order of keys and the way numbers are spaced make no difference; saga and values do."""
    one = digest("place_order", {"order": '{"a": 1, "b": [1, 2]}'})
    assert digest("place_order", {"order": '{"b":[1,2],"a":1}'}) == one
    assert digest("place_order", {"order": '{"b":[2,1],"a":1}'}) != one
    assert digest("other", {"order": '{"a": 1, "b": [1, 2]}'}) != one
    assert digest("place_order", {"orders": '{"a": 1, "b": [1, 2]}'}) != one


def test_a_failure_is_read_as_it_was_recorded() -> None:
    """No failure is None."""
    failure = Failure(type="Abort", message="card declined", code="declined", effect=False)
    assert load_failure(failure.model_dump_json(exclude_none=True)) == failure
    assert load_failure(None) is None
    assert load_failure("null") is None
