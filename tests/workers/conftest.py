"""The fixtures of the tests in this folder.

Owns: `world`, a Redis and processes of each test's own, and `split_world`, with a Redis for the
messages and another for the runs.  Refuses to know: what is tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.redis_server import RedisServer
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of its own for each test."""
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    try:
        made = World(tmp_path, redis)
        try:
            yield made
        finally:
            made.close()
    finally:
        redis.stop()


@pytest.fixture
def split_world(tmp_path: Path) -> Iterator[World]:
    """A world whose runs are in another Redis than its messages."""
    with RedisServer(tmp_path / "broker") as broker, RedisServer(tmp_path / "state") as state:
        made = World(tmp_path, broker, state)
        try:
            yield made
        finally:
            made.close()
