"""The reconciliation finds whatever is wrong, and nothing when all is right.

Owns: each kind of discrepancy, shown on books with one thing wrong; and what the orders that come
with the demo demand.  Refuses to know: how books get wrong.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from workflows.data import make_orders
from workflows.reconcile import Books, Ended, demand, money, reconcile, totals
from workflows.services import stock
from workflows.services.ledger import Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STOCKED = {"SPADE": 20, "RIDDLE": 0}


@dataclass(frozen=True)
class Order:
    """An order, as far as the reconciliation looks at it."""

    id: str
    sku: str = "SPADE"
    quantity: int = 2
    unit_price: int = 1000
    amount: int = 2000
    card: str = "tok_visa_1"
    address: str = "1 Mill Lane"
    shipping: str = "standard"


PLAIN = Order("plain")
DECLINED = Order("declined", card="tok_declined_1")
SOLD_OUT = Order("sold-out", sku="RIDDLE")
LATE = Order("late", shipping="ferry")
OWING = Order("owing", card="tok_closed_1", address="PO Box 1")
ORDERS = (PLAIN, DECLINED, SOLD_OUT, LATE, OWING)

ENDED = {
    "plain": Ended("completed"),
    "declined": Ended("compensated"),
    "sold-out": Ended("compensated"),
    "late": Ended("compensated"),
    "owing": Ended("failed", frozenset({"charge"})),
}


def row(order: Order, kind: str) -> Row:
    """A line of the ledger that is right in itself."""
    item, quantity, cents, because = {
        "h": (order.sku, order.quantity, 0, ""),
        "c": (order.card, 0, order.amount, f"hold-{order.id}"),
        "s": (order.address, 1, 0, f"charge-{order.id}"),
    }[{"release": "h", "refund": "c", "cancel": "s"}.get(kind, kind[0])]
    done = {"release": "hold", "refund": "charge", "cancel": "ship"}.get(kind, kind)
    key, answer = f"{order.id}:{done}", f"{done}-{order.id}"
    return Row(0, 0, key, kind, order.id, item, quantity, cents, because, answer, 1)


def rows(order: Order, *kinds: str) -> list[Row]:
    """Lines of the ledger that are right in themselves."""
    return [row(order, kind) for kind in kinds]


RIGHT = (
    *rows(PLAIN, "hold", "charge", "ship"),
    *rows(DECLINED, "hold", "release"),
    *rows(LATE, "hold", "charge", "ship", "cancel", "refund", "release"),
    *rows(OWING, "hold", "charge", "release"),
)


def books(lines: Sequence[Row] = RIGHT, *, spades: int = 18, taken: int = 4000) -> Books:
    """Books with these lines, numbered as they come."""
    numbered = [line._replace(seq=number) for number, line in enumerate(lines, 1)]
    return Books(numbered, STOCKED, {"SPADE": spades, "RIDDLE": 0}, taken)


def without(order: Order, kind: str) -> list[Row]:
    """The right lines without one of them."""
    kept = [r for r in RIGHT if (r.reference, r.kind) != (order.id, kind)]
    assert len(kept) == len(RIGHT) - 1
    return kept


def with_row(order: Order, kind: str, **other: str | int) -> list[Row]:
    """The right lines, but one of them with other values."""
    found = [
        r._replace(**other) if (r.reference, r.kind) == (order.id, kind) else r  # type: ignore[arg-type]
        for r in RIGHT
    ]
    assert found != list(RIGHT)
    return found


def found(wrong: Books, ended: dict[str, Ended] | None = None) -> set[tuple[str, str]]:
    """What the reconciliation finds, as kind and subject."""
    return {(d.kind, d.subject) for d in reconcile(ORDERS, ended or ENDED, wrong)}


def test_right_books_pass() -> None:
    """Where every order ended as it must, nothing is found."""
    assert reconcile(ORDERS, ENDED, books()) == []


def test_an_empty_day_passes() -> None:
    """No orders, no runs and no effects are in order, too."""
    assert reconcile([], {}, Books([], STOCKED, STOCKED, 0)) == []


@pytest.mark.parametrize(
    ("name", "run", "expected"),
    [
        ("plain", Ended("compensated"), {("wrong_status", "plain")}),
        ("plain", Ended("running"), {("wrong_status", "plain")}),
        ("declined", Ended("completed"), {("wrong_status", "declined")}),
        ("owing", Ended("compensated"), {("wrong_status", "owing"), ("wrong_owed", "owing")}),
        ("owing", Ended("failed", frozenset({"reserve"})), {("wrong_owed", "owing")}),
        ("plain", Ended("completed", frozenset({"ship"})), {("wrong_owed", "plain")}),
    ],
)
def test_a_wrong_end_is_found(name: str, run: Ended, expected: set[tuple[str, str]]) -> None:
    """A run that ended in another status, or owes something else, is named."""
    assert found(books(), {**ENDED, name: run}) == expected


def test_what_a_busy_machine_was_late_with_must_be_undone() -> None:
    """A plain order that passed its deadline is right if nothing of it is left, and only then."""
    late = {**ENDED, "plain": Ended("compensated", late=True)}
    undone = [*RIGHT, *rows(PLAIN, "cancel", "refund", "release")]
    assert found(books(undone, taken=2000, spades=20), late) == set()
    assert {kind for kind, subject in found(books(), late) if subject == "plain"} == {"left_over"}


def test_a_missing_run_is_found() -> None:
    """An order without a run is named."""
    ended = {name: run for name, run in ENDED.items() if name != "late"}
    assert found(books(), ended) == {("missing_run", "late")}


def test_a_stray_run_is_found() -> None:
    """A run that no order asked for is named."""
    assert found(books(), {**ENDED, "ghost": Ended("completed")}) == {("stray_run", "ghost")}


def test_a_lost_undo_of_money_is_found() -> None:
    """A charge of a compensated order that was never refunded is named, and so is the sum."""
    wrong = books(without(LATE, "refund"), taken=6000)
    assert found(wrong) == {("left_over", "late"), ("money_differs", "bank")}


def test_a_lost_undo_of_stock_is_found() -> None:
    """A hold of a compensated order that was never released is named, and so is the article."""
    wrong = books(without(DECLINED, "release"), spades=16)
    assert found(wrong) == {("left_over", "declined"), ("stock_differs", "SPADE")}


def test_a_parcel_that_was_not_called_back_is_found() -> None:
    """A late shipment left standing is named, though it changes no sum."""
    assert found(books(without(LATE, "cancel"))) == {("left_over", "late")}


def test_a_missing_effect_is_found() -> None:
    """A completed order that was never shipped is named."""
    assert found(books(without(PLAIN, "ship"))) == {("missing_effect", "plain")}


def test_an_owed_refund_that_was_paid_is_found() -> None:
    """A refund that is said to be owed, but was made, is named."""
    wrong = books([*without(OWING, "release"), *rows(OWING, "refund", "release")], taken=2000)
    assert found(wrong) == {("wrong_undo", "owing"), ("money_differs", "bank")}


def test_an_undo_too_many_is_found() -> None:
    """An undo of what must stand is named, and so is the article."""
    wrong = books([*RIGHT, row(PLAIN, "release")], spades=20)
    assert found(wrong) == {("wrong_undo", "plain"), ("stock_differs", "SPADE")}


def test_a_double_effect_is_found() -> None:
    """A second charge of the same order, also under another key, is named with both keys."""
    twice = row(PLAIN, "charge")._replace(key="plain:charge:again")
    wrong = books([*RIGHT, twice], taken=6000)
    assert found(wrong) == {("double_effect", "plain"), ("money_differs", "bank")}
    (text,) = [d.text for d in reconcile(ORDERS, ENDED, wrong) if d.kind == "double_effect"]
    assert text == "charge happened 2 times, under plain:charge, plain:charge:again"


def test_a_double_undo_is_found() -> None:
    """A second refund of the same order is named."""
    wrong = books([*RIGHT, row(LATE, "refund")], taken=2000)
    assert ("double_undo", "late") in found(wrong)
    assert ("money_differs", "bank") in found(wrong)


def test_an_undo_of_nothing_is_found() -> None:
    """A refund of what was never charged is named."""
    wrong = books([*RIGHT, row(DECLINED, "refund")], taken=2000)
    assert ("undo_of_nothing", "declined") in found(wrong)


def test_an_undo_before_its_effect_is_found() -> None:
    """An effect that came after its undo is named: it stands, though the counts are even."""
    wrong = books([*rows(DECLINED, "release", "hold"), *RIGHT[:3], *RIGHT[5:]])
    assert found(wrong) == {("undo_of_nothing", "declined")}


def test_wrong_cents_are_found() -> None:
    """A charge that is one cent off is named, and so is the sum."""
    wrong = books(with_row(PLAIN, "charge", cents=1999), taken=3999)
    assert found(wrong) == {("wrong_amount", "plain"), ("money_differs", "bank")}


def test_a_refund_that_is_a_cent_short_is_found() -> None:
    """A refund that is one cent off is named."""
    wrong = books(with_row(LATE, "refund", cents=1999), taken=4001)
    assert found(wrong) == {("wrong_amount", "late"), ("money_differs", "bank")}


def test_a_wrong_quantity_is_found() -> None:
    """A hold of fewer than were ordered is named, and so is the article."""
    wrong = books(with_row(PLAIN, "hold", quantity=1), spades=19)
    assert found(wrong) == {("wrong_amount", "plain"), ("stock_differs", "SPADE")}


@pytest.mark.parametrize(("kind", "item"), [("charge", "tok_visa_2"), ("ship", "2 Mill Lane")])
def test_somebody_elses_card_or_address_is_found(kind: str, item: str) -> None:
    """A charge of another card, or a parcel to another address, is named."""
    assert found(books(with_row(PLAIN, kind, item=item))) == {("wrong_amount", "plain")}


@pytest.mark.parametrize("kind", ["charge", "ship"])
def test_a_step_that_saw_another_result_is_found(kind: str) -> None:
    """An effect that builds on an answer nobody has given is named."""
    assert found(books(with_row(PLAIN, kind, because="old"))) == {("wrong_link", "plain")}


def test_undoing_in_the_wrong_order_is_found() -> None:
    """Stock released before the money was given back is named."""
    undone = rows(LATE, "hold", "charge", "ship", "cancel", "release", "refund")
    wrong = books([r for r in RIGHT if r.reference != "late"] + undone)
    assert found(wrong) == {("wrong_order", "late")}


def test_effects_of_nobody_are_found() -> None:
    """An effect that belongs to no order is named, and so is the sum."""
    wrong = books([*RIGHT, row(Order("ghost"), "charge")], taken=6000)
    assert found(wrong) == {("stray_effect", "ghost"), ("money_differs", "bank")}


@pytest.mark.parametrize(("spades", "taken"), [(17, 4000), (18, 3999)])
def test_balances_that_differ_from_the_ledger_are_found(spades: int, taken: int) -> None:
    """A shelf or an account that does not agree with the ledger is named."""
    (discrepancy,) = reconcile(ORDERS, ENDED, books(spades=spades, taken=taken))
    assert discrepancy.kind == ("stock_differs" if spades != 18 else "money_differs")


def test_a_bad_order_is_found() -> None:
    """An order whose amount is not quantity times unit price is named."""
    odd = replace(PLAIN, unit_price=999)
    kinds = [d.kind for d in reconcile([odd, *ORDERS[1:]], ENDED, books())]
    assert kinds == ["bad_order"]


def test_the_ledger_is_added_up() -> None:
    """The totals count effects, their undoing, cents and articles."""
    assert totals(RIGHT) == (9, 5, 6000, 2000, 8, 6)


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "0.00"), (5, "0.05"), (123456, "1,234.56"), (-250, "-2.50")]
)
def test_money_is_written_as_people_do(cents: int, text: str) -> None:
    """Cents are shown with a point, two digits behind it, and commas between thousands."""
    assert money(cents) == text


def test_the_orders_of_the_demo_are_those_that_are_generated(tmp_path: Path) -> None:
    """The committed files are what their generator writes, to the byte."""
    make_orders.write(tmp_path)
    for name in ("orders.jsonl", "catalogue.json"):
        assert (tmp_path / name).read_bytes() == (make_orders.HERE / name).read_bytes()


def test_the_orders_of_the_demo_demand_something_of_everything() -> None:
    """Among the two hundred orders are as many of each kind as the demo promises."""
    orders = [Order(**{n: o[n] for n in Order.__annotations__}) for o in make_orders.orders()]
    causes = Counter(demand(order, stock.catalogue()).cause for order in orders)
    assert causes == {
        "nothing special": 135,
        "bank flaky": 20,
        "card declined": 16,
        "out of stock": 12,
        "undeliverable": 6,
        "carrier too late": 6,
        "bank never answers": 3,
        "refund impossible": 2,
    }


def test_no_order_of_the_demo_depends_on_another() -> None:
    """Articles are plentiful or never enough: which order comes first makes no difference."""
    wanted: Counter[str] = Counter()
    stocked = stock.catalogue()
    for order in make_orders.orders():
        if order["quantity"] <= stocked[order["sku"]]:
            wanted[order["sku"]] += order["quantity"]
    assert all(wanted[sku] <= stocked[sku] for sku in wanted)
