"""Two phases in the lab and under the explorer: real functions prepare, confirm and cancel.

Owns: what they are given, and that all is confirmed or all is cancelled.  Refuses to know: what the
state machine decides (`tests/machine/test_two_phase.py`), and how it is written
(`tests/authoring/test_two_phase.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import Abort, CommandRefused, Done, Flow, RunFailed, Sagas, Skip, StepContext
from celeriac.testing import Lab, explore
from celeriac.views import wording

if TYPE_CHECKING:
    from celeriac.testing import LabRun

app = Celery("transfers", set_as_current=False)
sagas = Sagas(app)
books: dict[str, str] = {}  # by the key of the prepare: held, taken or released
told: list[tuple[str, str, str, str | None]] = []


def forget() -> None:
    """Let nothing be held."""
    books.clear()
    told.clear()


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what was held before."""
    forget()


def prepare(ctx: StepContext, account: str) -> str | None:
    """Hold, unless it was released before it came; an account may need none."""
    if account == "own":
        raise Skip("nothing to hold")
    if books.get(ctx.idempotency_key) == "released":
        raise Abort("released before", effect=False)
    books.setdefault(ctx.idempotency_key, "held")
    return ctx.idempotency_key


@sagas.step
def debit(ctx: StepContext, account: str) -> str | None:
    """Prepare."""
    return prepare(ctx, account)


@debit.compensation
def release_debit(ctx: StepContext) -> None:
    """Cancel; what was never held is not held from now on."""
    books[ctx.idempotency_key] = "released"


@debit.confirm
def take_debit(ctx: StepContext, account: str, result: str | None) -> None:
    """Confirm."""
    told.append((ctx.step, ctx.idempotency_key, account, ctx.reason))
    assert result is not None
    assert books[result] in ("held", "taken"), "confirmed, though it was released"
    books[result] = "taken"


@sagas.step
def credit(ctx: StepContext, account: str) -> str | None:
    """Prepare."""
    return prepare(ctx, account)


@credit.compensation
def release_credit(ctx: StepContext) -> None:
    """Cancel."""
    books[ctx.idempotency_key] = "released"


@credit.confirm
def take_credit(result: str | None) -> None:
    """Confirm."""
    assert result is not None
    books[result] = "taken"


@sagas.step
def tell(account: str) -> str:
    """The end."""
    return f"from {account}"


@sagas.saga
def transfer(flow: Flow, source: str, target: str) -> str:
    """Move money."""
    with flow.two_phase():
        flow.step(debit, source)
        flow.step(credit, target)
    return flow.step(tell, source)


def test_nobody_is_told_to_undo_what_is_confirmed(lab: Lab) -> None:
    """A cancel would be refused, so it is no advice and no button."""
    run = lab.start(transfer, "mine", "yours", id="t")
    run.result()
    assert run.state().only_forward
    assert wording.options(run.state()) == []
    with pytest.raises(CommandRefused, match="it only goes forward"):
        run.cancel("too late")


def test_what_is_prepared_is_confirmed(lab: Lab) -> None:
    """A confirm has a key of its own, the name of its step, and no reason: nothing went wrong."""
    run = lab.start(transfer, "mine", "yours", id="t")
    assert run.result() == "from mine"
    assert books == {"t:debit": "taken", "t:credit": "taken"}
    assert told == [("debit", "t:debit.confirm", "mine", None)]
    shown = {step.name: step.status.value for step in run.state().steps}
    assert shown == {"debit": "confirmed", "credit": "confirmed", "tell": "completed"}
    assert run.state().step("debit").confirm_attempts == 1
    with pytest.raises(CommandRefused, match="what was prepared is confirmed"):
        run.cancel()


def test_if_one_fails_all_are_cancelled(lab: Lab) -> None:
    """Also the one that failed, unless it proved that it did nothing."""
    lab.fail("credit", error=Abort("account closed"))
    run = lab.start(transfer, "mine", "yours", id="t")
    lab.run()
    assert run.status == "compensated"
    assert books == {"t:debit": "released", "t:credit": "released"}
    assert run.undone == ["credit", "debit"]


def test_a_step_that_skips_itself_does_not_join(lab: Lab) -> None:
    """It is neither confirmed nor cancelled."""
    run = lab.start(transfer, "own", "yours", id="t")
    assert run.result() == "from own"
    assert books == {"t:credit": "taken"}
    assert run.state().step("debit").status == "skipped"


def test_a_confirm_is_tried_until_it_succeeds(lab: Lab) -> None:
    """However often it fails."""
    lab.fail("debit.confirm", times=9)
    run = lab.start(transfer, "mine", "yours", id="t")
    assert run.result() == "from mine"
    assert run.state().step("debit").confirm_attempts == 10


@pytest.mark.parametrize("verb", ["retry", "waive", "skip"])
def test_a_confirm_that_aborts_is_owed_under_the_name_of_its_step(lab: Lab, verb: str) -> None:
    """An operator has it tried again, or has seen to it; nothing is cancelled."""
    lab.fail("debit.confirm", error=Abort("the bank says no", code="no"), times=1)
    run = lab.start(transfer, "mine", "yours", id="t")
    with pytest.raises(RunFailed, match=r"debit\.confirm"):
        run.result()
    state = run.state()
    assert state.owed == ("debit",)
    assert state.codes == {"no"}
    assert state.step("debit").status == "confirm_failed"
    assert books["t:debit"] == "held"
    if verb == "retry":
        run.retry("debit")
    elif verb == "skip":
        run.skip("debit", "overwritten", "taken by hand")
    else:
        run.waive("debit", reason="taken by hand")
    assert run.result() == "from mine"
    assert books["t:credit"] == "taken"
    ends = {"retry": "confirmed", "waive": "waived", "skip": "completed"}
    assert run.state().step("debit").status == ends[verb]
    given = run.export(payloads=True)["payloads"]["out:debit"]
    assert given != "overwritten", "a result never changes"


def test_whatever_goes_wrong_all_is_taken_or_nothing() -> None:
    """With any one fault: crashes, zombies, lost and doubled messages, cancels."""

    def check(run: LabRun[Any]) -> None:
        wanted = {"taken"} if run.status == "completed" else {"released"}
        assert set(books.values()) <= wanted

    report = explore(
        transfer, "mine", "yours", check=check, fresh=forget, pairs=False, most=200, seconds=120
    )
    assert report.ok, report


@sagas.step
def ask(account: str) -> str:
    """End the run where nothing is to be moved."""
    if account == "closed":
        raise Done("closed: nothing is moved")
    return account


@sagas.saga
def careful(flow: Flow, source: str, target: str) -> str:
    """A step between the two may end the run."""
    with flow.two_phase():
        flow.step(debit, source)
        flow.step(ask, target)
        flow.step(credit, target)
    return flow.step(tell, source)


def test_done_inside_confirms_what_joined(lab: Lab) -> None:
    """And the run has the result that the step gave."""
    run = lab.start(careful, "mine", "closed", id="t")
    assert run.result() == "closed: nothing is moved"
    assert books == {"t:debit": "taken"}
    shown = {step.name: step.status.value for step in run.state().steps}
    assert shown == {
        "debit": "confirmed",
        "ask": "completed",
        "credit": "skipped",
        "tell": "skipped",
    }
