"""When the ticks of a schedule are: arithmetic on a calendar, without a clock.

Owns: the ticks of a calendar's fields in a time zone, across changes of its clocks, and those of an
interval.  Refuses to know: what time it is, what a tick leads to, and Celery, whose `crontab` names
the fields.

Celery's reckoning is not used: it doubled and missed ticks when clocks changed (celery#1604,
celery#9653, celery#10107).  Ours is two rules.  A tick with fixed hours is a time on the clock of
its zone, once a day: the first of two such times, or the first instant after a gap that holds it.
A tick of every hour is each instant at which that clock shows such a minute, so an hour that comes
twice has its ticks twice.  Times are whole milliseconds since the epoch.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

_SECOND = 1_000
_MINUTE = 60_000
_DAY = timedelta(days=1)
_HOURS = 24
# A zone may skip a day, or have one twice: the ticks of a date lie so many days around it.
_AROUND = 2
# The longest that no day can fit: a 29 February on a given day of the week, where 2100 is no leap
# year.  Whoever finds nothing in so many days will find nothing.
_FARTHEST = 45 * 366


class Calendar(BaseModel):
    """Ticks by the fields of a calendar; all of them must fit."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["calendar"] = "calendar"
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days_of_week: tuple[int, ...] = Field(description="0 to 6, Sunday is 0")
    days_of_month: tuple[int, ...]
    months: tuple[int, ...]
    zone: str = "UTC"
    text: str = Field(default="", description="the fields as they were written")

    def next(self, after: int) -> int:
        """Return the first tick after a time."""
        day = self._date(after) - _AROUND * _DAY
        for _ in range(_FARTHEST):
            if any(at > after for at in self._of(day)):
                near = (at for n in range(_AROUND + 1) for at in self._of(day + n * _DAY))
                return min(at for at in near if at > after)
            day += _DAY
        raise ValueError(f"{self.text!r} never comes")

    def newest(self, after: int, until: int) -> int | None:
        """Return the last tick that is later than *after* and not later than *until*, if any."""
        day, first = self._date(until) + _AROUND * _DAY, self._date(after) - _AROUND * _DAY
        while day >= first:
            if any(after < at <= until for at in self._of(day)):
                near = (at for n in range(_AROUND + 1) for at in self._of(day - n * _DAY))
                return max(at for at in near if after < at <= until)
            day -= _DAY
        return None

    def count(self, after: int, until: int, most: int) -> int:
        """Return how many ticks are later than *after* and not later than *until*; *most* at most.

        Each day is reckoned once: a year of minutes takes a second.
        """
        found: set[int] = set()
        day, last = self._date(after) - _AROUND * _DAY, self._date(until) + _AROUND * _DAY
        while day <= last and len(found) < most:
            found.update(at for at in self._of(day) if after < at <= until)
            day += _DAY
        return min(len(found), most)

    def _date(self, at: int) -> date:
        return datetime.fromtimestamp(at / 1000, _zone(self.zone)).date()

    def _of(self, day: date) -> tuple[int, ...]:
        """The ticks whose time on the clock is on a day."""
        if day.month not in self.months or day.day not in self.days_of_month:
            return ()
        if day.isoweekday() % 7 not in self.days_of_week:
            return ()
        return _ticks(self.zone, day, self.hours, self.minutes)


class Interval(BaseModel):
    """Ticks in equal distances, on a grid that nothing moves."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["interval"] = "interval"
    period: int = Field(gt=0, description="ms")
    anchor: int = Field(default=0, description="ms; one of the ticks, wherever it lies")
    text: str = Field(default="", description="the period for people")

    def next(self, after: int) -> int:
        """Return the first tick after a time."""
        return after + self.period - (after - self.anchor) % self.period

    def newest(self, after: int, until: int) -> int | None:
        """Return the last tick that is later than *after* and not later than *until*, if any."""
        at = until - (until - self.anchor) % self.period
        return at if at > after else None

    def count(self, after: int, until: int, most: int) -> int:
        """Return how many ticks are later than *after* and not later than *until*; *most* at most.

        Takes no longer if there are many.
        """
        return min(len(range(self.next(after), until + 1, self.period)), most)


Timetable = Calendar | Interval


def utc_text(at: int) -> str:
    """Return a tick as ids spell it: `20261128T030000Z`."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=512)
def _ticks(
    zone: str, day: date, hours: tuple[int, ...], minutes: tuple[int, ...]
) -> tuple[int, ...]:
    """The instants of a day's ticks, each once."""
    tz = _zone(zone)
    offset = _steady_offset(day, tz)
    if offset is not None:
        midnight = round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
        start = midnight - offset
        return tuple(start + (h * 60 + m) * _MINUTE for h in hours for m in minutes)
    found: set[int] = set()
    for hour in hours:
        for minute in minutes:
            wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=tz)
            found.update(_instants(wall) if len(hours) == _HOURS else (_once(wall),))
    return tuple(found)


def _steady_offset(day: date, tz: ZoneInfo) -> int | None:
    """The offset from UTC of a whole day in ms; None if the clocks change."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=tz)
    edges = (midnight, midnight + _DAY)  # on the clock: the next midnight
    offsets = {each.replace(fold=fold).utcoffset() for each in edges for fold in (0, 1)}
    (first, *others) = offsets
    return None if others or first is None else round(first.total_seconds() * 1000)


def _instants(wall: datetime) -> list[int]:
    """When a clock shows a time: once, twice or never."""
    return [at for at in {_ms(wall, 0), _ms(wall, 1)} if _shows(at, wall)]


def _once(wall: datetime) -> int:
    """When a clock first shows a time; if it never does, the first instant after the gap."""
    early, late = _ms(wall, 1), _ms(wall, 0)
    if _shows(late, wall):
        return late
    # In a gap: `early` is reckoned with the offset after it, and so lies before the change.
    before = _offset(early, wall)
    while late - early > _SECOND:
        middle = (early + late) // (2 * _SECOND) * _SECOND
        if _offset(middle, wall) == before:
            early = middle
        else:
            late = middle
    return late


def _ms(wall: datetime, fold: int) -> int:
    return round(wall.replace(fold=fold).timestamp() * 1000)


def _offset(at: int, wall: datetime) -> timedelta | None:
    return datetime.fromtimestamp(at / 1000, wall.tzinfo).utcoffset()


def _shows(at: int, wall: datetime) -> bool:
    shown = datetime.fromtimestamp(at / 1000, wall.tzinfo)
    return shown.replace(tzinfo=None, fold=0) == wall.replace(tzinfo=None, fold=0)
