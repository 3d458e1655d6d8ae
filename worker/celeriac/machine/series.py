"""Steps that are asked again and again: which events of a history tell of one, side by side.

Owns: `Series`, and how events move it.  Refuses to know: whether a step may be asked again
(`postponing`), and how events are dropped from what is kept (`store`).

A step that cannot say yet has one event, with a count, which takes the place of those that told the
same before.  These need not be the newest: other steps may have gone on meanwhile, and may be asked
again themselves.  What only other steps went through says nothing of this one, so dropping its
events and telling them at the end makes the same run (I9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from celeriac.machine.events import EventKind

if TYPE_CHECKING:
    from celeriac.machine.events import Event

#: What happens to a step that is asked again, between two times.
_AGAIN = (EventKind.DISPATCHED, EventKind.CLAIMED)
#: What steps go through by themselves: nobody stepped in, and the run goes where it went.
_OF_STEPS = frozenset(
    {
        *(*_AGAIN, EventKind.POSTPONED, EventKind.COMPLETED, EventKind.FAILED, EventKind.LOST),
        *(EventKind.SKIPPED, EventKind.EXPANDED, EventKind.OPENED, EventKind.DEFERRED),
    }
)


class Series(NamedTuple):
    """A step that was postponed, with nothing else of it since, and where that is told."""

    step: str
    times: int  # how often in a row
    since: int  # ms
    #: Those that tell of it, the oldest first, each counted back from the newest of all (0).
    events: tuple[int, ...]


def series_after(known: tuple[Series, ...], event: Event, *, turns: bool) -> tuple[Series, ...]:
    """Return what is being asked again after *event*; *turns*: the run goes another way now."""
    if not known and event.kind is not EventKind.POSTPONED:
        return ()
    by_operator = event.kind is EventKind.SKIPPED and not event.attempt
    if turns or by_operator or not event.step or event.kind not in _OF_STEPS:
        return ()
    found = tuple(_moved(each, event) for each in known) if known else ()
    if event.kind in _AGAIN:
        return tuple(_told(each) if each.step == event.step else each for each in found)
    others = tuple(each for each in found if each.step != event.step)
    if event.kind is not EventKind.POSTPONED:
        return others
    times, since = event.data.get("count", 1), event.data.get("since", event.at)
    return (*others, Series(event.step, times, since, (0,)))


def _moved(series: Series, event: Event) -> Series:
    """The places of its events, now that there is a newer one, in whose place some are gone."""
    gone = event.replaces
    places = (place + 1 - sum(each < place for each in gone) for place in series.events)
    return series._replace(events=tuple(places))


def _told(series: Series) -> Series:
    return series._replace(events=(*series.events, 0))
