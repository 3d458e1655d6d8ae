"""Runs as they happen, with what their participants wrote down: stories that keep every law.

Owns: stories told command by command, and the ledger that goes with each.  Refuses to know: the
laws, and how a story is doctored (`test_checker`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celeriac.machine.events import EventKind
from tests.machine.story import GRACE, Story, started, step
from tests.proof.records import Record
from tests.workers.ledger import Row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.machine.events import Event
    from tests.proof.records import Frame

_E = EventKind


def completed() -> Story:
    """A run that completed."""
    return started("reserve", "charge").do("reserve", "charge")


def compensated() -> Story:
    """A run whose last step gave up; everything was undone."""
    story = started("reserve", "charge", "ship").do("reserve", "charge").give_up("ship")
    return story.undo("ship", "charge", "reserve")


def refused_cleanly() -> Story:
    """A run whose last step proved that it had no effect."""
    story = started("reserve", "charge").do("reserve").give_up("charge", effect=False)
    return story.undo("reserve")


def retried() -> Story:
    """A run that completed after a failure."""
    story = started("reserve", "charge").do("reserve")
    story.claim("charge")
    story.fail("charge")
    return story.advance(1_000).do("charge")


def late_success() -> Story:
    """A run whose lost attempts reported when all was undone: undone once more."""
    story = started("reserve", "charge").do("reserve").lose("charge").lose("charge")
    story.advance(GRACE).undo("charge", "reserve")
    story.complete("charge", attempt=1)
    return story.undo("charge")


def late_and_of_no_use() -> Story:
    """A lost attempt reported after another had done its work."""
    story = started("reserve", "charge").lose("reserve").do("reserve", "charge")
    story.complete("reserve", attempt=1)
    return story


def cancelled() -> Story:
    """A run that was cancelled after it had completed."""
    story = completed()
    story.cancel()
    return story.undo("charge", "reserve")


def owed() -> Story:
    """A run that owes a compensation."""
    story = started("reserve", "charge").do("reserve").give_up("charge").undo("charge")
    return story.give_up("reserve", "undo")


def owed_and_retried() -> Story:
    """A run that owed a compensation until an operator tried again."""
    story = owed()
    story.retry("reserve")
    return story.undo("reserve")


def past_its_pivot() -> Story:
    """A run that may only go forward, and cannot."""
    story = started(step("reserve", pivot=True), "charge").do("reserve")
    return story.give_up("charge")


def skipped() -> Story:
    """A run one step of which an operator skipped."""
    story = started("reserve", "charge", "ship").do("reserve")
    story.skip("charge")
    return story.do("ship")


def too_late() -> Story:
    """A run that was not done at its deadline."""
    story = started("reserve", "charge", deadline=60_000).do("reserve").advance(60_000)
    story.wake()
    return story.undo("reserve")


def restarted() -> Story:
    """An id that was used again after its run had been undone."""
    story = compensated()
    story.start(if_exists="restart", nonce="call-2")
    return story.do("reserve", "charge", "ship")


STORIES = (
    completed,
    compensated,
    refused_cleanly,
    retried,
    late_success,
    late_and_of_no_use,
    cancelled,
    owed,
    owed_and_retried,
    past_its_pivot,
    skipped,
    too_late,
    restarted,
)


def rows_of(story: Story) -> list[Row]:
    """What participants that honour their keys wrote down of a story, one process an attempt."""
    rows: list[Row] = []
    done: Counter[str] = Counter()
    undone: set[str] = set()
    told = Record.of(story.run, {story.plan.fingerprint: story.plan}, story.history)
    refused = _without_effect(told.frames)
    for frame in told.frames:
        event, run_id = frame.event, story.run_id
        if event.kind is not _E.CLAIMED:
            continue
        key = run_id if frame.epoch == 1 else f"{run_id}~{frame.epoch}"
        # Whatever undoes several steps is told of those that may have had an effect.
        covered = told.plan_of(frame).node(event.step).covers
        names = [n for n in covered if frame.became.step(n).order] or [event.step]
        clean = (frame.epoch, event.step, event.attempt) in refused
        for name in names:
            about = replace(event, step=name)
            for kind, of in _asked(about, f"{key}:{name}", done, undone, clean, run_id):
                at = event.at / 1000 + frame.number / 1e6
                rows.append(Row(at, kind, of, event.attempt, 100 + frame.number))
    return rows


def _asked(
    event: Event,
    effect: str,
    done: Counter[str],
    undone: set[str],
    refused: bool,
    run_id: str,
) -> Iterable[tuple[str, str]]:
    if event.phase == "undo":
        yield "begin", f"{run_id}:{event.step}.undo"
        yield ("undo" if done[effect] and effect not in undone else "undone"), effect
        undone.add(effect)
        return
    yield "begin", f"{run_id}:{event.step}"
    if not refused:
        yield ("forbidden" if effect in undone else "again" if done[effect] else "do"), effect
        done[effect] += 1


def _without_effect(frames: Iterable[Frame]) -> set[tuple[int, str, int]]:
    return {
        (frame.epoch, frame.event.step, frame.event.attempt)
        for frame in frames
        if (event := frame.event).kind is _E.FAILED
        and (event.data.get("effect") is False or event.phase == "undo")
    }


def record(story: Story, **doctored: Any) -> Record:
    """A record of a story; *doctored* replaces what is said there."""
    known: dict[str, Any] = {
        "run": story.run,
        "plans": {story.plan.fingerprint: story.plan},
        "history": story.history,
        "rows": rows_of(story),
    }
    return Record.of(**{**known, **doctored})
