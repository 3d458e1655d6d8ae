"""Maps: elements begun a few at a time, joined once, undone side by side, told in few words.

Owns: what the state machine decides about instances.  Refuses to know: lists and their elements.
"""

from __future__ import annotations

import pytest

from celeriac.machine import Claim, Complete, Dispatch, Node, due, transition
from celeriac.machine.events import EventKind
from celeriac.machine.numbering import Ranges, instance_of, numbered
from celeriac.machine.steps import PhaseStatus
from celeriac.store.codec import dump_run, load_run
from tests.machine.story import Story, mapped, refused, saga, started, step


def mapping(count: int, *, concurrency: int = 2, **values: object) -> Story:
    """A run in which a map was counted, between two steps."""
    story = started("pack", mapped("ship", concurrency=concurrency), "tell", **values)
    story.do("pack")
    story.expand("ship", count)
    return story


def through(story: Story, numbers: range) -> Story:
    """Take and complete elements, one after the other."""
    return story.do(*(f"ship[{number}]" for number in numbers))


def test_names() -> None:
    """An instance has the name of its node, with a number."""
    assert numbered("ship[]", 3) == "ship[3]"
    assert numbered("pack[].label", 12) == "pack[12].label"
    assert numbered("ship", 3) == "ship"
    found = instance_of("pack[12].label")
    assert found is not None
    assert (found.map, found.number, found.rest) == ("pack", 12, ".label")
    assert found.node == "pack[].label"
    for name in ("ship", "ship[]", "ship[-1]", "ship[01]", "ship[1", "[1]", "ship[x]"):
        assert instance_of(name) is None


def test_a_set_of_numbers_is_told_as_ranges() -> None:
    """In few words, however many there are."""
    numbers, expected = Ranges(), set[int]()
    for number in (3, 1, 2, 7, 0, 2, 9, 8, 2, 7):
        numbers = numbers.toggled(number)
        expected ^= {number}
        assert list(numbers) == sorted(expected)
        assert list(reversed(numbers)) == sorted(expected, reverse=True)
        assert len(numbers) == len(expected)
        assert [each in numbers for each in range(11)] == [each in expected for each in range(11)]
    assert numbers.bounds == (0, 4, 8, 10)


def test_a_list_is_counted_when_its_turn_has_come() -> None:
    """Not before, and once."""
    story = started("pack", mapped("ship"), "tell")
    story.expand("ship", 3)
    assert story.happened(EventKind.EXPANDED) == []
    story.do("pack")
    done = story.expand("ship", 3)
    assert [each.step for each in done.dispatches] == ["ship[0]", "ship[1]"]
    story.expand("ship", 5)
    assert story.happened(EventKind.EXPANDED) == ["ship"]
    assert story.run.steps.maps["ship"].count == 3


def test_nobody_claims_a_map_itself() -> None:
    """Its elements are claimed, those that were begun."""
    story = started(mapped("ship"), "tell")
    with refused("not_due", "is a map"):
        story.claim("ship")
    with refused("unknown_step", "no elements yet"):
        story.claim("ship[0]")
    story.expand("ship", 3)
    with refused("unknown_step", "3 elements"):
        story.claim("ship[3]")
    with refused("not_due"):
        story.claim("ship[2]")
    with refused("unknown_step"):
        story.claim("ship[]")


def test_what_follows_starts_once_after_all_elements() -> None:
    """Whichever of them ends last."""
    story = mapping(4)
    story.claim("ship[1]")
    through(story, range(1))
    through(story, range(2, 4))
    assert story["tell"].do.state is PhaseStatus.IDLE
    done = story.complete("ship[1]")
    assert [each.step for each in done.dispatches] == ["tell"]
    assert story["ship"].do.state is PhaseStatus.DONE
    story.do("tell")
    assert story.status == "completed"
    story.check_history()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_any_number_of_elements(count: int) -> None:
    """None is a number too: what follows starts."""
    story = through(mapping(count), range(count))
    story.do("tell")
    assert story.status == "completed"
    assert story.run.started_steps == (3 if count else 2), "a map counts as one step"
    story.check_history()


def test_so_many_at_a_time() -> None:
    """The next is begun when one has ended."""
    story = mapping(10, concurrency=3)
    begun = [name for name, step_ in story.run.steps.open.items() if step_.do.state.claimable]
    assert begun == ["ship[0]", "ship[1]", "ship[2]"]
    story.claim("ship[1]")
    done = story.complete("ship[1]")
    assert [each.step for each in done.dispatches] == ["ship[3]"]


def test_an_element_that_fails_stops_the_map() -> None:
    """None is begun any more, and what was done is undone, as many at a time as before."""
    story = mapping(100, concurrency=3)
    through(story, range(10))
    story.claim("ship[11]")
    story.give_up("ship[10]", effect=False)
    assert story.status == "compensating"
    with refused("not_due"):
        story.claim("ship[12]")
    story.complete("ship[11]")
    assert sorted(each.step for each in due(story.run)) == ["ship[11]", "ship[8]", "ship[9]"]
    for number in (11, *range(9, -1, -1)):
        story.undo(f"ship[{number}]")
    story.undo("pack")
    assert story.status == "compensated"
    assert len(story.happened(EventKind.COMPLETED, "undo")) == 12
    story.check_history()


def test_a_map_is_undone_at_its_place() -> None:
    """After all that came after it, and before all that came before it."""
    story = through(mapping(3, concurrency=3), range(3))
    story.do("tell")
    story.cancel()
    with refused("not_due"):
        story.claim("ship[2]", "undo")
    story.undo("tell")
    with refused("not_due"):
        story.claim("pack", "undo")
    story.undo("ship[0]", "ship[2]", "ship[1]", "pack")
    assert story.status == "compensated"
    story.check_history()


def test_a_list_that_cannot_be_mapped_fails_the_run() -> None:
    """It took no attempt, and has nothing to undo."""
    story = started("pack", mapped("ship"), "tell")
    story.do("pack")
    story.expand("ship", 0, error="MapFailed", code="map")
    assert story.run.failed_step == "ship"
    story.undo("pack")
    assert story.status == "compensated"
    story.check_history()


def test_past_the_pivot_an_operator_decides_of_elements() -> None:
    """Each by itself, and the map goes on."""
    story = started(step("pay", pivot=True), mapped("ship", concurrency=2), "tell")
    story.do("pay")
    story.expand("ship", 5)
    story.do("ship[0]")
    story.give_up("ship[1]")
    assert story.status == "failed"
    assert story.run.owed == ("ship[1]",)
    story.retry("ship[1]")
    story.do("ship[1]", "ship[2]")
    assert story.status == "running"
    story.give_up("ship[3]")
    with refused("at_rest"):
        story.skip("ship[4]")
    story.skip("ship[3]")
    story.do("ship[4]", "tell")
    assert story.status == "completed"
    story.check_history()


def test_an_operator_skips_elements() -> None:
    """One that was not begun yet, too; the map as a whole only before it was counted."""
    story = mapping(4)
    with refused("at_work", "elements of 'ship'"):
        story.skip("ship")
    story.skip("ship[3]")
    story.skip("ship[0]")
    story.do("ship[1]", "ship[2]", "tell")
    assert story.status == "completed"
    before = started("pack", mapped("ship"), "tell")
    before.do("pack")
    before.skip("ship")
    before.do("tell")
    assert before.status == "completed"


def pairs(*before: Node, count: int = 3, concurrency: int = 2) -> Story:
    """A run in which each element is two steps, one after the other."""
    first, then = step("pack[].label"), step("pack[].stick", after=("pack[].label",))
    story = Story(saga(*before, mapped("pack", first, then, concurrency=concurrency), "tell"))
    story.start()
    story.do(*(node.name for node in before))
    story.expand("pack", count)
    return story


def test_what_is_skipped_beforehand_begins_nothing() -> None:
    """The steps of an element start in its turn, whatever an operator has skipped of it."""
    story = pairs(concurrency=1)
    story.skip("pack[1].label")
    assert story["pack[1].stick"].do.state is PhaseStatus.IDLE
    story.do("pack[0].label", "pack[0].stick", "pack[1].stick")
    story.do("pack[2].label", "pack[2].stick", "tell")
    assert story.status == "completed"
    story.check_history()


def test_a_run_that_goes_on_looks_at_all_of_its_elements() -> None:
    """Also at what ended in others while it rested because of one."""
    story = pairs(step("pay", pivot=True), count=2)
    story.claim("pack[1].label")
    story.give_up("pack[0].label")
    assert story.status == "failed"
    story.complete("pack[1].label")
    assert story["pack[1].stick"].do.state is PhaseStatus.IDLE
    story.skip("pack[0].label")
    story.do("pack[0].stick", "pack[1].stick")
    story.give_up("tell")
    story.retry("tell")  # the map has ended, and is not looked at again
    story.do("tell")
    assert story.status == "completed"
    story.check_history()


def test_an_undo_that_fails_is_owed_by_its_element() -> None:
    """The others go on; an operator retries or waives that one."""
    story = through(mapping(4), range(4))
    story.cancel()
    story.undo("ship[3]")
    story.give_up("ship[2]", "undo")
    story.undo("ship[1]", "ship[0]", "pack")
    assert story.status == "failed"
    assert story.run.owed == ("ship[2]",)
    story.retry("ship[2]")
    story.undo("ship[2]")
    assert story.status == "compensated"
    story.check_history()


def test_a_report_that_comes_twice_is_one() -> None:
    """Also of an element that rests, whose holder's name was forgotten."""
    story = mapping(3)
    story.claim("ship[0]")
    told = Complete("ship[0]", "do", 1, story["ship[0]"].do.holder)
    story.give(told)
    assert not story.give(told).events
    with refused("completed"):
        story.give(Claim("ship[0]", "do", 1, "a copy"))


def test_a_late_success_of_an_element_is_noted() -> None:
    """And undone again, if it had been undone."""
    story = mapping(3)
    story.lose("ship[0]")
    story.do("ship[0]")
    story.complete("ship[0]", attempt=1)
    assert story["ship[0]"].do.late == (1,)
    through(story, range(1, 3))
    story.cancel()
    story.advance(10_000)
    story.undo("ship[2]", "ship[1]", "ship[0]")
    story.undo("pack")
    assert story.status == "compensated"
    story.check_history()


def test_elements_of_several_steps() -> None:
    """Each goes its own way, with answers of its own."""
    heavy = step("pack[].heavy", undo=None)
    lift = step("pack[].lift", after=("pack[].heavy",))
    story = Story(saga(mapped("pack", heavy, lift), "tell"))
    story.start()
    story.expand("pack", 2)
    story.do("pack[1].heavy", "pack[0].heavy")
    with refused("not_due"):
        story.claim("tell")
    story.do("pack[0].lift")
    story.claim("pack[1].lift")
    story.fail("pack[1].lift", kind="abort", effect=False)
    story.undo("pack[0].lift")
    assert story.status == "compensated"
    story.check_history()


def test_a_head_does_not_grow_with_its_elements() -> None:
    """At element 1,000 it is hardly longer than at element 10 (and so is what it costs)."""
    sizes = {}
    story = mapping(10_000, concurrency=10)
    run, plan = story.run, story.plan
    for number in range(1_000):
        name = f"ship[{number}]"
        claimed = transition(plan, run, Claim(name, "do", 1, "holder-1"), story.now).run
        run = transition(plan, claimed, Complete(name, "do", 1, "holder-1"), story.now).run
        if number in (10, 990):
            sizes[number] = len(dump_run(run))
            assert load_run(run.id, dump_run(run)) == run
    assert sizes[990] < 1.1 * sizes[10]
    assert Dispatch("ship[1009]", "do", 1, story.now) in due(run)
