"""The payment in the lab and under the explorer: all of it is taken, or nothing is held.

Owns: what becomes of the money.  Refuses to know: workers and Redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac import RunCompensated, RunFailed
from celeriac.testing import Lab, explore
from workflows.payment import LARGE, Decline, Payment, pay, proved
from workflows.services import acquirer, ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac.testing import LabRun

CARD, VOUCHER = "tok_plain_card", "tok_plain_gift"


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new ledger, whose services take no time."""
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "payments.db"))
    monkeypatch.setattr(acquirer, "SECONDS", 0.0)
    yield
    ledger.close()


def money(run_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """What is taken, and what is held and neither taken nor let go, in cents by source."""
    taken: dict[str, int] = {}
    held: dict[str, int] = {}
    for row in ledger.rows():
        if row.reference != run_id:
            continue
        if row.kind == "authorise":
            held[row.item] = row.cents
        else:
            assert held.pop(row.item) == row.cents
        if row.kind == "capture":
            taken[row.item] = row.cents
    return taken, held


@pytest.mark.parametrize(
    ("payment", "taken"),
    [
        (Payment(id="1", cents=500, card=CARD), {CARD: 500}),
        (
            Payment(id="2", cents=500, card=CARD, voucher=VOUCHER, voucher_cents=200),
            {CARD: 300, VOUCHER: 200},
        ),
        (Payment(id="3", cents=500, card="tok_busy2_card"), {"tok_busy2_card": 500}),
    ],
    ids=lambda each: getattr(each, "id", ""),
)
def test_what_is_due_is_taken(lab: Lab, payment: Payment, taken: dict[str, int]) -> None:
    """From the voucher first, if there is one; the acquirer may be busy both times."""
    receipt = lab.start(pay, payment, id="p").result()
    assert money("p") == (taken, {})
    assert sum(held.cents for held in receipt.values() if held) == payment.cents


def test_a_decline_is_the_answer_to_whoever_pays(lab: Lab) -> None:
    """The voucher is let go; who asks for the same payment again is told the same at once."""
    declined = "tok_declined_card"
    payment = Payment(id="4", cents=500, card=declined, voucher=VOUCHER, voucher_cents=200)
    run = lab.start(pay, payment, id="p")
    for asked in (run, lab.start(pay, payment, id="p")):
        with pytest.raises(RunCompensated) as found:
            asked.result()
        assert found.value.answer == Decline(code="declined")
    assert (run.status, run.state().failed_step) == ("compensated", "hold_card")
    assert money("p") == ({}, {})


def test_a_large_amount_waits_for_a_proof(lab: Lab) -> None:
    """What proves nothing is asked for again; a small amount needs none."""
    run = lab.start(pay, Payment(id="7", cents=LARGE, card=CARD), id="p")
    for answer in (False, True):
        lab.run()
        assert run.status == "waiting"
        assert money("p") == ({}, {})
        (asked,) = run.questions()
        assert proved.name == asked.signal
        run.signal("proved", answer, step=asked.step)
    card = run.result()["card"]
    assert card is not None
    assert card.cents == LARGE
    assert [step.name for step in run.state().steps if step.choice == "prove"] == [
        "judge",
        "judge-2",
    ]


@pytest.mark.parametrize("proofs", [(), (False,) * 6])
def test_nothing_is_paid_without_a_proof(lab: Lab, proofs: tuple[bool, ...]) -> None:
    """Nobody has proved anything in time, or too often in vain."""
    run = lab.start(pay, Payment(id="8", cents=LARGE, card=CARD), id="p")
    for answer in proofs:
        lab.run()
        run.signal("proved", answer)
    with pytest.raises(RunCompensated, match="max_steps" if proofs else "no signal"):
        run.result(timeout=3600)
    assert money("p") == ({}, {})


def test_what_cannot_be_taken_is_owed_until_somebody_has_seen_to_it(lab: Lab) -> None:
    """The voucher was taken; the card is not let go."""
    frozen = "tok_frozen_card"
    payment = Payment(id="5", cents=500, card=frozen, voucher=VOUCHER, voucher_cents=200)
    run = lab.start(pay, payment, id="p")
    with pytest.raises(RunFailed):
        run.result()
    assert run.state().owed == ("hold_card",)
    assert run.state().step("hold_card").status == "confirm_failed"
    assert money("p") == ({VOUCHER: 200}, {frozen: 300})
    run.waive("hold_card", reason="the acquirer has taken it by hand")
    card = run.result()["card"]
    assert card is not None
    assert card.cents == 300


def test_whatever_goes_wrong() -> None:
    """Everything or nothing, with any one fault."""
    wanted = {CARD: 300, VOUCHER: 200}

    def check(run: LabRun[object]) -> None:
        taken, held = money(run.id)
        assert held == {}
        assert taken == (wanted if run.status == "completed" else {})

    payment = Payment(id="6", cents=500, card=CARD, voucher=VOUCHER, voucher_cents=200)
    report = explore(pay, payment, check=check, pairs=False, most=120, seconds=150)
    assert report.ok, report
