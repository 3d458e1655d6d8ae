"""Schedules in the lab: virtual time moves their ticks, and whatever can go wrong does.

Owns: what a user sees of schedules in tests.  Refuses to know: real time, and Redis.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab

from celeriac import (
    Abort,
    CommandRefused,
    DefinitionError,
    Flow,
    InputInvalid,
    RunStatus,
    Sagas,
    Schedule,
)
from celeriac.testing import Lab

HOUR = timedelta(hours=1)


@pytest.fixture
def shop() -> Sagas:
    """An app with one saga, that closes the books of a branch."""
    sagas = Sagas(Celery("shop"))

    @sagas.step(name="shop.close")
    def close(branch: str) -> str:
        return f"{branch} closed"

    @close.compensation
    def reopen(branch: str) -> None:
        pass

    @sagas.saga
    def close_books(flow: Flow, branch: str) -> str:
        return flow.step(close, branch)

    return sagas


def hourly(sagas: Sagas, **options: object) -> Schedule:
    """A schedule of every hour."""
    given = {"every": HOUR, **options}
    return sagas.schedule("hourly", sagas.defined["close_books"], "Bonn", **given)  # type: ignore[arg-type]


def kinds(schedule: Schedule) -> list[str]:
    """What happened, in words."""
    return [f"{each.kind} {each.why}".strip() for each in schedule.history()]


def ids(lab: Lab) -> list[str]:
    """The runs there are."""
    return [run.id for run in lab.world.store.runs()]


def test_ticks_come_as_time_passes(shop: Sagas) -> None:
    """Each has one run, under the id of its time; the lab opens at noon."""
    lab = Lab()
    kept = lab.schedule(hourly(shop))
    assert ids(lab) == []
    lab.advance("2h30m")
    assert ids(lab) == ["hourly-20300101T130000Z", "hourly-20300101T140000Z"]
    run = lab.find("hourly-20300101T140000Z")
    assert run.result() == "Bonn closed"
    assert run.state().tags == {"schedule": "hourly"}
    assert kinds(kept) == ["created", "started", "started"]
    assert kept.state().last == lab.now.replace(hour=14, minute=0)
    assert kept.state().next[0] == lab.now.replace(hour=15, minute=0)


def test_a_crontab_ticks_on_the_clock_of_its_zone(shop: Sagas) -> None:
    """Three in the morning in Berlin is two in UTC."""
    lab = Lab()
    lab.schedule(hourly(shop, every=crontab(minute=0, hour=3), timezone="Europe/Berlin"))
    lab.advance("2d")
    assert ids(lab) == ["hourly-20300102T020000Z", "hourly-20300103T020000Z"]


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel"])
def test_a_run_that_owes_something_keeps_no_tick_away(shop: Sagas, overlap: str) -> None:
    """It is at rest: somebody has to see to it, and the books are closed meanwhile."""
    lab = Lab()
    lab.fail("close", Abort("no power"), times=1, after=True)
    lab.fail("undo close", Abort("no power"), times=1)
    kept = lab.schedule(hourly(shop, overlap=overlap))
    lab.advance("2h")
    assert [run.status.value for run in lab.world.store.runs()] == ["failed", "completed"]
    assert kinds(kept) == ["created", "started", "started"]


@pytest.mark.parametrize(
    ("overlap", "runs", "told"),
    [
        ("skip", ["13", "15"], ["started", "skipped overlap", "started"]),
        ("queue", ["13", "14", "15"], ["started", "queued", "started", "started"]),
        ("cancel", ["13", "14", "15"], ["started", "queued", "started", "started"]),
        ("allow", ["13", "14", "15"], ["started", "started", "started"]),
    ],
)
def test_a_run_that_takes_longer_than_the_period(
    shop: Sagas, overlap: str, runs: list[str], told: list[str]
) -> None:
    """Each rule, when the last run still goes on at the next tick."""
    lab = Lab()
    lab.slow("close", "90m")
    kept = lab.schedule(hourly(shop, overlap=overlap))
    lab.advance("3h10m")
    assert ids(lab) == [f"hourly-20300101T{hour}0000Z" for hour in runs]
    assert kinds(kept)[1:] == told
    ended = lab.find(ids(lab)[0]).state().status
    assert ended is (RunStatus.COMPENSATED if overlap == "cancel" else RunStatus.COMPLETED)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_sweep_that_dies_anywhere_leaves_one_run(shop: Sagas, when: str) -> None:
    """Around the decision, the start of the run, and the note that it was started."""
    schedule = hourly(shop)
    for nth in (1, 2, 3, 4):
        lab = Lab()
        lab.schedule(schedule)
        died = lab.crash(f"sweep {when} commit", nth=nth)
        lab.advance("2h1m")
        assert died.happened == 1
        assert ids(lab) == ["hourly-20300101T130000Z", "hourly-20300101T140000Z"]


def test_an_operator_has_the_last_word(shop: Sagas) -> None:
    """Paused, resumed, triggered and deleted; the code does not bring it back."""
    lab = Lab()
    schedule = hourly(shop)
    kept = lab.schedule(schedule)
    kept.pause("audit", by="eve")
    lab.advance("2h1m")
    assert ids(lab) == []
    state = kept.state()
    assert (state.status, state.reason, state.by, state.next) == ("paused", "audit", "eve", ())
    run_id = kept.trigger(by="eve")
    assert run_id == f"hourly-manual-{lab.now:%Y%m%dT%H%M%S}000Z"
    assert kept.trigger(id=run_id) == run_id
    assert lab.find(run_id).result() == "Bonn closed"
    kept.resume()
    lab.advance("1h")
    assert len(ids(lab)) == 2
    kept.delete("moved", by="eve")
    lab.schedule(schedule)
    lab.advance("3h")
    assert len(ids(lab)) == 2
    with pytest.raises(CommandRefused, match="deleted"):
        kept.trigger()
    assert kinds(kept)[1:] == [
        *("paused audit", "skipped paused", "skipped paused", "triggered", "resumed", "started"),
        "deleted moved",
    ]


@pytest.mark.parametrize("words", ["x" * 2_001, "half a letter \udcff", 5])
def test_words_that_no_history_could_show_are_refused(shop: Sagas, words: Any) -> None:
    """Of all that an operator does, and with nothing done."""
    lab = Lab()
    kept = lab.schedule(hourly(shop))
    for act in (kept.pause, kept.resume, kept.delete):
        with pytest.raises(InputInvalid, match="reason: text of at most 2000"):
            act(words)
        with pytest.raises(InputInvalid, match="by: text of at most 2000"):
            act(by=words)
    with pytest.raises(InputInvalid, match="by: text of at most 2000"):
        kept.trigger(by=words)
    assert kinds(kept) == ["created"]
    assert ids(lab) == []


def test_a_trigger_is_refused_beside_a_run(shop: Sagas) -> None:
    """As a tick would be, and nothing is written."""
    lab = Lab()
    lab.slow("close", "30m")
    kept = lab.schedule(hourly(shop))
    lab.world.appointments.clear()
    refused: list[str] = []

    def ask() -> None:
        with pytest.raises(CommandRefused) as caught:
            kept.trigger()
        refused.append(caught.value.reason)

    lab.at("close before body", ask)
    lab.advance("1h10m")
    assert refused == ["overlap"]
    assert ids(lab) == ["hourly-20300101T130000Z"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"every": 60}, "every is a crontab or a timedelta"),
        ({"every": timedelta(0)}, "no whole number of seconds"),
        ({"every": timedelta(seconds=1.5)}, "no whole number of seconds"),
        ({"every": timedelta(days=365_001)}, "at most 365000 days"),
        ({"timezone": "Mars/Olympus"}, "timezone 'Mars/Olympus' is not known"),
        ({"overlap": "maybe"}, "overlap is 'skip'"),
        ({"catch_up": "soon"}, "'soon' is not a duration"),
        ({"anchor": "noon"}, "anchor is one of its ticks"),
        ({"every": crontab(hour=3), "anchor": 3}, "anchor belongs to a timedelta"),
        ({"tags": {"": "x"}}, "a name is not empty"),
        ({"tags": {"schedule": "daily"}}, "the tag 'schedule' of its runs is its name"),
        ({"color": "red"}, "color"),
    ],
)
def test_what_makes_no_sense_is_refused(
    shop: Sagas, options: dict[str, object], problem: str
) -> None:
    """When it is defined, with the name of the schedule."""
    with pytest.raises(DefinitionError, match=problem) as caught:
        hourly(shop, **options)
    assert "schedule 'hourly'" in str(caught.value)
    assert shop._schedules.scheduled() == {}


def test_names_and_sagas_are_checked(shop: Sagas) -> None:
    """A name is part of ids, and the saga is one of this app's."""
    hourly(shop)
    saga = shop.defined["close_books"]
    with pytest.raises(DefinitionError, match="the name is taken"):
        hourly(shop)
    for name in ("", "a b", "x/y", "ü", "nightly-manual", 5):
        with pytest.raises(DefinitionError, match="is no name of a schedule"):
            shop.schedule(name, saga, "Bonn", every=HOUR)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="give a saga of this app"):
        shop.schedule("x", len, "Bonn", every=HOUR)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="branch"):
        shop.schedule("x", saga, every=HOUR)


def test_catching_up_is_shorter_than_retention(shop: Sagas) -> None:
    """Or the id of a tick would not protect it any more."""

    @shop.step(name="shop.look")
    def look() -> None:
        pass

    @shop.saga(retention="1h")
    def brief(flow: Flow) -> None:
        flow.step(look)

    with pytest.raises(DefinitionError, match="catch_up is not shorter than the retention"):
        shop.schedule("x", brief, every=HOUR, catch_up="1h")
