"""Steps that choose, steps that depend on that, and steps that find nothing to do.

Owns: guards (I16).  Refuses to know: how conditions are written (`tests/authoring`), and values.
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine import Choice, Guard, Node
from celeriac.machine.steps import PhaseStatus, StepStatus
from tests.machine.story import Story, refused, started, step

YES, NO = ("yes",), ("no",)


def asks(name: str, **values: Any) -> Node:
    """A step that answers yes or no, and has nothing to undo."""
    return step(name, undo=None, choice=Choice(labels=("yes", "no")), **values)


def guarded(name: str, *guards: tuple[str, str], **values: Any) -> Node:
    """A step that runs only after these answers."""
    made = tuple(Guard(step=asked, among=(label,)) for asked, label in guards)
    return step(name, guards=made, **values)


def either_way() -> Story:
    """Pay; by card or by transfer, as was asked; then ship."""
    return started(
        asks("by_card"),
        guarded("charge", ("by_card", "yes"), after=("by_card",)),
        guarded("invoice", ("by_card", "no"), after=("by_card",)),
        step("ship", after=("charge", "invoice")),
    )


@pytest.mark.parametrize(
    ("answer", "does", "skips"), [("yes", "charge", "invoice"), ("no", "invoice", "charge")]
)
def test_an_answer_decides_what_is_done(answer: str, does: str, skips: str) -> None:
    """The other is skipped in its turn, and holds nobody up."""
    story = either_way()
    done = story.choose("by_card", answer)
    assert [d.step for d in done.dispatches] == [does]
    assert story[skips].status is StepStatus.SKIPPED
    assert done.events[0].data == {"choice": answer}
    with refused("not_due"):
        story.claim(skips)
    story.claim(does)
    assert [d.step for d in story.complete(does).dispatches] == ["ship"]
    story.do("ship")
    assert story.status == "completed"
    story.check_history()


def test_what_was_guarded_out_is_not_undone() -> None:
    """It never started."""
    story = either_way()
    story.choose("by_card", "yes")
    story.do("charge").give_up("ship", effect=False)
    story.undo("charge")
    assert story.status == "compensated"
    assert story["invoice"].undo.attempt == 0


def test_nothing_is_decided_before_the_answer() -> None:
    """A step that is only tried again has not answered."""
    story = either_way()
    story.claim("by_card")
    story.fail("by_card")
    assert {story[name].do.state for name in ("charge", "invoice")} == {PhaseStatus.IDLE}


def test_a_run_may_end_with_steps_that_nobody_chose() -> None:
    """All at once, however many there are."""
    story = started(
        asks("wanted"),
        guarded("wrap", ("wanted", "yes"), after=("wanted",)),
        guarded("tie", ("wanted", "yes"), after=("wrap",)),
        guarded("card", ("wanted", "yes"), after=("tie",)),
    )
    done = story.choose("wanted", "no")
    assert story.status == "completed"
    assert not done.dispatches


def nested() -> Story:
    """Three conditions, one inside the other, and what comes behind all of them."""
    return started(
        asks("a"),
        asks("b", guards=(Guard(step="a", among=YES),), after=("a",)),
        asks("c", guards=tuple(Guard(step=s, among=YES) for s in "ab"), after=("b",)),
        guarded("deep", ("a", "yes"), ("b", "yes"), ("c", "yes"), after=("c",)),
        guarded("deep_no", ("a", "yes"), ("b", "yes"), ("c", "no"), after=("c",)),
        step("after", after=("deep", "deep_no")),
    )


def test_a_question_that_was_never_asked_is_no_answer() -> None:
    """Neither case of an inner condition is done, and what follows does not wait for it."""
    story = nested()
    assert [d.step for d in story.choose("a", "no").dispatches] == ["after"]
    assert {story[n].status for n in ("b", "c", "deep", "deep_no")} == {StepStatus.SKIPPED}
    story.do("after")
    assert story.status == "completed"


def test_conditions_inside_one_another() -> None:
    """Each is asked in its turn."""
    story = nested()
    for name in "ab":
        story.choose(name, "yes")
    assert [d.step for d in story.choose("c", "no").dispatches] == ["deep_no"]
    assert story["deep"].status is StepStatus.SKIPPED


def test_an_operator_answers_in_place_of_a_step() -> None:
    """The answer comes with the result."""
    story = either_way()
    assert [d.step for d in story.skip("by_card", "no").dispatches] == ["invoice"]


def test_an_answer_ahead_of_its_turn_does_not_open_what_is_inside_another_condition() -> None:
    """All guards have to hold."""
    story = nested()
    story.skip("b", "yes")
    assert [d.step for d in story.choose("a", "no").dispatches] == ["after"]


def test_a_default_is_for_any_other_answer() -> None:
    """But not for none."""
    rest = Guard(step="kind", among=("small",), but=True)
    story = started(
        step("kind", undo=None, choice=Choice(labels=("small",), default=True)),
        step("crate", guards=(rest,), after=("kind",)),
    )
    assert [d.step for d in story.choose("kind", "huge").dispatches] == ["crate"]
    assert not rest.holds("")
    assert not rest.holds("small")


def test_a_late_answer_is_the_answer() -> None:
    """Of an attempt that was given up, as long as no other has answered."""
    story = either_way()
    story.lose("by_card")
    assert [d.step for d in story.complete("by_card", attempt=1, choice="no").dispatches] == [
        "invoice"
    ]


def test_a_second_answer_changes_nothing() -> None:
    """What was recorded stays (I15)."""
    story = either_way()
    story.lose("by_card")
    story.claim("by_card")
    story.complete("by_card", choice="yes")
    story.complete("by_card", attempt=1, choice="no")
    assert story["by_card"].choice == "yes"
    assert story["invoice"].status is StepStatus.SKIPPED


def test_a_pivot_that_was_not_chosen_is_no_point_of_no_return() -> None:
    """The run can still be undone."""
    story = started(
        "reserve",
        asks("online"),
        guarded("capture", ("online", "yes"), pivot=True),
        "ship",
    ).do("reserve")
    story.choose("online", "no")
    story.cancel()
    story.undo("reserve")
    assert story.status == "compensated"


# --- a step that finds nothing to do -----------------------------------------------------------


def test_a_step_may_find_nothing_to_do() -> None:
    """It is skipped, the run goes on, and there is nothing to undo."""
    story = started("reserve", "wrap", "ship").do("reserve")
    story.claim("wrap")
    done = story.complete("wrap", skips=True)
    assert [d.step for d in done.dispatches] == ["ship"]
    assert story["wrap"].status is StepStatus.SKIPPED
    assert not story.complete("wrap", skips=True).events
    story.give_up("ship", effect=False)
    story.undo("reserve")
    assert story.status == "compensated"
    story.check_history()


def test_what_an_attempt_before_may_have_done_is_undone_all_the_same() -> None:
    """Unknown is sticky (I6)."""
    story = started("reserve", "ship")
    story.lose("reserve")
    story.claim("reserve")
    story.complete("reserve", skips=True)
    story.cancel()
    story.advance(60_000).wake()
    story.undo("reserve")
    assert story.status == "compensated"


def test_that_nothing_was_to_be_done_may_come_late() -> None:
    """It is noted, and the step is tried again."""
    story = started("reserve").lose("reserve")
    assert story.complete("reserve", attempt=1, skips=True).events[0].kind == "late"
    story.do("reserve")
    assert story.status == "completed"


def test_a_branch_that_finds_nothing_while_an_operator_is_asked() -> None:
    """The run goes on resting: it was not asked for that."""
    story = started(
        step("pay", pivot=True), step("a", after=("pay",)), step("b", after=("pay",))
    ).do("pay")
    story.claim("b")
    story.give_up("a")
    story.complete("b", skips=True)
    assert (story.status, story.run.owed) == ("failed", ("a",))
