"""What becomes of ticks: late ones, paused ones, those that come while the last run goes on.

Owns: the rules of `judging`, one decision at a time.  Refuses to know: stores and engines.
"""

from __future__ import annotations

import pytest

from celeriac.errors import CommandRefused
from celeriac.scheduling import (
    KEPT_FOR,
    Definition,
    Interval,
    Judged,
    Launch,
    Record,
    TickEvent,
    TickEventKind,
    delete,
    judge,
    offer,
    pause,
    resume,
    settle,
    tick_id,
    trigger,
)

MINUTE = 60_000
START = 1_800_000_000_000  # a whole hour


def definition(period: int = 10 * MINUTE, **options: object) -> Definition:
    """A schedule that ticks on a grid."""
    given = {"saga": "close", "catch_up": MINUTE, **options}
    return Definition.model_validate({"timetable": Interval(period=period), **given})


def record(overlap: str = "skip") -> Record:
    """A schedule as it is right after its creation."""
    found = offer(None, "nightly", definition(overlap=overlap), START, START)
    assert found is not None
    return found.record


def at(minutes: float) -> int:
    """A time so long after the creation."""
    return START + round(minutes * MINUTE)


def told(judged: Judged) -> list[tuple[str, int, str]]:
    """What happened: the kind, how many ticks, and why."""
    return [(event.kind.value, event.count, event.why) for event in judged.events]


def started(found: Record, minutes: float) -> Record:
    """The schedule once the run of its tick is there."""
    judged = judge(found, (), at(minutes))
    assert judged.record.starting is not None
    return settle(judged.record, judged.record.starting, at(minutes)).record


def test_a_tick_starts_one_run() -> None:
    """Its id tells the tick; whoever looks again finds nothing to do."""
    judged = judge(record(), (), at(10.01))
    launch = judged.record.starting
    assert launch == Launch(run_id=tick_id("nightly", at(10)), at=at(10))
    settled = settle(judged.record, launch, at(10.02))
    assert told(settled) == [("started", 1, "")]
    assert settle(settled.record, launch, at(10.03)) == Judged(settled.record)
    assert judge(settled.record, (), at(10.04)) == Judged(settled.record)


def test_nothing_is_decided_before_the_last_decision_is_carried_out() -> None:
    """A sweep that died between the two leaves a run that the next one starts first."""
    judged = judge(record(), (), at(10))
    assert judge(judged.record, (), at(30)) == Judged(judged.record)


def test_after_an_outage_the_newest_tick_runs() -> None:
    """The others are told of, with how many they are."""
    judged = judge(record(), (), at(60.5))
    assert judged.record.starting is not None
    assert judged.record.starting.at == at(60)
    assert told(judged) == [("skipped", 5, "late")]
    (event,) = judged.events
    assert (event.tick, event.last) == (at(10), at(50))


def test_a_tick_that_is_too_late_is_not_run() -> None:
    """Later than `catch_up` allows, it is told of."""
    judged = judge(record(), (), at(11.5))
    assert judged.record.starting is None
    assert told(judged) == [("skipped", 1, "late")]
    assert judge(judged.record, (), at(11.6)) == Judged(judged.record)


@pytest.mark.parametrize(
    ("overlap", "events", "waits", "cancels"),
    [
        ("skip", [("skipped", 1, "overlap")], False, False),
        ("queue", [("queued", 1, "")], True, False),
        ("cancel", [("queued", 1, "")], True, True),
        ("allow", [], False, False),
    ],
)
def test_each_rule_while_the_last_run_goes_on(
    overlap: str, events: list[object], waits: bool, cancels: bool
) -> None:
    """Skipped, made to wait, made to cancel, or started beside it."""
    found = started(record(overlap=overlap), 10)
    judged = judge(found, found.runs, at(20))
    assert told(judged) == events
    assert (judged.record.waiting is not None) == waits
    assert judged.cancel == (found.runs if cancels else ())
    assert (judged.record.starting is not None) == (overlap == "allow")


def test_what_waits_starts_when_the_last_run_is_at_rest() -> None:
    """And not before, however often somebody looks."""
    found = started(record(overlap="queue"), 10)
    waiting = judge(found, found.runs, at(20)).record
    assert judge(waiting, waiting.runs, at(25)) == Judged(waiting)
    judged = judge(waiting, (), at(26))
    assert judged.record.starting is not None
    assert judged.record.starting.at == at(20)
    assert judged.record.waiting is None


def test_a_queue_holds_one() -> None:
    """The next tick is not run; but if it comes when the one that waits may start, it waits."""
    found = started(record(overlap="queue"), 10)
    waiting = judge(found, found.runs, at(20)).record
    full = judge(waiting, waiting.runs, at(30))
    assert told(full) == [("skipped", 1, "queue_full")]
    both = judge(waiting, (), at(30))
    assert both.record.starting is not None
    assert both.record.waiting is not None
    assert (both.record.starting.at, both.record.waiting.at) == (at(20), at(30))


def test_a_cancel_is_asked_for_until_the_run_is_at_rest() -> None:
    """A newer tick takes the place of the one that waits for the undo."""
    found = started(record(overlap="cancel"), 10)
    waiting = judge(found, found.runs, at(20)).record
    assert judge(waiting, waiting.runs, at(21)).cancel == found.runs
    newer = judge(waiting, waiting.runs, at(30))
    assert told(newer) == [("skipped", 1, "overtaken"), ("queued", 1, "")]
    judged = judge(newer.record, (), at(31))
    assert judged.record.starting is not None
    assert judged.record.starting.at == at(30)


def test_a_run_that_an_operator_revived_counts_again() -> None:
    """The last run is watched until another one takes its place."""
    found = started(record(), 10)
    assert told(judge(found, found.runs, at(20))) == [("skipped", 1, "overlap")]
    assert started(found, 20).runs == (tick_id("nightly", at(10)), tick_id("nightly", at(20)))
    assert len(started(started(found, 20), 30).runs) == 2


def test_paused_ticks_are_told_and_never_filled_in() -> None:
    """Whether somebody swept meanwhile or not."""
    paused = pause(record(), "month end", "eve", at(5)).record
    swept = judge(paused, (), at(20.1))
    assert told(swept) == [("skipped", 1, "paused"), ("skipped", 1, "paused")]
    resumed = resume(paused, "", "eve", at(20.1))
    assert told(resumed) == [*told(swept), ("resumed", 1, "")]
    assert judge(resumed.record, (), at(20.2)) == Judged(resumed.record)
    assert judge(resumed.record, (), at(30)).record.starting is not None


def test_pausing_gives_up_what_waits() -> None:
    """A run does not start out of the blue while its schedule is paused."""
    found = started(record(overlap="queue"), 10)
    waiting = judge(found, found.runs, at(20)).record
    paused = pause(waiting, "", "", at(21))
    assert told(paused) == [("paused", 1, ""), ("skipped", 1, "paused")]
    assert paused.record.waiting is None
    assert pause(paused.record, "", "", at(22)) == Judged(paused.record)


def test_what_was_deleted_stays_so_until_it_is_resumed() -> None:
    """The code may define it as often as it likes."""
    gone = delete(record(), "moved", "eve", at(5)).record
    again = offer(gone, "nightly", definition(), at(6), at(6))
    assert again is not None
    assert again.record.deleted
    assert judge(again.record, (), at(20)).record.starting is None
    with pytest.raises(CommandRefused, match="was deleted"):
        pause(gone, "", "", at(6))
    back = resume(gone, "", "", at(20.5))
    assert told(back) == [("resumed", 1, "")]
    assert judge(back.record, (), at(30)).record.starting is not None


def test_a_trigger_obeys_the_rule_for_overlapping_runs() -> None:
    """Also where the schedule is paused; what is refused changes nothing."""
    asked = Launch(run_id="nightly-manual-1", at=at(12), manual=True, by="eve")
    alone = trigger(pause(record(), "", "", at(5)).record, asked, (), at(12))
    assert alone.record.starting == asked
    assert [each.kind.value for each in settle(alone.record, asked, at(12)).events] == ["triggered"]
    busy = started(record(), 10)
    with pytest.raises(CommandRefused, match="starts nothing beside nightly-") as caught:
        trigger(busy, asked, busy.runs, at(12))
    assert caught.value.reason == "overlap"
    queue = started(record(overlap="queue"), 10)
    waiting = trigger(queue, asked, queue.runs, at(12))
    assert waiting.record.waiting == asked
    with pytest.raises(CommandRefused) as caught:
        trigger(waiting.record, asked.model_copy(update={"run_id": "x"}), queue.runs, at(13))
    assert caught.value.reason == "queue_full"


# --- definitions -------------------------------------------------------------------------------


def test_new_times_begin_when_they_come_and_fill_nothing_in() -> None:
    """A deploy at :25 with ticks at :20 does not run that one."""
    found = offer(record(), "nightly", definition(5 * MINUTE), at(22), at(22))
    assert found is not None
    assert told(found) == [("changed", 1, "")]
    assert judge(found.record, (), at(22)).record.starting is None
    assert judge(found.record, (), at(25)).record.starting is not None


def test_new_options_leave_the_ticks_alone() -> None:
    """Another rule or input does not lose a tick that comes during the deploy."""
    found = offer(record(), "nightly", definition(overlap="allow"), at(10.2), at(10.2))
    assert found is not None
    assert judge(found.record, (), at(10.2)).record.starting is not None


def test_an_older_process_leaves_the_schedule_to_newer_ones() -> None:
    """While both versions are at work, ticks are those of the later one, and none is lost."""
    newer = offer(record(), "nightly", definition(5 * MINUTE), at(1), at(1))
    assert newer is not None
    old = definition()
    assert offer(newer.record, "nightly", old, START, at(2)) is None
    later = newer.record.confirmed + KEPT_FOR
    back = offer(newer.record, "nightly", old, START, later)
    assert back is not None
    assert back.record.definition == old
    assert back.record.last == newer.record.confirmed


def test_a_definition_in_use_is_confirmed_now_and_then() -> None:
    """Not with every sweep."""
    found = record()
    assert offer(found, "nightly", definition(), START, at(0.1)) == Judged(found)
    later = offer(found, "nightly", definition(), START, at(1))
    assert later is not None
    assert later.record.confirmed == at(1)
    assert later.events == ()


def test_records_and_events_are_read_as_they_were_written() -> None:
    """Also where a newer version has put something behind what this one knows."""
    found = started(record(overlap="queue"), 10)
    assert Record.model_validate_json(found.dump()) == found
    assert Record.model_validate_json(found.dump()[:-1] + ',"newer":1}') == found
    event = TickEvent(at(1), TickEventKind.SKIPPED, at(0), "x", "late", "eve", 3, at(1))
    assert TickEvent.load(event.dump()) == event
    assert TickEvent.load(event.dump()[:-1] + ',"newer"]') == event
