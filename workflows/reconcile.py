"""Are the books right?  Orders, how their runs ended and what the partners wrote down, compared.

Owns: what an order demands, read off the order alone; and every way in which runs and ledger can
fall short of it.  Refuses to know: how any of it came about; it reads no clock, file or server.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple, Protocol

from workflows.services.ledger import UNDO_OF, Effect, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STEP_OF = {"hold": "reserve", "charge": "charge", "ship": "ship"}
ALL = frozenset(STEP_OF)
NOTHING: frozenset[str] = frozenset()


class Ordered(Protocol):
    """What is to be known of an order."""

    @property
    def id(self) -> str: ...  # noqa: D102 -- as in the order
    @property
    def sku(self) -> str: ...  # noqa: D102
    @property
    def quantity(self) -> int: ...  # noqa: D102
    @property
    def unit_price(self) -> int: ...  # noqa: D102
    @property
    def amount(self) -> int: ...  # noqa: D102
    @property
    def card(self) -> str: ...  # noqa: D102
    @property
    def address(self) -> str: ...  # noqa: D102
    @property
    def shipping(self) -> str: ...  # noqa: D102


class Demand(NamedTuple):
    """What must become of an order."""

    cause: str  # in a word or two, for people
    status: str  # of its run, in the end
    stands: frozenset[str]  # the kinds of effects that are there in the end

    @property
    def owed(self) -> frozenset[str]:
        """The steps whose effect stands and should not."""
        return frozenset(STEP_OF[k] for k in self.stands) if self.status == "failed" else NOTHING


class Ended(NamedTuple):
    """How a run ended."""

    status: str
    owed: frozenset[str] = NOTHING
    late: bool = False  # its deadline passed before it was done


class Books(NamedTuple):
    """What the partners say."""

    rows: Sequence[Row]  # the ledger
    stocked: Mapping[str, int]  # sku: on hand before the first order
    on_hand: Mapping[str, int]  # sku: on hand after the last
    taken: int  # cents, from all cards


class Discrepancy(NamedTuple):
    """Something that is not as it must be."""

    kind: str  # one word, for programs
    subject: str  # an order, an article, or `bank`
    text: str


def demand(order: Ordered, stocked: Mapping[str, int], *, late: bool = False) -> Demand:
    """Return what must become of *order*, where *stocked* was on hand before the first one.

    The first line that holds decides; articles are either plentiful or never enough.  An order
    that was *late* must be undone where it would have been completed: nobody promises that a busy
    machine is quick enough, only that nothing of the order is left.
    """
    card = order.card.split("_")[1].rstrip("0123456789")
    undeliverable, ferry = order.address.startswith("PO Box"), order.shipping == "ferry"
    cases = (
        (order.quantity > stocked.get(order.sku, 0), _undone("out of stock")),
        (card == "declined", _undone("card declined")),
        (card in ("down", "mute"), _undone("bank never answers")),
        (card == "closed" and (undeliverable or ferry), _REFUND_IMPOSSIBLE),
        (undeliverable, _undone("undeliverable")),
        (ferry, _undone("carrier too late")),
        (late, _undone("machine too busy")),
        (card in ("busy", "lost"), Demand("bank flaky", "completed", ALL)),
        (True, Demand("nothing special", "completed", ALL)),
    )
    return next(wanted for holds, wanted in cases if holds)


def _undone(cause: str) -> Demand:
    return Demand(cause, "compensated", NOTHING)


_REFUND_IMPOSSIBLE = Demand("refund impossible", "failed", frozenset({"charge"}))


def reconcile(
    orders: Sequence[Ordered], ended: Mapping[str, Ended], books: Books
) -> list[Discrepancy]:
    """Return everything that is wrong; nothing, if the books are right."""
    by_order: defaultdict[str, list[Row]] = defaultdict(list)
    for row in books.rows:
        by_order[row.reference].append(row)
    wanted = demands(orders, ended, books.stocked)
    return [
        *(found for order in orders for found in _run(order, wanted[order.id], ended)),
        *(found for o in orders for found in _order(o, by_order[o.id], wanted[o.id].stands)),
        *_strays({order.id for order in orders}, ended, books),
        *_stock(orders, wanted, books),
        *_money(orders, wanted, books),
    ]


def demands(
    orders: Sequence[Ordered], ended: Mapping[str, Ended], stocked: Mapping[str, int]
) -> dict[str, Demand]:
    """Return what must become of each order, by its id."""
    late = {id_ for id_, run in ended.items() if run.late}
    return {order.id: demand(order, stocked, late=order.id in late) for order in orders}


class Totals(NamedTuple):
    """The ledger, added up."""

    done: int  # effects
    undone: int  # effects that were undone
    charged: int  # cents
    refunded: int  # cents
    held: int  # articles
    released: int  # articles


def totals(rows: Sequence[Row]) -> Totals:
    """Return the sums of the ledger."""
    cents: Counter[str] = Counter()
    quantity: Counter[str] = Counter()
    for row in rows:
        cents[row.kind] += row.cents
        quantity[row.kind] += row.quantity
    return Totals(
        done=sum(row.kind in UNDO_OF for row in rows),
        undone=sum(row.kind not in UNDO_OF for row in rows),
        charged=cents["charge"],
        refunded=cents["refund"],
        held=quantity["hold"],
        released=quantity["release"],
    )


def money(cents: int) -> str:
    """Return *cents* as people write money."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100:,}.{abs(cents) % 100:02}"


def _run(order: Ordered, wanted: Demand, ended: Mapping[str, Ended]) -> Iterator[Discrepancy]:
    run = ended.get(order.id)
    if order.amount != order.quantity * order.unit_price:
        yield Discrepancy("bad_order", order.id, "its amount is not quantity times unit price")
    if run is None:
        yield Discrepancy("missing_run", order.id, "no run has this id")
        return
    if run.status != wanted.status:
        text = f"{wanted.cause}: must end {wanted.status}, is {run.status}"
        yield Discrepancy("wrong_status", order.id, text)
    if run.owed != wanted.owed:
        text = f"owes {_listed(run.owed)}, must owe {_listed(wanted.owed)}"
        yield Discrepancy("wrong_owed", order.id, text)


def _order(order: Ordered, rows: Sequence[Row], stands: frozenset[str]) -> Iterator[Discrepancy]:
    for kind, undo in UNDO_OF.items():
        done = [row for row in rows if row.kind == kind]
        undone = [row for row in rows if row.kind == undo]
        yield from _repeated(order.id, done, undone)
        if bool(done) > bool(undone) and kind not in stands:
            yield Discrepancy("left_over", order.id, f"its {kind} was never undone")
        if kind in stands and not done:
            yield Discrepancy("missing_effect", order.id, f"its {kind} never happened")
        if kind in stands and undone:
            yield Discrepancy("wrong_undo", order.id, f"its {kind} was undone and must stand")
        for row in (*done, *undone):
            yield from _amounts(order, kind, row)
    yield from _sequence(order.id, rows)


def _repeated(subject: str, done: Sequence[Row], undone: Sequence[Row]) -> Iterator[Discrepancy]:
    for rows, kind in ((done, "double_effect"), (undone, "double_undo")):
        if len(rows) > 1:
            keys = _listed({row.key for row in rows})
            yield Discrepancy(
                kind, subject, f"{rows[0].kind} happened {len(rows)} times, under {keys}"
            )
    if undone and (not done or undone[0].seq < done[0].seq):
        text = f"{undone[0].kind} happened before there was anything to undo"
        yield Discrepancy("undo_of_nothing", subject, text)


def _amounts(order: Ordered, kind: str, row: Row) -> Iterator[Discrepancy]:
    wanted = {
        "hold": Effect("hold", order.id, order.sku, quantity=order.quantity),
        "charge": Effect("charge", order.id, order.card, cents=order.amount),
        "ship": Effect("ship", order.id, order.address, quantity=1),
    }[kind]
    if (row.item, row.quantity, row.cents) != (wanted.item, wanted.quantity, wanted.cents):
        text = (
            f"{row.kind} of {row.quantity} x {row.item}, {money(row.cents)}; "
            f"must be {wanted.quantity} x {wanted.item}, {money(wanted.cents)}"
        )
        yield Discrepancy("wrong_amount", order.id, text)


def _sequence(subject: str, rows: Sequence[Row]) -> Iterator[Discrepancy]:
    """Each effect builds on the answer of the one before; what was done last is undone first."""
    first = {row.kind: row for row in reversed(rows)}
    for kind, before in (("charge", "hold"), ("ship", "charge")):
        if kind in first and (before not in first or first[kind].because != first[before].answer):
            text = f"its {kind} builds on {first[kind].because!r}, which no {before} has answered"
            yield Discrepancy("wrong_link", subject, text)
    undone = [first[undo].seq for undo in UNDO_OF.values() if undo in first]
    if undone != sorted(undone, reverse=True):
        yield Discrepancy("wrong_order", subject, "what was done first was undone first")


def _strays(known: set[str], ended: Mapping[str, Ended], books: Books) -> Iterator[Discrepancy]:
    for run in sorted(ended.keys() - known):
        yield Discrepancy("stray_run", run, "nobody ordered this")
    for reference in sorted({row.reference for row in books.rows} - known):
        yield Discrepancy("stray_effect", reference, "the ledger has effects of no order")


def _stock(
    orders: Sequence[Ordered], wanted: Mapping[str, Demand], books: Books
) -> Iterator[Discrepancy]:
    sold: Counter[str] = Counter()
    for order in orders:
        if "hold" in wanted[order.id].stands:
            sold[order.sku] += order.quantity
    gone: Counter[str] = Counter()
    for row in books.rows:
        gone[row.item] += {"hold": row.quantity, "release": -row.quantity}.get(row.kind, 0)
    for sku in sorted({*books.stocked, *books.on_hand}):
        left = books.on_hand.get(sku, 0)
        before = books.stocked.get(sku, 0)
        if not left == before - gone[sku] == before - sold[sku]:
            text = f"{left} on hand; {before} less {gone[sku]} by the ledger, less {sold[sku]} sold"
            yield Discrepancy("stock_differs", sku, text)


def _money(
    orders: Sequence[Ordered], wanted: Mapping[str, Demand], books: Books
) -> Iterator[Discrepancy]:
    sums = totals(books.rows)
    kept = sums.charged - sums.refunded
    due = sum(o.amount for o in orders if "charge" in wanted[o.id].stands)
    if not books.taken == kept == due:
        text = (
            f"{money(books.taken)} taken by its accounts, {money(kept)} by the ledger, "
            f"{money(due)} by the orders"
        )
        yield Discrepancy("money_differs", "bank", text)


def _listed(names: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
