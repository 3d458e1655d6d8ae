"""Removing from a Redis what is no longer needed: runs at rest, and plans that nobody follows.

Owns: finding what may go, and that it goes only if nothing has changed since.  Refuses to know:
how long anything is kept, and who wants to see it first.

Nothing here expires by itself: a key that Redis removes on its own takes no index entry with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import StoreError
from celeriac.machine import RunStatus
from celeriac.store.answers import ms, ripe, scored
from celeriac.store.commit import HEAD, Call, spell_removal
from celeriac.store.keys import bound
from celeriac.store.listing import read_head
from celeriac.store.protocol import Expired
from celeriac.store.scripts import COMMIT, FORGET, TURN, WAKE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.store.connection import Connection
    from celeriac.store.keys import Keys, ShardKeys
    from celeriac.store.scripts import Scripts

_LATER = 3_600_000  # ms until a run that cannot be read is tried again
_PLANS = 1000  # looked at in one go


class Removal:
    """What may go from a Redis."""

    def __init__(self, connection: Connection, scripts: Scripts, keys: Keys) -> None:
        self._redis, self._scripts, self._keys = connection, scripts, keys

    # --- runs ----------------------------------------------------------------------------------

    def expired(self, shard: int, limit: int) -> list[Expired]:
        """Return up to *limit* runs at rest whose time is over; one round trip if none is."""
        keys = self._keys.shards[shard]
        time, first = self._redis.ask_all((("TIME",), ("ZRANGE", keys.expire, 0, 0, "WITHSCORES")))
        if not ripe(first, now := ms(time)):
            return []
        entries = self._redis.ask(
            "ZRANGEBYSCORE", keys.expire, "-inf", now, "WITHSCORES", "LIMIT", 0, limit
        )
        ends = {run_id: int(float(at)) for run_id, at in scored(entries)}
        heads = self._redis.try_all(("HGET", keys.run(run_id), HEAD) for run_id in ends)
        found: list[Expired] = []
        spoilt: list[str] = []
        stray: list[Call] = []
        for (run_id, at), head in zip(ends.items(), heads, strict=True):
            run = read_head(run_id, head)
            if isinstance(run, StoreError):
                spoilt.append(run_id)
            elif run is None or not run.status.at_rest:
                stray.append(spell_removal(keys, run_id, run, at))
            else:
                found.append(Expired(run, at))
        self._set_aside(keys, now, spoilt)
        self._scripts.run_all(COMMIT, stray)  # entries that no run at rest stands behind
        return found

    def remove(self, expired: Sequence[Expired]) -> int:
        """Remove runs, each only if it is at rest and unchanged; one round trip."""
        calls = [
            spell_removal(self._keys.of(run.id), run.id, run, at)
            for run, at in expired
            if run.status.at_rest
        ]
        return sum(self._scripts.run_all(COMMIT, calls))

    def put_off(self, expired: Sequence[tuple[Expired, int]]) -> None:
        """Let runs expire so many ms from now, each only if it still was to expire as found."""
        self._scripts.run_all(
            WAKE,
            [
                Call((self._keys.of(run.id).expire,), (run.id, at or "", f"+{later}"))
                for (run, at), later in expired
            ],
        )

    def _set_aside(self, keys: ShardKeys, now: int, run_ids: Sequence[str]) -> None:
        """Leave alone what cannot be read, but not in the way: a few would fill every batch."""
        if run_ids:
            later = [part for run_id in run_ids for part in (now + _LATER, run_id)]
            self._redis.ask("ZADD", keys.expire, "XX", *later)

    # --- plans ---------------------------------------------------------------------------------

    def plans(self, shard: int, unused_ms: int) -> int:
        """Remove plans that no run of a shard can follow any more.

        A start notes when its plan was last started, in the same commit.  A run of that saga which
        follows the plan cannot have started later than that; once all that are left did, and by
        far, none of them does.
        """
        keys = self._keys.shards[shard]
        time, first = self._redis.ask_all((("TIME",), ("ZRANGE", keys.plans, 0, 0, "WITHSCORES")))
        until = ms(time) - unused_ms
        if not ripe(first, until):
            return 0
        entries = self._redis.ask(
            "ZRANGEBYSCORE", keys.plans, "-inf", until, "WITHSCORES", "LIMIT", 0, _PLANS
        )
        calls = [_spell_forgetting(keys, plan, at, unused_ms) for plan, at in scored(entries)]
        return sum(self._scripts.run_all(FORGET, calls))

    # --- turns ---------------------------------------------------------------------------------

    def turn(self, work: str, for_ms: int, *, whoever: bool = False) -> bool:
        """Take the turn at *work*, or set it whoever has it."""
        call = Call((self._keys.shards[0].turns,), (work, for_ms, int(whoever)))
        return bool(self._scripts.run(TURN, call))


def _spell_forgetting(keys: ShardKeys, plan: str, at: str, unused_ms: int) -> Call:
    fingerprint, _, saga = plan.partition(":")
    indexes = [keys.runs(f"{saga}:{status.value}") for status in RunStatus]
    last = f"({bound(int(float(at)) + unused_ms)}"
    return Call((keys.plans, keys.plan(fingerprint), *indexes), (plan, at, last))
