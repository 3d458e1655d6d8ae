"""A participant behind a barrier, in several databases, with books that can be looked at.

Owns: the effect (a line in the books), its undo (another one), and the ways to keep a barrier:
a connection, a session, a database that knows only savepoints, and Redis.  Refuses to know: what
a barrier should do.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, event, func, select
from sqlalchemy.orm import Session

from celeriac import StepContext
from celeriac.barrier import RedisBarrier, SqlBarrier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis
    from sqlalchemy import Connection


def forward(key: str) -> StepContext:
    """The context of a step."""
    return StepContext.for_test(idempotency_key=key)


def backward(key: str, generation: int = 0) -> StepContext:
    """The context of its compensation."""
    return StepContext.for_test(idempotency_key=key, reason="cancelled", generation=generation)


class BarrierParticipant(Protocol):
    """A participant: what it is asked, and what is in its books."""

    def do(self, key: str, result: Any = None) -> Any:
        """Take effect behind the barrier."""

    def undo(self, key: str, generation: int = 0) -> bool:
        """Undo behind the barrier."""

    def books(self, key: str) -> tuple[int, int]:
        """How often it was really done, and how often really undone."""


class SqlParticipant:
    """Books in a table."""

    def __init__(self, engine: Engine, *, session: bool = False) -> None:
        self.engine, self.session = engine, session
        metadata = MetaData()
        self.log = Table(
            "books",
            metadata,
            Column("number", Integer, primary_key=True),
            Column("kind", String(10)),
            Column("key", String(100)),
        )
        self.barrier = SqlBarrier(metadata)
        metadata.create_all(engine)
        self.during: Callable[[], object] = lambda: None  # happens inside each effect

    def do(self, key: str, result: Any = None) -> Any:
        """Take effect behind the barrier."""
        with self._transaction() as db:
            return self.barrier.do(db, forward(key), lambda: self.write(db, "do", key, result))

    def undo(self, key: str, generation: int = 0) -> bool:
        """Undo behind the barrier."""
        with self._transaction() as db:
            return self.barrier.undo(
                db, backward(key, generation), lambda result: self.write(db, "undo", key, result)
            )

    def write(self, db: Any, kind: str, key: str, result: Any) -> Any:
        """Write a line into the books, in the transaction of the barrier."""
        db.execute(self.log.insert().values(kind=kind, key=key))
        self.during()
        return result

    def books(self, key: str) -> tuple[int, int]:
        """How often it was really done, and how often really undone."""
        kinds = select(self.log.c.kind, func.count()).where(self.log.c.key == key)
        with self.engine.begin() as db:
            found = {row.kind: row[1] for row in db.execute(kinds.group_by(self.log.c.kind))}
        return found.get("do", 0), found.get("undo", 0)

    @contextmanager
    def _transaction(self) -> Iterator[Connection | Session]:
        if self.session:
            with Session(self.engine) as session, session.begin():
                yield session
        else:
            with self.engine.begin() as connection:
                yield connection


class RedisParticipant:
    """Books in two lists."""

    def __init__(self, client: redis.Redis) -> None:
        self.client, self.barrier = client, RedisBarrier(client)

    def do(self, key: str, result: Any = None) -> Any:
        """Take effect behind the barrier."""

        def effect(tx: Any) -> Any:
            tx.incr(f"do:{key}")
            return result

        return self.barrier.do(forward(key), effect)

    def undo(self, key: str, generation: int = 0) -> bool:
        """Undo behind the barrier."""
        return self.barrier.undo(
            backward(key, generation), lambda tx, _result: tx.incr(f"undo:{key}")
        )

    def books(self, key: str) -> tuple[int, int]:
        """How often it was really done, and how often really undone."""
        done, gone = (self.client.get(f"{kind}:{key}") for kind in ("do", "undo"))
        return int(str(done or 0)), int(str(gone or 0))


def only_savepoints(engine: Engine) -> Engine:
    """Make a barrier take the database for one that has no clause for a row that is there."""
    if engine.dialect.name == "sqlite":
        # Python's driver begins late, and commits when the first savepoint is released.
        event.listen(engine, "connect", _no_implicit_begin)
        event.listen(engine, "begin", _begin)
    engine.dialect.name = "another"
    return engine


def _no_implicit_begin(connection: Any, _: Any) -> None:
    connection.isolation_level = None


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
