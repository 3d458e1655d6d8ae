"""`python -m bench.costs`: what runs cost the Redis that holds their state.

Owns: a Redis for the length of it, runs driven by the engine alone, and what the server counts for
them: round trips, commands, bytes, CPU, memory.  Refuses to know: the broker and Celery
(`throughput`).
"""

from __future__ import annotations

import logging
import tempfile
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.round_trips import Runner, counted
from celeriac.engine import Backlog, Engine, Sweep
from celeriac.engine.attempts import Delivery
from celeriac.machine import Node, Plan, Start
from celeriac.settings import Terms
from celeriac.store import Lease
from celeriac.store.redis import RedisStore
from celeriac.testing.servers import LocalRedis

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis import Redis

    from celeriac.machine import Run, Transition

RUNS, STEPS, SHARDS = 1_000, 3, 8
_TERMS = Terms(
    lease=15_000, grace=600_000, retention=86_400_000, max_payload=10_000, batch=100, run_ahead=20
)
_SMALL = 10  # what is less is told with its fraction
_OURS = {"info", "hello", "client|setinfo", "ping"}  # of whoever counts


class Cost(NamedTuple):
    """What the server counted."""

    trips: float  # requests and pipelines that reached it
    commands: float  # with those that scripts called
    received: float  # bytes
    sent: float  # bytes
    cpu: float  # microseconds
    memory: float  # bytes that it keeps

    def of_one(self, count: int) -> Cost:
        """Return the share of one of *count*."""
        return Cost(*(value / count for value in self))


class Nowhere:
    """Where messages go."""

    def send(self, *_: object) -> None:
        """Send nothing."""

    together = nullcontext  # one by one

    def backlog(self, *_: object) -> Backlog:
        """Nothing waits."""
        return Backlog("costs", 0)


def measured(runs: int = RUNS, steps: int = STEPS) -> Mapping[str, Cost]:
    """Return what each of these costs a Redis of its own."""
    names = [f"step_{n}" for n in range(1, steps + 1)]
    before = [(), *((name,) for name in names)]
    nodes = (Node(name=n, task=f"costs.{n}", after=a) for n, a in zip(names, before, strict=False))
    plan = Plan(saga="costs", nodes=tuple(nodes))
    with (
        tempfile.TemporaryDirectory(prefix="celeriac-costs-") as folder,
        LocalRedis(Path(folder)) as server,
        server.client() as client,
        closing(RedisStore(server.url, shards=SHARDS)) as store,
    ):
        engine = Engine(store, _TERMS)
        _drive(engine, plan, "first", ahead=True)  # what all runs share is there from now on
        _sweep(engine)
        found = {
            "a run, each step by a message": cost_of(
                client, runs, lambda n: _drive(engine, plan, f"sent-{n}", ahead=False)
            ),
            "a run, steps ahead": cost_of(
                client, runs, lambda n: _drive(engine, plan, f"ahead-{n}", ahead=True)
            ),
            "a start": cost_of(client, runs, lambda n: _start(engine, plan, f"waits-{n}")),
            "a sweep, nothing due": cost_of(client, 100, lambda _: _sweep(engine)),
        }
        held = [_claim(engine, plan, f"waits-{n}", names[0]) for n in range(runs)]
        found["a renewal of a lease"] = cost_of(
            client, 1, lambda _: store.renew(held, 15_000), runs
        )
        return found


def cost_of(client: Redis, count: int, work: Callable[[int], object], things: int = 0) -> Cost:
    """Do some work so often, and return what one of the *things* that were done has cost."""
    before = _figures(client)
    with counted() as sent:
        for n in range(count):
            work(n)
    after = _figures(client)
    difference = (now - then for now, then in zip(after, before, strict=True))
    return Cost(len(sent), *difference).of_one(things or count)


def _figures(client: Redis) -> Sequence[float]:
    stats, cpu, calls = client.info("stats"), client.info("cpu"), client.info("commandstats")
    return (
        sum(row["calls"] for name, row in calls.items() if name[8:] not in _OURS),
        stats["total_net_input_bytes"],
        stats["total_net_output_bytes"],
        (cpu["used_cpu_user"] + cpu["used_cpu_sys"]) * 1e6,
        client.info("memory")["used_memory"],
    )


def _start(engine: Engine, plan: Plan, run_id: str) -> Transition:
    return engine.start(plan, Start(run_id, "", f"call-{run_id}", _TERMS.grace), {}).transition


def _drive(engine: Engine, plan: Plan, run_id: str, *, ahead: bool) -> None:
    """Bring a run to its end."""
    run: Run = _start(engine, plan, run_id).run
    runner = Runner(len(plan.nodes) if ahead else 0)
    following = None
    for node in plan.nodes:
        hint = Delivery(run_id, 1, node.name, "do", 1, run.plan)
        attempt = following or engine.claim(hint, f"worker-{run_id}", "celery", ahead=runner)
        _, following = engine.complete(attempt, '{"id": 4711}', runner)


def _claim(engine: Engine, plan: Plan, run_id: str, step: str) -> Lease:
    engine.claim(Delivery(run_id, 1, step, "do", 1, plan.fingerprint), "worker", "celery")
    return Lease(run_id, step, "do", 1)


def _sweep(engine: Engine) -> None:
    Sweep(engine, Nowhere()).run()


def main() -> None:
    """Print a line for each."""
    logging.getLogger("celeriac").setLevel(logging.ERROR)
    print(f"of {RUNS} runs of {STEPS} steps; a sweep looks at {SHARDS} shards")
    print("| | round trips | commands | bytes in | bytes out | CPU of Redis, µs | memory, bytes |")
    print("|---|---|---|---|---|---|---|")
    for name, cost in measured().items():
        told = (f"{value:.2f}" if value < _SMALL else f"{value:,.0f}" for value in cost)
        print(f"| {name} | {' | '.join(told)} |")


if __name__ == "__main__":
    main()
