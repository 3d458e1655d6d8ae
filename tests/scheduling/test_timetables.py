"""When ticks are: across changes of the clocks, over all zones, and on the grid of an interval.

Owns: that each daily tick comes once, and each hour has its own.  Refuses to know: what a tick
leads to.
"""

from __future__ import annotations

import os
import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from celeriac.scheduling import Calendar, Interval, utc_text

EVERY_DAY = (tuple(range(7)), tuple(range(1, 32)), tuple(range(1, 13)))
HOUR = 3_600_000
DAY = 24 * HOUR
# Of some 600 zones: all of them take minutes.
ALL = sorted(available_timezones())
ZONES = ALL if os.environ.get("PROVE") else random.Random(12).sample(ALL, 4)  # noqa: S311
ODD = [
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Tehran"),
    *("America/Havana", "Africa/Casablanca", "America/Sao_Paulo", "Asia/Gaza", "Antarctica/Troll"),
]


def calendar(minutes: str, hours: str, zone: str = "UTC") -> Calendar:
    """A timetable of every day, from lists of numbers; `*` is all."""
    every = {"*": range(24)}
    hour = tuple(every[hours] if hours == "*" else map(int, hours.split(",")))
    minute = tuple(map(int, minutes.split(",")))
    week, month, year = EVERY_DAY
    return Calendar(
        minutes=minute, hours=hour, days_of_week=week, days_of_month=month, months=year, zone=zone
    )


def ticks(timetable: Calendar | Interval, start: str, end: str) -> list[str]:
    """The ticks between two times, as ids spell them."""
    at, until = ms(start), ms(end)
    found = []
    while (at := timetable.next(at)) <= until:
        found.append(utc_text(at))
    return found


def ms(text: str) -> int:
    """A time in ms."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_a_fixed_hour_comes_once_when_clocks_go_back() -> None:
    """Half past two comes twice on that night in Berlin, and has its tick the first time."""
    found = ticks(calendar("30", "2", "Europe/Berlin"), "2026-10-23T00:00Z", "2026-10-27T00:00Z")
    assert found == [
        *("20261023T003000Z", "20261024T003000Z", "20261025T003000Z", "20261026T013000Z")
    ]


def test_a_fixed_hour_comes_after_the_gap_when_clocks_go_forward() -> None:
    """Half past two does not come in that night: its tick is at the first instant after it."""
    found = ticks(calendar("30", "2", "Europe/Berlin"), "2026-03-28T00:00Z", "2026-03-31T00:00Z")
    assert found == ["20260328T013000Z", "20260329T010000Z", "20260330T003000Z"]


def test_ticks_that_coincide_are_one() -> None:
    """All the minutes of a gap, and the hour after it, have one tick together."""
    four = calendar("0,15,30,45", "2,3", "Europe/Berlin")
    found = ticks(four, "2026-03-29T00:00Z", "2026-03-29T12:00Z")
    assert found == ["20260329T010000Z", "20260329T011500Z", "20260329T013000Z", "20260329T014500Z"]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_every_hour_that_passes_has_its_tick(day: str) -> None:
    """A schedule of every hour follows elapsed time, whatever the clocks do."""
    start = f"{date.fromisoformat(day) - timedelta(days=1)}T00:00Z"
    end = f"{date.fromisoformat(day) + timedelta(days=1)}T12:00Z"
    found = ticks(calendar("20", "*", "Europe/Berlin"), start, end)
    assert found == ticks(Interval(period=HOUR, anchor=20 * 60_000), start, end)


@pytest.mark.parametrize("zone", [*ODD, *ZONES])
def test_each_daily_tick_comes_once_in_any_zone(zone: str) -> None:
    """Over 20 years each day has one tick, at its time, or right after the gap that holds it."""
    chance = random.Random(zone)  # noqa: S311
    hour, minute = chance.choice([0, 1, 2, 3, 23, *range(24)]), chance.randrange(60)
    daily, tz = calendar(str(minute), str(hour), zone), ZoneInfo(zone)
    at, days = ms("2010-01-01T00:00Z"), []
    while (at := daily.next(at)) < ms("2030-01-01T00:00Z"):
        wall = datetime.fromtimestamp(at / 1000, tz)
        if (wall.hour, wall.minute) != (hour, minute):
            before = datetime.fromtimestamp(at / 1000 - 1, tz)
            assert wall.utcoffset() != before.utcoffset(), f"{wall} is no end of a gap"
        days.append(wall.date())
    whole = {days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)}
    assert len(days) == len(whole), "a day has two ticks, or none"
    # Samoa had no 30 December 2011: its tick came when the 31st began, before that day's own.
    assert whole - set(days) <= {date(2011, 12, 30)}


@pytest.mark.parametrize("zone", ODD)
def test_looking_back_finds_what_looking_ahead_finds(zone: str) -> None:
    """`newest` and `count` agree with `next`, at any time around changes of the clocks."""
    chance = random.Random(zone)  # noqa: S311
    shapes = [("0,30", "*"), ("15", "1,2,3"), ("0,1,59", "0,23")]
    for minutes, hours in shapes:
        timetable = calendar(minutes, hours, zone)
        for _ in range(20):
            after = ms("2015-01-01T00:00Z") + chance.randrange(10 * 365) * DAY
            until = after + chance.randrange(3 * DAY)
            at, found = after, []
            while (at := timetable.next(at)) <= until:
                found.append(at)
            assert all(earlier < later for earlier, later in pairwise(found))
            assert timetable.newest(after, until) == (found[-1] if found else None)
            assert timetable.count(after, until, 10_000) == len(found)


def test_days_that_are_rare_are_found() -> None:
    """A 29 February that is a Monday comes in 2044, and then not before 2072."""
    rare = Calendar(
        minutes=(0,), hours=(3,), days_of_week=(1,), days_of_month=(29,), months=(2,), zone="UTC"
    )
    first = rare.next(ms("2026-01-01T00:00Z"))
    assert utc_text(first) == "20440229T030000Z"
    assert utc_text(rare.next(first)) == "20720229T030000Z"
    assert rare.newest(ms("2026-01-01T00:00Z"), ms("2044-02-28T00:00Z")) is None


def test_an_interval_lies_on_a_grid() -> None:
    """Its ticks are those of the grid, whenever one begins to look."""
    grid = Interval(period=6 * HOUR, anchor=ms("2026-01-01T01:00Z"))
    assert ticks(grid, "2026-11-28T00:30Z", "2026-11-28T20:00Z") == [
        *("20261128T010000Z", "20261128T070000Z", "20261128T130000Z", "20261128T190000Z")
    ]
    now = round(datetime(2026, 11, 28, 7, tzinfo=UTC).timestamp() * 1000)
    assert grid.newest(now - 1, now) == now
    assert grid.newest(now, now + HOUR) is None
    assert grid.count(now - 7 * HOUR, now, 10_000) == 2
