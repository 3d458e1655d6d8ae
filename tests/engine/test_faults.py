"""Single calls that fail, before they were done or after, and others that come between.

Owns: every call of a whole run failing once, conflicts of versions, two sweeps at once, and that
none of it hides a broken promise.  Refuses to know: a store that is away for longer
(`test_outages`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from celeriac.engine.sweep import Sweep
from celeriac.errors import Abort, StoreUnavailable
from celeriac.machine import Node, Undo
from celeriac.machine.commands import Cancel, RetryOwed, Terminate, Waive
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.testing import Violation
from tests.engine.driver import GRACE, LEASE, Shop
from tests.machine.story import budget, saga, step

SWEEP = 1_000


def stories() -> dict[str, Any]:
    """Whole runs, from start to rest, by how they end."""

    def completes(at: Shop) -> None:
        at.start()
        at.settle_down()

    def is_undone(at: Shop) -> None:
        at.bodies["shop.charge"] = _declined
        at.start()
        at.settle_down()

    def fails(at: Shop) -> None:
        at.bodies["shop.charge"] = _declined
        at.bodies["shop.undo_reserve"] = _closed
        at.start()
        at.settle_down()
        at.command(RetryOwed(reason="open again"))
        at.settle_down()
        at.command(Waive("reserve", "by hand"))

    def is_lost(at: Shop) -> None:
        at.start()
        dead = at.next_attempt()
        at.die(dead)
        at.settle_down()
        at.complete(dead, "late")
        at.command(Cancel("too late"))
        at.settle_down()

    return {each.__name__: each for each in (completes, is_undone, fails, is_lost)}


def _declined(**_: Any) -> None:
    raise Abort("declined", effect=False)


def _closed(**_: Any) -> None:
    raise ConnectionError("closed")


def told(at: Shop) -> tuple[Any, ...]:
    """What a story has led to, apart from when."""
    run = at.run()
    steps = {
        name: (s.status, s.do.attempt, s.undo.attempt, s.generation)
        for name, s in run.steps.items()
    }
    events = [(e.kind, e.step, e.phase, e.attempt) for e in at.store.history("order-42")]
    events = [e for e in events if e[0] is not EventKind.DISPATCHED]
    outputs = at.fields("out:reserve", "out:charge", "err:charge", "uerr:reserve", "cause")
    return run.status, run.owed, steps, events, outputs, at.tasks


STORIES = stories()
#: How many calls each makes when nothing fails.
CALLS: dict[str, int] = {}
AS_IT_SHOULD: dict[str, Any] = {}
for _name, _story in STORIES.items():
    _shop = Shop(saga("reserve", "charge"))
    _story(_shop)
    CALLS[_name], AS_IT_SHOULD[_name] = len(_shop.store.calls), told(_shop)

EVERY_FAULT = [
    (name, number, when)
    for name, calls in CALLS.items()
    for number in range(1, calls + 1)
    for when in ("before", "after")
]


@pytest.mark.parametrize(("name", "number", "when"), EVERY_FAULT)
def test_any_one_call_may_fail(name: str, number: int, when: str) -> None:
    """Whichever it is, and whether it was done or not: the same run, and no body twice (F6)."""
    at = Shop(saga("reserve", "charge"))
    at.store.cut = number, when
    STORIES[name](at)
    assert told(at) == AS_IT_SHOULD[name]


# --- others that come between ------------------------------------------------------------------


def test_a_claim_that_comes_second() -> None:
    """Two workers with copies of one message: the commit of the second finds another version."""
    at = Shop(saga("reserve", "charge"))
    at.start()
    copy = at.post.waiting[0]
    at.store.between = lambda: at.claim(copy)
    assert at.claim() is None
    assert at.refused == {"not_due": 1}
    assert len(at.at_work) == 1


def test_a_cancel_that_comes_between() -> None:
    """A result that was decided against the run before the cancel is decided anew."""
    at = Shop(saga("reserve", "charge"))
    attempt = at.start_and_claim()
    at.store.between = at.cancel
    done = at.finish(attempt)
    assert [(d.step, d.phase) for d in done.dispatches] == [("reserve", "undo")]
    assert at.settle_down().status is RunStatus.COMPENSATED


def test_a_result_that_comes_between() -> None:
    """A sweep that is about to give an attempt up finds that it was settled (first one wins)."""
    at = Shop(saga("reserve", "charge"))
    attempt = at.start_and_claim()
    at.at_work.clear()
    at.pass_time(LEASE, sweeping=False)
    at.store.between = lambda: at.finish(attempt)
    at.sweep()
    assert at.events(EventKind.LOST) == []
    assert at.settle_down().status is RunStatus.COMPLETED


def test_a_renewal_that_comes_between() -> None:
    """An attempt whose worker shows life just now is not given up."""
    at = Shop(saga("reserve", "charge"))
    attempt = at.start_and_claim()
    at.at_work.clear()
    at.pass_time(LEASE, sweeping=False)

    def renew() -> None:
        at.at_work.append(attempt)
        at.show_life()

    at.store.between = renew
    at.sweep()
    assert at.events(EventKind.LOST) == []
    at.finish(attempt)
    assert at.settle_down().status is RunStatus.COMPLETED


def test_a_termination_that_comes_between() -> None:
    """A result that comes after it is kept as a late report."""
    at = Shop(saga("reserve", "charge"))
    attempt = at.start_and_claim()
    at.store.between = lambda: at.command(Terminate("enough"))
    done = at.finish(attempt)
    assert [event.kind for event in done.events] == [EventKind.LATE]
    assert at.run().status is RunStatus.TERMINATED
    assert at.fields("out:reserve") == {}


def test_two_joins_at_once() -> None:
    """Of two branches that end together, one sends what follows, and only one."""
    order = ("order",)
    plan = saga(
        "order",
        step("pay", after=order),
        step("pack", after=order),
        step("ship", after=("pay", "pack")),
    )
    at = Shop(plan)
    first = at.start_and_claim()
    at.finish(first)
    pay, pack = at.claim(), at.claim()
    assert pay is not None
    assert pack is not None
    at.store.between = lambda: at.finish(pack)
    at.finish(pay)
    assert [waiting.step for waiting in at.post.waiting] == ["ship"]
    assert at.settle_down().status is RunStatus.COMPLETED


def test_two_sweeps_at_once() -> None:
    """Both find the same lost message, and one sends it again."""
    at = Shop(saga("reserve", "charge"))
    at.start()
    at.post.waiting.clear()
    at.clock.now += GRACE
    other = at.another_engine()
    at.store.between = lambda: Sweep(other, at.post).run()
    at.sweep()
    assert len(at.post.waiting) == 1
    assert len(at.events(EventKind.DISPATCHED)) == 1


@pytest.mark.parametrize("within_a_sweep", [False, True])
def test_a_broken_promise_fails_the_test(
    monkeypatch: pytest.MonkeyPatch, *, within_a_sweep: bool
) -> None:
    """The sweep logs whatever it meets and goes on; what a commit breaks is told all the same."""
    at = Shop(saga("reserve", "charge"))
    at.start()
    attempt = at.next_attempt()
    monkeypatch.setattr(at.store, "_schedule", lambda _: at.store._wake.pop("order-42", None))
    if not within_a_sweep:
        with pytest.raises(Violation, match="I13"):
            at.finish(attempt)
        return
    at.die(attempt)
    with pytest.raises(Violation, match="I13"):
        at.pass_time(2 * LEASE)
    assert at.events(EventKind.LOST), "it was the sweep that committed"


def test_two_workers_that_report_the_same() -> None:
    """A report that was sent twice is one result, and what follows is sent once (I11)."""
    at = Shop(saga("reserve", "charge"))
    attempt = at.start_and_claim()
    at.finish(attempt)
    assert not at.complete(attempt, "again").events
    assert at.fields("out:reserve") == {"out:reserve": "reserve done"}
    assert len(at.post.waiting) == 1


def test_a_clock_of_the_worker_that_stands_still() -> None:
    """Whatever the worker's own clock says, the attempt is settled by its version."""
    at = Shop(saga("reserve", "charge"))
    attempt = at.start_and_claim()
    at.pass_time(3 * SWEEP)
    done = at.engine.complete(attempt, '"done"').done
    assert done.events[0].at == at.clock.now
    at.engine.send(at.post, at.plan, done.run, done.dispatches, at.clock.now)
    assert at.settle_down().status is RunStatus.COMPLETED


def test_insisting_ends_when_its_patience_does() -> None:
    """A caller is told that the store is away, not kept for ever."""
    at = Shop(saga("reserve"))
    tries = []

    def ask() -> None:
        tries.append(at.clock.now)
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        at.engine.retry_while_unavailable(ask, patience=10.0)
    assert 10_000 <= tries[-1] - tries[0] <= 11_000
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[0] < gaps[-1] <= 500


def test_an_undo_that_nobody_wants_is_never_sent() -> None:
    """A step without an undo leaves nothing to do when its run is cancelled."""
    node = Node(name="notify", task="shop.notify", retry=budget(), undo=None)
    at = Shop(saga(node, step("charge", undo=Undo(task="shop.refund", wants=()))))
    at.start()
    at.settle_down()
    at.cancel()
    assert at.settle_down().status is RunStatus.COMPENSATED
    assert at.tasks == ["notify", "charge", "refund"]
