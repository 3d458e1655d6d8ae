"""Children in the lab: a parent and the runs that are its steps, in virtual time.

Owns: what becomes of payloads, links and undos, and that nothing breaks whatever fails meanwhile.
Refuses to know: what the state machine decides (`tests/machine/test_children.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import (
    Abort,
    Flow,
    Retry,
    RunCompensated,
    RunFailed,
    RunNotFound,
    Sagas,
    StepContext,
)
from celeriac.observing.sentences import sentence
from celeriac.testing import explore

if TYPE_CHECKING:
    from celeriac.testing import Lab, LabRun

app = Celery("trips", set_as_current=False)
sagas = Sagas(app)
ledger: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Nothing was done."""
    ledger.clear()


@sagas.step
def reserve(ctx: StepContext, what: str) -> str:
    """Reserve something."""
    ledger.append(f"+{ctx.idempotency_key}")
    return what.upper()


@reserve.compensation
def release(ctx: StepContext, what: str) -> None:
    """Release it."""
    del what
    ledger.append(f"-{ctx.idempotency_key}")


@sagas.step
def label(what: str) -> str:
    """Print a label."""
    if what == "bad":
        raise Abort("no labels for that", code="no_label")
    return f"label of {what}"


@sagas.step
def check(what: str) -> str:
    """Fail for what is late."""
    if what == "late":
        raise Abort("too late", code="late")
    return what


@sagas.saga
def ship(flow: Flow, what: str) -> str:
    """Reserve and label."""
    flow.step(reserve, what)
    return flow.step(label, what)


@sagas.saga
def order(flow: Flow, what: str, last: str) -> str:
    """Reserve, ship in a run of its own, check."""
    flow.step(reserve, what)
    shipped = flow.child(ship, what)
    flow.step(check, last)
    return shipped


@sagas.saga
def again(flow: Flow, what: str) -> str:
    """Ship, in another run if need be."""
    return flow.options(retry=Retry(max_attempts=2)).child(ship, what)


@sagas.saga
def hurried(flow: Flow, what: str) -> str:
    """Ship within a minute."""
    return flow.options(timeout="1m").child(ship, what)


def each(flow: Flow, what: str) -> str:
    """One of several."""
    return flow.child(ship, what)


def is_large(items: list[str]) -> bool:
    """A predicate."""
    return len(items) > 3


@sagas.saga
def several(flow: Flow, items: list[str]) -> list[str]:
    """A run for each, one beside another, and one that is not chosen."""
    labels = flow.map(each, items, concurrency=2)
    with flow.parallel():
        flow.child(ship, "left")
        flow.step(check, "right")
    with flow.when(is_large, items):
        flow.child(ship, "never")
    return labels


@sagas.saga
def nested(flow: Flow, what: str) -> str:
    """A child that has a child."""
    return flow.child(order, what, "ok")


@sagas.step(effect="none")
def mail(what: str) -> str:
    """Cannot be asked for twice without asking somebody."""
    return f"mailed {what}"


@sagas.saga
def letter(flow: Flow, what: str) -> str:
    """Asks an operator if nobody knows."""
    return flow.step(mail, what)


@sagas.saga
def told(flow: Flow, what: str) -> str:
    """Reserve, and write a letter in a run of its own."""
    flow.step(reserve, what)
    return flow.child(letter, what)


@sagas.saga(retention="1d")
def brief(flow: Flow, what: str) -> str:
    """Kept for a day, if it is alone."""
    return flow.step(label, what)


@sagas.saga(retention="30d")
def patient(flow: Flow, what: str) -> str:
    """Sleeps for a month behind its child."""
    made = flow.child(brief, what)
    flow.sleep("30d")
    return made


def test_the_result_of_a_child_is_that_of_its_step(lab: Lab) -> None:
    """It is called after its parent and step, and names its parent."""
    run = lab.start(order, "book", "ok", id="order-1")
    lab.run()
    assert run.result() == "label of book"
    child = lab.find("order-1.ship")
    assert child.status == "completed"


def test_a_completed_child_is_undone_with_its_step(lab: Lab) -> None:
    """In its place: after what came behind it, before what came before it."""
    run = lab.start(order, "book", "late", id="order-1")
    lab.run()
    with pytest.raises(RunCompensated, match="too late"):
        run.result()
    assert lab.find("order-1.ship").status == "compensated"
    assert ledger == [
        "+order-1:reserve",
        "+order-1.ship:reserve",
        "-order-1.ship:reserve",
        "-order-1:reserve",
    ]


def test_a_child_that_is_undone_has_failed_its_step(lab: Lab) -> None:
    """There is nothing to undo of it, and the error says why."""
    run = lab.start(order, "bad", "ok", id="order-1")
    lab.run()
    with pytest.raises(RunCompensated, match="no labels for that"):
        run.result()
    assert ledger[-2:] == ["-order-1.ship:reserve", "-order-1:reserve"]


def test_it_is_shown_which_run_is_the_step_of_which(lab: Lab) -> None:
    """In the state, in the history and in the tree, in both directions."""
    run = lab.start(order, "book", "ok", id="order-1", tags={"region": "eu"})
    lab.run()
    assert run.state().step("ship").child == "order-1.ship"
    child = lab.find("order-1.ship").state()
    assert (child.parent, child.parent_step, child.tags) == ("order-1", "ship", {"region": "eu"})
    told = [sentence("order-1", event) for event in run.history()]
    assert "order-1 · ship · #1 claimed (its run is order-1.ship)" in told
    told = [sentence("order-1.ship", event) for event in lab.find("order-1.ship").history()]
    assert any("child of order-1, step ship" in each for each in told)
    assert told[-1] == "order-1.ship reported (its parent knows)"


def test_a_retry_policy_starts_another_child(lab: Lab) -> None:
    """After the old one has undone itself, under an id of its own."""
    lab.fail("label", times=3)
    run = lab.start(again, "book", id="order-1")
    lab.run()
    assert run.result() == "label of book"
    assert lab.find("order-1.ship").status == "compensated"
    assert lab.find("order-1.ship#2").status == "completed"


def test_the_timeout_of_a_child_is_its_deadline(lab: Lab) -> None:
    """It undoes itself then, and has failed the step."""
    lab.slow("label", "2m")
    run = lab.start(hurried, "book", id="order-1")
    lab.run()
    assert (run.status, lab.find("order-1.ship").status) == ("compensated", "compensated")
    assert lab.find("order-1.ship").state().why == "deadline"


@sagas.saga
def waits_for_time(flow: Flow, what: str) -> str:
    """Wait for longer than it may take."""
    flow.sleep("1h")
    return flow.step(label, what)


@sagas.saga
def impatient(flow: Flow, what: str) -> str:
    """A child whose end is the sweep's doing."""
    return flow.options(name="late", timeout="1m").child(waits_for_time, what)


def test_a_child_that_the_sweep_ends_tells_its_parent(lab: Lab) -> None:
    """That word is no message in a queue."""
    run = lab.start(impatient, "book", id="order-1")
    lab.advance("10m")
    assert (run.status, lab.find("order-1.late").status) == ("compensated", "compensated")


def test_an_operator_goes_on_without_a_child(lab: Lab) -> None:
    """Its result is anything: what reads it is checked then."""
    run = lab.start(order, "a chair", "ok", id="t")
    run.pause("no carrier")
    assert run.skip("ship", "brought by hand", "by phone")
    run.resume("")
    lab.run()
    assert run.result() == "brought by hand"


def test_a_child_in_a_map_a_branch_and_a_condition(lab: Lab) -> None:
    """Each element has a run of its own; what is not chosen has none."""
    run = lab.start(several, ["a", "b", "c"], id="order-1")
    lab.run()
    assert run.result() == ["label of a", "label of b", "label of c"]
    assert lab.find("order-1.each[2].ship").state().parent_step == "each[2].ship"
    assert run.state().step("ship-2").status == "skipped"
    run.cancel("changed my mind")
    lab.run()
    assert run.status == "compensated"
    assert sorted(ledger[::2]) != sorted(ledger), "each was undone"
    assert lab.find("order-1.each[0].ship").status == "compensated"


def test_an_id_that_is_taken_fails_the_step(lab: Lab) -> None:
    """A stranger's run is neither adopted nor cancelled."""
    stranger = lab.start(ship, "other", id="order-1.ship")
    lab.run()
    run = lab.start(order, "book", "ok", id="order-1")
    lab.run()
    with pytest.raises(RunCompensated, match="is no child of this step") as caught:
        run.result()
    assert caught.value.failure is not None
    assert caught.value.failure.code == "run_conflict"
    assert stranger.status == "completed"


def test_a_child_that_owes_makes_its_parent_owe_it(lab: Lab) -> None:
    """Once the child is settled, both go on by themselves."""
    lab.fail("undo reserve", times=3)
    run = lab.start(order, "bad", "ok", id="order-1")
    lab.run()
    child = lab.find("order-1.ship")
    assert (child.status, child.state().owed) == ("failed", ("reserve",))
    with pytest.raises(RunFailed):
        run.result()
    assert run.state().owed == ("ship",)
    child.retry()
    lab.run()
    assert (child.status, run.status) == ("compensated", "compensated")


def test_a_retry_of_the_parent_retries_what_its_child_owes(lab: Lab) -> None:
    """An operator need not look for it."""
    lab.fail("undo reserve", times=3)
    run = lab.start(order, "bad", "ok", id="order-1")
    lab.run()
    run.retry("ship")
    lab.run()
    assert run.status == "compensated"
    assert lab.find("order-1.ship").status == "compensated"


def test_a_child_that_asks_is_the_same_when_it_is_retried(lab: Lab) -> None:
    """Its parent rests until then, and has no other run beside it."""
    lab.crash_after("mail")
    run = lab.start(told, "book", id="order-1")
    lab.run()
    child = lab.find("order-1.letter")
    assert (run.status, run.state().owed) == ("failed", ("letter",))
    assert child.state().asking
    run.retry("letter")
    lab.run()
    assert (child.status, run.result()) == ("completed", "mailed book")
    assert run.state().step("letter").child == child.id


def test_termination_reaches_a_child_of_a_child(lab: Lab) -> None:
    """All depths; nothing is undone."""
    lab.at("label before body", lambda: lab.find("order-1").terminate("enough"))
    lab.start(nested, "book", id="order-1")
    lab.run()
    for run_id in ("order-1", "order-1.order", "order-1.order.ship"):
        assert lab.find(run_id).status == "terminated", run_id
    assert not [each for each in ledger if each.startswith("-")]


def test_a_child_is_kept_as_long_as_its_parent(lab: Lab) -> None:
    """Its own retention is over long before."""
    lab.start(patient, "book", id="order-1")
    lab.advance("40d")
    assert lab.find("order-1.brief").status == "completed"
    lab.advance("100d")
    with pytest.raises(RunNotFound):
        lab.find("order-1.brief").state()


def nothing_is_left(run: LabRun[Any]) -> None:
    """What is reserved is reserved by runs that completed, and undone otherwise."""
    done = {each[1:] for each in ledger if each.startswith("+")}
    undone = {each[1:] for each in ledger if each.startswith("-")}
    assert run.status == "completed" or done <= undone, ledger


@pytest.mark.parametrize("last", ["ok", "late"])
def test_it_holds_whatever_fails(last: str) -> None:
    """Each crash, loss and cancel, in the parent and in its child."""
    found = explore(
        order, "book", last, check=nothing_is_left, fresh=ledger.clear, pairs=False, most=250
    )
    assert found.ok, found
    assert found.tried > 50
