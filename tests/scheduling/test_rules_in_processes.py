"""The rules of schedules with real processes: runs that overlap, and clocks that change.

Owns: each rule while the last run goes on, and a fixed hour over summer time.  Refuses to know: who
sweeps beside whom (`test_processes`), and the rules by themselves (`test_judging`).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from celery import Celery

from celeriac import Sagas
from celeriac.testing.servers import find_redis_binary
from tests.chaos import clock
from tests.processes import Processes, environment, until
from tests.redis_server import RedisServer
from tests.scheduling.rules_app import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from celeriac import RunHandle, ScheduleEvent


class Shop(NamedTuple):
    """What the tests of this file share: a sweep, a worker, and somebody who looks."""

    sagas: Sagas
    processes: Processes
    client: redis.Redis
    clock: clock.Clock | None  # of Redis; None where clocks cannot be set


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The processes; nobody ticks."""
    folder = tmp_path_factory.mktemp("rules")
    library = clock.build(folder)
    made = clock.Clock(library, "redis") if library else None
    binary = made.wrap(find_redis_binary()) if made else None
    with RedisServer(folder / "redis", binary=binary) as server, server.client() as client:
        app = Celery("observer", broker=server.url, set_as_current=False)
        app.conf.update(saga_redis_url=server.url)
        sagas, processes = Sagas(app), Processes(folder, "tests.scheduling.rules_app")
        env = environment(TICKING_URL=server.url)
        try:
            processes.worker("w1", "--pool", "threads", env=env, children=12)
            processes.celery("sweep", "saga", "sweep", "--every", "0.1", env=env)
            yield Shop(sagas, processes, client, made)
        finally:
            processes.kill()
            sagas.runtime.close()


def told(sagas: Sagas, name: str) -> list[ScheduleEvent]:
    """What happened to a schedule."""
    return sagas.schedule_named(name).history()


def of(events: list[ScheduleEvent], kind: str, why: str | None = None) -> list[ScheduleEvent]:
    """The events of a kind, and for a reason where one is given."""
    return [each for each in events if each.kind == kind and why in (None, each.why)]


def runs(events: list[ScheduleEvent]) -> list[str]:
    """The runs that were started, oldest first."""
    return [each.run for each in of(events, "started")]


def test_each_rule_while_the_last_run_goes_on(shop: Shop) -> None:
    """The first run of each goes on until all have seen a tick or two; then all come to rest."""
    sagas = shop.sagas
    looked: dict[str, Callable[[list[ScheduleEvent]], Any]] = {
        "skip": lambda found: of(found, "skipped", "overlap"),
        "queue": lambda found: of(found, "queued") and of(found, "skipped", "queue_full"),
        "cancel": lambda found: len(of(found, "started")) >= 2,
        "allow": lambda found: len(of(found, "started")) >= 2,
    }
    firsts = {}
    for rule in RULES:
        until(partial(judged, sagas, rule, looked[rule]), f"{rule}: it was judged")
        firsts[rule] = sagas.run(runs(told(sagas, rule))[0])
    assert {firsts[rule].status for rule in ("skip", "queue", "allow")} == {"running"}
    assert len(runs(told(sagas, "skip"))) == len(runs(told(sagas, "queue"))) == 1
    beside = sagas.run(runs(told(sagas, "allow"))[1])
    until(lambda: beside.status == "completed", "it runs beside the first")
    (queued, *_) = of(told(sagas, "queue"), "queued")
    shop.client.set("go", 1)
    for rule, run in firsts.items():
        wanted = "compensated" if rule == "cancel" else "completed"
        until(partial(has_ended, run, wanted), f"{run.id}: {wanted}", more=shop.processes.logs)
        until(partial(judged, sagas, rule, lambda found: len(runs(found)) > 1), "the next started")
    assert runs(told(sagas, "queue"))[1] == queued.run
    counted = {str(name): int(n) for name, n in shop.client.hgetall("effects").items()}
    assert counted.pop(firsts["cancel"].id) == 0, "it was undone"
    assert set(counted.values()) == {1}


def test_a_fixed_hour_over_summer_time(shop: Shop) -> None:
    """Half past two: in March at the first instant after the gap, in October once."""
    if shop.clock is None:
        pytest.skip("clocks cannot be set here")
    shop.client.set("go", 1)
    until(partial(judged, shop.sagas, "night", lambda found: of(found, "created")), "it is known")
    gap, first, second = (
        datetime(2027, *moment, tzinfo=UTC)
        for moment in ((3, 28, 0, 59, 59), (10, 31, 0, 29, 59), (10, 31, 1, 29, 59))
    )
    shop.clock.set(gap.timestamp() - time.time())
    march, october = "night-20270328T010000Z", "night-20271031T003000Z"
    until(lambda: nights(shop) == {march: 1}, "the night of the gap", more=shop.processes.logs)
    for moment in (first, second):
        shop.clock.set(moment.timestamp() - time.time())
        until(lambda: nights(shop) == {march: 1, october: 1}, "the night when it comes twice")
    over = "skip-20271031T013002Z"
    until(partial(judged, shop.sagas, "skip", lambda found: runs(found)[-1] >= over), "it is past")
    assert nights(shop) == {march: 1, october: 1}
    assert len(of(told(shop.sagas, "night"), "started")) == 2


def judged(sagas: Sagas, name: str, true: Callable[[list[ScheduleEvent]], Any]) -> Any:
    """What is true of the events of a schedule."""
    return true(told(sagas, name))


def has_ended(run: RunHandle[Any], status: str) -> bool:
    """Whether a run has come to a status."""
    return run.status == status


def nights(shop: Shop) -> dict[str, int]:
    """How often the step of each night was called, by the id of its run."""
    return {str(name): int(n) for name, n in shop.client.hgetall("nights").items()}
