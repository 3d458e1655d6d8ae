"""`saga start`: what is accepted, what is refused, and what is said of it."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.terminal import driven_runs, shop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.terminal.conftest import Cli

PEN = '{"sku": "pen", "quantity": 3}'


def inputs(run_id: str) -> dict[str, str]:
    """What a run was started with, as it is stored."""
    found = shop.sagas.runtime.engine.store.read(
        run_id, ("in:order", "in:source", "in:amount", "in:note")
    )
    return dict(found.fields)


def test_a_run_is_started_with_the_value_of_its_one_input(cli: Cli) -> None:
    """With one parameter, the JSON is its value, completed and checked by its type."""
    ended = cli("start", "place_order", "--input", '{"sku": "pen"}', "--id", "o-1")
    assert (ended.code, ended.lines) == (0, ["o-1: accepted", "o-1: running"])
    assert json.loads(inputs("o-1")["in:order"]) == {"sku": "pen", "quantity": 1}


def test_several_inputs_are_given_by_name(cli: Cli) -> None:
    """With several parameters, the JSON is an object, and defaults are filled in."""
    text = '{"amount": 5, "source": "a", "target": "b"}'
    assert cli("start", "transfer", "--input", text, "--id", "t-1").code == 0
    assert inputs("t-1") == {"in:source": '"a"', "in:amount": "5", "in:note": '"none"'}


def test_who_started_it_is_kept(cli: Cli) -> None:
    """As with each command: whoever is logged in, or is named."""
    assert cli("start", "ping", "--id", "p-1", "--by", "ada").code == 0
    assert cli("start", "ping", "--id", "p-1", "--by", "eve").code == 0  # joined
    shown = cli("show", "p-1")
    assert ", by ada" in shown.out


@pytest.mark.parametrize("words", [(), ("--input", "{}")])
def test_a_saga_without_inputs_needs_none(cli: Cli, words: tuple[str, ...]) -> None:
    """Nothing has to be given to a saga that takes nothing."""
    assert cli("start", "ping", "--id", "p-1", *words).code == 0


def test_the_input_may_be_in_a_file(cli: Cli, tmp_path: Path) -> None:
    """`@file` names a file with the JSON, also one with a byte order mark."""
    file = tmp_path / "order.json"
    file.write_text(PEN, encoding="utf-8-sig")
    assert cli("start", "place_order", "--input", f"@{file}", "--id", "o-1").code == 0
    assert json.loads(inputs("o-1")["in:order"])["quantity"] == 3


def test_the_input_may_come_through_a_pipe(cli: Cli) -> None:
    """`-` reads the JSON from stdin."""
    assert cli("start", "place_order", "--input", "-", "--id", "o-1", stdin=PEN).code == 0
    assert json.loads(inputs("o-1")["in:order"])["quantity"] == 3


def test_an_id_is_made_and_printed(cli: Cli) -> None:
    """Without an id, the run gets a UUID, which is all that `-o ids` prints."""
    ended = cli("start", "ping", "-o", "ids")
    assert uuid.UUID(ended.out.strip()).version == 7
    assert cli("show", ended.out.strip()).code == 0


def test_the_state_is_printed_as_json(cli: Cli) -> None:
    """`-o json` prints the run that was started."""
    ended = cli("start", "ping", "--id", "p-1", "--tag", "shop=3", "--tag", "vip=", "-o", "json")
    document = json.loads(ended.out)
    assert (document["id"], document["status"]) == ("p-1", "running")
    assert document["tags"] == {"shop": "3", "vip": ""}


@pytest.mark.parametrize(
    ("saga", "text", "complaint"),
    [
        ("place_order", "{sku}", "Invalid JSON"),
        (
            "place_order",
            '{"sku": "pen", "quantity": 0}',
            "quantity: Input should be greater than 0",
        ),
        ("place_order", '["pen"]', "does not validate"),
        ("place_order", None, "needs it, and it is missing"),
        ("transfer", "{source}", "is not valid JSON"),
        (
            "transfer",
            '["a", "b", 5]',
            "one JSON object, by parameter: source, target, amount, note",
        ),
        ("transfer", '{"source": "a", "target": "b", "amount": "much"}', "argument 'amount'"),
        ("transfer", '{"source": "a", "target": "b"}', "parameter 'amount'"),
        ("transfer", '{"source": "a", "target": "b", "amount": 5, "to": 1}', "parameter 'to'"),
        ("transfer", "[" * 100_000, "is not valid JSON"),
        ("ping", '{"sku": 1}', "parameter 'sku'"),
        ("place_order", json.dumps({"sku": "x" * 300_000}), "over the limit"),
    ],
)
def test_a_bad_input_is_refused(cli: Cli, saga: str, text: str | None, complaint: str) -> None:
    """What does not fit the saga is wrong usage: the error says where, and nothing is written."""
    ended = cli("start", saga, *(() if text is None else ("--input", text)))
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err
    assert len(ended.err.splitlines()) == 1
    assert cli("list", "-o", "ids").out == ""


@pytest.mark.parametrize(
    "words",
    [
        ("--input", "@/no/such/file"),
        ("--id", "x" * 201),
        ("--id", "tab\there"),
        ("--tag", "lonely"),
        ("--tag", "=value"),
        ("--tag", "a=1", "--tag", "a=2"),
        ("--if-exists", "overwrite"),
        ("--timeout", "3"),
        ("--wait", "--timeout", "-1"),
    ],
)
def test_wrong_words_are_refused(cli: Cli, words: tuple[str, ...]) -> None:
    """A command line that makes no sense ends with 2, and starts nothing."""
    ended = cli("start", "ping", *words)
    assert (ended.code, ended.out) == (2, "")
    assert cli("list", "-o", "ids").out == ""


def test_a_file_that_is_no_text_is_refused(cli: Cli, tmp_path: Path) -> None:
    """A file that cannot be read as text is wrong usage, like one that is not there."""
    file = tmp_path / "order.bin"
    file.write_bytes(b"\xff\xfe\xff")
    ended = cli("start", "place_order", "--input", f"@{file}")
    assert ended.code == 2
    assert "cannot be read" in ended.err


def test_an_unknown_saga_is_not_found(cli: Cli) -> None:
    """The error names the sagas there are, and the one that was probably meant."""
    ended = cli("start", "place_ordr")
    assert ended.code == 3
    assert "did you mean place_order?" in ended.err
    assert "ping, place_order, publish, transfer" in ended.err


def test_the_same_start_again_joins(cli: Cli) -> None:
    """Starting is repeatable: the same id and input are the same run."""
    words = ("start", "place_order", "--input", PEN, "--id", "o-1")
    assert [cli(*words).code, cli(*words).code] == [0, 0]
    assert cli("list", "-o", "ids").lines == ["o-1"]
    assert cli(*words).lines[0] == "o-1: joined, since it was there"


def test_another_input_under_the_same_id_is_a_conflict(cli: Cli) -> None:
    """An id stands for one input; the run that exists is left alone."""
    assert cli("start", "place_order", "--input", PEN, "--id", "o-1").code == 0
    ended = cli("start", "place_order", "--input", '{"sku": "ink"}', "--id", "o-1")
    assert (ended.code, ended.out) == (4, "")
    assert "another input" in ended.err
    assert json.loads(inputs("o-1")["in:order"])["sku"] == "pen"


def test_an_id_may_be_asked_to_be_new(cli: Cli) -> None:
    """`--if-exists fail` refuses an id that is taken."""
    words = ("start", "ping", "--id", "p-1", "--if-exists", "fail")
    assert [cli(*words).code, cli(*words).code] == [0, 4]


def test_a_run_that_has_ended_may_be_started_anew(cli: Cli) -> None:
    """`--if-exists restart` waits for the end of the old run, then begins again."""
    words = ("start", "place_order", "--input", PEN, "--id", "o-1", "--if-exists", "restart")
    assert cli(*words).code == 0
    assert cli(*words).code == 4
    driven_runs.do("o-1", "reserve", "charge")
    assert cli(*words).lines[-1] == "o-1: running"


@pytest.mark.parametrize(
    ("bring", "code", "status"),
    [
        (driven_runs.completed, 0, "completed"),
        (driven_runs.compensated, 10, "compensated"),
        (driven_runs.failed, 11, "failed"),
    ],
)
def test_waiting_tells_how_the_run_ended(cli: Cli, bring: object, code: int, status: str) -> None:
    """With `--wait`, the exit code is the outcome."""
    assert callable(bring)
    bring("o-1")
    ended = cli("start", "place_order", "--input", '{"sku": "pen"}', "--id", "o-1", "--wait")
    assert ended.code == code
    assert ended.lines[-1].startswith(f"o-1: {status}")


def test_waiting_for_a_terminated_run(cli: Cli) -> None:
    """A run that was abandoned is an outcome of its own."""
    shop.ping.start(id="p-1").terminate("a test")
    assert cli("start", "ping", "--id", "p-1", "--wait").code == 13


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "ids"])
def test_waiting_ends_when_patience_does(cli: Cli, form: str) -> None:
    """A run that has not ended in time is no outcome: its id is printed, and it goes on."""
    ended = cli("start", "ping", "--id", "p-1", "--wait", "--timeout", "0.1", "-o", form)
    assert ended.code == 1
    assert "p-1" in ended.out
    assert "goes on by itself" in ended.err
    assert shop.sagas.run("p-1").status == "running"
