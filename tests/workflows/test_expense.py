"""The expense in the lab and under the explorer: posted and paid, or neither.

Owns: what answers, silence and the bank lead to.  Refuses to know: workers and Redis.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from celeriac import CommandRefused, RunCompensated
from celeriac.testing import explore
from workflows.expense import Expense, Transfer, Verdict, judged, reimburse, reminded
from workflows.services import ledger, treasury

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac.testing import Lab, LabRun

TAXI = Expense(id="e-1", who="ada", what="a taxi", cents=4_200, account="DE-1")
YES, NO = Verdict(approve=True, by="eve"), Verdict(approve=False, by="eve")


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new ledger, whose services take no time."""
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "expenses.db"))
    monkeypatch.setattr(treasury, "SECONDS", 0.0)
    treasury.callbacks.clear()
    reminded.clear()
    yield
    ledger.close()


def standing(run_id: str) -> list[str]:
    """What stands of a run and its child, in alphabetical order."""
    found: Counter[str] = Counter()
    for row in ledger.rows():
        if row.key.startswith((f"{run_id}:", f"{run_id}.")):
            kind = {"recall": "transfer", "reverse": "post"}.get(row.kind, row.kind)
            found[kind] += 1 if row.kind == kind else -1
    return sorted(found.elements())


def asked(lab: Lab, expense: Expense = TAXI) -> LabRun[Transfer]:
    """A run that waits to be approved; its debt is in the books."""
    run = lab.start(reimburse, expense, id="e")
    lab.advance("1h")
    assert (run.status, standing("e")) == ("waiting", ["post"])
    return run


def test_it_is_approved_and_the_bank_calls_back(lab: Lab) -> None:
    """Nobody is at it in between; the run is found by who has approved it."""
    run = asked(lab)
    lab.signal(run, judged, YES)
    lab.advance("1h")
    assert run.state().step("pay").waits_for == "a result"
    assert str(run.progress()["pay"]) == "0 of 1 transfers ordered"
    (token,) = treasury.callbacks.values()
    lab.complete(token, Transfer(number="t-7"))
    assert run.result() == Transfer(number="t-7")
    assert run.state().tags == {"approved_by": "eve"}
    assert (standing("e"), reminded) == (["post", "transfer"], [])


def test_silence_is_reminded_of_and_then_ends_it(lab: Lab) -> None:
    """Two days and five; the debt is taken out of the books, by the run that put it there."""
    run = asked(lab)
    lab.advance("49h")
    assert (reminded, run.status) == (["e-1"], "waiting")
    lab.advance("6d")
    assert (run.status, standing("e")) == ("compensated", [])
    assert lab.find("e.keep_books").status == "compensated"


def test_a_late_answer_counts(lab: Lab) -> None:
    """As an early one does."""
    run = asked(lab)
    lab.advance("3d")
    lab.signal(run, judged, YES)
    lab.advance("1h")
    (token,) = treasury.callbacks.values()
    lab.complete(token, Transfer(number="t-8"))
    assert run.result() == Transfer(number="t-8")
    with pytest.raises(CommandRefused):
        lab.signal(run, judged, NO)


@pytest.mark.parametrize("turned_down", [True, False])
def test_a_definite_no_undoes_it(lab: Lab, turned_down: bool) -> None:
    """Of whoever was asked, or of the bank."""
    expense = TAXI if turned_down else TAXI.model_copy(update={"account": "AT-LANTIS-1"})
    run = asked(lab, expense)
    lab.signal(run, judged, NO if turned_down else YES)
    with pytest.raises(RunCompensated, match="turned down" if turned_down else "no account"):
        run.result()
    assert standing("e") == []


def test_a_bank_that_never_calls_back(lab: Lab) -> None:
    """It is asked again under the same key, and in the end all of it is taken back."""
    run = asked(lab)
    lab.signal(run, judged, YES)
    lab.advance("21d")
    assert (run.status, standing("e")) == ("compensated", [])
    assert treasury.callbacks == {}


@pytest.mark.parametrize("verdict", [YES, None])
def test_whatever_goes_wrong(verdict: Verdict | None) -> None:
    """With any one fault, nothing is left: nobody answers, or the bank never calls back."""

    def answer(run: LabRun[object]) -> None:
        if verdict is not None and run.state().saga == reimburse.name:
            run.signal(judged, verdict, id="the one")

    def check(run: LabRun[object]) -> None:
        assert run.status == "compensated"
        assert standing(run.id) == []

    report = explore(
        reimburse, TAXI, check=check, pairs=False, most=120, seconds=60, meanwhile=answer
    )
    assert report.ok, report
