"""The sagas that storms are let loose on, one for each kind of plan there is.

Owns: their steps, whose effects all go to one ledger.  Refuses to know: what goes wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from celery import Celery

from celeriac import Done, Flow, NotYet, Retry, Route, Sagas, Skip, StepContext
from tests.testing.ledger import Ledger

if TYPE_CHECKING:
    from celeriac import Saga

app = Celery("storms", set_as_current=False)
sagas = Sagas(app)
ledger = Ledger()


def fresh(*, tombstones: bool = True) -> None:
    """Make the ledger new."""
    ledger.__init__(tombstones=tombstones)  # type: ignore[misc]  # the steps know this one


QUICK = Retry(max_attempts=3, initial_delay=1, max_delay=5)
STUBBORN = Retry(max_attempts=6, initial_delay=1, max_delay=5)


@sagas.step(name="storms.reserve", retry=QUICK)
def reserve(ctx: StepContext, order: str) -> str:
    """Done at once."""
    ledger.do(ctx.idempotency_key)
    return f"hold of {order}"


@reserve.compensation(name="storms.release", retry=STUBBORN)
def release(ctx: StepContext, order: str, result: str | None) -> None:
    """Undone at once."""
    assert result in (None, f"hold of {order}")
    ledger.undo(ctx.idempotency_key)


@sagas.step(name="storms.charge", retry=QUICK, timeout="20s")
def charge(ctx: StepContext, hold: str) -> int:
    """Done with a time limit, and signs of life before and after it."""
    ctx.heartbeat("about to")
    ledger.do(ctx.idempotency_key)
    ctx.heartbeat("done")
    return len(hold)


@charge.compensation(name="storms.refund", retry=STUBBORN, timeout="20s")
def refund(ctx: StepContext, result: int | None) -> None:
    """Undone with a time limit."""
    assert result is None or result > 0
    ledger.undo(ctx.idempotency_key)


@sagas.step(name="storms.ship", retry=QUICK)
def ship(ctx: StepContext, order: str, amount: int) -> str:
    """The last to be done."""
    ledger.do(ctx.idempotency_key)
    return f"{order} for {amount}"


@ship.compensation(name="storms.recall", retry=STUBBORN)
def recall(ctx: StepContext) -> None:
    """Undone without a look at what there was."""
    ledger.undo(ctx.idempotency_key)


@sagas.step(name="storms.pay", retry=QUICK, pivot=True)
def pay(ctx: StepContext, hold: str) -> int:
    """From here on there is no way back."""
    ledger.do(ctx.idempotency_key)
    return len(hold)


@pay.compensation(name="storms.unpay", retry=STUBBORN)
def unpay(ctx: StepContext) -> None:
    """For a payment that may have been."""
    ledger.undo(ctx.idempotency_key)


@sagas.step(name="storms.tell", retry=QUICK)
def tell(ctx: StepContext, amount: int) -> None:
    """Cannot be undone, and need not be: it comes after the pivot."""
    ledger.do(ctx.idempotency_key)
    assert amount


@sagas.saga(name="backwards")
def backwards(flow: Flow, order: str) -> str:
    """Undone last step first, as most are."""
    hold = flow.step(reserve, order)
    amount = flow.step(charge, hold)
    return flow.step(ship, order, amount)


@sagas.saga(name="forwards", compensation_order="forward", deadline="90s")
def forwards(flow: Flow, order: str) -> str:
    """Undone first step first, and in a hurry."""
    hold = flow.step(reserve, order)
    amount = flow.step(charge, hold)
    return flow.step(ship, order, amount)


@sagas.saga(name="at_once", compensation_order="parallel")
def at_once(flow: Flow, order: str) -> str:
    """Undone all at once."""
    hold = flow.step(reserve, order)
    amount = flow.step(charge, hold)
    return flow.step(ship, order, amount)


@sagas.saga(name="past_pivot")
def past_pivot(flow: Flow, order: str) -> None:
    """Only goes forward once it is paid."""
    hold = flow.step(reserve, order)
    flow.step(tell, flow.step(pay, hold))


@sagas.step(name="storms.write", retry=QUICK, effect="none")
def write(ctx: StepContext, hold: str) -> int:
    """A letter: what became of it when nobody knows, an operator has to say."""
    ledger.do(ctx.idempotency_key)
    return len(hold)


@write.compensation(name="storms.apologise", retry=STUBBORN)
def apologise(ctx: StepContext) -> None:
    """A letter that takes it back."""
    ledger.undo(ctx.idempotency_key)


@sagas.saga(name="by_letter")
def by_letter(flow: Flow, order: str) -> str:
    """Asks an operator whenever its letter may or may not have been sent."""
    hold = flow.step(reserve, order)
    return flow.step(ship, order, flow.step(write, hold))


@sagas.saga(name="side_by_side")
def side_by_side(flow: Flow, order: str) -> str:
    """Two branches, one of two steps, between a first step and one that needs both."""
    hold = flow.step(reserve, order)
    with flow.parallel():
        amount = flow.step(charge, hold)
        with flow.sequence():
            flow.step(reserve, order)
            flow.options(name="again").step(reserve, order)
    return flow.step(ship, order, amount)


@sagas.saga(name="graph_back", compensation_order="graph", deadline="90s")
def graph_back(flow: Flow, order: str) -> str:
    """Each step waits for what it uses alone, both ways."""
    with flow.graph():
        hold = flow.step(reserve, order)
        amount = flow.step(charge, hold)
        flow.options(name="beside").step(reserve, order)
        flow.options(name="later", after=["beside", hold]).step(reserve, order)
    return flow.step(ship, order, amount)


def is_long(order: str) -> bool:
    """Whether an order is a long one."""
    return len(order) > LONG


LONG = 4


def size_of(hold: str) -> Literal["small", "large", "huge"]:
    """How large a hold is, in a word."""
    return "small" if len(hold) < 2 * LONG + len("hold of ") else "large"


@sagas.step(name="storms.wrap", retry=QUICK)
def wrap(ctx: StepContext, order: str) -> str | None:
    """Wrap what has an even number of letters, and find nothing to do about others."""
    if len(order) % 2:
        raise Skip("odd")
    ledger.do(ctx.idempotency_key)
    return order


@wrap.compensation(name="storms.unwrap", retry=STUBBORN)
def unwrap(ctx: StepContext) -> None:
    """Take the paper off."""
    ledger.undo(ctx.idempotency_key)


@sagas.saga(name="by_choice")
def by_choice(flow: Flow, order: str) -> str:
    """What is done depends on answers, one of them asked for only after another."""
    hold = flow.step(reserve, order)
    with flow.when(is_long, order), flow.when(is_long, hold):
        amount = flow.step(charge, hold)
    with flow.otherwise():
        flow.step(wrap, order)
    size = flow.choose(size_of, hold)
    with size.case("small"):
        flow.step(wrap, order)
    with size.case("large", "huge"):
        flow.options(name="large").step(reserve, order)
    return flow.step(ship, order, flow.either(amount, 1))


@sagas.step(name="storms.settle", retry=QUICK)
def settle(ctx: StepContext, hold: str) -> int:
    """Have an effect, and end the run unless its order is a long one."""
    ledger.do(ctx.idempotency_key)
    if len(hold) < 2 * LONG + len("hold of "):
        raise Done(f"settled {hold}")
    return len(hold)


@settle.compensation(name="storms.unsettle", retry=STUBBORN)
def unsettle(ctx: StepContext, result: int | None) -> None:
    """Undo it, whatever came of it."""
    assert result is None or result > LONG
    ledger.undo(ctx.idempotency_key)


@sagas.saga(name="ending")
def ending(flow: Flow, order: str) -> str:
    """Its second step may end it."""
    amount = flow.step(settle, flow.step(reserve, order))
    return flow.step(ship, order, amount)


@sagas.step(name="storms.look_after", retry=QUICK)
def look_after(ctx: StepContext, hold: str) -> int:
    """Begin something, and be asked twice until it is there."""
    ledger.do(ctx.idempotency_key)
    if ctx.attempt < 3:
        raise NotYet(after="10s")
    return len(hold)


@look_after.compensation(name="storms.drop", retry=STUBBORN)
def drop(ctx: StepContext, result: int | None) -> None:
    """Undo it, whatever came of it."""
    assert result is None or result > LONG
    ledger.undo(ctx.idempotency_key)


@sagas.saga(name="asking")
def asking(flow: Flow, order: str) -> int:
    """Its second step is asked more than once."""
    return flow.step(look_after, flow.step(reserve, order))


@sagas.step(name="storms.take_apart", retry=QUICK)
def take_apart(ctx: StepContext, order: str) -> list[str]:
    """Make a list whose length depends on the order: none, or each letter."""
    ledger.do(ctx.idempotency_key)
    return list(order) if int(order[-1]) % 3 else []


@take_apart.compensation(name="storms.put_together", retry=STUBBORN)
def put_together(ctx: StepContext) -> None:
    """Undo it."""
    ledger.undo(ctx.idempotency_key)


@sagas.step(name="storms.collect", retry=QUICK)
def collect(ctx: StepContext, wrapped: list[str | None], holds: list[str]) -> int:
    """Read both lists: result i belongs to element i."""
    ledger.do(ctx.idempotency_key)
    letters = [hold.removeprefix("hold of ") for hold in holds]
    assert wrapped == [letter if letter in "aeiou" else None for letter in letters]
    return len(letters) + 1


@collect.compensation(name="storms.scatter", retry=STUBBORN)
def scatter(ctx: StepContext) -> None:
    """Undo it."""
    ledger.undo(ctx.idempotency_key)


def is_vowel(letter: str) -> bool:
    """Whether a letter is one that is wrapped."""
    return letter in "aeiou"


@sagas.step(name="storms.wrap_letter", retry=QUICK)
def wrap_letter(ctx: StepContext, hold: str) -> str:
    """Wrap what was reserved."""
    ledger.do(ctx.idempotency_key)
    return hold.removeprefix("hold of ")


@wrap_letter.compensation(name="storms.unwrap_letter", retry=STUBBORN)
def unwrap_letter(ctx: StepContext, result: str | None) -> None:
    """Take the paper off."""
    assert result is None or len(result) == 1
    ledger.undo(ctx.idempotency_key)


def each_letter(flow: Flow, letter: str) -> str | None:
    """Several steps for each, some of them only for some."""
    hold = flow.step(reserve, letter)
    with flow.when(is_vowel, letter):
        wrapped = flow.step(wrap_letter, hold)
    return flow.either(wrapped, None)


@sagas.saga(name="by_element", deadline="90s")
def by_element(flow: Flow, order: str) -> str:
    """Two maps over one list, the second of several steps, between two that are done once."""
    letters = flow.step(take_apart, order)
    holds = flow.map(reserve, letters, concurrency=3)
    wrapped = flow.map(each_letter, letters, concurrency=2)
    return flow.step(ship, order, flow.step(collect, wrapped, holds))


@sagas.saga(name="with_child")
def with_child(flow: Flow, order: str) -> str:
    """A run of another saga between two steps."""
    flow.step(reserve, order)
    made = flow.child(backwards, order)
    flow.step(ship, order, 1)
    return made


@sagas.step(name="storms.judge", retry=QUICK, routes=("first", "second"))
def judge(ctx: StepContext, order: str) -> str:
    """Go on with the other group, unless the run was here before."""
    ledger.do(ctx.idempotency_key)
    if "~" not in ctx.step:
        raise Route("second" if ctx.step == "judge" else "first")
    return order


@judge.compensation(name="storms.acquit", retry=STUBBORN)
def acquit(ctx: StepContext) -> None:
    """Undone at once."""
    ledger.undo(ctx.idempotency_key)


@sagas.saga(name="by_group", deadline="90s")
def by_group(flow: Flow, order: str) -> str | None:
    """Two groups, the first of which is left for the second, and visited again."""
    with flow.group("first"):
        hold = flow.step(reserve, order)
        flow.step(judge, order)
        flow.step(charge, hold)
    with flow.group("second"):
        flow.options(name="appeal").step(judge, order)
    return hold


KINDS: tuple[Saga[str, Any], ...] = (
    *(backwards, forwards, at_once, past_pivot, by_letter),
    *(side_by_side, graph_back, by_choice, ending, asking, by_element, with_child, by_group),
)
