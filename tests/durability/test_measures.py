"""Each setting loses what `docs/durability.md` says it may lose, and no more (D1, F9, F10)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.durability.measures import MEASURES, Measured, find_tracer
from tests.house.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SCALE = 5 if os.environ.get("PROVE") == "1" else 1
PAGE = ROOT / "docs" / "durability.md"

#: Where nothing that was acknowledged may be lost, and where something must be, or the accident
#: did not happen.
SAFE = {"aof-always", "power-always", "cluster-failover", "noeviction"}
#: Safe but for bad luck: a slow disk, or a write that was under way to the replica.
LUCKY = {"aof-everysec", "sentinel-kill", "sentinel-guarded", "cluster-kill"}
LOSING = set(MEASURES) - SAFE - LUCKY
TRACED = {"slow-disk", "power-everysec", "power-always", "no-appendfsync-on-rewrite"}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.timeout(600)
def test_what_a_setting_loses(tmp_path: Path, name: str) -> None:
    """Safe settings lose nothing; the others lose something; what is left fits together."""
    if name in TRACED and find_tracer() is None:
        pytest.skip("needs strace, and the permission to use it")
    measured = MEASURES[name](tmp_path, SCALE)
    assert measured.lost > 0 or name not in LOSING, measured
    assert measured.lost == 0 or name not in SAFE, measured
    assert name == "eviction" or measured.faults == 0, measured
    limit = LIMITS.get(name)
    assert limit is None or back(measured) < limit, measured


#: How far back the state may be, in seconds: what the page says, and some for a busy machine.
LIMITS = {
    "aof-everysec": 4.0,
    "slow-disk": 4.0,
    "power-everysec": 4.0,
    "replica-guarded": 8.0,
    # Over how long a time it was written that is lost:
    "sentinel-kill": 0.5,
    "sentinel-failover": 4.0,
    "sentinel-guarded": 1.0,
    "cluster-kill": 0.5,
}


def back(measured: Measured) -> float:
    """How far back the state was at worst."""
    return max((loss.newest_kept for loss in measured.losses), default=0.0)


def test_the_page_tells_what_is_measured() -> None:
    """Every setting on the page is measured by its name, and every measure is on the page."""
    told = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(MEASURES)
    assert LIMITS.keys() | TRACED <= MEASURES.keys()
