"""Commands for many runs in a Redis: all in the first shard, written by the script of runs.

Owns: reading and writing them.  Refuses to know: what a record means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.store.bulks import Member, Turn, load_bulk
from celeriac.store.commit import HEAD, spell_bulk, spell_bulk_removal
from celeriac.store.scripts import COMMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.store.bulks import BulkRecord
    from celeriac.store.connection import Connection
    from celeriac.store.keys import Keys
    from celeriac.store.scripts import Scripts


class RedisBulks:
    """The commands for many runs of a namespace."""

    def __init__(self, redis: Connection, scripts: Scripts, keys: Keys) -> None:
        self._redis, self._scripts, self._keys = redis, scripts, keys.shards[0]

    def add(self, record: BulkRecord, members: Sequence[Member]) -> None:
        """Keep a new one."""
        self._scripts.run(COMMIT, spell_bulk(self._keys, None, record, members, ()))

    def read(self, bulk_id: str) -> BulkRecord | None:
        """Return what is known of one."""
        found = self._read([bulk_id])
        return found[0] if found else None

    def _read(self, ids: Sequence[str]) -> list[BulkRecord]:
        texts = self._redis.ask_all(("HGET", self._keys.bulk(each), HEAD) for each in ids)
        found = [load_bulk(str(text)) for text in texts if text]
        return [each for each in found if each is not None]

    def going(self) -> Sequence[str]:
        """Return the ids of those that are going on, the oldest first."""
        return [str(each) for each in self._redis.ask("ZRANGE", self._keys.bulks_going, 0, -1)]

    def newest(self, limit: int) -> Sequence[BulkRecord]:
        """Return those looked at last, the newest first."""
        ids = [str(each) for each in self._redis.ask("ZRANGE", self._keys.bulks, -limit, -1)]
        return self._read(ids[::-1])

    def members(self, bulk_id: str, first: int, limit: int) -> list[Member]:
        """Return runs that one is for, after the *first* so many, in the order of their turns."""
        key = self._keys.bulk_runs(bulk_id)
        texts = self._redis.ask("LRANGE", key, first, first + limit - 1)
        return [Member.load(text) for text in texts]

    def turns(self, bulk_id: str, first: int, limit: int) -> list[Turn]:
        """Return what became of runs, after the *first* so many, in the order of their turns."""
        key = self._keys.bulk_turns(bulk_id)
        texts = self._redis.ask("LRANGE", key, first, first + limit - 1)
        return [Turn.load(text) for text in texts]

    def commit(self, before: BulkRecord, record: BulkRecord, turns: Sequence[Turn] = ()) -> bool:
        """Keep *record* and add *turns*; return False, with nothing written, if it has changed."""
        call = spell_bulk(self._keys, before, record, (), turns)
        return bool(self._scripts.run(COMMIT, call))

    def remove(self, before: int) -> int:
        """Remove those looked at before a time (ms) that are not going on; return how many."""
        found = self._redis.ask("ZRANGEBYSCORE", self._keys.bulks, "-inf", before - 1)
        old = [each for each in self._read([str(each) for each in found]) if each.state != "going"]
        calls = [spell_bulk_removal(self._keys, each) for each in old]
        return sum(bool(self._scripts.run(COMMIT, call)) for call in calls)
