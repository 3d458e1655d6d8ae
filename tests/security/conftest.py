"""The fixtures of the tests in this folder.

Owns: `world`, a Redis, workers and beats of each test's own.  Refuses to know: what is tested.
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
    with RedisServer(tmp_path / "redis") as redis:
        made = World(tmp_path, redis)
        try:
            yield made
        finally:
            made.close()
