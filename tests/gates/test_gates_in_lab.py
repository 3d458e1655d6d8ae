"""Gates in virtual time: limits, rates and breakers, with the engine and the bodies as they are.

Owns: what somebody who writes `limit=` or `breaker=` may rely on.  Refuses to know: real workers
(`test_gates_of_workers`), and who may pass by which numbers (`tests/gating`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from pydantic import BaseModel

from celeriac import Abort, Breaker, DefinitionError, Flow, Limit, Rate, Retry, Sagas
from celeriac.gating import load
from celeriac.machine import EventKind, Rule
from celeriac.observing import BreakerMoved
from celeriac.testing import Lab
from tests.proof.places import Passed, hurries

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.store import GateChange


class Order(BaseModel):
    """What is paid."""

    id: str
    card: str = "visa"


class Shop:
    """A saga of one step with gates, and a book of who was inside when."""

    def __init__(self, saga: dict[str, Any] | None = None, **gates: Any) -> None:
        self.sagas = Sagas(Celery("shop", broker="memory://"))
        self.lab = Lab()
        self.began: list[tuple[str, int]] = []
        options = {"name": "charge", "retry": Retry(max_attempts=3, initial_delay="1s"), **gates}

        @self.sagas.step(**options)
        def charge(order: Order) -> str:
            self.began.append((order.id, self.seconds()))
            return order.id

        @charge.compensation
        def refund(order: Order) -> None:
            self.began.append((f"undo {order.id}", self.seconds()))

        @self.sagas.saga(**(saga or {}))
        def pay(flow: Flow, order: Order) -> str:
            return flow.step(charge, order)

        self.charge, self.pay = charge, pay

    def seconds(self) -> int:
        """The time in the lab, in whole seconds from its beginning."""
        return round((self.lab.world.clock.now - self.lab.world.began) / 1000)

    def start(self, *cards: str) -> list[Any]:
        """Start a run for each card."""
        return [
            self.lab.start(self.pay, Order(id=f"o{n}", card=card)) for n, card in enumerate(cards)
        ]

    def meanwhile(self, act: Callable[[], object]) -> None:
        """Do something when a body is about to end, with others at work."""
        self.lab.at("charge after body", act)

    def inside(self) -> list[str]:
        """What was called, in that order."""
        return [name for name, _ in self.began]

    def waits(self, run: Any) -> str | None:
        """Why a run waits."""
        found: str | None = run.state().step("charge").blocked
        return found


def test_a_limit_lets_so_many_at_a_time_pass() -> None:
    """In the order in which they came, without an attempt, and saying why."""
    shop = Shop(limit=Limit(2, name="bank"))
    runs = shop.start(*["visa"] * 5)
    shop.lab.slow("charge", "10s", times=5)
    seen: list[Any] = []
    shop.meanwhile(lambda: seen.extend([shop.inside(), *map(shop.waits, runs)]))
    shop.lab.run()
    assert seen == [["o0", "o1"], None, None, *["limit bank: no more than 2 at a time"] * 3]
    assert shop.inside() == ["o0", "o1", "o2", "o3", "o4"]
    assert {run.state().step("charge").attempts for run in runs} == {1}
    assert shop.lab.world.store.kept_gates.known() == []


def test_values_are_counted_apart() -> None:
    """By a field of a parameter; the value itself is in no name and no text."""
    shop = Shop(limit=Limit(1, key="order.card", name="card"))
    runs = shop.start("4242", "4242", "1111")
    shop.lab.slow("charge", "10s", times=3)
    gates = shop.lab.world.store.kept_gates
    seen: list[Any] = []
    shop.meanwhile(lambda: seen.extend([shop.inside(), shop.waits(runs[1]), gates.known()]))
    shop.lab.run()
    assert seen[:2] == [["o0", "o2"], "limit card: no more than 1 at a time"]
    assert len(seen[2]) == 2
    assert not any("4242" in gate for gate in seen[2])
    assert shop.inside() == ["o0", "o2", "o1"]


@pytest.mark.parametrize(
    "crash", ["charge before claim", "charge after claim", "charge after body"]
)
def test_a_worker_that_dies_gives_its_place_back(crash: str) -> None:
    """With its lease: nobody else is inside before, and those who wait go on after."""
    shop = Shop(limit=Limit(1, name="bank"))
    runs = shop.start("visa", "visa", "visa")
    shop.lab.crash(crash)
    shop.lab.run()
    assert [run.result() for run in runs] == ["o0", "o1", "o2"]
    assert shop.lab.world.store.kept_gates.known() == []


def test_a_place_taken_before_a_crash_is_given_back() -> None:
    """The claim was never granted: the place ends with the lease, and its run is tried again."""
    shop = Shop(limit=Limit(1, name="bank"))
    runs = shop.start("visa", "visa")
    fault = shop.lab.crash("charge after gate")
    shop.lab.run()
    assert fault.happened
    assert sorted(run.result() for run in runs) == ["o0", "o1"]


def test_a_rate_lets_so_many_pass_in_a_span() -> None:
    """Those who wait come when it is their turn; no sweep is waited for where that is near."""
    shop = Shop(limit=Rate(2, per="10s", name="mail"))
    runs = shop.start(*["visa"] * 6)
    shop.lab.advance("5s")
    assert shop.waits(runs[5]) == "rate mail: no more than 2 in 10 s"
    shop.lab.run()
    assert shop.inside() == [f"o{n}" for n in range(6)]
    assert [at for _, at in shop.began] == [0, 0, 10, 10, 20, 20]


def test_a_breaker_opens_lets_one_try_and_closes() -> None:
    """While it is open nothing is called, and no attempt is used up."""
    bank = Breaker("bank", failures=3, within="1m", open_for="30s")
    shop = Shop(breaker=bank, retry=Retry(max_attempts=9, initial_delay="1s", jitter=False))
    told: list[Any] = []
    runs = shop.start("visa", "visa")
    shop.lab.world.engine.observers.add(told.append)
    shop.lab.fail("charge", ConnectionError("the bank is down"), times=4)
    shop.lab.advance("20s")
    assert len(shop.lab.ran) == 3
    assert {shop.waits(run) for run in runs} == {"breaker bank is open"}
    shop.lab.advance("20s")
    assert len(shop.lab.ran) == 4  # one tries, fails, and it is open again
    shop.lab.run()
    assert sorted(run.result() for run in runs) == ["o0", "o1"]
    assert len(shop.lab.ran) == 6
    moved = [each.state for each in told if isinstance(each, BreakerMoved)]
    assert moved == ["open", "half_open", "open", "half_open", "closed"]


def test_a_breaker_is_opened_for_each_value() -> None:
    """By hand, also for those that nobody has come with so far; closed, all go on."""
    shop = Shop(breaker=Breaker("bank", key="order.card"))
    runs = shop.start("visa", "amex")
    book = shop.lab.world.engine.gates
    book.know(shop.sagas.runtime.rules)
    book.set_breaker("bank", "eve", to_open=True)
    shop.lab.advance("5m")
    assert shop.inside() == []
    assert {shop.waits(run) for run in runs} == {"breaker bank is open (by eve)"}
    book.set_breaker("bank", "eve", to_open=False)
    shop.lab.run()
    assert sorted(shop.inside()) == ["o0", "o1"]
    shop.lab.advance("2m")
    assert shop.lab.world.store.kept_gates.known() == []


def test_an_abort_is_an_answer() -> None:
    """The bank has said no: that is not what a breaker counts."""
    shop = Shop(breaker=Breaker("bank", failures=1))
    runs = shop.start("visa", "visa", "visa")
    shop.lab.fail("charge", Abort("declined", effect=False))
    shop.lab.run()
    assert {run.state().status.value for run in runs} == {"compensated"}
    assert len(shop.lab.ran) == 3
    assert "breaker bank" not in shop.lab.story()


def test_runs_are_limited_as_a_whole() -> None:
    """The next begins when one rests; what it undoes is done under its place."""
    shop = Shop(saga={"limit": Limit(1, key="order.card", name="orders")})
    runs = shop.start("visa", "visa", "amex")
    shop.lab.slow("charge", "10s", times=3)
    shop.lab.run()
    assert shop.inside() == ["o0", "o2", "o1"]
    assert [run.result() for run in runs] == ["o0", "o1", "o2"]


def test_an_undo_goes_before_forward_work() -> None:
    """It waits at the same gate, in the first place."""
    shop = Shop(limit=Limit(1, name="bank"))
    runs = shop.start(*["visa"] * 4)
    shop.lab.slow("charge", "10s", times=4)
    shop.lab.at("charge after body", runs[0].cancel, nth=2)
    shop.lab.run()
    assert shop.inside() == ["o0", "o1", "undo o0", "o2", "o3"]


def test_who_is_cancelled_or_held_steps_out_of_line() -> None:
    """At once, without a turn; who is resumed has the place back that it had."""
    shop = Shop(limit=Limit(1, name="bank"))
    runs = shop.start(*["visa"] * 4)
    shop.lab.slow("charge", "10s", times=4)
    gates = shop.lab.world.store.kept_gates
    seen: list[Any] = []

    def step_out() -> None:
        runs[1].cancel()
        runs[2].pause(reason="hold on")
        seen.extend([gates.read("bank").waiting, runs[1].state().status.value])

    shop.meanwhile(step_out)
    shop.lab.advance("2m")
    assert seen == [1, "compensated"]
    assert shop.inside() == ["o0", "o3"]
    runs[2].resume()
    shop.lab.run()
    assert shop.inside() == ["o0", "o3", "o2"]


def test_who_was_held_goes_on_before_those_who_came_later() -> None:
    """It has kept the time at which it came."""
    shop = Shop(limit=Limit(1, name="bank"))
    runs = shop.start(*["visa"] * 4)
    shop.lab.slow("charge", "10s", times=4)
    shop.meanwhile(lambda: (runs[1].pause(reason="hold on"), runs[1].resume()))
    shop.lab.run()
    assert shop.inside() == ["o0", "o1", "o2", "o3"]


def test_a_deadline_passes_in_line() -> None:
    """The run is undone, and who is behind it moves up."""
    shop = Shop(saga={"deadline": "15s", "on_deadline": "compensate"}, limit=Limit(1, name="bank"))
    runs = shop.start(*["visa"] * 3)
    shop.lab.slow("charge", "10s", times=3)
    shop.lab.run()
    assert [run.state().status.value for run in runs] == ["completed", "compensated", "compensated"]
    assert shop.inside() == ["o0", "o1", "undo o1"]
    assert shop.lab.world.store.kept_gates.known() == []


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_a_deploy_changes_the_number(before: int, after: int) -> None:
    """For all runs, also those of older plans; who is inside stays, who waits goes by the new."""
    shop = Shop(limit=Limit(before, name="bank"))
    shop.start(*["visa"] * 8)
    shop.lab.slow("charge", "10s", times=8)
    newer = {"bank": Rule(kind="limit", most=after)}
    shop.meanwhile(lambda: shop.lab.world.engine.gates.know(newer))
    shop.lab.run()
    begun = [at for _, at in shop.began]
    assert begun[:before] == [0] * before
    assert len(begun) == 8
    assert max(begun.count(at) for at in begun[before:]) <= max(after, 1)
    assert shop.lab.world.store.kept_gates.known() == []


def test_all_gates_or_none() -> None:
    """Who waits at one holds no place in another."""
    gates = [Limit(1, key="order.card", name="card"), Limit(2, name="bank")]
    shop = Shop(limit=gates)
    runs = shop.start("visa", "visa", "amex", "diners")
    shop.lab.slow("charge", "10s", times=4)
    kept = shop.lab.world.store.kept_gates
    seen: list[Any] = []

    def look() -> None:
        seen.append(shop.inside())
        seen.append(
            sorted((gate.partition("#")[0], kept.read(gate).taken) for gate in kept.known())
        )

    shop.meanwhile(look)
    shop.lab.run()
    assert seen == [["o0", "o2"], [("bank", 2), ("card", 1), ("card", 1)]]
    assert sorted(run.result() for run in runs) == ["o0", "o1", "o2", "o3"]
    assert kept.known() == []


@pytest.mark.parametrize("seed", range(12))
def test_whatever_goes_wrong_no_more_are_inside(seed: int) -> None:
    """In a storm too: never more live attempts than places, and all runs come to rest."""
    shop = Shop(limit=[Limit(2, name="bank"), Rate(3, per="5s", name="mail")])
    runs = shop.start(*["visa"] * 6)
    passed = noted_at_rates(shop)
    shop.lab.storm(seed, lasts="1m")
    shop.lab.run()
    assert all(run.state().status.at_rest for run in runs)
    assert most_at_a_time(shop) <= 2
    assert len(passed) >= 6
    assert list(hurries(passed.values())) == []
    shop.lab.advance("2m")
    assert shop.lab.world.store.kept_gates.known() == []


def noted_at_rates(shop: Shop) -> dict[str, Passed]:
    """Who will have passed a rate, and not have given the place back unused; by the place."""
    kept, found = shop.lab.world.store.kept_gates, dict[str, Passed]()
    commit = kept.commit

    def noting(change: GateChange) -> bool:
        rule, now = load(change.gate, change.record).rule, kept.read(change.gate).now
        written = commit(change)
        if written and rule.kind == "rate":
            for member in change.give:
                if member in found and found[member].at + rule.per > now:
                    del found[member]
            for member in change.take:
                found[member] = Passed(change.gate, rule.most, rule.per, now, now)
        return written

    kept.commit = noting  # type: ignore[method-assign]  # it notes, and does the same
    return found


def most_at_a_time(shop: Shop) -> int:
    """How many attempts held the step at a time, at most, by the histories."""
    inside: set[tuple[str, str]] = set()
    most = 0
    for run, event in shop.lab.world.observed.events:
        if event.kind is EventKind.CLAIMED:
            inside.add((run, event.phase))
        elif event.kind in (EventKind.COMPLETED, EventKind.FAILED, EventKind.LOST):
            inside.discard((run, event.phase))
        most = max(most, len(inside))
    return most


@pytest.mark.parametrize(
    ("gates", "wrong"),
    [
        ({"limit": 5}, "limit takes Limit"),
        ({"limit": Limit(0)}, "a whole number from 1"),
        ({"limit": Limit(5, key="card")}, "names no parameter; there are: order"),
        ({"limit": Limit(5, key="order..card")}, "a path inside of one"),
        ({"limit": Limit(5, key="order.cart")}, "what stands before .cart is Order and has no"),
        ({"limit": Limit(5, key="order.card.x")}, "what stands before .x is str and has no"),
        ({"breaker": Breaker("bank", key="order.cart")}, "before .cart is Order and has no field"),
        ({"breaker": Breaker("bank", failures=1_001)}, "from 1 to 1,000, not 1001"),
        ({"breaker": Breaker(None)}, "not None: give name="),  # type: ignore[arg-type]
        ({"limit": Rate(5, per="soon")}, "per:"),
        ({"limit": [Limit(5), Limit(3)]}, "two gates called 'charge'"),
        ({"limit": Limit(5, name="a#b")}, "printable text without '#'"),
        ({"limit": Limit(5, name="x" * 201)}, "200 characters at most, not 201"),
        ({"breaker": Limit(5)}, 'breaker takes Breaker("bank")'),
        ({"breaker": Breaker("bank", open_for=0)}, "open_for:"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_import(gates: dict[str, Any], wrong: str) -> None:
    """With the step, and what to write."""
    with pytest.raises(DefinitionError, match=wrong.replace("(", r"\(").replace(")", r"\)")):
        Shop(**gates)


def test_two_gates_of_one_name_are_one() -> None:
    """The same numbers are the same gate; others are an error."""
    shop = Shop(breaker=Breaker("bank"))

    @shop.sagas.step(breaker=Breaker("bank"), name="check")
    def check(order: Order) -> None:
        """Ask the same bank."""

    with pytest.raises(DefinitionError, match="another gate called 'bank' with other numbers"):

        @shop.sagas.step(breaker=Breaker("bank", failures=2), name="other")
        def other(order: Order) -> None:
            """Ask it with other numbers."""
