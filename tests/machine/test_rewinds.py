"""A run is rewound: what stands, what is done again, and to which steps that can be done.

Owns: the rules of `rewinding`, and what an attempt still reports that was undone meanwhile.
Refuses to know: payloads and bodies (`tests/testing/test_rewinds.py`).
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine import Choice, Guard, Node, Plan, Undo, Wait
from celeriac.machine.commands import Claim, Complete, Rewind, Signal
from celeriac.machine.events import EventKind
from celeriac.machine.steps import Parent
from celeriac.machine.timing import due
from tests.machine.story import GRACE, Story, mapped, refused, saga, started, step


def done(*steps: Node | str, **values: Any) -> Story:
    """A run that has come to the last of these steps, which is at work."""
    story = started(*(steps or ("reserve", "charge", "ship")), **values)
    names = [node.name for node in story.plan.steps]
    story.do(*names[:-1]).claim(names[-1])
    return story


def test_what_came_after_is_undone_in_reverse_and_done_again() -> None:
    """What is at work ends first; what comes before stands, under its own key."""
    story = done()
    story.rewind("charge")
    assert (story.status, story.run.why) == ("compensating", "rewound")
    story.complete("ship")
    story.undo("ship", "charge")
    assert (story.status, story.run.why, story.run.rewinds) == ("running", "", 1)
    assert story.run.stands == (("reserve", 1),)
    assert (story["reserve"].do.state, story["charge"].do.state) == ("done", "scheduled")
    story.do("charge", "ship")
    assert story.status == "completed"
    story.cancel()
    story.undo("ship", "charge", "reserve")
    assert story.status == "compensated"
    story.check_history()


def test_the_same_call_again_is_no_second_rewind() -> None:
    """Neither on the way back nor afterwards."""
    story = started("reserve", "charge").do("reserve")
    call = Rewind("charge", "call")
    assert story.give(call).events
    assert not story.give(call).events
    story.do("charge")
    assert not story.give(call).events
    assert story.status == "completed"


def test_a_success_of_what_was_undone_is_undone_again() -> None:
    """While its step is done again, under another key; what stands is left alone."""
    story = started("reserve", "charge").do("reserve").lose("charge")
    story.rewind("charge")
    story.advance(GRACE).undo("charge")
    assert story.run.earlier[0].steps.keys() == {"charge"}
    story.do("charge")
    story.give(Complete("charge", "do", 1, story._holders[1, "charge", "do", 1], 1))
    assert story.status == "running"
    assert [(d.step, d.phase, d.epoch) for d in due(story.run)] == [("charge", "undo", 1)]
    story.give(Claim("charge", "undo", 2, "again", 1))
    story.give(Complete("charge", "undo", 2, "again", 1))
    assert story.status == "completed"
    story.check_history()


def test_a_late_report_of_what_stands_is_one_of_the_run() -> None:
    """Its attempts are those of the step that stands, whatever was rewound since."""
    story = started("reserve", "charge").lose("reserve")
    story.do("reserve", "charge")
    story.rewind("charge")
    story.advance(GRACE).undo("charge")
    holder = story._holders[1, "reserve", "do", 1]
    story.give(Complete("reserve", "do", 1, holder, 1))
    assert story["reserve"].do.late == (1,)
    story.cancel()
    story.undo("reserve")
    assert story.status == "compensated"
    story.check_history()


def test_a_cancel_on_the_way_back_undoes_all() -> None:
    """Also where an undo is owed."""
    story = started("reserve", "charge").do("reserve", "charge")
    story.rewind("charge")
    story.give_up("charge", "undo")
    assert (story.status, story.run.owed) == ("failed", ("charge",))
    story.cancel()
    assert (story.run.why, story.run.rewinds_to) == ("cancelled", "")
    story.undo("reserve")
    assert story.status == "failed"
    story.waive("charge")
    assert story.status == "compensated"
    story.check_history()


def test_what_is_owed_keeps_it_from_going_forward() -> None:
    """Until an operator has seen to it."""
    story = started("reserve", "charge").do("reserve", "charge")
    story.rewind("charge")
    story.give_up("charge", "undo")
    story.waive("charge")
    assert (story.status, story.run.rewinds) == ("running", 1)
    assert not story.waive("charge").events
    story.check_history()


def test_a_run_that_waits_for_an_operator_goes_back() -> None:
    """To a step whose outcome nobody knows: what it may have done is undone first."""
    asks = step("charge", on_unknown="operator")
    story = started("reserve", asks).do("reserve").lose("charge").lose("charge")
    assert story.status == "failed"
    story.rewind("charge")
    story.advance(GRACE).undo("charge")
    assert story.status == "running"
    story.check_history()


def test_time_at_rest_counts_for_no_deadline() -> None:
    """Nor does paused time; and a deadline that passes on the way back undoes all."""
    story = started("reserve", "charge", deadline=60_000).do("reserve", "charge")
    before = story.run.deadline or 0
    story.advance(100_000).rewind("charge")
    assert story.run.deadline == before + 100_000
    story.advance(60_000).undo("charge")
    story.wake()
    assert (story.run.why, story.run.rewinds) == ("deadline", 1)
    story.undo("reserve")
    assert story.status == "compensated"
    story.check_history()


def test_a_paused_run_goes_back_at_once() -> None:
    """Who asks for it wants it now."""
    story = started("reserve", "charge", "ship").do("reserve", "charge")
    story.pause()
    story.rewind("charge")
    assert not story.run.paused
    story.undo("charge").do("charge", "ship")
    assert story.status == "completed"


def test_a_signal_that_was_taken_stays_taken() -> None:
    """The wait waits anew; what came meanwhile is there for it."""
    wait = Node(name="approved", task="", wait=Wait(signal="approved"))
    story = started("reserve", wait, "ship", signals={"approved": {}}).do("reserve")
    story.give(Signal("approved", "first"))
    story.do("ship")
    story.rewind("approved")
    story.give(Signal("approved", "second"))
    story.undo("ship")
    taken = {each.key: each.taken_by for each in story.run.signals}
    assert taken == {"first": "approved", "second": "approved"}
    assert story["ship"].do.state == "scheduled"
    story.check_history()


# --- what is refused ---------------------------------------------------------------------------


def test_nothing_past_a_pivot_is_rewound() -> None:
    """It only goes forward."""
    story = done("reserve", step("charge", pivot=True), "ship")
    with refused("past_pivot"):
        story.rewind("reserve")


def test_an_unknown_step_and_one_that_was_not_reached() -> None:
    """The names are said."""
    story = started("reserve", "charge", "ship").do("reserve")
    with refused("unknown_step", "reserve, charge, ship"):
        story.rewind("pay")
    with refused("not_reached", "only to 'charge'"):
        story.rewind("ship")


def test_a_run_that_is_undone_or_was() -> None:
    """There is nothing to go on from."""
    story = started("reserve", "charge").do("reserve")
    story.cancel()
    with refused("turned", "being undone"):
        story.rewind("charge")
    story.undo("reserve")
    with refused("at_rest", "start it anew"):
        story.rewind("charge")
    other = started("reserve", "charge").do("reserve")
    other.terminate()
    with refused("at_rest", "terminated"):
        other.rewind("charge")


def test_one_rewind_at_a_time() -> None:
    """It is said where it goes back to."""
    story = started("reserve", "charge", "ship").do("reserve", "charge", "ship")
    story.rewind("ship")
    with refused("turned", "back to 'ship'"):
        story.rewind("charge")


def test_a_child_whose_parent_has_its_result() -> None:
    """That run is to be rewound; one that still goes on may be."""
    story = Story(saga("reserve", "charge"))
    story.start(parent=Parent("trip-7", 1, "order"))
    story.do("reserve")
    story.rewind("reserve")
    story.undo("reserve").do("reserve", "charge")
    assert story.status == "completed"
    with refused("a_child", "rewind that run"):
        story.rewind("charge")


def branches() -> Plan:
    """Two branches of two steps between two others."""
    after = {"hotel": "begin", "car": "begin", "sea view": "hotel", "insure": "car"}
    nodes = [step("begin"), step("hotel", after=("begin",)), step("sea view", after=("hotel",))]
    nodes += [step("car", after=("begin",)), step("insure", after=("car",))]
    nodes.append(step("confirm", after=("sea view", "insure")))
    assert {node.name: node.after[0] for node in nodes[1:5]} == after
    return Plan(saga="trip", nodes=tuple(nodes))


def test_into_branches_only_by_their_first_step() -> None:
    """It stands for the whole block, and is named."""
    story = Story(branches())
    story.start()
    story.do("begin", "hotel", "sea view", "car", "insure")
    for name in ("car", "insure", "sea view"):
        with refused("inside", "rewind to 'hotel'"):
            story.rewind(name)
    story.rewind("hotel")
    story.undo("insure", "car", "sea view", "hotel")
    assert {name for name, _ in story.run.stands} == {"begin"}
    assert story["car"].do.state == "scheduled"
    story.check_history()


def test_into_a_map_or_a_scope_only_as_a_whole() -> None:
    """The map, or the first step inside, is named."""
    story = started("reserve", mapped("ship"))
    story.do("reserve").expand("ship", 2)
    with refused("inside", "rewind to 'ship'"):
        story.rewind("ship[1]")
    inside = [step("hotel", undo=None), step("car", undo=None, after=("hotel",))]
    undo = Undo(task="shop.call_off", wants=())
    scope = Node(name="call_off", task=undo.task, undo=undo, covers=("hotel", "car"))
    whole = Story(Plan(saga="trip", nodes=(scope, *inside)))
    whole.start()
    whole.do("hotel", "car")
    with refused("inside", "rewind to 'hotel'"):
        whole.rewind("car")
    with refused("inside", "no step.*rewind to 'hotel'"):
        whole.rewind("call_off")
    with refused("unknown_step", "it has hotel, car$"):
        whole.rewind("boat")
    whole.rewind("hotel")
    whole.undo("call_off")
    assert whole.status == "running"


def test_a_branch_that_was_not_chosen_is_beside_nothing() -> None:
    """Of a condition, one side may be rewound without the other."""
    ask = step("ask", undo=None, choice=Choice(labels=("yes", "no")))
    sides = [
        step(name, guards=(Guard(step="ask", among=(name,)),), after=("ask",))
        for name in ("yes", "no")
    ]
    last = step("last", after=("yes", "no"))
    story = Story(Plan(saga="trip", nodes=(ask, *sides, last)))
    story.start()
    story.choose("ask", "no")
    story.do("no", "last")
    story.rewind("no")
    story.undo("last", "no").do("no", "last")
    assert story.status == "completed"
    assert story["yes"].do.state == "skipped"
    story.check_history()


def test_what_a_fork_has_inherited_is_not_done_in_it() -> None:
    """It may go back to what comes behind that."""
    story = Story(saga("reserve", "charge", "ship"))
    story.start(origin="order-1", inherits=(("reserve", ""), ("charge", "")))
    story.do("ship")
    with refused("inherited", "'charge' was taken over from 'order-1'"):
        story.rewind("reserve")
    story.rewind("ship")
    story.undo("ship").do("ship")
    assert story.status == "completed"


@pytest.mark.parametrize("ended", [True, False])
def test_a_step_that_ended_the_run(ended: bool) -> None:
    """Nothing behind it was reached; it may itself be done again."""
    story = started("reserve", "charge")
    story.claim("reserve")
    story.complete("reserve", ends=ended)
    if not ended:
        story.do("charge")
    assert story.status == "completed"
    if ended:
        with refused("not_reached", "'reserve'"):
            story.rewind("charge")
    story.rewind("reserve")
    story.undo(*(["charge"] if not ended else []), "reserve")
    assert (story.status, story.run.ended_by) == ("running", "")
    assert story.happened(EventKind.REWOUND) == [""]
    story.check_history()
