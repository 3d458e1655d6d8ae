"""An AOF that was cut at any byte starts up, and what is left of the state goes on (D2, D3).

This is what a loss of power leaves behind; a kill leaves the whole file.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from celeriac.engine.repair import Repair
from celeriac.machine.moves import fold
from celeriac.store import IndexedRun
from tests.durability.shop import PLAN, Ledger, Shop
from tests.model.faulty_connection import Moves, Removed, Written
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.model.faulty_connection import ExactClock

PROVING = os.environ.get("PROVE") == "1"
CUTS, IN_A_ROW = (200, 100) if PROVING else (12, 6)
ALWAYS: dict[str, str | int] = {"appendfsync": "always"}
IDS = [f"order-{n}" for n in range(8)]


@dataclass
class Recorded:
    """A server that was killed, and what is known of its time."""

    folder: Path
    size: int  # bytes of the file that grows
    commits: list[tuple[int, str, int]]  # bytes when it was acknowledged, run, version
    ledger: Ledger
    clock: ExactClock
    undone: set[str]


def growing(folder: Path) -> Path:
    """The part of the AOF that is written to."""
    return next((folder / "appendonlydir").glob("*.incr.aof"))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Runs of all kinds, and how long the AOF was after each commit."""
    folder = tmp_path_factory.mktemp("recorded")
    commits: list[tuple[int, str, int]] = []
    with RedisServer(folder, options=ALWAYS) as server:
        if server.version < (7, 0):
            pytest.skip("the AOF is one file before Redis 7")
        shop = Shop(server, Ledger())
        shop.store.line.journal = Watching(growing(folder), commits)
        for run_id in IDS:
            shop.start(run_id)
            shop.work(2)
        for run_id in (IDS[1], IDS[4]):
            shop.cancel(run_id)
            shop.pass_time()
        shop.work(9)
        assert shop.claim()  # whose worker is never heard of again
        shop.pass_time(20_000)
        shop.work(4)
        shop.close()
        size = growing(folder).stat().st_size
    assert len(commits) > 60
    return Recorded(folder, size, commits, shop.ledger, shop.clock, {IDS[1], IDS[4]})


class Watching(list["Written | Moves | Removed"]):
    """A journal that looks how long the AOF is whenever a commit was acknowledged."""

    def __init__(self, file: Path, commits: list[tuple[int, str, int]]) -> None:
        super().__init__()
        self._file, self._commits = file, commits

    def append(self, entry: object) -> None:
        """Note a commit."""
        if isinstance(entry, Written):
            run = entry.change.run
            self._commits.append((self._file.stat().st_size, run.id, run.version))


def cuts() -> list[int | float]:
    """Where to cut: anywhere (a share of the file), and byte by byte through its end."""
    anywhere = random.Random(42)  # noqa: S311 -- the same cuts every time
    return [anywhere.random() for _ in range(CUTS)] + list(range(1, IN_A_ROW + 1))


@pytest.mark.parametrize("cut", cuts())
def test_a_cut_file_starts_up_and_goes_on(recorded: Recorded, tmp_path: Path, cut: float) -> None:
    """No commit is half there, none before the cut is lost, and all runs come to rest (D2, D3)."""
    at = int(recorded.size * cut) if isinstance(cut, float) else recorded.size - int(cut)
    folder = tmp_path / "cut"
    shutil.copytree(recorded.folder, folder)
    os.truncate(growing(folder), at)
    with RedisServer(folder, options=ALWAYS) as server:
        clock = copy.deepcopy(recorded.clock)
        shop = Shop(server, copy.deepcopy(recorded.ledger), clock)
        assert Repair(shop.engine).run(dry_run=True).faults == ()
        nothing_older_is_lost(shop, recorded, at)
        for run_id in IDS:  # clients that never got an answer, or heard of the cut, ask again
            shop.start(run_id)
        runs = shop.bring_to_rest()
        assert {run.id for run in runs} == set(IDS)
        shop.check_books(runs, recorded.undone)
        assert Repair(shop.engine).run(dry_run=True).faults == ()
        shop.close()


def nothing_older_is_lost(shop: Shop, recorded: Recorded, at: int) -> None:
    """What had been acknowledged when the file was as long as this is there, and whole."""
    wanted = {run_id: version for size, run_id, version in recorded.commits if size <= at}
    found: dict[str, int] = {}
    for shard in range(shop.store.shards):
        for standing in shop.store.indexed_runs(shard):
            assert isinstance(standing, IndexedRun)
            run = standing.run
            found[run.id] = run.version
            assert fold(PLAN, run.id, shop.store.history(run.id)) == run
    assert found == wanted
