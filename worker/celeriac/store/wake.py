"""The wake index of a Redis: what is due, live attempts, and the workers' signs of life.

Owns: finding what is due in a shard, moving entries in many shards at once, and what it means that
some of these are out of reach.  Refuses to know: what follows from any of it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.errors import StoreUnavailable
from celeriac.store.answers import ms, ripe, scored
from celeriac.store.commit import Call
from celeriac.store.keys import lease_member, shard_of, split_wake
from celeriac.store.protocol import Due, DueBatch, Pulse
from celeriac.store.scripts import PULSE, WAKE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from celeriac.store.connection import Connection
    from celeriac.store.keys import Keys
    from celeriac.store.protocol import Lease
    from celeriac.store.scripts import Script, Scripts

_log = logging.getLogger(__name__)


class _Move(NamedTuple):
    """What `wake.lua` is told of an entry."""

    member: str
    found: int | str  # ms, where it must be; '' is anywhere
    to: int | str  # ms, or '+' and ms from now


class WakeIndex:
    """What is to be looked at, and when, in all shards."""

    def __init__(self, connection: Connection, scripts: Scripts, keys: Keys) -> None:
        self._redis, self._scripts, self._keys = connection, scripts, keys

    def due(self, shard: int, limit: int) -> DueBatch:
        """Return up to *limit* entries of a shard's wake index whose time has come.

        One round trip when nothing is due, two otherwise.
        """
        keys = self._keys.shards[shard]
        time, first, signs, outages, seen = self._redis.ask_all(
            (
                ("TIME",),
                ("ZRANGE", keys.wake, 0, 0, "WITHSCORES"),
                ("HMGET", keys.pulse, "last", "since"),
                ("ZRANGE", keys.outages, 0, -1),
                ("ZRANGE", keys.seen, 0, -1, "WITHSCORES"),
            )
        )
        now = ms(time)
        due = self._due(shard, now, limit) if ripe(first, now) else []
        last, since = (int(text or 0) for text in signs)
        arrivals = {queue: int(float(sent)) for queue, sent in scored(seen)}
        return DueBatch(now, due, Pulse(last, since, _spans(outages)), arrivals)

    def coming(self, shard: int, within_ms: int, skip: int, limit: int) -> list[Due]:
        """Return entries of a shard's wake index whose time comes within *within_ms*."""
        wake = self._keys.shards[shard].wake
        time, first = self._redis.ask_all((("TIME",), ("ZRANGE", wake, 0, 0, "WITHSCORES")))
        until = ms(time) + within_ms
        return self._due(shard, until, limit, skip) if ripe(first, until) else []

    def postpone(self, entries: Mapping[Due, int]) -> None:
        """Move entries to a later time (ms), each only if it still stands where it was found."""
        self._move(
            (due.run_id, _Move(_wake_member(due), due.at, later)) for due, later in entries.items()
        )

    def renew(self, leases: Sequence[Lease], lease_ms: int) -> set[Lease]:
        """Extend *leases* to *lease_ms* from now; return those that no longer exist."""
        known = {lease_member(lease): lease for lease in leases}
        moved = self._move(
            (lease.run_id, _Move(entry, "", f"+{lease_ms}")) for entry, lease in known.items()
        )
        return {lease for entry, lease in known.items() if not moved[entry]}

    def lapse(self, leases: Sequence[Lease]) -> None:
        """Let *leases* run out now: whoever held them is known to be dead."""
        self._move((lease.run_id, _Move(lease_member(lease), "", "+0")) for lease in leases)

    def pulse(self, gap_ms: int, outage_ms: int = 0, shards: Collection[int] | None = None) -> None:
        """Note a sign of life of a worker, in every shard or in *shards*."""
        wanted = range(len(self._keys.shards)) if shards is None else shards
        places = {shard: self._keys.shards[shard] for shard in wanted}
        self._each(
            PULSE,
            {n: Call((at.pulse, at.outages), (gap_ms, outage_ms)) for n, at in places.items()},
        )

    def _due(self, shard: int, until: int, limit: int, skip: int = 0) -> list[Due]:
        wake = self._keys.shards[shard].wake
        window = ("WITHSCORES", "LIMIT", skip, limit)
        found = self._redis.ask("ZRANGEBYSCORE", wake, "-inf", until, *window)
        due, foreign = [], []
        for entry, at in scored(found):
            known = split_wake(entry)
            if known is None or abs(float(at)) == float("inf"):
                foreign.append(entry)
            else:
                due.append(Due(known[0], int(float(at)), known[1]))
        if foreign:  # or a few of them would fill every batch
            _log.warning("removing %d entries from %s that are not ours", len(foreign), wake)
            self._redis.ask("ZREM", wake, *foreign)
        return due

    def _move(self, moves: Iterable[tuple[str, _Move]]) -> dict[str, bool]:
        """Move entries of the wake index, by run id; return which members were moved."""
        shards: dict[int, list[_Move]] = {}
        for run_id, move in moves:
            shards.setdefault(shard_of(run_id, len(self._keys.shards)), []).append(move)
        wakes = {shard: self._keys.shards[shard].wake for shard in shards}
        answers = self._each(
            WAKE,
            {n: Call((wakes[n],), [part for move in shards[n] for part in move]) for n in shards},
        )
        return {
            move.member: bool(moved)
            for shard, found in shards.items()
            for move, moved in zip(found, answers[shard], strict=True)
        }

    def _each(self, script: Script, calls: Mapping[int, Call]) -> dict[int, Any]:
        """Run *script* in several shards, and return the answers by shard.

        Raises StoreUnavailable, which says of which shards, once all others have done it.
        """
        answers = self._scripts.try_all(script, list(calls.values()))
        away: dict[int, StoreUnavailable] = {}
        for shard, answer in zip(calls, answers, strict=True):
            try:
                self._redis.check([answer])
            except StoreUnavailable as error:
                away[shard] = error
        if away:
            first = next(iter(away.values()))
            first.shards = frozenset(away)
            raise first
        return dict(zip(calls, answers, strict=True))


def _wake_member(due: Due) -> str:
    return lease_member(due.lease) if due.lease else due.run_id


def _spans(entries: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Read `<from>-<to>` entries, sorted; what is none is left out."""
    spans = [entry.partition("-") for entry in entries]
    return tuple(
        sorted(
            (int(first), int(last))
            for first, _, last in spans
            if first.isdecimal() and last.isdecimal()
        )
    )
