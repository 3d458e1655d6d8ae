"""Schedules as applications write and steer them.

Owns: making a definition of what is given, with a message that says what to give instead; and the
handle by which a schedule is looked at, paused, triggered.  Refuses to know: what becomes of a tick
(`scheduling`), and how a run of it is started (`engine/ticks.py`).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, get_args
from zoneinfo import ZoneInfo

from celery.schedules import crontab

from celeriac.app.inputs import check_words, checked_id
from celeriac.engine import Scheduled, Ticks
from celeriac.errors import (
    DefinitionError,
    InputInvalid,
    ScheduleNotFound,
)
from celeriac.machine import checked_tags, commands, duration_ms
from celeriac.scheduling import (
    Calendar,
    Definition,
    Interval,
    Overlap,
    Record,
    delete,
    pause,
    resume,
)
from celeriac.store import payloads
from celeriac.views import ScheduleEvent, ScheduleState, schedule_event, schedule_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery

    from celeriac.authoring import Planned
    from celeriac.machine import Duration
    from celeriac.scheduling import Judged, Timetable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_SECOND = timedelta(seconds=1)
_TAG = "schedule"  # by which the runs of a schedule are found
_MANUAL = "-manual"  # no name ends so: its runs would be taken for those of another schedule


class ScheduleDefinitions:
    """The schedules of one app, as its modules define them."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._makers: dict[str, Callable[[], Scheduled]] = {}
        self._made: dict[str, Scheduled] = {}
        self.told: dict[str, float] = {}  # what was said of those that cannot be seen to

    def define(  # noqa: PLR0913 -- the options of the interface
        self,
        name: object,
        planned: Planned,
        inputs: tuple[Any, ...],
        named: Mapping[str, Any],
        *,
        every: object,
        timezone: object,
        overlap: object,
        catch_up: Duration,
        anchor: object,
        tags: Mapping[str, str] | None,
    ) -> str:
        """Define a schedule; return its name.  Raises DefinitionError for what makes no sense."""
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith(_MANUAL):
            raise DefinitionError(
                f"{name!r} is no name of a schedule: 1 to 100 letters, digits, '_', '.' and '-', "
                "since the ids of its runs begin with it"
            )
        if name in self._makers:
            raise _wrong(name, "the name is taken by another schedule: give it another one")
        if overlap not in get_args(Overlap):
            raise _wrong(name, f"overlap is 'skip', 'queue', 'cancel' or 'allow', not {overlap!r}")
        try:
            texts = planned.shape.encode(inputs, named)
            given = dict(checked_tags(tags))
            catch_up_ms = duration_ms(catch_up)
        except (InputInvalid, DefinitionError) as error:
            raise _wrong(name, str(error)) from None
        retention = planned.plan.retention
        if retention is not None and catch_up_ms >= retention:
            raise _wrong(
                name,
                f"catch_up is not shorter than the retention of {planned.name}: a tick could start "
                "a second run once the first is removed; give a shorter one",
            )
        _checked_every(name, every, anchor)
        _checked_zone(name, timezone)
        if given.get(_TAG, name) != name:
            raise _wrong(name, f"the tag {_TAG!r} of its runs is its name, not {given[_TAG]!r}")
        given_tags = tuple(sorted({**given, _TAG: name}.items()))
        written = _Written(
            planned, texts, given_tags, every, timezone, anchor, overlap, catch_up_ms
        )
        self._makers[name] = partial(_scheduled, self.app, written)
        return name

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are taken."""
        return tuple(self._makers)

    def scheduled(self) -> Mapping[str, Scheduled]:
        """All schedules of the app.  Only now is it asked for its time zone."""
        for name, make in self._makers.items():
            if name not in self._made:
                self._made[name] = make()
        return self._made


class Schedule:
    """A schedule: a saga that is started again and again, at times that are known before."""

    def __init__(
        self, name: str, ticks: Callable[[], Ticks], definitions: ScheduleDefinitions
    ) -> None:
        self.name = name
        self._ticks, self._definitions = ticks, definitions

    def __repr__(self) -> str:
        return f"<schedule {self.name}>"

    @property
    def app(self) -> Celery:
        """The Celery app whose schedule it is."""
        return self._definitions.app

    @property
    def defined(self) -> Scheduled | None:
        """What the code of this process says of it; None: it is not there."""
        return self._definitions.scheduled().get(self.name)

    def moved_to(self, ticks: Callable[[], Ticks]) -> Schedule:
        """Return the handle of its namesake elsewhere: in the lab."""
        return Schedule(self.name, ticks, self._definitions)

    def state(self) -> ScheduleState:
        """Return a snapshot; raise ScheduleNotFound if neither code nor store knows it."""
        (found,) = states_of(self._ticks(), (self.name,)) or (None,)
        if found is None:
            raise ScheduleNotFound(self.name)
        return found

    def history(self) -> list[ScheduleEvent]:
        """Return what happened to it and to its ticks, oldest first; the newest 200."""
        return [schedule_event(event) for event in self._ticks().history(self.name)]

    def pause(self, reason: str = "", *, by: str = "") -> None:
        """Let its ticks start no runs until `resume`, whatever the code says; a deploy included."""
        check_words(commands.Pause(reason, by))
        self._do(lambda record, now: pause(record, reason, by, now))

    def resume(self, reason: str = "", *, by: str = "") -> None:
        """Let its ticks start runs again; those that have passed are not filled in."""
        check_words(commands.Resume(reason, by))
        self._do(lambda record, now: resume(record, reason, by, now))

    def delete(self, reason: str = "", *, by: str = "") -> None:
        """Let it be gone, though the code still has it, until `resume`; runs under way go on."""
        check_words(commands.Pause(reason, by))
        self._do(lambda record, now: delete(record, reason, by, now))

    def trigger(self, *, id: str | None = None, by: str = "") -> str:  # noqa: A002
        """Start a run now, and return its id; its ticks are as they were.

        It obeys `overlap`: where a run waits for the one before, the id is that of a run that is
        yet to come.  The same *id* again is the same run.  Raises CommandRefused where `overlap`
        forbids it.
        """
        check_words(commands.Resume("", by))
        run_id, _ = self._ticks().trigger(self.name, None if id is None else checked_id(id), by)
        return run_id

    def _do(self, rule: Callable[[Record, int], Judged]) -> None:
        self._ticks().command(self.name, rule)


def states_of(ticks: Ticks, names: tuple[str, ...] | None = None) -> list[ScheduleState]:
    """Return how schedules stand, by name; all that code or store know, if none are named.

    One that was deleted is left out, unless it is named; so is one that cannot be read.
    """
    now, found = ticks.known(names)
    states = []
    for name, (record, scheduled) in sorted(found.items()):
        if names is None and record is not None and record.deleted:
            continue
        defined = scheduled.definition if scheduled else None
        states.append(schedule_state(name, record, defined, now))
    return states


# --- what is given -----------------------------------------------------------------------------


class _Written(NamedTuple):
    """What was given, checked."""

    planned: Planned
    texts: Mapping[str, str]
    tags: tuple[tuple[str, str], ...]
    every: Any
    timezone: Any
    anchor: Any
    overlap: Any
    catch_up: int  # ms


def _scheduled(app: Celery, written: _Written) -> Scheduled:
    planned, texts, tags, every, timezone, anchor, overlap, catch_up = written
    zone = str(timezone or app.conf.timezone or "UTC")
    timetable: Timetable
    if isinstance(every, timedelta):
        start = 0 if anchor is None else round(anchor.timestamp() * 1000)
        period = round(every.total_seconds() * 1000)
        timetable = Interval(period=period, anchor=start % period, text=str(every))
    else:
        timetable = Calendar(
            minutes=tuple(sorted(every.minute)),
            hours=tuple(sorted(every.hour)),
            days_of_week=tuple(sorted(every.day_of_week)),
            days_of_month=tuple(sorted(every.day_of_month)),
            months=tuple(sorted(every.month_of_year)),
            zone=zone,
            text=_fields(every),
        )
    definition = Definition(
        saga=planned.name,
        timetable=timetable,
        overlap=overlap,
        catch_up=catch_up,
        digest=payloads.digest(f"{planned.name} {tags}", texts),
    )
    return Scheduled(definition, planned.plan, texts, tags)


def _fields(every: crontab) -> str:
    """The fields in the order that cron has them: minute, hour, day, month, day of the week."""
    names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    return " ".join(str(getattr(every, f"_orig_{name}")).replace(" ", "") for name in names)


def _checked_every(name: str, every: object, anchor: object) -> None:
    if isinstance(every, timedelta):
        if every < _SECOND or every % _SECOND:
            raise _wrong(name, f"every={every!r} is no whole number of seconds, 1 at least")
        try:
            duration_ms(every)  # or there were ticks in years that no calendar has
        except DefinitionError as error:
            raise _wrong(name, f"every: {error.problem}") from None
        if anchor is not None and (not isinstance(anchor, datetime) or anchor.tzinfo is None):
            raise _wrong(
                name, f"anchor is one of its ticks, a datetime with tzinfo, not {anchor!r}"
            )
    elif isinstance(every, crontab):
        if anchor is not None:
            raise _wrong(name, "anchor belongs to a timedelta: a crontab has its hours")
        if not all((every.minute, every.hour, every.day_of_week)):
            raise _wrong(name, f"every={every!r} never comes")
    else:
        raise _wrong(
            name,
            f"every is a crontab or a timedelta, not {every!r}: write every=crontab(minute=0, "
            "hour=3), with crontab of celery.schedules, or every=timedelta(hours=6)",
        )


def _checked_zone(name: str, timezone: object) -> None:
    if timezone is None:
        return
    try:
        ZoneInfo(str(timezone))
    except (ValueError, KeyError, OSError):
        raise _wrong(
            name, f"timezone {timezone!r} is not known: give a name such as 'Europe/Berlin'"
        ) from None


def _wrong(name: str, problem: str) -> DefinitionError:
    return DefinitionError(f"schedule {name!r}: {problem}")
