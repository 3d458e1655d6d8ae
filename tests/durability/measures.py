"""What Redis may lose, setting by setting: one measure for each, on servers of one's own.

Owns: the accidents (a kill, a cut of the power, a failover, a backup, an eviction), and the figures
they give.  Refuses to know: what is promised (`test_measures`), and the page that tells of it.

``python -m tests.durability.measures`` prints the figures of the page.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from celeriac.engine.engine import Engine
from celeriac.engine.repair import Repair
from celeriac.errors import StoreFull
from celeriac.store.redis import RedisStore
from tests.chaos.proxy import Fault, Proxy
from tests.durability.failovers import cluster_failed_over, failed_over
from tests.durability.load import Acknowledged, Load, Loss
from tests.durability.shop import Ledger, Shop
from tests.engine.driver import TERMS
from tests.processes import until
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tests.durability.failovers import Outcome

Options = dict[str, str | int]

AOF_EVERYSEC: Options = {"appendonly": "yes", "appendfsync": "everysec"}
AOF_ALWAYS: Options = {"appendonly": "yes", "appendfsync": "always"}
AOF_OFF: Options = {"appendonly": "no", "save": ""}


class Measured(NamedTuple):
    """What one accident, or several, have cost."""

    losses: tuple[Loss, ...] = ()
    faults: int = 0  # found by the repair tool afterwards
    note: str = ""

    @property
    def lost(self) -> int:
        """Acknowledged writes that are gone."""
        return sum(loss.writes for loss in self.losses)

    def __str__(self) -> str:
        told = [self.note] if self.note else []
        if self.losses:
            of = sum(loss.of for loss in self.losses)
            told.append(f"{self.lost} of {of} acknowledged writes lost")
        if self.lost:
            back = max(loss.newest_kept for loss in self.losses)
            told.append(f"state up to {back:.2f} s back")
        told.append(f"{self.faults} faults")
        return ", ".join(told)


# --- the server dies, the machine lives --------------------------------------------------------


def killed(folder: Path, options: Mapping[str, str | int], scale: int) -> Measured:
    """SIGKILL at random moments under load, a restart after each."""
    with RedisServer(folder, options=options) as server:
        load = Load(server.url)
        with load.running():
            for _ in range(2 * scale):
                load.wait_for(50 + random.randrange(100))  # noqa: S311 -- no secret
                server.restart()
        return Measured((load.lost(),), faults=faults(server))


def killed_beside_a_slow_disk(folder: Path, scale: int) -> Measured:
    """SIGKILL while the disk takes three seconds each time that it is to write.

    With `everysec` Redis then holds back, for up to two seconds, what it has acknowledged: in its
    own memory, where a kill finds it.
    """
    slow = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_exit=3000000"]
    losses = []
    for n in range(scale):
        with RedisServer(folder / str(n), options=AOF_EVERYSEC) as server:
            load = Load(server.url)
            with load.running(), traced(server, *slow), server.client() as client:
                load.wait_for(50)
                until(lambda: client.info("persistence")["aof_pending_bio_fsync"])
                until(lambda: client.info("persistence")["aof_buffer_length"])
                time.sleep(1.5 * random.random())  # noqa: S311 -- any moment of the time it may take
                until(lambda: client.info("persistence")["aof_buffer_length"])
                server.kill()
            server.start()
            losses.append(load.lost())
            assert faults(server) == 0
    return Measured(tuple(losses))


def snapshots(folder: Path, scale: int) -> Measured:
    """SIGKILL some time after the newest snapshot."""
    losses = []
    for n in range(scale):
        options: Options = {"appendonly": "no", "save": ""}
        with RedisServer(folder / str(n), options=options) as server, server.client() as client:
            load = Load(server.url)
            with load.running():
                load.wait_for(100)
                client.save()
                load.wait_for(100)
                server.kill()
            server.start()
            losses.append(load.lost())
            assert faults(server) == 0
    return Measured(tuple(losses))


# --- the power goes ----------------------------------------------------------------------------


def until_synced(folder: Path, options: Mapping[str, str | int], scale: int) -> Measured:
    """What would be gone if the power went at the worst moment: all that is not on the disk yet."""
    with RedisServer(folder, options=options) as server:
        load = Load(server.url)
        with load.running(), syncs(server, folder / "syncs") as done:
            began = time.time()
            load.wait_for(20)
            time.sleep(2.5 * scale)  # the disk is written to once a second
            ended = time.time()
        acknowledged = [each for each in load.acknowledged if began < each.told < ended]
        return Measured((at_risk(acknowledged, done),), faults=faults(server))


def until_synced_in_rewrite(folder: Path, scale: int) -> Measured:
    """The same, while the AOF is rewritten and `no-appendfsync-on-rewrite` is on."""
    options: Options = {**AOF_EVERYSEC, "no-appendfsync-on-rewrite": "yes"}
    with RedisServer(folder, options=options) as server, server.client() as client:
        load = Load(server.url)
        with load.running(), syncs(server, folder / "syncs") as done:
            load.wait_for(100)
            # So many microseconds a key: the rewrite takes some seconds, as one of some GB does.
            client.config_set("rdb-key-save-delay", 2_000_000 * scale // client.dbsize())
            began = time.time()
            client.bgrewriteaof()
            until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
            time.sleep(1.5)
            ended = time.time()
        acknowledged = [each for each in load.acknowledged if began < each.told < ended]
        note = f"a rewrite took {ended - began - 1.5:.1f} s"
        return Measured((at_risk(acknowledged, done),), faults=faults(server), note=note)


@contextmanager
def syncs(server: RedisServer, log: Path) -> Iterator[list[tuple[float, float]]]:
    """When the server has told the disk to write, and when that was done: filled at the end."""
    found: list[tuple[float, float]] = []
    with traced(server, "-T", "-ttt", "-e", "trace=fdatasync,fsync", "-o", str(log)):
        until(log.exists)
        yield found
    # `1234 1700000000.123 fdatasync(9) = 0 <0.004>`, or cut in two by another thread's call.
    for line in log.read_text().splitlines():
        if match := re.match(r"\d+ +([\d.]+) .*<([\d.]+)>$", line):
            at, took = float(match[1]), float(match[2])
            found.append((at - took, at) if "resumed" in line else (at, at + took))
    found.sort()


@contextmanager
def traced(server: RedisServer, *words: str) -> Iterator[None]:
    """Watch the server's calls to the disk, or tamper with them."""
    command = [find_tracer() or "", "-f", "-qq", "-o", os.devnull, *words, "-p", str(server.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)


def find_tracer() -> str | None:
    """The program that tells when the server writes to the disk; None if it may not be used."""
    found = shutil.which("strace")
    if found is None:
        return None
    tried = subprocess.run([found, "-qq", "-o", "/dev/null", "true"], check=False)
    return None if tried.returncode else found


def at_risk(acknowledged: Sequence[Acknowledged], done: Sequence[tuple[float, float]]) -> Loss:
    """The most that was acknowledged at one moment, and not on the disk."""
    worst, back = 0, 0.0
    for (began, _), (_, ended) in pairwise(done):
        # Just before a write to the disk has ended, all is at risk since the one before began;
        # but not what was asked before and acknowledged after one that lay between.
        waiting = [
            each
            for each in acknowledged
            if began < each.told < ended
            and not any(each.asked < a and b < each.told for a, b in done)
        ]
        if len(waiting) > worst:
            worst, back = len(waiting), ended - min(each.told for each in waiting)
    return Loss(worst, len(acknowledged), back)


# --- failover ----------------------------------------------------------------------------------


def failover(folder: Path, scale: int, *, guarded: bool = False) -> Measured:
    """The replica cannot be reached for a while; then the primary dies and it takes over."""
    options: Options = {**AOF_EVERYSEC, "repl-diskless-sync-delay": 0}
    if guarded:
        options |= {
            "min-replicas-to-write": 1,
            "min-replicas-max-lag": 1,
            "repl-ping-replica-period": 1,
        }
    losses, notes = [], []
    for n in range(scale):
        with (
            RedisServer(folder / f"{n}-a", options=options) as primary,
            RedisServer(folder / f"{n}-b", options=AOF_EVERYSEC) as replica,
            Proxy(primary.port) as link,
            replica.client() as client,
        ):
            client.replicaof("127.0.0.1", str(link.port))
            until(lambda: client.info("replication")["master_link_status"] == "up")
            load = Load(primary.url)
            with primary.client() as asked, load.running():
                load.wait_for(100)
                # Not stopped with SIGSTOP: what waits in its socket would be read once it goes on.
                link.begin(Fault("swallow"))
                before = load.writes
                _let_pass(load, guarded=guarded)
                asked.set("mark", 1) if not guarded else None
                copies = asked.wait(1, 200)
                unseen = load.writes - before
                notes.append(f"WAIT said {copies}, {unseen} writes unseen by the replica")
                primary.kill()
            client.replicaof("NO", "ONE")
            losses.append(load.lost(replica.url))
            assert faults(replica) == 0
    return Measured(tuple(losses), note=notes[-1])


def _let_pass(load: Load, *, guarded: bool) -> None:
    """Until the primary refuses to write without its replica, or for a hundred writes."""
    if not guarded:
        load.wait_for(100)
        return
    until(lambda: load.refusals > 0)


def followed(scale: int, failover: Callable[[int], AbstractContextManager[Outcome]]) -> Measured:
    """A replica takes over, and every client follows."""
    losses, found, refusals = [], 0, 0
    for n in range(scale):
        with failover(n) as done:
            losses.append(done.loss)
            refusals += done.refusals
            found += faults(done)
    return Measured(tuple(losses), faults=found, note=f"{refusals} writes refused meanwhile")


def by_sentinels(folder: Path, scale: int, **how: bool) -> Measured:
    """Sentinels let a replica take over."""
    return followed(scale, lambda n: failed_over(folder / str(n), **how))


# --- the state goes back in time ---------------------------------------------------------------


def backup(folder: Path, scale: int) -> Measured:
    """A backup of some time ago is restored; clients ask for the same again."""
    losses, found = [], 0
    for n in range(scale):
        with RedisServer(folder / f"{n}", options=AOF_ALWAYS) as server:
            ledger = Ledger()
            shop = Shop(server, ledger)
            for order in range(6):
                shop.start(f"order-{order}")
            shop.work(3 + n)
            shutil.copytree(folder / f"{n}", folder / f"{n}-backup")
            for order in range(6, 9):
                shop.start(f"order-{order}")
            shop.cancel("order-1")
            shop.work()
            runs = {run.id: run for run in shop.runs()}
            shop.close()
        with RedisServer(folder / f"{n}-backup", options=AOF_ALWAYS) as server:
            again = Shop(server, ledger, shop.clock)
            kept = {run.id: run.version for run in again.runs()}
            gone = sum(run.version - kept.get(run.id, 0) for run in runs.values())
            losses.append(Loss(gone, sum(run.version for run in runs.values()), 0.0))
            assert faults(server) == 0
            for run_id in runs:
                again.start(run_id)
            again.check_books(again.bring_to_rest(), undone_before={"order-1"})
            found += faults(server)
            again.close()
    return Measured(tuple(losses), faults=found, note="no effect twice, all runs at rest")


# --- memory ------------------------------------------------------------------------------------


def full(folder: Path, scale: int) -> Measured:
    """Memory is full, nothing is evicted: starts are refused, and runs in flight come to rest."""
    with RedisServer(folder, options=AOF_EVERYSEC) as server, server.client() as client:
        shop = Shop(server, Ledger())
        for n in range(10 * scale):
            shop.start(f"order-{n}")
        client.set("ballast", "x" * 2**21)
        client.config_set("maxmemory", "2mb")
        refused = 0
        try:
            shop.start("one-too-many")
        except StoreFull:
            refused = 1
        runs = shop.bring_to_rest()
        shop.check_books(runs)
        shop.close()
        note = f"{refused} start refused, {len(runs)} of {10 * scale} runs in flight at rest"
        return Measured(faults=faults(server), note=note)


def evicting(folder: Path, scale: int) -> Measured:
    """Memory is full, and Redis makes room by itself."""
    options: Options = {"appendonly": "no", "maxmemory-policy": "allkeys-lru"}
    with RedisServer(folder, options=options) as server, server.client() as client:
        load = Load(server.url)
        with load.running():
            load.wait_for(200)
            used = int(client.info("memory")["used_memory"])
            client.config_set("maxmemory", used)
            until(lambda: int(client.info("stats")["evicted_keys"]) >= 20 * scale)
        client.config_set("maxmemory", 0)
        evicted = int(client.info("stats")["evicted_keys"])
        return Measured((load.lost(),), faults=faults(server), note=f"{evicted} keys evicted")


# --- parts -------------------------------------------------------------------------------------


def faults(server: RedisServer | Outcome) -> int:
    """How many faults the repair tool finds; it mends nothing."""
    store = RedisStore(server.url, shards=2)
    try:
        return len(Repair(Engine(store, TERMS)).run(dry_run=True).faults)
    finally:
        store.close()


#: By the names that `docs/durability.md` uses.
MEASURES: dict[str, Callable[[Path, int], Measured]] = {
    "aof-off": lambda folder, scale: killed(folder, AOF_OFF, scale),
    "rdb-only": snapshots,
    "aof-everysec": lambda folder, scale: killed(folder, AOF_EVERYSEC, scale),
    "aof-always": lambda folder, scale: killed(folder, AOF_ALWAYS, scale),
    "slow-disk": killed_beside_a_slow_disk,
    "power-everysec": lambda folder, scale: until_synced(folder, AOF_EVERYSEC, scale),
    "power-always": lambda folder, scale: until_synced(folder, AOF_ALWAYS, scale),
    "no-appendfsync-on-rewrite": until_synced_in_rewrite,
    "replica-failover": failover,
    "replica-guarded": lambda folder, scale: failover(folder, scale, guarded=True),
    "sentinel-kill": lambda folder, scale: by_sentinels(folder, scale, kill=True),
    "sentinel-failover": lambda folder, scale: by_sentinels(folder, scale, kill=False),
    "sentinel-guarded": lambda folder, scale: by_sentinels(folder, scale, kill=False, guarded=True),
    "cluster-kill": lambda folder, scale: followed(
        scale, lambda n: cluster_failed_over(folder / str(n), kill=True)
    ),
    "cluster-failover": lambda folder, scale: followed(
        scale, lambda n: cluster_failed_over(folder / str(n), kill=False)
    ),
    "backup-restored": backup,
    "noeviction": full,
    "eviction": evicting,
}


def main(names: list[str], scale: int = 5) -> None:
    """Print the figures, of all measures or of those named."""
    for name in names or MEASURES:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name:26} {MEASURES[name](Path(folder), scale)}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
