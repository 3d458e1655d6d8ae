"""Any header at all, to the real engine: a claim is granted to what is due, and to nothing else.

Owns: headers of every type and value, and near misses of true ones, at each stage of a run.
Refuses to know: Celery, and messages that real workers meet (`test_forgery`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac import Abort, CommandRefused, RunNotFound, StoreError
from celeriac.engine.attempts import Delivery
from celeriac.machine.events import Dispatch
from celeriac.machine.timing import due
from celeriac.workers.headers import parse_header
from celeriac.workers.message_options import carries_on
from tests.engine.driver import Shop
from tests.machine.story import budget, saga, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.machine.runs import Run

RUNS = ("order-42", "order-43")
STEPS = ("reserve", "charge", "ship")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
NUMBERS = st.integers(-2, 4) | st.integers() | st.just(10**400) | st.floats() | st.booleans()
ODD = st.sampled_from(
    ["", "order-4", "\ud800", "a\x1fb", "reserve\n", "x" * 100_000, "{0.__class__}"]
)


def words(*known: str) -> Any:
    """True names mostly, and whatever else there is."""
    return st.sampled_from(known) | ODD | JSON


PLAN = saga(*[step(name, retry=budget(delay=0)) for name in STEPS])
NEAR = st.tuples(
    words(*RUNS, "nobody"),
    NUMBERS | JSON,
    words(*STEPS, "fly"),
    words("do", "undo", "redo"),
    NUMBERS | JSON,
    words(PLAN.fingerprint, "0" * 16),
).map(list)


@given(header=JSON | NEAR | st.tuples(NEAR, JSON).map(lambda two: [*two[0], two[1]]))
@settings(max_examples=600, deadline=None)
def test_a_header_is_read_or_not(header: Any) -> None:
    """What comes out of a header is whole and printable, or nothing; it never raises."""
    read = parse_header(header)
    if read is not None:
        assert list(read) == header
        assert f"{read.run_id}{read.step}{read.plan}".isprintable()
        assert {type(read.epoch), type(read.attempt)} == {int}


@given(chain=JSON | st.lists(st.fixed_dictionaries({"options": JSON | st.just({"headers": {}})})))
def test_a_chain_of_any_form_is_looked_at(chain: Any) -> None:
    """A message may bring any chain along; that of another is not taken for the one that is due."""

    class Request:
        """As much of a task's request as is asked for."""

    Request.chain = chain  # type: ignore[attr-defined]  # made here
    assert carries_on(Request, Dispatch("reserve", "do", 1, 0)) is False


def fresh(shop: Shop) -> None:
    """Nothing was delivered yet."""


def at_work(shop: Shop) -> None:
    """The first step is running."""
    shop.claim()


def half_done(shop: Shop) -> None:
    """The first step has its result."""
    attempt = shop.claim()
    assert attempt is not None
    shop.complete(attempt)


def turned_round(shop: Shop) -> None:
    """The second step has failed, and the undo of the first is due."""
    half_done(shop)
    failing = shop.claim()
    assert failing is not None
    shop.fail(failing, Abort("no", effect=False))


def completed(shop: Shop) -> None:
    """All is done."""
    shop.work()


def compensated(shop: Shop) -> None:
    """All is undone."""
    turned_round(shop)
    shop.settle_down()


STAGES = (fresh, at_work, half_done, turned_round, completed, compensated)


def rightful(run: Run) -> set[Delivery]:
    """The messages whose attempt may be taken now."""
    return {
        Delivery(run.id, run.epoch, each.step, each.phase, each.attempt, run.plan)
        for each in due(run)
    }


@given(
    stage=st.sampled_from(STAGES),
    headers=st.lists(NEAR, min_size=1, max_size=6),
    task=st.sampled_from([None, "shop.reserve", "shop.fly", ""]),
)
@settings(max_examples=400, deadline=None)
def test_only_what_is_due_is_granted(
    stage: Callable[[Shop], None], headers: list[Any], task: str | None
) -> None:
    """A made-up header gets an attempt only if it is the very message that is due; else nothing."""
    shop = Shop(PLAN)
    shop.start("order-42")
    stage(shop)
    for header in headers:
        delivery = parse_header(header)
        before = shop.run(), shop.store.history("order-42")
        if delivery is None:
            continue
        try:
            granted = shop.engine.claim(delivery, "forger", task=task)
        except (CommandRefused, RunNotFound, StoreError):
            assert (shop.run(), shop.store.history("order-42")) == before
            continue
        assert granted.delivery in rightful(before[0])
        assert task in (None, granted.node.task_of(granted.delivery.phase))


def test_what_is_due_is_granted() -> None:
    """The search above can find something: at each stage the true message does get its attempt."""
    for stage, granted in zip(STAGES, (1, 0, 1, 1, 0, 0), strict=True):
        shop = Shop(PLAN)
        shop.start("order-42")
        stage(shop)
        shop.pass_time(10_000, sweeping=False)
        found = [shop.engine.claim(each, "true") for each in rightful(shop.run())]
        assert len(found) == granted, stage.__name__
