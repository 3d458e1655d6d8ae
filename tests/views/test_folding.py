"""A history folded: a map of many elements is a few lines, and what stands out is still there.

Owns: which events are told together.  Refuses to know: where they are printed.
"""

from __future__ import annotations

from celeriac.views import history_lines, of_step
from tests.machine.story import Story, mapped, started


def delivered(count: int) -> Story:
    """A run in which a map of so many elements went well, but for one that was tried twice."""
    story = started("pack", mapped("ship", concurrency=2), "tell").do("pack")
    story.expand("ship", count)
    story.do(*(f"ship[{number}]" for number in range(count // 2)))
    number = count // 2
    story.claim(f"ship[{number}]")
    story.fail(f"ship[{number}]")
    story.advance(1_000).wake()
    story.do(*(f"ship[{number}]" for number in range(number, count)))
    return story.do("tell")


def test_what_elements_do_as_usual_is_one_line() -> None:
    """However many there are; what went wrong with one has a line of its own."""
    for count in (10, 200):
        told = [(line.who, line.what) for line in history_lines(delivered(count).history)]
        assert told[4] == ("ship[]", f"{count // 2 + 1} claimed, {count // 2} completed")
        assert told[5][0] == f"ship[{count // 2}] #1"
        assert "failed: BankDown" in told[5][1]
        assert told[6] == ("ship[]", f"{count // 2} claimed, {count // 2} completed")
        assert [who for who, _ in told[7:]] == ["tell #1", "tell #1", ""]


def test_a_few_are_told_one_by_one_and_lines_count_events() -> None:
    """Numbers are those of the events, so that a page can go on where another ended."""
    history = delivered(200).history
    lines = history_lines(history)
    assert lines[-1].number == len(history)
    assert [line.number for line in lines] == sorted(line.number for line in lines)
    assert history_lines(history, len(history) - 1) == lines[-1:]
    few = started(mapped("ship")).history
    assert len(history_lines(few)) == len(few)


def test_the_way_back_is_told_apart() -> None:
    """What an element does, and what is undone of it, are two lines."""
    story = started(mapped("ship", concurrency=9))
    story.expand("ship", 9)
    story.do(*(f"ship[{number}]" for number in range(9)))
    story.cancel()
    story.undo(*(f"ship[{number}]" for number in range(9)))
    told = [(line.who, line.what) for line in history_lines(story.history)]
    assert ("ship[]", "9 claimed, 9 completed") in told
    assert ("ship[] undo", "9 claimed, 9 completed") in told


def test_one_element_can_be_looked_at() -> None:
    """By its name; all of them by that of the map, and a step by its own."""
    history = delivered(10).history
    assert {event.step for event in of_step(history, "ship[3]")} == {"ship[3]"}
    assert len({event.step for event in of_step(history, "ship")}) == 11
    assert [event.step for event in of_step(history, "tell")] == ["tell", "tell"]
    assert not list(of_step(history, "ship[99]"))
