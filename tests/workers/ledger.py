"""A participant of test sagas, outside of Redis: effects that can be counted.

Owns: an append-only ledger in SQLite of what was done and undone under which key, and of every
body that began.  It honours keys and keeps tombstones (docs/effects.md).  Refuses to know: sagas.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log
    (at REAL, kind TEXT, key TEXT, attempt INTEGER, pid INTEGER, text TEXT DEFAULT '');
CREATE TABLE IF NOT EXISTS effect (key TEXT PRIMARY KEY, live INTEGER, dead INTEGER);
"""


class Row(NamedTuple):
    """One line of the ledger; `kind` is begin, end, saw, do, again, forbidden, undo or undone."""

    at: float
    kind: str
    key: str
    attempt: int
    pid: int
    text: str = ""


class Ledger:
    """Effects by key, and everything that was asked for."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        with self._open() as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(_SCHEMA)

    def _open(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.path, timeout=30, isolation_level=None))

    def begin(self, key: str, attempt: int) -> None:
        """A body began."""
        with self._open() as db:
            self._log(db, "begin", key, attempt)

    def end(self, key: str, attempt: int) -> None:
        """A body is over, however it ends; not all say so."""
        with self._open() as db:
            self._log(db, "end", key, attempt)

    def saw(self, key: str, attempt: int, text: str) -> None:
        """A body was given what earlier steps returned: JSON, by the name of the step."""
        with self._open() as db:
            self._log(db, "saw", key, attempt, text)

    def do(self, key: str, attempt: int) -> None:
        """Take effect, once for each key, and never after it was undone."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute("SELECT live, dead FROM effect WHERE key = ?", (key,)).fetchone()
            if row is None:
                db.execute("INSERT INTO effect VALUES (?, 1, 0)", (key,))
                self._log(db, "do", key, attempt)
            else:
                self._log(db, "forbidden" if row[1] else "again", key, attempt)
            db.execute("COMMIT")

    def undo(self, key: str, attempt: int) -> None:
        """Take the effect back; one that never was is forbidden from now on."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute("SELECT live FROM effect WHERE key = ?", (key,)).fetchone()
            db.execute("INSERT OR REPLACE INTO effect VALUES (?, 0, 1)", (key,))
            self._log(db, "undo" if row and row[0] else "undone", key, attempt)
            db.execute("COMMIT")

    @staticmethod
    def _log(db: sqlite3.Connection, kind: str, key: str, attempt: int, text: str = "") -> None:
        row = Row(time.time(), kind, key, attempt, os.getpid(), text)
        db.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", row)

    def rows(self, key: str = "%", kind: str = "%") -> list[Row]:
        """The lines of the ledger whose key and kind are LIKE the given ones, oldest first."""
        query = "SELECT * FROM log WHERE key LIKE ? AND kind LIKE ? ORDER BY rowid"
        with self._open() as db:
            return [Row(*row) for row in db.execute(query, (key, kind))]

    def live(self, run_id: str) -> set[str]:
        """The steps of a run whose effect stands."""
        query = "SELECT key FROM effect WHERE key LIKE ? AND live = 1"
        with self._open() as db:
            found = db.execute(query, (f"{run_id}:%",)).fetchall()
        return {key.rpartition(":")[2] for (key,) in found}

    def bodies(self, run_id: str, step: str) -> int:
        """How many bodies of a step began (a compensation's are under `step.undo`)."""
        return len(self.rows(f"{run_id}:{step}", "begin"))
