"""A barrier in a SQL database: one row for each key, in the transaction of the effect.

Owns: the table, and what `do` and `undo` ask of it.  Refuses to know: the effect, and when the
transaction ends: whoever began it commits it, and must let every error roll it back.

Whoever writes the row of a key first holds it until the end of his transaction; everybody else
waits there.  All statements are portable.  An insert that finds the row there must not spoil the
transaction: SQLite and PostgreSQL have a clause for that, any other database gets a savepoint.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sqlalchemy import BigInteger, Column, Connection, String, Table, Text, delete, select, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError

from celeriac.barrier.remembered import busy, check_direction, dump, key_of, load, undone
from celeriac.errors import ConfigurationError
from celeriac.machine import Duration, duration_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine, MetaData
    from sqlalchemy.orm import Session, scoped_session

    from celeriac.context import StepContext

    Database = Connection | Session | scoped_session[Any]

T = TypeVar("T")

# What the databases answer to one of two transactions that met: deadlocks, time-outs while waiting
# for a lock, and snapshots that are too old to decide.
_SQLITE_MET = {5, 6}  # BUSY, LOCKED; their variants are in the higher bits
_STATES_MET = {"40001", "40P01", "55P03"}  # PostgreSQL
_MYSQL_MET = {1205, 1213, 3572}
# An insert that does nothing where the row is there.
_LENIENT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_TEXT = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")  # TEXT ends at 64 KB there


class SqlBarrier:
    """Makes an effect happen once for each idempotency key, and never after it was undone.

    ::

        barrier = SqlBarrier(metadata)      # a table for your migrations, or barrier.create(engine)

        @sagas.step(effect="barrier")
        def reserve(ctx: StepContext, order: Order) -> Hold:
            with engine.begin() as db:
                return barrier.do(db, ctx, lambda: take(db, order), returns=Hold)

        @reserve.compensation
        def release(ctx: StepContext, order: Order) -> None:
            with engine.begin() as db:
                barrier.undo(db, ctx, lambda hold: put_back(db, hold), returns=Hold)

    *db* is a Connection or a Session of SQLAlchemy 2, in the very transaction in which the effect
    writes.  Two applications that share a database need tables of their own: give *table*.
    """

    def __init__(self, metadata: MetaData, *, table: str = "celeriac_barrier") -> None:
        self.table = Table(
            table,
            metadata,
            # A digest, since databases differ in how long a key may be and whether `a` is `A`.
            Column("id", String(64), primary_key=True),
            Column("key", Text, nullable=False),  # for people
            Column("result", _TEXT, nullable=True),  # JSON; null where there never was an effect
            Column("undone_at", BigInteger, nullable=True),  # ms since the epoch: the tombstone
            Column("at", BigInteger, nullable=False, index=True),  # ms: when it was last written
        )

    def create(self, engine: Engine | Connection) -> None:
        """Create the table if it is not there; an application with migrations leaves it to them."""
        self.table.create(engine, checkfirst=True)

    @overload
    def do(
        self, db: Database, ctx: StepContext, effect: Callable[[], object], *, part: str = ""
    ) -> Any: ...

    @overload
    def do(
        self,
        db: Database,
        ctx: StepContext,
        effect: Callable[[], T],
        *,
        returns: type[T],
        part: str = "",
    ) -> T: ...

    def do(
        self,
        db: Database,
        ctx: StepContext,
        effect: Callable[[], Any],
        *,
        returns: Any = None,
        part: str = "",
    ) -> Any:
        """Take effect, or return the result of the attempt that did.

        The result is remembered as JSON and returned as it will be read again: plain values, or
        of the type *returns*.  A step that takes several effects names each by a *part*.

        Raises Abort (`undone`, without effect) if it was undone; BarrierBusy if the database
        could not wait for another transaction; OutputInvalid for a result that has no JSON.
        Whatever is raised has to end the transaction.
        """
        check_direction(ctx, "do")
        row = _Row(self.table, db, ctx, key_of(ctx, part))
        if row.is_new(undone_at=None):
            with row.gone_on_error():
                text = dump(ctx, effect(), returns)
                row.remember(text)
            return load(text, returns)
        result, undone_at = row.read()
        if undone_at is not None:
            raise undone(ctx)
        return load(result, returns)

    def undo(
        self,
        db: Database,
        ctx: StepContext,
        compensation: Callable[[Any], object],
        *,
        returns: Any = None,
        part: str = "",
    ) -> bool:
        """Undo the effect if it stands, and forbid it from now on; True if it stood.

        *compensation* is called with the remembered result.  Raises BarrierBusy as `do` does.
        """
        check_direction(ctx, "undo")
        row = _Row(self.table, db, ctx, key_of(ctx, part))
        if row.is_new(undone_at=_now()) or not row.bury():
            return False
        result, _ = row.read()
        with row.risen_on_error():
            compensation(load(result, returns))
        return True

    def forget(self, db: Database, *, older_than: Duration) -> int:
        """Remove what was last written longer ago than *older_than*; return how many keys.

        A key must outlive its run: until the run has ended *and* its retention has passed, it may
        be undone, and an attempt may come back.  A key forgotten earlier takes effect a second
        time, or is never undone.  So: longer than your longest run and its retention together.
        """
        before = _now() - duration_ms(older_than)
        found = _connection(db, self.table).execute(
            delete(self.table).where(self.table.c.at < before)
        )
        return found.rowcount


class _Row:
    """The row of one key, in the transaction of *db*."""

    def __init__(self, table: Table, db: Database, ctx: StepContext, key: str) -> None:
        self._table, self._ctx, self._key = table, ctx, key
        self._db = _connection(db, table)
        self._refuse_autocommit()
        self._id = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        self._mine = table.c.id == self._id

    def is_new(self, undone_at: int | None) -> bool:
        """Write the row, waiting for whoever is writing it; False if it is there."""
        values = {"id": self._id, "key": self._key, "undone_at": undone_at, "at": _now()}
        lenient = _LENIENT.get(self._db.dialect.name)
        with self._collisions():
            if lenient is None:
                return self._is_new_by_savepoint(values)
            insert = lenient(self._table).values(values).on_conflict_do_nothing()
            # Of an insert, SQLAlchemy keeps the number of rows only when it is asked to.
            kept = {"preserve_rowcount": True}
            return self._db.execute(insert, execution_options=kept).rowcount == 1

    def _is_new_by_savepoint(self, values: dict[str, Any]) -> bool:
        try:
            with self._db.begin_nested():
                self._db.execute(plain_insert(self._table).values(values))
        except IntegrityError:
            return False
        return True

    def read(self) -> tuple[str, int | None]:
        """The result and the tombstone of a row that is there."""
        columns = select(self._table.c.result, self._table.c.undone_at)
        with self._collisions():
            # The lock makes MySQL read what is there now, not what was when we began.
            found = self._db.execute(columns.where(self._mine).with_for_update(read=True)).first()
        if found is None:
            raise busy(self._ctx, "it is not visible in this transaction")
        return found.result, found.undone_at

    def remember(self, result: str) -> None:
        """Keep the result of an effect."""
        self._write(result=result)

    def bury(self) -> bool:
        """Put the tombstone; False if it was there."""
        return self._write(self._table.c.undone_at.is_(None), undone_at=_now())

    @contextmanager
    def gone_on_error(self) -> Iterator[None]:
        """Take the row away when the effect fails, should somebody commit all the same."""
        try:
            yield
        except BaseException:
            with suppress(DBAPIError):  # the transaction is over, and the row with it
                self._db.execute(delete(self._table).where(self._mine))
            raise

    @contextmanager
    def risen_on_error(self) -> Iterator[None]:
        """Take the tombstone away when the compensation fails, should somebody commit."""
        try:
            yield
        except BaseException:
            with suppress(DBAPIError):
                self._write(undone_at=None)
            raise

    def _write(self, *conditions: Any, **values: Any) -> bool:
        change = update(self._table).where(self._mine, *conditions).values(at=_now(), **values)
        with self._collisions():
            return self._db.execute(change).rowcount == 1

    @contextmanager
    def _collisions(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if _met(error.orig):
                raise busy(self._ctx, error.orig) from error
            raise

    def _refuse_autocommit(self) -> None:
        asked = self._db.get_execution_options().get("isolation_level")
        level = asked or getattr(self._db.dialect, "_on_connect_isolation_level", None)
        if level == "AUTOCOMMIT":
            raise ConfigurationError(
                "a barrier needs a transaction, and this connection commits each statement by "
                "itself (isolation_level='AUTOCOMMIT'): use engine.begin() of another engine"
            )


def _connection(db: Database, table: Table) -> Connection:
    """The connection whose transaction the effect is in."""
    if isinstance(db, Connection):
        return db
    return db.connection(bind_arguments={"clause": table})


def _met(error: BaseException | None) -> bool:
    """True if the database says that two transactions met, and that trying again may help."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state in _STATES_MET:
        return True
    sqlite_code = getattr(error, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return sqlite_code & 0xFF in _SQLITE_MET
    number = error.args[0] if error is not None and error.args else None
    return isinstance(number, int) and number in _MYSQL_MET


def _now() -> int:
    return time.time_ns() // 1_000_000
