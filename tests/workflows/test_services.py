"""The shop's partners keep the promises of a participant, also among several processes.

Owns: once per key, undo once, tombstones, definite refusals, the bank's and the carrier's moods.
Refuses to know: sagas.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workflows.services import bank, carrier, ledger, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new shop with ten spades, whose partners take no time."""
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "shop.db"))
    for service in (bank, carrier, stock):
        monkeypatch.setattr(service, "SECONDS", 0.0)
    monkeypatch.setattr(carrier, "FERRY_SECONDS", 0.0)
    stock.fill({"SPADE": 10})
    yield
    ledger.close()


def hold(key: str = "k1", quantity: int = 3) -> str:
    """Hold some spades for order o1."""
    return stock.hold("SPADE", quantity, order="o1", key=key)


def charge(card: str = "tok_visa_1", key: str = "k2", cents: int = 995) -> str:
    """Charge a card for order o1."""
    return bank.charge(card, cents, order="o1", hold="hold-1", key=key)


def ship(address: str = "1 Mill Lane", shipping: str = "standard", key: str = "k3") -> str:
    """Send the parcel of order o1."""
    return carrier.ship(address, shipping, order="o1", payment="charge-1", key=key)


def kinds() -> list[str]:
    """What is in the ledger, in order."""
    return [row.kind for row in ledger.rows()]


@pytest.mark.parametrize("do", [hold, charge, ship])
def test_doing_twice_is_doing_once(do: Callable[[], str]) -> None:
    """The second call with a key changes nothing and gives the answer of the first."""
    first = do()
    assert do() == first
    assert len(ledger.rows()) == 1


def test_balances_follow_the_effects() -> None:
    """Stock goes down with a hold, money comes in with a charge, and both go back."""
    hold()
    charge()
    assert (stock.on_hand(), bank.taken()) == ({"SPADE": 7}, 995)
    bank.refund(key="k2")
    stock.release(key="k1")
    assert (stock.on_hand(), bank.taken()) == ({"SPADE": 10}, 0)


def test_undoing_twice_is_undoing_once() -> None:
    """The second undo of a key puts nothing back."""
    for do in (hold, charge, ship):
        do()
    for _ in range(2):
        carrier.cancel(key="k3")
        bank.refund(key="k2")
        stock.release(key="k1")
    assert kinds() == ["hold", "charge", "ship", "cancel", "refund", "release"]
    assert (stock.on_hand(), bank.taken()) == ({"SPADE": 10}, 0)


@pytest.mark.parametrize(
    ("undo", "do"),
    [
        (lambda: stock.release(key="k1"), hold),
        (lambda: bank.refund(key="k2"), charge),
        (lambda: carrier.cancel(key="k3"), ship),
    ],
)
def test_undo_before_do_forbids_it(undo: Callable[[], None], do: Callable[[], str]) -> None:
    """A key that was undone before it was ever used can never be used."""
    undo()
    with pytest.raises(ledger.Undone) as refusal:
        do()
    assert refusal.value.code == "undone"
    assert ledger.rows() == []
    assert ledger.tombstones() == 1


def test_do_after_undo_is_refused() -> None:
    """An attempt that comes back after its effect was undone cannot bring it back."""
    hold()
    stock.release(key="k1")
    with pytest.raises(ledger.Undone):
        hold()
    assert stock.on_hand() == {"SPADE": 10}


def test_one_key_for_two_requests_is_an_error() -> None:
    """A key that comes back with another request is reported, and changes nothing."""
    hold(quantity=3)
    with pytest.raises(ledger.KeyReused, match="a key of its own"):
        hold(quantity=4)
    assert stock.on_hand() == {"SPADE": 7}


def test_one_key_serves_different_partners() -> None:
    """Each partner has its own keys: what the stock holds does not count for the bank."""
    hold(key="same")
    charge(key="same")
    assert kinds() == ["hold", "charge"]


@pytest.mark.parametrize(
    ("code", "do"),
    [
        ("out_of_stock", lambda: hold(quantity=11)),
        ("out_of_stock", lambda: stock.hold("NOBODY-SELLS-THIS", 1, order="o1", key="k1")),
        ("card_declined", lambda: charge("tok_declined_1")),
        ("card_invalid", lambda: charge("4111 1111")),
        ("undeliverable", lambda: ship("PO Box 7, Elmford")),
    ],
)
def test_a_definite_refusal_leaves_no_trace(code: str, do: Callable[[], str]) -> None:
    """What is refused changed nothing, and is refused again when asked again."""
    for _ in range(2):
        with pytest.raises(ledger.Refused) as refusal:
            do()
        assert refusal.value.code == code
    assert ledger.rows() == []
    assert (stock.on_hand(), bank.taken()) == ({"SPADE": 10}, 0)


def test_the_ledger_cannot_be_edited() -> None:
    """A line of the ledger can be neither changed nor removed."""
    hold()
    for statement in ("UPDATE ledger SET quantity = 1", "DELETE FROM ledger"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            ledger.connection().execute(statement)


def test_a_busy_bank_charges_at_last() -> None:
    """A card of the kind busy2 fails twice before anything is charged, then works."""
    for _ in range(2):
        with pytest.raises(bank.BankUnavailable):
            charge("tok_busy2_1")
        assert bank.taken() == 0
    charge("tok_busy2_1")
    assert bank.taken() == 995


def test_a_lost_answer_hides_a_charge() -> None:
    """A card of the kind lost2 is charged at once, but only the third call is answered."""
    for _ in range(2):
        with pytest.raises(bank.BankUnavailable):
            charge("tok_lost2_1")
        assert bank.taken() == 995
    assert charge("tok_lost2_1") == ledger.rows()[0].answer
    assert kinds() == ["charge"]


@pytest.mark.parametrize(("card", "effects"), [("tok_down_1", []), ("tok_mute_1", ["charge"])])
def test_some_banks_never_answer(card: str, effects: list[str]) -> None:
    """Cards of the kinds down and mute fail for ever: one without, one with a charge."""
    for _ in range(6):
        with pytest.raises(bank.BankUnavailable):
            charge(card)
    assert kinds() == effects


def test_a_closed_account_takes_nothing_back() -> None:
    """A refund to a closed account is refused each time, and the money stays where it is."""
    charge("tok_closed_1")
    for _ in range(2):
        with pytest.raises(ledger.Refused) as refusal:
            bank.refund(key="k2")
        assert refusal.value.code == "account_closed"
    assert bank.taken() == 995
    assert kinds() == ["charge"]


def test_a_ferry_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parcel by ferry is accepted only after the ferry's time; others are not kept waiting."""
    waits: list[float] = []
    monkeypatch.setattr(carrier, "FERRY_SECONDS", 12.5)
    monkeypatch.setattr("workflows.services.ledger.time.sleep", waits.append)
    ship(shipping="ferry")
    ship(shipping="standard", key="k4")
    assert waits == [12.5, 0.0]


def test_a_new_shop_is_stocked_from_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shop that nobody filled has what its catalogue says."""
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "new" / "shop.db"))
    assert stock.on_hand() == stock.catalogue()


RACE = """
import json, pathlib, sys, time
from workflows.services import bank, carrier, ledger, stock
go, verb = pathlib.Path(sys.argv[1]), sys.argv[2]
stock.SECONDS = 0.0
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
answers = []
for n in range(30):
    if verb == "hold":
        try:
            answers.append(stock.hold("SPADE", 1, order="o1", key=f"k{n}"))
        except ledger.Undone:
            answers.append("undone")
    else:
        stock.release(key=f"k{n}")
print(json.dumps(answers), flush=True)
"""


def race(folder: Path, *verbs: str) -> list[list[str]]:
    """Let one process per verb go through the same thirty keys at the same time."""
    go = folder / "go"
    runners = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(go), verb],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for verb in verbs
    ]
    try:
        for runner in runners:
            assert runner.stdout is not None
            assert runner.stdout.readline() == "ready\n"
        go.touch()
        return [json.loads(runner.communicate(timeout=60)[0]) for runner in runners]
    finally:
        for runner in runners:
            runner.kill()
            runner.wait()


def test_processes_that_race_for_a_key_get_one_answer(tmp_path: Path) -> None:
    """Of two processes that use the same keys at once, each gets the one answer there is."""
    stock.fill({"SPADE": 40})
    first, second = race(tmp_path, "hold", "hold")
    assert first == second
    assert len(set(first)) == 30
    assert kinds() == ["hold"] * 30
    assert stock.on_hand() == {"SPADE": 10}


def test_do_and_undo_may_race(tmp_path: Path) -> None:
    """However a do and its undo meet, nothing is left of it."""
    stock.fill({"SPADE": 40})
    race(tmp_path, "hold", "release")
    assert kinds().count("hold") == kinds().count("release")
    assert kinds().count("hold") + ledger.tombstones() == 30
    assert stock.on_hand() == {"SPADE": 40}


DIE = """
import os
from workflows.services import ledger
with ledger.call("hold", "k1"), ledger.transaction() as db:
    db.execute("UPDATE stock SET on_hand = 0")
    os._exit(9)
"""


def test_a_process_that_dies_leaves_a_trace_and_no_lock() -> None:
    """The call of a process that died in it stays open; what it was writing never happened."""
    died = subprocess.Popen(
        [sys.executable, "-c", DIE], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert died.wait(timeout=60) == 9
    (call,) = ledger.calls_in_progress([died.pid])
    assert (call.verb, call.key, call.ended) == ("hold", "k1", None)
    assert stock.on_hand() == {"SPADE": 10}
    hold("k1")
    (later,) = ledger.calls_after(call)
    assert later.pid == os.getpid()
    assert later.ended is not None
