"""The schedules of a Redis: each in the shard of its name, written by the script that writes runs.

Owns: reading many at once, in as few round trips as there are servers.  Refuses to know: what a
record means.  A schedule and its events share a slot; the runs that it starts do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.scheduling import TickEvent
from celeriac.store.answers import ms
from celeriac.store.commit import HEAD, spell_schedule
from celeriac.store.schedules import UnreadableSchedule, load_schedule
from celeriac.store.scripts import COMMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celeriac.scheduling import Record
    from celeriac.store.connection import Connection
    from celeriac.store.keys import Keys
    from celeriac.store.scripts import Scripts


class RedisSchedules:
    """The schedules of a namespace."""

    def __init__(self, redis: Connection, scripts: Scripts, keys: Keys) -> None:
        self._redis, self._scripts, self._keys = redis, scripts, keys

    def read(self, names: Sequence[str]) -> tuple[int, Mapping[str, Record | UnreadableSchedule]]:
        """Return the time, and what is known of each of *names*, if anything is."""
        asked = [("HGET", self._keys.of(name).schedule(name), HEAD) for name in names]
        time, *texts = self._redis.ask_all((("TIME",), *asked))
        found = zip(names, texts, strict=True)
        return ms(time), {name: load_schedule(name, text) for name, text in found if text}

    def names(self) -> Sequence[str]:
        """Return the names of all schedules there ever were, sorted."""
        found = self._redis.ask_all(("SMEMBERS", keys.schedules) for keys in self._keys.shards)
        return sorted(str(name) for names in found for name in names)

    def commit(self, before: Record | None, record: Record, events: Sequence[TickEvent]) -> bool:
        """Keep *record*; return False, with nothing written, if *before* is not what is kept."""
        call = spell_schedule(self._keys.of(record.name), before, record, events)
        return bool(self._scripts.run(COMMIT, call))

    def history(self, name: str) -> list[TickEvent]:
        """Return the newest events of a schedule, oldest first."""
        texts = self._redis.ask("LRANGE", self._keys.of(name).ticks(name), 0, -1)
        return [TickEvent.load(text) for text in texts]
