"""Conditions in the lab and under the explorer: real functions answer, and steps skip themselves.

Owns: what an answer and a Skip of a real body lead to.  Refuses to know: what the state machine
decides (`tests/machine/test_choices.py`), and how conditions are written (`tests/authoring`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celeriac import CommandRefused, Flow, InputInvalid, RunCompensated, Sagas, Skip
from celeriac.testing import explore
from celeriac.views.wording import trouble
from tests.testing import sagas as storms

if TYPE_CHECKING:
    from celeriac.testing import Lab, LabRun

app = Celery("gifts", set_as_current=False)
sagas = Sagas(app)
calls: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what was called."""
    calls.clear()


words: list[Skip] = []


def wants_paper(wish: str) -> bool:
    """A predicate."""
    calls.append("wants_paper")
    return wish.startswith("paper")


def colour_of(wish: str) -> str:
    """A router."""
    return wish.partition(" ")[2]


@sagas.step
def wrap(wish: str) -> str | None:
    """Wrap, unless there is no paper left."""
    calls.append("wrap")
    if words:
        raise words.pop()
    if wish.endswith("gold"):
        raise Skip("no gold left")
    return f"wrapped in {wish}"


@wrap.compensation
def unwrap(wish: str) -> None:
    """Undo it."""
    calls.append(f"unwrap {wish}")


@sagas.step
def hurry(wish: str) -> str:
    """Has to return something, and does not."""
    raise Skip(wish)


@sagas.step
def tag(text: str | None) -> str:
    """The end of it."""
    return f"tag: {text}"


@sagas.saga
def gift(flow: Flow, wish: str) -> str:
    """A gift."""
    with flow.when(wants_paper, wish):
        colour = flow.choose(colour_of, wish)
        with colour.case("red", "gold"):
            wrapped = flow.step(wrap, wish)
        with colour.case("none"):
            pass
    return flow.step(tag, flow.either(wrapped, "nothing"))


@sagas.saga
def hurried(flow: Flow, wish: str) -> str:
    """A step that may not skip itself."""
    return flow.step(hurry, wish)


@pytest.mark.parametrize(
    ("wish", "result"),
    [
        ("bag", "tag: nothing"),
        ("paper red", "tag: wrapped in paper red"),
        ("paper gold", "tag: nothing"),
        ("paper none", "tag: nothing"),
    ],
)
def test_what_is_done_depends_on_the_answers(lab: Lab, wish: str, result: str) -> None:
    """A step that skipped itself has no value, like one that nobody chose."""
    assert lab.start(gift, wish).result() == result
    assert calls.count("wants_paper") == 1


def test_a_label_without_a_case_fails_the_run(lab: Lab) -> None:
    """At once, and says which cases there are."""
    run = lab.start(gift, "paper blue")
    with pytest.raises(RunCompensated, match="answered 'blue'; there are cases for 'red', 'gold'"):
        run.result()
    assert lab.ran == ["wants_paper", "colour_of"]


def test_a_predicate_is_tried_again(lab: Lab) -> None:
    """Like any step; nothing is undone for it."""
    lab.fail("wants_paper", times=2)
    run = lab.start(gift, "paper red")
    assert run.result() == "tag: wrapped in paper red"
    assert run.state().step("wants_paper").attempts == 3
    assert run.cancel()
    lab.run()
    assert run.undone == ["wrap"]


def test_people_see_what_was_answered_and_what_was_skipped(lab: Lab) -> None:
    """In the state, with the reason, and in the history."""
    run = lab.start(gift, "bag", id="g")
    run.result()
    state = {step.name: (step.status.value, step.because) for step in run.state().steps}
    assert state["colour_of"] == ("skipped", "wants_paper answered false")
    assert state["wrap"] == ("skipped", "wants_paper answered false")
    assert run.state().step("wants_paper").choice == "false"
    answered = [event.data for event in run.history() if event.step == "wants_paper"]
    assert {"choice": "false"} in answered


def test_people_see_what_a_step_said_that_skipped_itself(lab: Lab) -> None:
    """In its state, in the history and in the story."""
    run = lab.start(gift, "paper gold")
    run.result()
    step = run.state().step("wrap")
    assert (step.status, step.because, step.failure) == ("skipped", "no gold left", None)
    assert trouble(step) == "skipped itself: no gold left"
    assert "wrap · #1 skipped (no gold left)" in run.story
    assert [e.data for e in run.history() if e.kind == "skipped"] == [{"said": "no gold left"}]


class Loud(Skip):
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Skip(), None),
        (Skip("x" * 10_000), "x" * 200 + " …"),
        (Skip({"order": 7}), "{'order': 7}"),
        (Skip("\x1b[2J<b>\ud800"), "\x1b[2J<b>\\ud800"),
        (Loud("x"), "<no text: str() of Loud raised ValueError>"),
    ],
)
def test_what_it_says_is_kept_short_and_harmless(lab: Lab, answer: Skip, said: str | None) -> None:
    """Whatever it is; where it is shown, it is a line of text."""
    words.append(answer)
    run = lab.start(gift, "paper red")
    assert run.result() == "tag: nothing"
    assert run.state().step("wrap").because == said
    told = next(event for event in run.history() if event.kind == "skipped")
    assert told.data == ({"said": said} if said else {})
    assert "\x1b" not in run.story


def test_a_step_that_has_to_return_something_may_not_skip_itself(lab: Lab) -> None:
    """It fails, and says how to annotate it."""
    run = lab.start(hurried, "x")
    with pytest.raises(RunCompensated, match="raises Skip, so its result may be None") as caught:
        run.result()
    assert caught.value.failure is not None
    assert caught.value.failure.code == "misplaced_answer"


def test_an_operator_answers_in_place_of_a_predicate(lab: Lab) -> None:
    """With a result that the predicate could have returned."""
    lab.fail("wants_paper")
    run = lab.start(gift, "paper red")
    lab.at("wants_paper before body", lambda: lab.find(run.id).pause("look"))
    lab.run()
    with pytest.raises(InputInvalid):
        run.skip("wants_paper", "perhaps", "by hand")
    assert run.skip("wants_paper", False, "by hand")
    run.resume()
    assert run.result() == "tag: nothing"
    with pytest.raises(CommandRefused):
        run.skip("tag", "x", "too late")


def test_an_operator_cannot_choose_what_there_is_no_case_for(lab: Lab) -> None:
    """Nor is anything written then."""
    run = lab.start(gift, "paper red")
    with pytest.raises(InputInvalid, match="there are cases for"):
        run.skip("colour_of", "blue", "by hand")


def test_conditions_pass_the_explorer() -> None:
    """Every path, every fault at every point, and some pairs."""

    def check(run: LabRun[object]) -> None:
        steps = {step.name for step in run.state().steps if step.status == "completed"}
        asked = {"is_long", "is_long-2", "size_of"}
        wanted = steps - asked if run.status == "completed" else set[str]()
        assert {key.partition(":")[2] for key in storms.ledger.live} == wanted

    for order in ("42", "a long one"):
        report = explore(
            storms.by_choice, order, check=check, fresh=storms.fresh, most=350, seconds=150
        )
        assert report.ok, report
        assert report.missed == 0
        assert report.levels[1].tried > 100
