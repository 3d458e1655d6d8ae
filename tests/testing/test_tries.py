"""Sagas that begin anew, in the lab: keys, payloads and what people see of each try.

Owns: what real bodies get and leave in a new try, and what operators may do between two.  Refuses
to know: when a run begins anew (`tests/machine/test_tries.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import (
    Abort,
    CommandRefused,
    DefinitionError,
    Flow,
    Retry,
    RunCompensated,
    Sagas,
    Signal,
    StepContext,
)
from celeriac.machine import EventKind
from celeriac.testing import explore
from celeriac.views.watching import tree
from celeriac.views.wording import happening, options, whereabouts
from tests.testing.ledger import Ledger

if TYPE_CHECKING:
    from celeriac.testing import Lab, LabRun

app = Celery("tries", set_as_current=False)
sagas = Sagas(app)
ledger = Ledger()
given: list[Any] = []
moods: list[Any] = []  # what each body of `charge` meets, in turn

ONCE = Retry(max_attempts=1)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what happened."""
    ledger.__init__()  # type: ignore[misc]
    given.clear()
    moods.clear()


@sagas.step(retry=ONCE)
def reserve(ctx: StepContext, _order: str) -> str:
    """Its result tells of the try."""
    given.append((ctx.step, ctx.attempt, ctx.idempotency_key))
    ledger.do(ctx.idempotency_key)
    return f"hold {ctx.idempotency_key}"


@reserve.compensation
def release(ctx: StepContext, result: str | None) -> None:
    """It is given the result of its own try."""
    assert result in (None, f"hold {ctx.idempotency_key}")
    ledger.undo(ctx.idempotency_key)


@sagas.step(retry=ONCE)
def charge(ctx: StepContext, hold: str) -> str:
    """Fails as often as somebody wants it to."""
    assert hold == f"hold {ctx.idempotency_key.replace('charge', 'reserve')}"
    mood = moods.pop(0) if moods else None
    if isinstance(mood, BaseException):
        raise mood
    ledger.do(ctx.idempotency_key)
    return hold


@charge.compensation
def refund(ctx: StepContext, hold: str, result: str | None) -> None:
    """It has the hold of its own try, whatever try the run is at."""
    assert hold == f"hold {ctx.idempotency_key.replace('charge', 'reserve')}"
    assert result in (None, hold)
    ledger.undo(ctx.idempotency_key)


@sagas.saga(retries=2, retry_delay="1m", compensation_order="reverse")
def place_order(flow: Flow, order: str) -> str:
    """Reserve, then charge."""
    return flow.step(charge, flow.step(reserve, order))


@sagas.saga(retries=1, retry_delay=0)
def at_once(flow: Flow, order: str) -> str:
    """The same without a pause."""
    return flow.step(charge, flow.step(reserve, order))


def declined(**told: Any) -> Abort:
    """What the bank says."""
    return Abort("declined", effect=False, **told)


def test_each_try_has_keys_of_its_own(lab: Lab) -> None:
    """And attempts that count from one, and the result is that of the last."""
    moods.extend([declined(), declined()])
    run = lab.start(place_order, "A", id="order-42")
    lab.run()
    keys = ["order-42:reserve", "order-42~2:reserve", "order-42~3:reserve"]
    assert given == [("reserve", 1, key) for key in keys]
    assert run.result() == "hold order-42~3:reserve"
    assert run.state().tries == 3
    assert ledger.live == {"order-42~3:reserve", "order-42~3:charge"}


def test_who_waits_hears_of_the_last_end_only(lab: Lab) -> None:
    """With the failure of the last try, and its answer."""
    moods.extend([declined(answer="later", final=False), declined(), declined(code="stolen")])
    run = lab.start(place_order, "A")
    lab.advance("90s")
    assert (run.status, run.state().answer) == ("running", None) or run.state().tries == 2
    lab.run()
    with pytest.raises(RunCompensated) as caught:
        run.result()
    assert caught.value.failure is not None
    assert (caught.value.failure.code, caught.value.answer) == ("stolen", None)
    assert ledger.live == set()


@pytest.mark.parametrize("last", [declined(final=True), declined(answer="no")])
def test_a_step_may_say_that_it_is_final(lab: Lab, last: Abort) -> None:
    """An answer to the caller is."""
    moods.append(last)
    run = lab.start(place_order, "A")
    lab.run()
    assert (run.status, run.state().tries) == ("compensated", 1)


@pytest.mark.parametrize("saga", [place_order, at_once])
def test_nothing_of_a_try_is_left_in_the_next(lab: Lab, saga: Any) -> None:
    """Its failure is told while it waits, and no longer."""
    moods.append(declined(code="busy"))
    run = lab.start(saga, "A")
    lab.run()
    state = run.state()
    assert (state.failure, state.why, state.step("charge").failure) == (None, None, None)
    assert (state.tries, state.most_tries) == (2, 3 if saga is place_order else 2)


def test_people_see_that_it_waits(lab: Lab) -> None:
    """Until when, for what, and what they may do."""
    moods.append(declined(code="busy"))
    run = lab.start(place_order, "A", id="order-42")
    lab.advance("10s")
    state = run.state()
    assert (state.status, state.begins_anew, state.tries) == ("waiting", True, 1)
    assert "begins anew" in whereabouts(state)
    assert "charge [busy]" in whereabouts(state)
    assert [each.verb for each in options(state)] == ["retry", "cancel", "terminate"]
    found = lab.world.store.look("order-42")
    assert found.run is not None
    (line, *_) = tree(place_order.planned.plan, found.run, found.now)
    assert "try 1 of 3 was undone, begins anew in" in line
    told = [happening(event) for event in run.history()]
    assert told[-1] == "try ended; begins anew in 60.0 s"


def test_an_operator_need_not_wait(lab: Lab) -> None:
    """Nor let it begin."""
    moods.extend([declined(), declined()])
    run = lab.start(place_order, "A")
    lab.advance("10s")
    assert run.retry(reason="the bank is back")
    lab.advance("5s")
    assert (run.status, run.state().tries) == ("waiting", 2)
    run.cancel(reason="enough")
    assert (run.status, run.state().why) == ("compensated", "cancelled")
    with pytest.raises(CommandRefused):
        run.retry()


def test_what_arrives_late_is_undone_with_the_values_of_its_try(lab: Lab) -> None:
    """The first try's charge lands when the second has done all it had to."""
    lab.late("charge")
    run = lab.start(place_order, "A", id="order-42")
    lab.run()
    assert run.state().tries == 2
    assert ledger.live == {"order-42~2:reserve", "order-42~2:charge"}


def test_a_zombie_of_an_earlier_try_is_undone_again(lab: Lab) -> None:
    """It reports success while the second try is at work, or was."""
    lab.stop("charge after body")
    run = lab.start(place_order, "A", id="order-42")
    lab.run()
    assert (run.status, run.result()) == ("completed", "hold order-42~2:reserve")
    assert ledger.live == {"order-42~2:reserve", "order-42~2:charge"}
    assert [each.kind for each in run.history()].count(EventKind.REOPENED) == 1
    assert "(before)" in "".join(happening(event) for event in run.history())


approved = Signal("approved", str)


@sagas.saga(retries=1, retry_delay="1m")
def asking(flow: Flow, order: str) -> str:
    """Ask somebody, then charge."""
    hold = flow.step(reserve, order)
    flow.wait(approved)
    return flow.step(charge, hold)


def test_what_was_approved_is_not_approved_again(lab: Lab) -> None:
    """A signal that comes between two tries is kept, and begins none."""
    moods.append(declined())
    run = lab.start(asking, "A")
    lab.signal(run, approved, "eve")
    lab.advance("10s")
    assert lab.signal(run, approved, "ada", id="2") == "kept"
    assert run.status == "waiting"
    lab.run()
    assert run.status == "completed"
    assert run.state().tries == 2


@sagas.step(retry=ONCE)
def check(_holds: list[str]) -> None:
    """Fails as often as somebody wants it to."""
    if moods:
        raise moods.pop(0)


@sagas.saga(retries=1, retry_delay="30s")
def for_each(flow: Flow, orders: list[str]) -> list[str]:
    """A map, and a step that fails after it."""
    holds = flow.map(reserve, orders, concurrency=2)
    flow.step(check, holds)
    return holds


def test_elements_are_done_anew(lab: Lab) -> None:
    """Each under the key of its try, with results of its own."""
    moods.append(declined())
    run = lab.start(for_each, ["A", "B", "C"], id="r")
    lab.run()
    assert run.result() == [f"hold r~2:reserve[{n}]" for n in range(3)]
    assert ledger.live == {f"r~2:reserve[{n}]" for n in range(3)}


def unlucky() -> None:
    """The world is new, and the bank declines once."""
    ledger.__init__()  # type: ignore[misc]
    moods[:] = [declined()]


def one_try_stands(run: LabRun[str]) -> None:
    """Of all tries at most the last stands, as a whole."""
    tries = run.state().tries
    newest = run.id if tries == 1 else f"{run.id}~{tries}"
    keys = {f"{newest}:reserve", f"{newest}:charge"}
    assert ledger.live == (keys if run.status == "completed" else set())


def test_whatever_goes_wrong_one_try_stands() -> None:
    """At whichever point, also what comes late from the try before."""
    report = explore(at_once, "A", check=one_try_stands, fresh=unlucky, most=400, seconds=150)
    assert report.ok, report


def nothing(flow: Flow) -> None:
    """No saga yet."""


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"retries": -1}, "retries must be a whole number from 0, not -1"),
        ({"retries": True}, "retries must be a whole number from 0, not True"),
        ({"retry_delay": "soon"}, "retry_delay: 'soon' is not a duration"),
        ({"retry_delay": -1}, "retry_delay: a duration must be positive"),
    ],
)
def test_options_are_checked(options: dict[str, Any], problem: str) -> None:
    """When the saga is defined, by name."""
    with pytest.raises(DefinitionError, match=problem):
        sagas.saga(**options)(nothing)
