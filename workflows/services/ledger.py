"""The book all partners write: every effect once per key, and nothing is ever crossed out.

Owns: the SQLite file named by `SHOP_DATA`, which many processes may use at once; the two verbs of a
participant (`once` and `undo`, with a tombstone for what was undone before it was done); the
append-only ledger; the list of calls, which also tells who was in the middle of what.  Refuses to
know: what is held, charged or shipped, and why.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

UNDO_OF: Mapping[str, str] = {
    "hold": "release",
    "charge": "refund",
    "ship": "cancel",
    "book": "cancel_booking",
    "authorise": "void",
    "transfer": "recall",
    "post": "reverse",
}
BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    kind TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('done', 'undone')),
    reference TEXT, item TEXT, quantity INTEGER, cents INTEGER, because TEXT, answer TEXT,
    PRIMARY KEY (kind, key));
CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, key TEXT NOT NULL,
    kind TEXT NOT NULL, reference TEXT NOT NULL, item TEXT NOT NULL, quantity INTEGER NOT NULL,
    cents INTEGER NOT NULL, because TEXT NOT NULL, answer TEXT NOT NULL, pid INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS ledger_is_not_edited BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS ledger_is_not_cut BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE IF NOT EXISTS calls (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, verb TEXT NOT NULL, key TEXT NOT NULL,
    pid INTEGER NOT NULL, began INTEGER NOT NULL, ended INTEGER);
CREATE INDEX IF NOT EXISTS calls_by_key ON calls (key, verb);
CREATE INDEX IF NOT EXISTS calls_going_on ON calls (pid) WHERE ended IS NULL;
CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, on_hand INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (card TEXT PRIMARY KEY, taken INTEGER NOT NULL);
"""


class Refused(Exception):
    """A definite no: nothing was changed, and asking again gives the same answer."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Undone(Refused):
    """The key was undone, perhaps before it was ever done: it can never be done again."""

    def __init__(self, key: str) -> None:
        super().__init__("undone", f"{key!r} was undone: what is undone stays undone")


class KeyReused(Exception):
    """One key came with two different requests: the caller's keys are not unique."""

    def __init__(self, key: str, first: Effect, now: Effect) -> None:
        super().__init__(
            f"key {key!r} was first used for {first}, now for {now}: "
            "give each effect a key of its own"
        )


class Effect(NamedTuple):
    """What one key stands for."""

    kind: str  # hold, charge, ship; and release, refund, cancel in the ledger
    reference: str  # the order it was done for
    item: str  # article, card or address
    quantity: int = 0
    cents: int = 0
    because: str = ""  # the answer it builds on: a charge on a hold, a parcel on a payment


class Row(NamedTuple):
    """A line of the ledger: an effect, or the undoing of one."""

    seq: int
    at: int  # ms since the epoch
    key: str
    kind: str
    reference: str
    item: str
    quantity: int
    cents: int
    because: str
    answer: str  # the id the caller was given
    pid: int


class Call(NamedTuple):
    """A request that reached a partner; one without an end is going on, or its process died."""

    seq: int
    verb: str
    key: str
    pid: int
    began: int  # ms since the epoch
    ended: int | None


def once(
    key: str, effect: Effect, apply: Callable[[sqlite3.Connection], None] | None = None
) -> str:
    """Do *effect* unless *key* stands for it already; the answer is the same every time.

    *apply* checks and changes balances in the same transaction; a Refused from it leaves no trace.
    Raises Undone if the key was undone.
    """
    with transaction() as db:
        known = _known(db, effect.kind, key)
        if known is None:
            if apply is not None:
                apply(db)
            return _record(db, key, effect)
        state, first, answer = known
        if state == "undone":
            raise Undone(key)
        if first != effect:
            raise KeyReused(key, first, effect)
        return answer


def undo(
    key: str, kind: str, revert: Callable[[sqlite3.Connection, Effect], None] | None = None
) -> bool:
    """Undo what *key* did, or forbid it if it never did anything; True if something was undone.

    *revert* corrects balances in the same transaction.  A second undo changes nothing.
    """
    with transaction() as db:
        known = _known(db, kind, key)
        if known is None:
            db.execute("INSERT INTO keys (kind, key, state) VALUES (?, ?, 'undone')", (kind, key))
            return False
        state, effect, answer = known
        if state == "undone":
            return False
        if revert is not None:
            revert(db, effect)
        db.execute("UPDATE keys SET state = 'undone' WHERE kind = ? AND key = ?", (kind, key))
        _append(db, key, effect._replace(kind=UNDO_OF[kind]), answer)
        return True


@contextmanager
def call(verb: str, key: str, *, takes: float = 0.0) -> Iterator[int]:
    """Note that a call is going on and let it take its seconds; gives the how-manieth it is.

    The number counts calls of *verb* under *key* from 1, also those whose process died.
    """
    with transaction() as db:
        seq = db.execute(
            "INSERT INTO calls (verb, key, pid, began) VALUES (?, ?, ?, ?)",
            (verb, key, os.getpid(), _now()),
        ).lastrowid
        (nth,) = db.execute(
            "SELECT count(*) FROM calls WHERE key = ? AND verb = ?", (key, verb)
        ).fetchone()
    try:
        time.sleep(takes)
        yield nth
    finally:
        with transaction() as db:
            db.execute("UPDATE calls SET ended = ? WHERE seq = ?", (_now(), seq))


def rows() -> list[Row]:
    """The whole ledger, oldest first."""
    return [Row(*row) for row in connection().execute("SELECT * FROM ledger ORDER BY seq")]


def tombstones() -> int:
    """How many keys were forbidden because their undo came first."""
    found = connection().execute("SELECT count(*) FROM keys WHERE reference IS NULL").fetchone()
    return int(found[0])


def calls_in_progress(pids: Iterable[int]) -> list[Call]:
    """The calls that processes of *pids* are in the middle of."""
    wanted = tuple(pids)
    marks = ", ".join("?" * len(wanted))
    query = f"SELECT * FROM calls WHERE ended IS NULL AND pid IN ({marks}) ORDER BY seq"  # noqa: S608 -- only question marks
    return [Call(*row) for row in connection().execute(query, wanted)]


def calls_after(call: Call) -> list[Call]:
    """The later calls under the same key, oldest first."""
    query = "SELECT * FROM calls WHERE key = ? AND seq > ? ORDER BY seq"
    return [Call(*row) for row in connection().execute(query, (call.key, call.seq))]


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """All or nothing, one writer at a time: the lock is taken before anything is read."""
    db = connection()
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def connection() -> sqlite3.Connection:
    """This process's and thread's own connection to the book named by `SHOP_DATA`."""
    path = os.environ.get("SHOP_DATA") or str(Path(tempfile.gettempdir(), "shop.db"))
    # A connection must not cross a fork; one that was inherited is kept, unused and unclosed.
    mine = (os.getpid(), threading.get_ident(), path)
    if mine not in _connections:
        _connections[mine] = _open(path)
    return _connections[mine]


def close() -> None:
    """Close this thread's connections; the next call opens a new one."""
    for mine in [key for key in _connections if key[:2] == (os.getpid(), threading.get_ident())]:
        _connections.pop(mine).close()


_connections: dict[tuple[int, int, str], sqlite3.Connection] = {}


def _open(path: str) -> sqlite3.Connection:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    return db


def _known(db: sqlite3.Connection, kind: str, key: str) -> tuple[str, Effect, str] | None:
    found = db.execute(
        "SELECT state, kind, reference, item, quantity, cents, because, answer FROM keys"
        " WHERE kind = ? AND key = ?",
        (kind, key),
    ).fetchone()
    return None if found is None else (found[0], Effect(*found[1:-1]), found[-1])


def _record(db: sqlite3.Connection, key: str, effect: Effect) -> str:
    answer = f"{effect.kind}-{secrets.token_hex(4)}"
    db.execute(
        "INSERT INTO keys (key, kind, reference, item, quantity, cents, because, answer, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'done')",
        (key, *effect, answer),
    )
    _append(db, key, effect, answer)
    return answer


def _append(db: sqlite3.Connection, key: str, effect: Effect, answer: str) -> None:
    db.execute(
        "INSERT INTO ledger"
        " (at, key, kind, reference, item, quantity, cents, because, answer, pid)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (_now(), key, *effect, answer, os.getpid()),
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
