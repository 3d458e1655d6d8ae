"""Results from outside in the lab: tokens, what comes early, late, twice, or never.

Owns: what a saga's author sees of `ctx.later`.  Refuses to know: how it is stored.  The file is
long because each way in which a result can come is a story of its own.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from pydantic import BaseModel

import celeriac
from celeriac import (
    Abort,
    CommandRefused,
    Flow,
    InputInvalid,
    PayloadTooLarge,
    Retry,
    RunCompensated,
    Sagas,
    StepContext,
    TokenSettled,
    TokenUnknown,
    TokenVoid,
    current,
)
from celeriac.testing import Lab
from celeriac.testing.audit import audit

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.testing.lab_sagas import LabRun

app = Celery("later", broker="memory://")
sagas = Sagas(app)

DAY = 24 * 3600
tokens: list[str] = []
undone: list[tuple[Any, int]] = []


class Paid(BaseModel):
    """What the bank says."""

    payment: str


def nothing(_ctx: StepContext) -> None:
    """What a step does beside asking."""


behave: dict[str, Callable[[StepContext], None]] = {"pay": nothing, "beside": nothing}


@sagas.step(retry=Retry(max_attempts=2, initial_delay=5, jitter=False))
def pay(ctx: StepContext, amount: int) -> Paid:
    """Ask the bank."""
    assert amount
    tokens.append(ctx.token)
    assert ctx.token == tokens[-1]
    behave["pay"](ctx)
    return ctx.later("2d")


@pay.compensation
def refund(ctx: StepContext, result: Paid | None) -> None:
    """Give it back."""
    undone.append((result and result.payment, ctx.generation))


@sagas.step
def ship(amount: int, paid: Paid) -> str:
    """Send it."""
    return f"{amount} by {paid.payment}"


@sagas.step(retry=Retry(max_attempts=1))
def beside(ctx: StepContext, amount: int) -> None:
    """Something in another branch."""
    assert amount
    behave["beside"](ctx)


@beside.compensation
def not_beside() -> None:
    """Undo it."""


@sagas.saga
def buy(flow: Flow, amount: int) -> str:
    """Pay, then ship."""
    return flow.step(ship, amount, flow.step(pay, amount))


@sagas.saga
def both(flow: Flow, amount: int) -> None:
    """Pay, beside something else."""
    with flow.parallel():
        flow.step(pay, amount)
        flow.step(beside, amount)


@sagas.saga(retries=1, retry_delay=0)
def buy_again(flow: Flow, amount: int) -> None:
    """Pay, beside something that comes a minute later; in two tries."""
    with flow.parallel():
        flow.step(pay, amount)
        with flow.sequence():
            flow.sleep("1m")
            flow.step(beside, amount)


@pytest.fixture
def lab() -> Lab:
    """A lab, and nothing remembered."""
    tokens.clear()
    undone.clear()
    behave.update(pay=nothing, beside=nothing)
    return Lab()


def checked(run: LabRun[Any]) -> LabRun[Any]:
    """The run, whose history breaks no invariant."""
    plan = run._planned()[1]
    assert audit(plan, run.history()) == []
    return run


def test_a_step_waits_for_its_result_from_outside(lab: Lab) -> None:
    """Nobody is at it meanwhile; the result is checked, and what follows is given it."""
    run = lab.start(buy, 7)
    lab.run()
    assert run.status == "waiting"
    view = run.state().step("pay")
    assert (view.status, view.waits_for, view.attempts) == ("waiting", "a result", 1)
    assert view.waits_until is not None
    with pytest.raises(InputInvalid, match="payment"):
        lab.complete(tokens[0], {"sum": 7})
    with pytest.raises(PayloadTooLarge):
        lab.complete(tokens[0], Paid(payment="x" * 300_000))
    assert run.status == "waiting"
    lab.complete(tokens[0], Paid(payment="p-1"))
    assert checked(run).result() == "7 by p-1"
    assert lab.ran == ["pay", "ship"]
    secret = tokens[0].partition(".")[2]
    assert secret not in str((run.export(payloads=True), run.history(), run.story))


def test_the_same_result_again_is_once_and_another_a_conflict(lab: Lab) -> None:
    """Whoever has lost an answer asks again, also when the run is over."""
    run = lab.start(buy, 7)
    lab.run()
    for _ in range(2):
        lab.complete(tokens[0], {"payment": "p-1"})
    assert run.result() == "7 by p-1"
    events = len(run.history())
    lab.complete(tokens[0], Paid(payment="p-1"))
    with pytest.raises(TokenSettled):
        lab.complete(tokens[0], Paid(payment="p-2"))
    with pytest.raises(TokenSettled):
        lab.fail(tokens[0], "no")
    assert len(checked(run).history()) == events


@pytest.mark.parametrize("effect", [None, False])
def test_a_failure_from_outside_is_an_abort(lab: Lab, effect: bool | None) -> None:
    """It is not tried again, and undone unless it is proven to have had no effect."""
    run = lab.start(buy, 7)
    lab.run()
    lab.fail(tokens[0], "no money", code="declined", effect=effect)
    lab.fail(tokens[0], "no money", code="declined", effect=effect)
    with pytest.raises(RunCompensated) as raised:
        run.result()
    assert raised.value.failure is not None
    assert (raised.value.failure.code, raised.value.failure.message) == ("declined", "no money")
    assert undone == ([] if effect is False else [(None, 0)])
    assert len(tokens) == 1
    checked(run)


def test_any_text_says_what_went_wrong(lab: Lab) -> None:
    """Also half of a letter, which a program outside may well send, and JSON can spell."""
    run = lab.start(buy, 7)
    lab.run()
    lab.fail(tokens[0], "no caf\udce9")
    with pytest.raises(RunCompensated, match=r"no caf\\udce9"):
        run.result()
    checked(run)


def test_a_failure_that_may_be_tried_again(lab: Lab) -> None:
    """The next attempt has a token of its own, and the old one no longer counts."""
    run = lab.start(buy, 7)
    lab.run()
    lab.fail(tokens[0], "busy", retry=True)
    lab.run()
    assert len(set(tokens)) == 2
    lab.fail(tokens[0], "busy", retry=True)  # the same again
    with pytest.raises(TokenSettled):
        lab.complete(tokens[0], Paid(payment="p-1"))
    lab.complete(tokens[1], Paid(payment="p-2"))
    assert checked(run).result() == "7 by p-2"


def test_a_result_that_comes_before_the_step_returned_is_kept(lab: Lab) -> None:
    """The run goes on when the attempt has ended, and not before."""
    seen: list[str] = []

    def early(ctx: StepContext) -> None:
        lab.complete(ctx.token, Paid(payment="early"))
        lab.complete(ctx.token, Paid(payment="early"))
        with pytest.raises(TokenSettled):
            lab.complete(ctx.token, Paid(payment="other"))
        seen.append(lab.find("run-1").state().step("pay").status)

    behave["pay"] = early
    run = lab.start(buy, 7)
    assert checked(run).result() == "7 by early"
    assert seen == ["running"]
    assert len(tokens) == 1


def test_a_kept_result_wins_over_a_later_exception(lab: Lab) -> None:
    """Whatever the body says afterwards: the bank has paid."""

    def early(ctx: StepContext) -> None:
        lab.complete(ctx.token, Paid(payment="early"))
        raise Abort("the line broke", effect=False)

    behave["pay"] = early
    run = lab.start(buy, 7)
    assert checked(run).result() == "7 by early"


def test_a_kept_result_settles_an_attempt_whose_worker_died(lab: Lab) -> None:
    """Nothing is asked for a second time (a token of a lost attempt is not void at once)."""

    def early(ctx: StepContext) -> None:
        lab.complete(ctx.token, Paid(payment="early"))

    behave["pay"] = early
    lab.crash_after("pay")
    run = lab.start(buy, 7)
    assert checked(run).result() == "7 by early"
    assert lab.ran.count("pay") == 1


def test_a_kept_failure_counts_when_the_step_returns(lab: Lab) -> None:
    """A step that says that it succeeded did something: it is undone."""

    def early(ctx: StepContext) -> None:
        lab.fail(ctx.token, "no money", code="declined", effect=False)

    behave["pay"] = early
    run = lab.start(buy, 7)
    with pytest.raises(RunCompensated, match="no money"):
        run.result()
    assert undone == []
    checked(run)


def test_when_its_time_is_over_it_is_asked_again_with_another_token(lab: Lab) -> None:
    """Nobody knows what became of the first; its key is the same, and its token is void."""
    run = lab.start(buy, 7)
    lab.run().advance("2d").advance("1m")
    assert len(set(tokens)) == 2
    with pytest.raises(TokenVoid):
        lab.complete(tokens[0], Paid(payment="p-1"))
    with pytest.raises(TokenVoid):
        lab.complete(tokens[0], Paid(payment="p-1"))
    late = [event for event in run.history() if event.kind == "late"]
    assert [(event.attempt, event.data["outcome"]) for event in late] == [(1, "completed")]
    lab.complete(tokens[1], Paid(payment="p-2"))
    assert checked(run).result() == "7 by p-2"
    assert "no result came from outside" in run.story


def test_a_result_between_two_attempts_spares_the_second(lab: Lab) -> None:
    """As long as nobody was asked again, the late word is the answer."""
    run = lab.start(buy, 7)
    lab.run().advance("2d").advance("2s")
    assert len(tokens) == 1
    lab.complete(tokens[0], Paid(payment="p-1"))
    assert checked(run).result() == "7 by p-1"
    assert len(tokens) == 1


def test_a_token_is_one_of_its_try(lab: Lab) -> None:
    """In the next try there is another one; what comes with the old one is undone again (I25)."""
    run = lab.start(buy_again, 7)
    behave["beside"] = declined_once()
    lab.run().advance("1m")
    assert run.state().tries == 2
    assert len(set(tokens)) == 2
    assert undone == [(None, 0)]
    with pytest.raises(TokenVoid):
        lab.complete(tokens[0], Paid(payment="p-1"))
    lab.run()
    assert undone == [(None, 0), ("p-1", 1)], "with the result of its own try"
    lab.complete(tokens[1], Paid(payment="p-2"))
    lab.run()
    assert checked(run).status == "completed"
    with suppress(TokenVoid):  # said again, it is on record
        lab.complete(tokens[0], Paid(payment="p-1"))
    lab.run()
    assert (len(undone), run.status) == (2, "completed"), "and that is once"


def declined_once() -> Callable[[StepContext], None]:
    """A step that gives up the first time."""
    moods = [Abort("no", effect=False)]

    def meet(_ctx: StepContext) -> None:
        if moods:
            raise moods.pop()

    return meet


def test_a_fork_asks_anew_or_has_its_answer(lab: Lab) -> None:
    """A token is of the run that gave it away; what came with it, a fork takes over."""
    run = lab.start(buy, 7, id="a")
    lab.run()
    with pytest.raises(CommandRefused, match="still goes on"):
        run.fork(at="pay")
    lab.complete(tokens[0], Paid(payment="p-1"))
    assert run.result() == "7 by p-1"
    behind, anew = run.fork(at="ship", id="b"), run.fork(at="pay", id="c")
    lab.run()
    assert behind.result() == "7 by p-1"
    assert len(set(tokens)) == 2, "only one of them has asked"
    lab.complete(tokens[0], Paid(payment="p-1"))  # the same again, of the run that has ended
    assert anew.status == "waiting"
    with pytest.raises(TokenSettled):
        lab.complete(tokens[0], Paid(payment="p-2"))
    lab.complete(tokens[1], Paid(payment="p-2"))
    assert checked(anew).result() == "7 by p-2"
    assert checked(run).result() == "7 by p-1"


def test_what_comes_after_the_undo_is_undone_once_more(lab: Lab) -> None:
    """A late success is 410 for whoever brings it, and not lost (I4)."""
    run = lab.start(buy, 7)
    lab.run().advance("5d").advance("1m")
    assert run.status == "compensated"
    assert undone == [(None, 0)]
    assert (run.state().failure or Abort).code == "timeout"
    with pytest.raises(TokenVoid):
        lab.complete(tokens[1], Paid(payment="p-2"))
    lab.run()
    assert undone == [(None, 0), ("p-2", 1)]
    assert checked(run).status == "compensated"


def test_a_cancelled_run_waits_for_nobody(lab: Lab) -> None:
    """Its outcome is unknown, its token void, and it is undone at once."""
    run = lab.start(buy, 7)
    lab.run()
    before = lab.now
    run.cancel("no more")
    lab.run()
    assert run.status == "compensated"
    assert undone == [(None, 0)]
    assert (lab.now - before).total_seconds() < 5
    with pytest.raises(TokenVoid):
        lab.fail(tokens[0], "no", effect=False)
    lab.run()
    assert undone == [(None, 0)]
    checked(run)


def test_a_branch_that_fails_does_not_wait_for_those_outside(lab: Lab) -> None:
    """The other branch turns the run round; what was asked for is undone at once."""

    def fail(_: StepContext) -> None:
        raise Abort("no")

    behave["beside"] = fail
    lab.delay("beside", "1s")
    run = lab.start(both, 7)
    lab.run()
    assert checked(run).status == "compensated"
    assert lab.ran == ["pay", "beside", "undo beside", "undo pay"]
    assert undone == [(None, 0)]


def test_a_run_that_turned_before_the_step_returned(lab: Lab) -> None:
    """It had asked already: it counts as unknown when it says so, and nobody waits."""

    def turn(_: StepContext) -> None:
        lab.find("run-1").cancel("meanwhile")

    behave["pay"] = turn
    run = lab.start(buy, 7)
    lab.run()
    assert checked(run).status == "compensated"
    assert undone == [(None, 0)]


def test_made_up_tokens_and_those_of_runs_that_are_gone(lab: Lab) -> None:
    """One error for all of them, which does not say what there is."""
    lab.start(buy, 7)
    lab.run()
    name, _, secret = tokens[0].partition(".")
    for made_up in (
        "",
        ".",
        name,
        f"{name}.",
        f"{name}.x",
        f".{secret}",
        "x" * 9999,
        f"e30.{secret}",
    ):
        with pytest.raises(TokenUnknown) as raised:
            lab.complete(made_up, Paid(payment="p-1"))
        assert secret not in str(raised.value)
    with pytest.raises(TokenUnknown):
        lab.complete(7, Paid(payment="p-1"))  # type: ignore[arg-type]
    for odd in ("1e999", "-1", "NaN", "9" * 3_000, "{}", '"one"'):
        text = f'["run-1", {odd}, "pay", 1]'.encode()
        name = base64.urlsafe_b64encode(text).decode().rstrip("=")
        with pytest.raises(TokenUnknown):
            lab.complete(f"{name}.{secret}", Paid(payment="p-1"))


def test_a_paused_run_has_as_much_time_as_any(lab: Lab) -> None:
    """Time in which an operator holds it does not count; a result is taken all the same."""
    run = lab.start(buy, 7)
    lab.run()
    run.pause("look")
    lab.advance("3d")
    run.resume()
    lab.advance("1d")
    assert run.status == "waiting"
    run.pause("look")
    lab.complete(tokens[0], Paid(payment="p-1"))
    lab.advance("1d")
    assert (run.status, lab.ran) == ("paused", ["pay"])
    run.resume()
    assert checked(run).result() == "7 by p-1"


def test_an_operator_may_see_to_it_by_hand(lab: Lab) -> None:
    """The token is void then; should the run be undone, so is what was asked for."""
    run = lab.start(buy, 7)
    lab.run()
    run.skip("pay", Paid(payment="by hand"), "phoned")
    assert run.result() == "7 by by hand"
    with pytest.raises(TokenVoid):
        lab.complete(tokens[0], Paid(payment="p-1"))
    run.cancel()
    lab.run()
    assert checked(run).status == "compensated"
    assert len(undone) == 1


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def adopted(_amount: int) -> Any:
    """An existing task that knows where it runs."""
    tokens.append(current().token)
    return current().later(60)


@sagas.saga
def with_adopted(flow: Flow, amount: int) -> Any:
    """One of them."""
    return flow.step(adopted, amount)


@sagas.saga
def several(flow: Flow, amounts: list[int]) -> list[Paid]:
    """One each."""
    return flow.map(pay, amounts, concurrency=2)


def test_adopted_tasks_and_elements_of_maps_have_tokens(lab: Lab) -> None:
    """They reach their context as elsewhere; an element keeps its place while it waits."""
    run = lab.start(with_adopted, 7)
    lab.run()
    lab.complete(tokens.pop(), {"any": "thing"})
    assert run.result() == {"any": "thing"}
    many = lab.start(several, [1, 2, 3])
    lab.run()
    assert len(tokens) == 2
    assert many.state().step("pay").elements == {"waiting": 2, "pending": 1}
    lab.complete(tokens[1], Paid(payment="b"))
    lab.run()
    lab.complete(tokens[2], Paid(payment="c"))
    lab.complete(tokens[2], Paid(payment="c"))
    lab.complete(tokens[0], Paid(payment="a"))
    assert [each.payment for each in checked(many).result()] == ["a", "b", "c"]


@sagas.step
def spent(amount: int) -> None:
    """Nothing to it."""


@spent.compensation
def unspent(ctx: StepContext) -> Any:
    """Want what no compensation has."""
    undone.append(("unspent", 0))
    with pytest.raises(celeriac.CommandRefused, match="compensation"):
        _ = ctx.token
    return ctx.later("1d")


@sagas.saga
def undone_later(flow: Flow, amount: int) -> None:
    """Undo what cannot be undone later."""
    flow.step(spent, amount)


def test_a_compensation_has_no_token(lab: Lab) -> None:
    """It is said where it is asked for, and nothing waits for ever."""
    run = lab.start(undone_later, 7)
    lab.run()
    run.cancel()
    lab.run()
    failure = run.state().step("spent").undo_failure
    assert failure is not None
    assert failure.code == "misplaced_answer"


@pytest.mark.parametrize("given", [None, 0, "soon", True, float("inf"), 10**30])
def test_a_time_is_a_must(given: Any) -> None:
    """Or a callback that is lost would hold up the run for ever, and no alarm would tell."""
    local = Sagas(Celery("timeless", broker="memory://", set_as_current=False))

    @local.step
    def ask(ctx: StepContext) -> str:
        return ctx.later(given)

    @local.saga
    def wonder(flow: Flow) -> str:
        return flow.step(ask)

    lab = Lab()
    run = lab.start(wonder)
    lab.run()
    assert run.status == "compensated"
    failure = run.state().failure
    assert failure is not None
    assert failure.message.startswith("ctx.later takes a time")
