"""Retention: what has expired goes, the archive first, and nothing else waits for that.

Owns: what is removed and when, and an archive that fails.  Refuses to know: how a store
forgets a run.

The file is long because an archive can fail at each moment of a removal.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine.retention import SETTLED, Archivist, Purge, Retention
from celeriac.engine.sweep import Sweep
from celeriac.errors import Abort, ConfigurationError, InputInvalid, StoreError, StoreUnavailable
from celeriac.machine.expressions import FromInput
from celeriac.machine.plans import Node, Plan, Undo
from celeriac.machine.runs import RunStatus
from celeriac.store.memory import MemoryStore
from celeriac.testing.clock import NOON
from tests.engine.driver import RETENTION, TERMS, Shop

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.engine.archive import ArchivedRun
    from celeriac.store import Expired

SECRET = "card 4711"  # noqa: S105
MINUTE = 60_000
PLAN = Plan(
    saga="place_order",
    params=("order",),
    nodes=(
        Node(
            name="charge",
            task="shop.charge",
            args={"order": FromInput(input="order")},
            undo=Undo(task="shop.refund", wants=("order",)),
        ),
    ),
)


class FaultyArchive:
    """An archive that may fail; time passes while it works."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.runs: list[ArchivedRun] = []
        self.asked: Counter[str] = Counter()
        self.refuses: Callable[[ArchivedRun], object] = lambda _: False
        self.takes = 0.0  # seconds
        self.flushes = 0
        self.full = False

    def __call__(self, run: ArchivedRun) -> None:
        """Take a run."""
        self.asked[run.state.id] += 1
        self.shop.clock.pause(self.takes) if self.takes else None
        if self.refuses(run):
            raise OSError("no space left\non device")
        self.runs.append(run)

    def flush(self) -> None:
        """Keep what was taken."""
        self.flushes += 1
        if self.full:
            raise OSError("no space left")

    @property
    def ids(self) -> list[str]:
        """The runs that were taken."""
        return [run.state.id for run in self.runs]


@pytest.fixture
def shop() -> Shop:
    """A shop whose runs fail, if their order says so, with a message that quotes it."""

    def charge(order: str) -> str:
        if order == "bad":
            raise Abort(SECRET, effect=False)
        return SECRET

    found = Shop(PLAN)
    found.bodies["shop.charge"] = charge
    return found


@pytest.fixture
def archive(shop: Shop) -> FaultyArchive:
    """An archive."""
    return FaultyArchive(shop)


def finish(shop: Shop, *run_ids: str, order: str = "good") -> None:
    """Runs that came to rest, a moment ago."""
    for run_id in run_ids:
        shop.start(run_id, order=order)
    shop.work()


def wait(shop: Shop, ms: int = RETENTION) -> None:
    """Let time pass, without a sweep."""
    shop.pass_time(1, sweeping=False)
    shop.clock.now += ms
    shop.show_life()


def sweep(shop: Shop, archive: FaultyArchive, *, payloads: bool = False) -> None:
    """One sweep with an archive."""
    archivist = Archivist(shop.store, archive, payloads)
    Sweep(shop.engine, shop.post, lambda: archivist).run()


def left(shop: Shop) -> set[str]:
    """The runs that there are."""
    return {run.id for run in shop.store._runs()}


# --- removing ----------------------------------------------------------------------------------


def test_runs_go_when_their_retention_is_over(shop: Shop) -> None:
    """A sweep removes what has expired, and nothing before."""
    finish(shop, "order-42")
    wait(shop, RETENTION - 2_000)
    shop.sweep()
    assert left(shop) == {"order-42"}
    wait(shop, 2_000)
    shop.sweep()
    assert left(shop) == set()


def test_what_lives_or_is_owed_never_goes(shop: Shop, archive: FaultyArchive) -> None:
    """However much time passes: a run at work stays, and so does one that owes its undo."""
    finish(shop, "fine")
    shop.bodies["shop.charge"] = lambda order: (_ for _ in ()).throw(Abort(order))
    shop.bodies["shop.refund"] = shop.bodies["shop.charge"]
    finish(shop, "owing")
    assert shop.settle_down("owing").status is RunStatus.FAILED
    shop.start("live", order="good")
    wait(shop, 1_000 * RETENTION)
    sweep(shop, archive)
    assert archive.ids == ["fine"]
    assert left(shop) == {"owing", "live"}


def test_one_sweep_removes_more_than_a_batch(shop: Shop) -> None:
    """Many runs that expire at once are gone after one sweep: it takes batch after batch."""
    names = [f"order-{n}" for n in range(20 * TERMS.batch)]
    finish(shop, *names)
    wait(shop)
    shop.sweep()
    assert left(shop) == set()


def test_removing_takes_its_share_of_a_sweep(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over the rest is left to the next sweep; every shard had its turn."""
    finish(shop, *[f"order-{n}" for n in range(200)])
    wait(shop)
    taken = Counter[int]()

    def slow(shard: int, limit: int) -> list[Expired]:
        taken[shard] += 1
        shop.clock.pause(0.2)
        return MemoryStore.expired(shop.store, shard, limit)

    monkeypatch.setattr(shop.store, "expired", slow)
    shop.sweep()
    assert taken == {0: 2, 1: 1}
    assert len(left(shop)) == 200 - 3 * TERMS.batch


def test_one_sick_shard_does_not_stop_the_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is wrong with the keys of a shard is logged; a store that is away ends it all."""
    finish(shop, *[f"order-{n}" for n in range(20)])
    wait(shop)

    def sick(shard: int, limit: int) -> list[Expired]:
        if shard == 0:
            raise StoreError("it holds something else")
        return MemoryStore.expired(shop.store, shard, limit)

    monkeypatch.setattr(shop.store, "expired", sick)
    shop.sweep()
    assert {shop.store.shard_of(run_id) for run_id in left(shop)} == {0}
    assert "nothing is removed from shard 0: it holds something else" in caplog.text
    monkeypatch.setattr(shop.store, "expired", _away)
    with pytest.raises(StoreUnavailable):
        Sweep(shop.engine, shop.post).run()


def _away(*_: object) -> list[Expired]:
    raise StoreUnavailable("connection refused")


def test_plans_nobody_follows_go_with_the_runs(shop: Shop) -> None:
    """Once the last run of an old plan is removed, the plan is; a newer one stays."""
    finish(shop, "old")
    newer = PLAN.model_copy(update={"version": 2})
    wait(shop, 2 * RETENTION)
    shop.start_with(newer, "new", order="good")
    shop.work()
    shop.sweep()
    assert left(shop) == {"new"}
    assert list(shop.store._plans) == [newer.fingerprint]


# --- the archive -------------------------------------------------------------------------------


def test_the_archive_gets_a_run_before_it_goes(shop: Shop, archive: FaultyArchive) -> None:
    """It gets state and history, while the run is still there."""
    finish(shop, "order-42")
    history = shop.store.history("order-42")
    there: list[bool] = []
    archive.refuses = lambda run: there.append(run.state.id in left(shop))
    wait(shop)
    sweep(shop, archive)
    [kept] = archive.runs
    assert there == [True]
    assert left(shop) == set()
    assert kept.state.status is RunStatus.COMPLETED
    assert kept.history == tuple(history)
    assert kept.cause == {"what": "retention"}
    assert archive.flushes == 1


def test_the_archive_gets_no_payload_unless_that_is_wanted(
    shop: Shop, archive: FaultyArchive
) -> None:
    """Neither inputs and outputs, nor the text of an error, which may quote them."""
    finish(shop, "bad", order="bad")
    finish(shop, "good")
    wait(shop)
    sweep(shop, archive)
    assert sorted(archive.ids) == ["bad", "good"]
    assert [run.payloads for run in archive.runs] == [None, None]
    assert SECRET not in repr(archive.runs)
    [bad] = [run for run in archive.runs if run.state.id == "bad"]
    assert bad.state.failure is not None
    assert bad.state.failure.type == "Abort"


def test_the_archive_gets_payloads_where_that_is_wanted(shop: Shop, archive: FaultyArchive) -> None:
    """All that was recorded, by its name, as JSON text."""
    finish(shop, "good")
    wait(shop)
    sweep(shop, archive, payloads=True)
    [kept] = archive.runs
    assert kept.payloads == {"in:order": '"good"', "out:charge": f'"{SECRET}"'}
    assert kept.document()["payloads"] == {"in:order": "good", "out:charge": SECRET}


# --- an archive that fails ---------------------------------------------------------------------


def test_a_run_stays_until_it_is_archived(
    shop: Shop, archive: FaultyArchive, caplog: pytest.LogCaptureFixture
) -> None:
    """What the archive would not take is told, stays, and is tried more and more rarely."""
    finish(shop, "order-42")
    wait(shop)
    archive.refuses = lambda _: True
    times = []
    began = shop.clock.now
    for _ in range(4 * 60):
        before = archive.asked["order-42"]
        sweep(shop, archive)
        if archive.asked["order-42"] > before:
            times.append((shop.clock.now - began) // MINUTE)
        shop.clock.now += MINUTE
    assert left(shop) == {"order-42"}
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == sorted(gaps), "more and more rarely"
    assert (gaps[0], gaps[-1]) == (1, 60), "in minutes: but once an hour"
    assert "order-42: not archived, and so not removed: OSError: no space left\\non" in caplog.text
    archive.refuses = lambda _: False
    wait(shop, 60 * MINUTE)
    sweep(shop, archive)
    assert left(shop) == set()


def test_one_run_does_not_keep_the_others_waiting(shop: Shop, archive: FaultyArchive) -> None:
    """An archive that cannot take one run takes the others."""
    names = {f"order-{n}" for n in range(50)}
    finish(shop, *names)
    wait(shop)
    archive.refuses = lambda run: run.state.id == "order-7"
    sweep(shop, archive)
    assert left(shop) == {"order-7"}
    assert set(archive.ids) == names - {"order-7"}


def test_an_archive_that_is_down_gets_a_rest(shop: Shop, archive: FaultyArchive) -> None:
    """After two failures in a row nobody calls it for half a minute, whichever sweep it is."""
    finish(shop, *[f"order-{n}" for n in range(50)])
    wait(shop)
    archive.refuses = lambda _: True
    sweep(shop, archive)
    assert archive.asked.total() == 2
    for _ in range(25):
        shop.clock.now += 1_000
        sweep(shop, archive)
    assert archive.asked.total() == 2
    assert shop.store.figures().expired >= 48, "that it hangs behind can be seen"
    archive.refuses = lambda _: False
    wait(shop, 2 * MINUTE)
    sweep(shop, archive)
    assert left(shop) == set()


def test_what_may_not_last_is_not_removed(shop: Shop, archive: FaultyArchive) -> None:
    """An archive that cannot flush has nothing: its runs stay, and are given again."""
    finish(shop, "order-42")
    wait(shop)
    archive.full = True
    sweep(shop, archive)
    assert left(shop) == {"order-42"}
    archive.full = False
    wait(shop, MINUTE)
    sweep(shop, archive)
    assert left(shop) == set()
    assert archive.ids == ["order-42", "order-42"], "at least once"


def test_a_slow_archive_is_given_a_share_of_the_sweep(shop: Shop, archive: FaultyArchive) -> None:
    """It holds up a sweep for no longer than its share, and one run."""
    finish(shop, *[f"order-{n}" for n in range(20)])
    wait(shop)
    archive.takes = 0.3
    sweep(shop, archive)
    assert len(archive.ids) == 2
    assert len(left(shop)) == 18


def test_the_rest_of_a_sweep_comes_first(shop: Shop, archive: FaultyArchive) -> None:
    """Whatever an archive does, what was due has been seen to before it is called."""
    finish(shop, "order-42")
    shop.post.losing = True
    shop.start("lost", order="good")
    shop.post.losing = False
    wait(shop)
    sent: list[str] = []
    archive.refuses = lambda _: sent.extend(m.run_id for m in shop.post.waiting)
    sweep(shop, archive)
    assert sent == ["lost"]


def test_one_sweep_at_a_time_archives(shop: Shop, archive: FaultyArchive) -> None:
    """While one gives runs to the archive, another does not give it the same."""
    finish(shop, "order-42")
    wait(shop)
    archive.refuses = lambda _: sweep(shop, archive)
    sweep(shop, archive)
    assert archive.ids == ["order-42"]
    assert archive.asked.total() == 1


def test_without_its_archive_nothing_goes(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """An archive that cannot be found keeps every run, and is told; the sweep goes on."""
    finish(shop, "order-42")
    shop.start("due", order="good")
    wait(shop)

    def find() -> Archivist | None:
        raise ConfigurationError("saga_archive: 'shop.nothing' cannot be imported")

    assert Sweep(shop.engine, shop.post, find).run() > 0
    for _ in range(25):
        shop.clock.now += 1_000
        Sweep(shop.engine, shop.post, find).run()
    assert "order-42" in left(shop)
    told = "expired runs are kept until the archive works: saga_archive"
    assert caplog.text.count(told) == 1, "not with every sweep"


def test_what_an_archive_says_of_a_payload_is_not_logged(
    shop: Shop, archive: FaultyArchive, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error may quote what it was given: then only the kind of the error is told (X2)."""
    finish(shop, "order-42")
    wait(shop)

    def quote(run: ArchivedRun) -> None:
        raise ValueError(f"cannot take {run.payloads}")

    archive.refuses = quote
    sweep(shop, archive, payloads=True)
    assert "order-42: not archived, and so not removed: ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_a_run_whose_plan_is_lost_is_not_in_the_way(
    shop: Shop, archive: FaultyArchive, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can tell what it was, so it is not thrown away; the others go."""
    finish(shop, "spoilt", "good")
    shop.store.forge(replace(shop.run("spoilt"), plan="0" * 16))
    wait(shop)
    sweep(shop, archive)
    assert left(shop) == {"spoilt"}
    assert "spoilt: not archived, and so not removed: its plan is lost" in caplog.text


def test_without_an_archive_nothing_is_read(shop: Shop) -> None:
    """Runs that nobody wants to see are removed as they are found."""
    finish(shop, "order-42")
    wait(shop)
    shop.store.calls.clear()
    assert Retention(shop.store, TERMS, shop.clock.seconds).run(1.0) == 1
    assert shop.store.calls == []


# --- by hand -----------------------------------------------------------------------------------


def purge(shop: Shop, archive: FaultyArchive | None = None, **values: Any) -> Purge:
    """A purge of everything at rest that ended before now."""
    archivist = Archivist(shop.store, archive) if archive else None
    known = {"ended_before": shop.clock.now, "by": "ada", "reason": "moved", **values}
    return Purge(shop.store, archivist, **known)


def test_a_purge_removes_what_has_ended_long_ago(
    shop: Shop, archive: FaultyArchive, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not wait for their retention; the archive gets them, with who asked and why."""
    caplog.set_level(logging.INFO, "celeriac")
    finish(shop, *[f"old-{n}" for n in range(45)])
    wait(shop, 10 * MINUTE)
    finish(shop, "new")
    assert list(purge(shop, archive, ended_before=shop.clock.now - MINUTE).run())[-1] == 45
    assert left(shop) == {"new"}
    assert len(archive.runs) == 45
    assert archive.runs[0].cause == {"what": "purge", "by": "ada", "why": "moved"}
    assert "old-7: removed (what: purge, by: ada, why: moved)" in caplog.text


def test_a_run_that_began_long_ago_and_ended_now_is_not_purged(shop: Shop) -> None:
    """What counts is when it ended."""
    shop.start("order-42", order="good")
    wait(shop, 10 * MINUTE)
    shop.settle_down()
    assert list(purge(shop, ended_before=NOON + MINUTE).run()) == []
    assert left(shop) == {"order-42"}


@pytest.mark.parametrize("status", sorted(set(RunStatus) - SETTLED))
def test_what_is_live_or_owed_cannot_be_purged(shop: Shop, status: RunStatus) -> None:
    """It is refused before anything is done, and says what to do instead."""
    with pytest.raises(InputInvalid, match="retried, waived or terminated first"):
        purge(shop, statuses={RunStatus.COMPLETED, status})


def test_a_purge_takes_only_what_was_asked_for(shop: Shop) -> None:
    """By status and by saga; left out, it is everything at rest that is not owed."""
    finish(shop, "done")
    finish(shop, "undone", order="bad")
    shop.start("live", order="good")
    shop.start_with(PLAN.model_copy(update={"saga": "other"}), "other", order="good")
    shop.work()
    shop.start("at work", order="good")
    wait(shop, MINUTE)
    assert purge(shop, saga="nobody").kinds() == []
    assert purge(shop, saga="place_order", statuses={RunStatus.COMPENSATED}).kinds() == [
        ("place_order", "compensated", 1)
    ]
    assert list(purge(shop, statuses={RunStatus.COMPENSATED}).run()) == [1]
    assert list(purge(shop, saga="other").run()) == [1]
    assert left(shop) == {"done", "live", "at work"}
    assert list(purge(shop).run()) == [2]
    assert left(shop) == {"at work"}


def test_a_purge_keeps_to_its_pace(shop: Shop) -> None:
    """So many runs a second at most; whoever stops asking stops it."""
    finish(shop, *[f"order-{n}" for n in range(60)])
    wait(shop, MINUTE)
    pauses: list[float] = []
    going = purge(shop).run(rps=10.0, pause=pauses.append)
    assert [next(going), next(going)] == [20, 40]
    going.close()
    assert len(left(shop)) == 20
    assert pauses == [pytest.approx(2.0, abs=0.5)]


def test_a_purge_ends_where_the_archive_fails(shop: Shop, archive: FaultyArchive) -> None:
    """What it had taken is removed, the rest stays, and the error is the archive's own."""
    finish(shop, *[f"order-{n:02}" for n in range(30)])
    wait(shop, MINUTE)
    archive.refuses = lambda _: len(archive.runs) == 25
    with pytest.raises(OSError, match="no space"):
        list(purge(shop, archive).run())
    assert set(archive.ids).isdisjoint(left(shop))
    assert (len(archive.ids), len(left(shop))) == (25, 5)


def test_a_purge_removes_nothing_that_may_not_last(shop: Shop, archive: FaultyArchive) -> None:
    """An archive that cannot flush ends it, with every run in its place."""
    finish(shop, "order-42")
    wait(shop, MINUTE)
    archive.full = True
    with pytest.raises(OSError, match="no space"):
        list(purge(shop, archive).run())
    assert left(shop) == {"order-42"}
