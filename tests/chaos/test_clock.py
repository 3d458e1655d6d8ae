"""Clocks that are set jump in the process they belong to, and nowhere else.

Owns: a Redis and a Python that run by a clock of their own.  Refuses to know: what for.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from celeriac.testing.servers import find_redis_binary
from tests.chaos import clock
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    import redis

pytestmark = pytest.mark.skipif(not clock.possible(), reason="clocks cannot be set here")

ASK = "import time; input(); print(time.time(), time.monotonic())"


def _library(folder: Path) -> Path:
    built = clock.build(folder)
    assert built is not None
    return built


def test_redis_runs_by_its_own_clock(tmp_path: Path) -> None:
    """TIME jumps when the clock is set, back and forth, while the server runs."""
    made = clock.Clock(_library(tmp_path), "state")
    with RedisServer(tmp_path / "redis", binary=made.wrap(find_redis_binary())) as server:
        client = server.client()
        for ahead in (0.0, 5.5, -3.0, 0.0):
            made.set(ahead)
            assert _ahead_of_ours(client, ahead) == pytest.approx(ahead, abs=0.5)
        client.close()


def _ahead_of_ours(client: redis.Redis, expected: float) -> float:
    """How far the server's clock is ahead once it has looked at it.

    Valkey looks once in a millisecond, and counts on with a monotonic clock in between.
    """
    end = time.monotonic() + 2
    while True:
        seconds, micros = client.time()
        ahead = seconds + micros / 1e6 - time.time()
        if abs(ahead - expected) < 0.5 or time.monotonic() > end:
            return ahead


def test_a_process_runs_by_its_own_clock(tmp_path: Path) -> None:
    """The wall clock of a Python jumps; its monotonic one does not."""
    made = clock.Clock(_library(tmp_path), "worker")
    with subprocess.Popen(
        [sys.executable, "-c", ASK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=made.env,
        text=True,
    ) as child:
        made.set(100.0)
        told, _ = child.communicate("\n", timeout=20)
    wall, monotonic = (float(each) for each in told.split())
    assert wall - time.time() == pytest.approx(100.0, abs=2)
    assert monotonic == pytest.approx(time.monotonic(), abs=2)
