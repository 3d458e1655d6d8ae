"""A history as people read it: what the elements of a map do as usual is told together.

Owns: which events are told in one line, and what that line says.  Refuses to know: where it is
printed; programs are given each event.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from celeriac.machine import Event, EventKind, instance_of
from celeriac.views.wording import attempt, happening, went_wrong

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_USUAL = (EventKind.DISPATCHED, EventKind.CLAIMED, EventKind.COMPLETED)
_FEW = 3  # so many events of elements in a row are told one by one


class HistoryLine(NamedTuple):
    """One line of a history: an event, or many of the elements of one map."""

    number: int  # of the last event in it, 1-based
    event: Event  # the last one
    who: str  # the step and attempt, or the map; empty: the run
    what: str
    wrong: bool

    @property
    def at(self) -> int:
        """When it happened, in ms; of several, the last."""
        return self.event.at

    @property
    def text(self) -> str:
        """Who, and what."""
        return f"{self.who} {self.what}" if self.who else self.what


def history_lines(
    events: Sequence[Event], first: int = 0, *, fold: bool = True, known: Collection[str] = ()
) -> list[HistoryLine]:
    """Return the lines of a history, without those of the events before *first* (0-based).

    Without *fold* there is one for each event.  *known* are maps whose expansion may be no longer
    among the events.
    """
    maps = {event.step for event in events if event.kind is EventKind.EXPANDED}
    maps = maps.union(known) if fold else set()
    numbers = range(first, len(events))
    found: list[HistoryLine] = []
    for phase, row in groupby(numbers, key=lambda number: _usual(events[number], maps)):
        told = [(number + 1, events[number]) for number in row]
        found += map(_line, told) if not phase or len(told) <= _FEW else _of_maps(told)
    return found


def of_step(events: Iterable[Event], name: str) -> Iterator[Event]:
    """What happened to a step, to an element of a map, or to all elements of a map."""
    for event in events:
        instance = instance_of(event.step)
        element = instance and f"{instance.map}[{instance.number}]"
        if name in (event.step, element, instance and instance.map):
            yield event


def _usual(event: Event, maps: set[str]) -> str:
    """In which direction an element of a map did what all of them do; empty: nothing of that."""
    instance = instance_of(event.step) if maps else None
    usual = event.kind in _USUAL and not event.data.get("late")
    return event.phase if usual and instance and instance.map in maps else ""


def _line(told: tuple[int, Event]) -> HistoryLine:
    number, event = told
    return HistoryLine(number, event, attempt(event), happening(event), went_wrong(event))


def _of_maps(told: Sequence[tuple[int, Event]]) -> Iterator[HistoryLine]:
    by_map: dict[str, list[tuple[int, Event]]] = {}
    for number, event in told:
        instance = instance_of(event.step)
        assert instance is not None
        by_map.setdefault(instance.map, []).append((number, event))
    for name, several in by_map.items():
        counts = Counter(event.kind.value for _, event in several)
        what = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        number, last = several[-1]
        undo = " undo" if last.phase == "undo" else ""
        yield HistoryLine(number, last, f"{name}[]{undo}", what, wrong=False)
