"""Many runs at rest or asleep: what it takes to look at them, in commands and round trips.

Time is for `python -m bench.million`; its synthetic runs are shown to be like real ones here.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from bench.filling import OUTCOMES, TENANTS, fill
from bench.million import Shop
from bench.round_trips import counted
from bench.synthetic_runs import RunFactory, RunTemplate, SyntheticRun, plan_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer

FEW, MANY = 1_000, 20_000
RUNS = (
    SyntheticRun(7, 1_700_000_000_123, 42),
    SyntheticRun(12_345_678, 1_763_640_000_000, 999),
    SyntheticRun(8, 1_999_999_999_999, 0),
)
# Round trips at most.  A sweep asks each of the 8 shards three times: what is due, which gates
# have to be looked at, what has expired.
TRIPS = {
    "list": 4,
    "stats": 6,
    "sweep": 28,
    "start": 2,
    "one step": 4,
}


def own_keys(client: Any) -> dict[str, Any]:
    """What is stored, apart from what runs share: plans, and the names of indexes."""
    read = {
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    shared = (":plans", ":sets")
    return {
        key: read[client.type(key)](key)
        for key in client.scan_iter()
        if ":plan:" not in key and not key.endswith(shared)
    }


@pytest.mark.parametrize("outcome", [*OUTCOMES, "sleeping", "running"])
def test_a_copied_run_is_like_a_driven_one(server: RedisServer, outcome: str) -> None:
    """Whatever Redis holds of a synthetic run, it would hold of a real one, byte by byte."""
    plan = plan_of("place_order", outcome)
    with server.client() as client, closing(RunFactory(server.url)) as factory:
        template = RunTemplate(server.url, client, plan, outcome)
        client.flushall()
        for run in RUNS:
            factory.drive(plan, run, outcome)
        driven = own_keys(client)
        client.flushall()
        send(client, "".join(template.filled(run) for run in RUNS))
        assert own_keys(client) == driven
        assert len(driven) > 2 * len(RUNS)


def test_a_copied_run_goes_on(server: RedisServer) -> None:
    """The engine takes up a live synthetic run, by the plan that is stored with it."""
    plan = plan_of("place_order")
    with server.client() as client, closing(RunFactory(server.url)) as factory:
        template = RunTemplate(server.url, client, plan, "running")
        client.flushall()
        send(client, template.shared(1) + template.filled(RUNS[0]))
        factory.store.now = RUNS[0].started_at + 1
        assert factory.store.plan(RUNS[0].run_id, plan.fingerprint) == plan
        factory._do(plan, RUNS[0].run_id, "reserve")
        assert factory.store.figures().counts == {("place_order", "running"): 1}


def send(client: Any, commands: str) -> None:
    """Send commands as Redis reads them; every one of them must succeed."""
    link = client.connection_pool.get_connection()
    link.send_packed_command([commands.encode()])
    for line in commands.splitlines():
        if line.startswith("*"):
            link.read_response()
    client.connection_pool.release(link)


@pytest.fixture(scope="module")
def costs(shared_server: RedisServer) -> dict[int, dict[str, tuple[int, int]]]:
    """By number of runs: what each deed takes, in round trips and commands within Redis."""
    return {count: dict(_costs(shared_server, count)) for count in (FEW, MANY)}


def _costs(server: RedisServer, count: int) -> Iterator[tuple[str, tuple[int, int]]]:
    with server.client() as client:
        fill(server.url, client, count, count, 100)
        with closing(Shop(server.url)) as shop:
            for deed in shop.deeds():
                deed.do()  # once in the life of a process scripts are loaded, and plans read
                client.config_resetstat()
                with counted() as trips:
                    deed.do()
                told = client.info("commandstats")
                commands = sum(int(each["calls"]) for each in told.values())
                yield deed.name, (len(trips), commands)


def test_round_trips_are_few(costs: dict[int, dict[str, tuple[int, int]]]) -> None:
    """A page is a handful of round trips, not one for each run; so is everything else."""
    for name, (trips, _) in costs[MANY].items():
        most = next(most for kind, most in TRIPS.items() if name.startswith(kind))
        assert trips <= most, name


def test_many_runs_take_no_more_than_few(costs: dict[int, dict[str, tuple[int, int]]]) -> None:
    """Twenty times as many at rest or asleep make nothing dearer: no list, no stats, no sweep."""
    for name, (_, commands) in costs[MANY].items():
        # Where a page was not full with few runs, it is now: that is what it may cost more.
        assert commands <= costs[FEW][name][1] + 900, name
        assert commands < 2_500, name


def test_runs_of_a_tenant_are_few(costs: dict[int, dict[str, tuple[int, int]]]) -> None:
    """The bench asks for a tag that one run in a thousand has."""
    assert TENANTS == 1_000
    assert costs[MANY]["list --tag tenant (1 in 1,000)"][1] < 200
