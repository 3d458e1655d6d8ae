"""The databases of the tests in this folder.

Owns: a SQLite file for each test, and `participant`, one in each kind of database.  Refuses to
know: what is tested.

`CELERIAC_TEST_DATABASE` names another database by its SQLAlchemy URL, to try the same tests on;
its tables are emptied.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, MetaData, create_engine

from tests.barrier.participants import (
    BarrierParticipant,
    RedisParticipant,
    SqlParticipant,
    only_savepoints,
)
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE = "CELERIAC_TEST_DATABASE"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database, empty."""
    named = os.environ.get(DATABASE)
    if named:
        engine = create_engine(named)
        found = MetaData()
        found.reflect(engine)
        found.drop_all(engine)
        engine.dispose()
    return named or f"sqlite:///{tmp_path / 'participant.db'}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The engine of a participant."""
    found = create_engine(url)
    yield found
    found.dispose()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The Redis of a participant."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["connection", "session", "savepoint", "redis"])
def participant(request: pytest.FixtureRequest) -> Iterator[BarrierParticipant]:
    """A participant in each kind of database."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        with server.client() as client:
            client.flushall()
            yield RedisParticipant(client)
        return
    engine: Engine = request.getfixturevalue("engine")
    if request.param == "savepoint":
        only_savepoints(engine)
    yield SqlParticipant(engine, session=request.param == "session")
