"""`python -m bench.million`: that a million runs at rest, and a million asleep, make nothing slow.

Owns: a Redis for the length of the benchmark, timing what operators and the sweep do then, and the
bound: who lists, filters, counts or sweeps waits no longer than 50 ms, in 99 of 100 cases.  Pages
of the dashboard, which a server puts together beside it, have bounds of their own.  Refuses to
know: how it is filled (`filling`), and how a page is asked for (`web`).

Each thing is timed in several rounds, and the best of them counts: what disturbs a machine only
ever makes it slower.  Beside the time stands the work it takes, here and in Redis together, which
is the same on a busy machine.

The Redis keeps nothing on disk: what is measured is reading.  It takes about 2 GB of memory for
each million, and a few minutes.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from redis import Redis

from bench.filling import SAGAS, SPAN, fill
from bench.synthetic_runs import SHARDS, TERMS, plan_of
from bench.web import BOUNDS, pages_beside
from celeriac.app.pages import states_of
from celeriac.engine.attempts import Delivery
from celeriac.engine.engine import Engine
from celeriac.engine.sweep import Sweep
from celeriac.machine.commands import Start
from celeriac.machine.runs import RunStatus
from celeriac.store import Query
from celeriac.store.redis import RedisStore
from celeriac.testing.servers import LocalRedis
from celeriac.views.stats import stats_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


BOUND = 50.0  # ms
_BYTES_A_RUN = 2400  # more than it takes, for the look whether there is enough memory


def main() -> None:
    """Fill a Redis, measure, and print; end with 1 if the bound is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.million", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="runs at rest")
    parser.add_argument("--sleeping", type=int, default=1_000_000, help="runs that sleep for days")
    parser.add_argument("--live", type=int, default=3_000, help="runs that are not at rest")
    parser.add_argument("--repeat", type=int, default=200, help="how often each thing is timed")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of that")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the Redis must not outlive us
    _check_memory((options.runs + options.sleeping + options.live) * _BYTES_A_RUN)
    with (
        tempfile.TemporaryDirectory(prefix="celeriac-bench-") as name,
        LocalRedis(Path(name) / "redis", options={"appendonly": "no"}) as server,
    ):
        logging.getLogger("celeriac").setLevel(logging.CRITICAL)  # the runs of a factory fail too
        sys.exit(not measure(server.url, options))


def measure(url: str, options: argparse.Namespace) -> bool:
    """Fill the Redis at *url* and measure; return whether the bound is kept."""
    counts = {"at rest": options.runs, "asleep": options.sleeping, "live": options.live}
    with _client(url) as client:
        before = client.info("memory")["used_memory"]
        began = time.perf_counter()
        fill(url, client, *counts.values())
        each = (client.info("memory")["used_memory"] - before) / sum(counts.values())
        took = time.perf_counter() - began
        told = ", ".join(f"{count:,} {how}" for how, count in counts.items())
        print(f"runs: {told}; written in {took:.0f} s")
        print(f"Redis {client.info('server')['redis_version']}, {os.cpu_count()} cores, ", end="")
        print(f"{client.info('memory')['used_memory_human']} used: {each:.0f} bytes a run\n")
    with closing(Shop(url)) as shop:
        kept = _table(shop, options.repeat, options.rounds)
    return _pages(url) and kept


def _client(url: str) -> Any:
    return Redis.from_url(url, decode_responses=True, socket_timeout=60)


def _check_memory(needed: int) -> None:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if free < needed:
        raise SystemExit(
            f"it takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: give "
            "fewer --runs"
        )


# --- measuring ---------------------------------------------------------------------------------


class _Nowhere:
    """A dispatcher without a broker."""

    def send(self, *_: Any) -> None:
        """Send nothing."""

    together = nullcontext  # one by one

    def backlog(self, *_: object) -> None:
        """Say nothing."""


class _Deed(NamedTuple):
    """What is timed."""

    name: str
    do: Callable[[], object]
    bound: bool = True  # whether the bound is one for it


class Shop:
    """What operators, applications and the sweep do."""

    def __init__(self, url: str) -> None:
        self.engine = Engine(RedisStore(url, shards=SHARDS), TERMS)
        self._client = _client(url)
        self._plan = plan_of(SAGAS[0])
        self._ids = (f"new-{number}" for number in itertools.count())
        self._started = (f"new-{number}" for number in itertools.count())

    def close(self) -> None:
        """Give back connections."""
        self.engine.store.close()
        self._client.close()

    def deeds(self) -> Iterator[_Deed]:
        """Everything that is timed; the list in the way `celery -A app saga list` makes it."""
        failed = frozenset({RunStatus.FAILED})
        middle = (int(time.time() * 1000) - SPAN // 2, "")
        waiting = frozenset({RunStatus.WAITING})
        europe, tenant = ("region", "europe"), ("tenant", "tenant-0042")
        yield _Deed("list, first page", self._list(Query()))
        yield _Deed("list, a page in the middle", self._list(Query(cursor=middle)))
        yield _Deed("list --saga refund", self._list(Query(saga="refund")))
        yield _Deed("list --status failed", self._list(Query(statuses=failed)))
        yield _Deed("list --status waiting", self._list(Query(statuses=waiting)))
        yield _Deed("list --status failed --saga refund", self._list(Query(failed, "refund")))
        yield _Deed("list --tag tenant (1 in 1,000)", self._list(Query(tags=(tenant,))))
        yield _Deed(
            "list --tag region (all) --status failed", self._list(Query(failed, tags=(europe,)))
        )
        yield _Deed("list --tag tenant --status failed", self._list(Query(failed, tags=(tenant,))))
        yield _Deed("stats", lambda: stats_of(self.engine.store))
        yield _Deed("sweep, nothing due", lambda: Sweep(self.engine, _Nowhere()).run())
        yield _Deed("start of a run", self._start, bound=False)
        yield _Deed("one step: claim and complete", self._step, bound=False)

    def work(self) -> float:
        """Milliseconds that processors have worked so far, in this process and in Redis."""
        told = self._client.info("cpu")
        there = float(told["used_cpu_user"]) + float(told["used_cpu_sys"])
        return (time.process_time() + there) * 1000

    def _list(self, query: Query) -> Callable[[], object]:
        def page() -> object:
            found = self.engine.store.find(query)
            return states_of(self.engine, found.runs, failures=False)

        return page

    def _start(self) -> None:
        start = Start(next(self._ids), "0", "0", TERMS.grace)
        self.engine.start(self._plan, start, {"order": "{}"})

    def _step(self) -> None:
        hint = Delivery(next(self._started), 1, "reserve", "do", 1, self._plan.fingerprint)
        self.engine.complete(self.engine.claim(hint, "bench"), "null")


def _table(shop: Shop, repeat: int, rounds: int) -> bool:
    """Time everything and print it; return whether the bound is kept."""
    print(
        f"{'ms':42} {'p50':>8} {'p99':>8} {'work':>8}   ({repeat} times, best of {rounds} rounds)"
    )
    kept = True
    for deed in shop.deeds():
        before = shop.work()
        middle, late = min(
            (_figures(_times(deed.do, repeat)) for _ in range(rounds)), key=lambda each: each[1]
        )
        work = (shop.work() - before) / (repeat * rounds)
        missed = deed.bound and late > BOUND
        kept = kept and not missed
        print(
            f"  {deed.name:40} {middle:8.2f} {late:8.2f} {work:8.2f}{'   MISSED' if missed else ''}"
        )
    print(f"\n99 of 100 within {BOUND:g} ms: {'yes' if kept else 'no'}")
    return kept


def _pages(url: str) -> bool:
    """Ask a dashboard for its pages, and print; return whether their bounds are kept."""
    print(f"\n{'pages, ms':42} {'p50':>8} {'p95':>8} {'server':>8}   (over HTTP, one by one)")
    kept = True
    for name, found in pages_beside(url).items():
        title, bound = BOUNDS[name]
        missed = found["p50"] > bound
        kept = kept and not missed
        print(f"  {title:40} {found['p50']:8.2f} {found['p95']:8.2f} {found['cpu']:8.2f}", end="")
        print(f"   {'MISSED: ' if missed else ''}{bound} ms at most, {found['bytes'] // 1024} KB")
    return kept


def _figures(times: Sequence[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def _times(do: Callable[[], object], repeat: int) -> Sequence[float]:
    do()  # scripts are loaded and plans read once in the life of a process
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        do()
        times.append((time.perf_counter() - began) * 1000)
    return times


if __name__ == "__main__":
    main()
