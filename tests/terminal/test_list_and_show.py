"""`saga list`, `show` and `history`: what there is to see, in every form."""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import RunStatus
from celeriac.terminal.cli import saga
from tests.terminal import driven_runs, shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.terminal.conftest import Cli, Ended

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"  # as people read it
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
RUN = {
    "begins_anew",
    "begins_at",
    "most_tries",
    "only_forward",
    "origin",
    "parent",
    "rewinds",
    "rewinds_to",
    "tries",
    "id",
    "hold",
    "saga",
    "version",
    "run_version",
    "status",
    "started_at",
    "started_by",
    "changed_at",
    "ended_at",
    "deadline",
    "tags",
    "why",
    "reason",
    "failed_step",
    "failure",
    "owed",
    "plan",
    "steps",
}


# --- list --------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(cli: Cli) -> None:
    """A line for each run, the newest on top."""
    driven_runs.completed("o-1")
    driven_runs.failed("o-2")
    heading, second, first = cli("list").lines
    assert heading.split() == ["ID", "SAGA", "STATUS", "STARTED", "WHY"]
    assert second.startswith("o-2  place_order  failed")
    assert second.endswith("owed: charge [declined]")
    assert first.startswith("o-1  place_order  completed")


def test_an_empty_list_says_so(cli: Cli) -> None:
    """No run is no error; stdout stays empty for whoever reads it."""
    ended = cli("list")
    assert (ended.code, ended.out) == (0, "")
    assert "No run matches" in ended.err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--status", "failed"), ["o-3"]),
        (("--status", "failed", "--status", "completed"), ["o-3", "o-1"]),
        (("--saga", "ping"), ["p-1"]),
        (("--tag", "shop=3"), ["p-1"]),
        (("--tag", "shop=3", "--tag", "vip=no"), []),
        (("--since", "1h"), ["p-1", "o-3", "o-1"]),
        (("--since", "2000-01-01"), ["p-1", "o-3", "o-1"]),
        (("--until", "1h30m"), []),
        (("--until", "2999-01-01T00:00:00+02:00", "--limit", "2"), ["p-1", "o-3"]),
    ],
)
def test_runs_are_found_by_what_they_are(
    cli: Cli, words: tuple[str, ...], found: list[str]
) -> None:
    """Filters narrow the list, and `-o ids` prints one id a line."""
    driven_runs.completed("o-1")
    driven_runs.failed("o-3")
    shop.ping.start(id="p-1", tags={"shop": "3", "vip": "yes"})
    assert cli("list", *words, "-o", "ids").lines == found


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--status", "bad"), "status must be one of running, waiting"),
        (("--limit", "0"), "1<=x<=200"),
        (("--limit", "201"), "1<=x<=200"),
        (("--limit", "many"), "not a valid integer"),
        (("--since", "yesterday"), "how long ago (30m, 2h, 7d) or an ISO time"),
        (("--until", "99999999999w"), "how long ago"),
        (("--tag", "lonely"), "name=value"),
        (("--cursor", "nonsense"), "cursor: give the one of the page before"),
        (("-o", "yaml"), "'yaml' is not one of"),
        (("--colour",), "No such option"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    cli: Cli, words: tuple[str, ...], complaint: str
) -> None:
    """A mistyped filter is wrong usage, not an empty list."""
    ended = cli("list", *words)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err


def test_help_names_every_status() -> None:
    """Whoever filters by status can read which there are."""
    (option,) = (each for each in saga.commands["list"].params if each.name == "status")
    text = str(option.to_info_dict()["help"])
    assert set(RunStatus) <= set(re.findall(r"\w+", text))


def test_a_long_list_comes_in_pages(cli: Cli) -> None:
    """Each page says where the next begins: on stderr for people, as a field in JSON."""
    for number in range(5):
        shop.ping.start(id=f"p-{number}")
    first = cli("list", "--limit", "2", "-o", "ids")
    cursor = first.err.split("--cursor ")[1].strip()
    second = json.loads(cli("list", "--limit", "2", "--cursor", cursor, "-o", "json").out)
    third = cli("list", "--limit", "2", "--cursor", second["cursor"], "-o", "ids")
    pages = [first.lines, [run["id"] for run in second["runs"]], third.lines]
    assert pages == [["p-4", "p-3"], ["p-2", "p-1"], ["p-0"]]
    assert third.err == ""
    assert json.loads(cli("list", "-o", "json").out)["cursor"] is None


def test_a_list_is_lines_of_json(cli: Cli) -> None:
    """`-o jsonl` prints a document a line, and nothing else on stdout."""
    driven_runs.completed("o-1")
    driven_runs.completed("o-2")
    ended = cli("list", "--limit", "1", "-o", "jsonl")
    (line,) = ended.lines
    assert set(json.loads(line)) == RUN
    assert "--cursor" in ended.err


def cancelled(run_id: str) -> str:
    """A run that an operator had undone."""
    driven_runs.completed(run_id)
    shop.sagas.run(run_id).cancel("out of stock", by="ada")
    driven_runs.undo(run_id, "charge", "reserve")
    return run_id


def compensating(run_id: str) -> str:
    """A run that is being undone."""
    shop.place_order.start(shop.Order(sku="pen"), id=run_id)
    driven_runs.do(run_id, "reserve")
    driven_runs.fail(run_id, "charge", effect=False)
    return run_id


def waiting(run_id: str) -> str:
    """A run whose second step waits for a worker."""
    shop.place_order.start(shop.Order(sku="pen"), id=run_id)
    driven_runs.do(run_id, "reserve")
    return run_id


@pytest.mark.parametrize(
    ("bring", "why"),
    [
        (driven_runs.failed, "owed: charge [declined]"),
        (driven_runs.stuck, "owed: notify [declined]"),
        (driven_runs.asking, "asks: mail"),
        (driven_runs.compensated, "charge [declined]"),
        (driven_runs.held, "by ada: the bank is down"),
        (driven_runs.completed, ""),
        (cancelled, "cancelled: out of stock"),
        (compensating, "charge [declined]; reserve compensating"),
        (waiting, "charge scheduled"),
    ],
)
def test_a_list_says_why(cli: Cli, bring: Any, why: str) -> None:
    """The last column names step and code; what an error says stays out of a list."""
    bring("o-1")
    ended = cli("list")
    assert re.sub(r".* ago *", "", ended.lines[1]).startswith(why)
    assert driven_runs.SECRET not in ended.out


# --- show --------------------------------------------------------------------------------------


def advised(ended: Ended) -> list[str]:
    """The commands that were shown."""
    return re.findall(r"^  (celery .*?)  ", ended.out, re.MULTILINE)


def test_a_run_is_shown_with_what_can_be_done(cli: Cli) -> None:
    """An operator reads why a run failed, what it owes, and the commands that settle it."""
    driven_runs.failed("o-1")
    ended = cli("show", "o-1")
    assert ended.lines[0] == "o-1: place_order (version 1), failed"
    assert f"why       charge failed (BankDown [declined]: {driven_runs.SECRET})" in ended.out
    assert "owed      charge" in ended.out
    assert re.search(r"^reserve +compensated +1, undo 1$", ended.out, re.MULTILINE)
    assert re.search(r"^charge +compensation_failed +1, undo 1 +BankDown", ended.out, re.MULTILINE)
    assert advised(ended) == [
        "celery -A shop saga retry o-1 charge",
        "celery -A shop saga waive --reason '...' o-1 charge",
        "celery -A shop saga terminate --reason '...' o-1",
    ]


@pytest.mark.parametrize(
    ("bring", "verbs"),
    [
        (driven_runs.completed, ["cancel"]),
        (driven_runs.stuck, ["retry", "skip", "terminate"]),
        (driven_runs.asking, ["retry", "skip", "cancel", "terminate"]),
        (driven_runs.held, ["resume", "cancel", "terminate"]),
        (lambda run_id: shop.ping.start(id=run_id), ["cancel", "terminate"]),
    ],
)
def test_advice_is_what_the_run_allows(cli: Cli, bring: Any, verbs: list[str]) -> None:
    """Each command that is shown is accepted by the run as it stands."""
    for number, verb in enumerate(verbs):
        bring(f"-o {number}")  # an id that has to be quoted, and looks like an option
        advice = advised(cli("show", "--", f"-o {number}"))
        assert len(advice) == len(verbs)
        words = shlex.split(advice[number].removeprefix("celery -A shop saga "))
        assert words[0] == verb
        assert cli(*words).code == 0


def test_a_run_that_needs_nothing_comes_without_advice(cli: Cli) -> None:
    """A run that was undone is done with."""
    driven_runs.compensated("o-1")
    assert advised(cli("show", "o-1")) == []


def test_where_an_error_was_raised_is_shown_on_demand(cli: Cli) -> None:
    """`--traceback` adds the lines of the steps that failed."""
    driven_runs.failed("o-1")
    assert "bank.py, line 7" not in cli("show", "o-1").out
    assert cli("show", "o-1", "--traceback").out.count("bank.py, line 7") == 2


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_run_is_shown_as_json(cli: Cli, form: str) -> None:
    """Programs get the same fields for every run, and times in ISO 8601."""
    driven_runs.failed("o-1")
    ended = cli("show", "o-1", "-o", form)
    document = json.loads(ended.out)
    assert set(document) == RUN
    assert document["owed"] == ["charge"]
    assert [step["status"] for step in document["steps"]] == ["compensated", "compensation_failed"]
    times = [document[name] for name in ("started_at", "changed_at", "ended_at", "deadline")]
    assert all(ISO.fullmatch(time) and datetime.fromisoformat(time) for time in times)
    assert form == "json" or len(ended.lines) == 1


def test_ids_is_the_id(cli: Cli) -> None:
    """`-o ids` prints the id and nothing else, whatever is looked at."""
    shop.ping.start(id="p-1")
    assert [cli(verb, "p-1", "-o", "ids").out for verb in ("show", "history")] == ["p-1\n"] * 2


@pytest.mark.parametrize("verb", ["show", "history", "cancel", "retry"])
def test_an_unknown_run_is_not_found(cli: Cli, verb: str) -> None:
    """Each verb says that there is no such run, and where to look."""
    ended = cli(verb, "nobody")
    assert (ended.code, ended.out) == (3, "")
    assert "no run 'nobody'" in ended.err
    assert "saga_namespace" in ended.err


# --- history -----------------------------------------------------------------------------------


def test_history_is_told_in_words(cli: Cli) -> None:
    """Each event has its time, how long after the start it was, its attempt, and what it was."""
    driven_runs.failed("o-1")
    heading, first, *rest = cli("history", "o-1").lines
    assert heading.split() == ["TIME", "AFTER", "STEP", "WHAT", "HAPPENED"]
    assert re.match(rf"{TIME}\.\d{{3}}Z  \+0\.000 s ", first)
    assert re.search(rf"started: saga place_order, deadline {TIME}\.\d{{3}}Z", first)
    assert any(re.search(r"charge undo #1 +failed: BankDown", line) for line in rest)
    assert rest[-1].endswith("finished: failed")


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_history_is_complete_for_programs(cli: Cli, form: str) -> None:
    """Every event is there, in order, with its data and ISO times."""
    driven_runs.failed("o-1")
    ended = cli("history", "o-1", "-o", form)
    events = (
        json.loads(ended.out)["events"]
        if form == "json"
        else [json.loads(line) for line in ended.lines]
    )
    assert [event["event"] for event in events] == [
        event.kind.value for event in shop.sagas.run("o-1").history()
    ]
    assert all(ISO.fullmatch(event["at"]) for event in events)
    assert ISO.fullmatch(events[0]["data"]["deadline"])
    assert {"step": "charge", "phase": "undo", "attempt": 1}.items() <= events[-4].items()


# --- what is never shown -----------------------------------------------------------------------


def documents(cli: Cli) -> Iterator[str]:
    """Everything that is printed for programs about `o-1`."""
    for form in ("json", "jsonl"):
        yield cli("list", "-o", form).out
        yield cli("show", "o-1", "-o", form).out
        yield cli("show", "o-1", "--traceback", "-o", form).out
        yield cli("history", "o-1", "-o", form).out
        yield cli("retry", "o-1", "-o", form).out


def test_no_payload_is_printed_for_programs(cli: Cli) -> None:
    """Neither inputs nor outputs nor what an error quotes of them leave through JSON."""
    driven_runs.failed("o-1")
    texts = list(documents(cli))
    assert all(texts)
    for payload in (driven_runs.SECRET, '"pen"', '"done"'):
        assert [text for text in texts if payload in text] == []


def test_control_characters_are_escaped(cli: Cli) -> None:
    """A message that tries to steer the terminal is shown, not obeyed."""
    shop.place_order.start(shop.Order(sku="pen"), id="o-1")
    driven_runs.fail("o-1", "reserve", message="\x1b[2Jboo\nhoo\x9b\u202e")
    cli("cancel", "o-1", "--reason", "x\x1b[2J\x7f")
    for words in (("show", "o-1"), ("show", "o-1", "--traceback"), ("history", "o-1"), ("list",)):
        for form in ("table", "json", "jsonl"):
            out = cli(*words, "-o", form).out
            assert not {"\x1b", "\x9b", "\x7f", "\u202e"} & set(out)
    assert r"\x1b[2Jboo\nhoo" in cli("show", "o-1").out


def test_an_error_does_not_steer_the_terminal(cli: Cli) -> None:
    """What was typed comes back escaped, and on one line."""
    ended = cli("show", "no\x1b[2J\nbody")
    assert ended.code == 3
    assert "\x1b" not in ended.err
    assert len(ended.err.splitlines()) == 1
