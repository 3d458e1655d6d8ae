"""The gates of a Redis: each in the shard of its name, written by the script that writes runs.

Owns: how a gate is read in one round trip.  Refuses to know: who may pass.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from celeriac.store.answers import ms, scored
from celeriac.store.commit import HEAD, spell_gate
from celeriac.store.gates import PLACES_READ, GateSnapshot
from celeriac.store.scripts import COMMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.store.connection import Command, Connection
    from celeriac.store.gates import GateChange
    from celeriac.store.keys import Keys
    from celeriac.store.scripts import Scripts


class RedisGates:
    """The gates of a namespace."""

    def __init__(self, redis: Connection, scripts: Scripts, keys: Keys) -> None:
        self._redis, self._scripts, self._keys = redis, scripts, keys
        self._salt = ""

    def read(
        self, gate: str, place: str = "", order: int | None = None, first: int = 0, turn: str = ""
    ) -> GateSnapshot:
        """Return what is known of a gate: about one place, order in line and turn, among others.

        The record is read first: whatever changes after that makes a commit fail.
        """
        keys = self._keys.of(gate)
        places, line = keys.gate_places(gate), keys.gate_line(gate)
        asked: list[Command] = [
            ("HGET", keys.gate(gate), HEAD),
            ("TIME",),
            ("ZRANGE", places, 0, PLACES_READ - 1, "WITHSCORES"),
            ("ZCARD", places),
            ("ZCARD", line),
            ("ZCOUNT", line, "-inf", f"({order}" if order is not None else "(-inf"),
            ("ZSCORE", places, place),
            ("ZSCORE", line, turn),
        ]
        if first:
            asked.append(("ZRANGE", line, 0, first - 1, "WITHSCORES"))
        record, time, found, taken, waiting, before, *mine = self._redis.ask_all(asked)
        ends, queued, *rest = mine
        return GateSnapshot(
            *(ms(time), record or "", _pairs(found), int(taken)),
            *(_pairs(rest[0]) if rest else [], int(waiting), int(before)),
            int(float(ends)) if ends is not None else None,
            int(float(queued)) if queued is not None else None,
        )

    def commit(self, change: GateChange) -> bool:
        """Write *change*; return False, with nothing written, if the record has changed."""
        call = spell_gate(self._keys.of(change.gate), change)
        return bool(self._scripts.run(COMMIT, call))

    def due(self, shard: int, limit: int) -> Sequence[str]:
        """Return up to *limit* gates of a shard that somebody has to look at now."""
        key = self._keys.shards[shard].gates
        first, time = self._redis.ask_all((("ZRANGE", key, 0, 0, "WITHSCORES"), ("TIME",)))
        now = ms(time)
        if not _pairs(first) or _pairs(first)[0][1] > now:
            return []
        return [str(gate) for gate in self._redis.ask(*_until(key, now, limit))]

    def known(self) -> Sequence[str]:
        """Return all gates of which anything is kept, sorted."""
        found = self._redis.ask_all(("ZRANGE", keys.gates, 0, -1) for keys in self._keys.shards)
        return sorted(str(gate) for gates in found for gate in gates)

    def salt(self) -> str:
        """Return what makes digests of values those of this store; made when first asked for."""
        if not self._salt:
            key = self._keys.shards[0].salt
            made = (("SET", key, secrets.token_hex(16), "NX"), ("GET", key))
            self._salt = str(self._redis.ask_all(made)[1])
        return self._salt


def _until(key: str, now: int, limit: int) -> Command:
    return ("ZRANGEBYSCORE", key, "-inf", now, "LIMIT", 0, limit)


def _pairs(answer: Sequence[str]) -> list[tuple[str, int]]:
    return [(str(member), int(float(score))) for member, score in scored(answer)]
