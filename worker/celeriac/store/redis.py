"""The store that lasts: runs in Redis, written by one script.

Owns: the `Store` promise on Redis 6.2 or newer.  Refuses to know: what a transition means, how
keys are called (`keys`), how a change is spelled (`commit`) and how errors are worded
(`connection`).

A run is read in one round trip and committed in one.  Nothing here retries (F6): whoever asked
reads again and decides anew.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from celeriac.errors import StoreError
from celeriac.models import Event, Plan, Run, RunStatus
from celeriac.store import Due, DueBatch, Pulse, Snapshot
from celeriac.store.codec import load_run
from celeriac.store.commit import FIELD, HEAD, Call, spell_change, spell_removal
from celeriac.store.connection import Connection
from celeriac.store.keys import Keys, lease_member, shard_of, split_wake
from celeriac.store.listing import Listing, read_head
from celeriac.store.scripts import COMMIT, PULSE, WAKE, Scripts
from celeriac.store.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from celeriac.store import Change, Lease, Query

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_PLANS_KEPT = 1000  # in this process; plans never change
_LATER = 3_600_000  # ms until a run that cannot be read is tried again


class _Move(NamedTuple):
    """What `wake.lua` is told of an entry."""

    member: str
    found: int | str  # ms, where it must be; '' is anywhere
    to: int | str  # ms, or '+' and ms from now


class RedisStore:
    """Runs in the Redis at *url*, under *namespace*, spread over *shards* hash tags."""

    def __init__(self, url: str, *, namespace: str = "celeriac", shards: int = 8) -> None:
        self.shards = shards
        self._keys = Keys(namespace, shards)
        self._redis = Connection(url)
        self._scripts = Scripts(self._redis)
        self._listing = Listing(self._redis, self._scripts, self._keys)
        self._plans: dict[str, Plan] = {}
        self._plan_texts: dict[str, str] = {}

    def shard_of(self, run_id: str) -> int:
        """Return the shard a run belongs to."""
        return shard_of(run_id, self.shards)

    # --- runs ----------------------------------------------------------------------------------

    def read(self, run_id: str, fields: Sequence[str] = ()) -> Snapshot:
        """Return the run, the payload *fields* asked for, and the store's time."""
        key = self._keys.of(run_id).run(run_id)
        (head, *texts), time = self._redis.ask_all(
            (("HMGET", key, HEAD, *[FIELD + name for name in fields]), ("TIME",))
        )
        found = {name: text for name, text in zip(fields, texts, strict=True) if text is not None}
        return Snapshot(load_run(run_id, head) if head is not None else None, _ms(time), found)

    def commit(self, change: Change) -> bool:
        """Write *change* and return True; return False, with nothing written, if a guard fails."""
        call = spell_change(self._keys.of(change.run.id), change, self._plan_text)
        starts = change.before is None or change.fresh
        return bool(self._scripts.run(COMMIT, call, beyond_full=not starts))

    def plan(self, run_id: str, fingerprint: str) -> Plan:
        """Return the plan that a run was started with."""
        found = self._plans.get(fingerprint)
        if found is None:
            text = self._redis.ask("GET", self._keys.of(run_id).plan(fingerprint))
            if text is None:
                raise StoreError(
                    f"the plan {fingerprint} of run {run_id!r} is not in the store: keys were "
                    "deleted or evicted; restore a backup, and set maxmemory-policy noeviction"
                )
            found = Plan.model_validate_json(text)
            _keep(self._plans, fingerprint, found)
        return found

    def history(self, run_id: str) -> list[Event]:
        """Return every event of a run, oldest first; empty if there is no such run."""
        texts = self._redis.ask("LRANGE", self._keys.of(run_id).log(run_id), 0, -1)
        return [Event.load(text) for text in texts]

    # --- the wake index ------------------------------------------------------------------------

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
        now = _ms(time)
        due = self._due(shard, now, limit) if _ripe(first, now) else []
        last, since = (int(text or 0) for text in signs)
        arrivals = {queue: int(float(sent)) for queue, sent in _scored(seen)}
        return DueBatch(now, due, Pulse(last, since, _spans(outages)), arrivals)

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

    def pulse(self, gap_ms: int, outage_ms: int = 0) -> None:
        """Note a sign of life of a worker, in every shard."""
        calls = [
            Call((keys.pulse, keys.outages), (gap_ms, outage_ms)) for keys in self._keys.shards
        ]
        self._scripts.run_all(PULSE, calls)

    def _due(self, shard: int, now: int, limit: int) -> list[Due]:
        wake = self._keys.shards[shard].wake
        found = self._redis.ask("ZRANGEBYSCORE", wake, "-inf", now, "WITHSCORES", "LIMIT", 0, limit)
        due, foreign = [], []
        for entry, at in _scored(found):
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
            shards.setdefault(self.shard_of(run_id), []).append(move)
        calls = [
            Call((self._keys.shards[shard].wake,), [part for move in found for part in move])
            for shard, found in shards.items()
        ]
        answers = self._scripts.run_all(WAKE, calls)
        return {
            move.member: bool(moved)
            for found, answer in zip(shards.values(), answers, strict=True)
            for move, moved in zip(found, answer, strict=True)
        }

    # --- everything else -----------------------------------------------------------------------

    def find(self, query: Query) -> list[Run]:
        """Return up to `query.limit` runs, newest first, ids in descending order within a ms."""
        return self._listing.find(query)

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return the number of runs by saga and status, from the indexes."""
        return self._listing.counts()

    def wait_for_rest(self, run_id: str, timeout: float | None) -> bool:
        """Wait until the run is at rest; return False if it is not after *timeout* seconds.

        A Redis that restarts meanwhile is waited for; one that is out of reach from the start
        raises StoreUnavailable.
        """

        def rests() -> bool:
            run = self.read(run_id).run
            return run is None or run.status.at_rest

        channel = self._keys.of(run_id).rest_channel(run_id)
        return wait_until(self._redis, channel, rests, timeout)

    def remove_expired(self, shard: int, limit: int) -> int:
        """Remove up to *limit* runs at rest whose `expire_at` has passed; return how many."""
        keys = self._keys.shards[shard]
        time, first = self._redis.ask_all((("TIME",), ("ZRANGE", keys.expire, 0, 0, "WITHSCORES")))
        if not _ripe(first, now := _ms(time)):
            return 0
        entries = self._redis.ask(
            "ZRANGEBYSCORE", keys.expire, "-inf", now, "WITHSCORES", "LIMIT", 0, limit
        )
        expired = [(run_id, int(float(at))) for run_id, at in _scored(entries)]
        heads = self._redis.try_all(("HGET", keys.run(run_id), HEAD) for run_id, _ in expired)
        found = [
            (run_id, at, read_head(run_id, head))
            for (run_id, at), head in zip(expired, heads, strict=True)
        ]
        if spoilt := [run_id for run_id, _, run in found if isinstance(run, StoreError)]:
            # Left alone, but not in the way: a few of them would fill every batch.
            later = [part for run_id in spoilt for part in (now + _LATER, run_id)]
            self._redis.ask("ZADD", keys.expire, "XX", *later)
        whole = [(run_id, at, run) for run_id, at, run in found if not isinstance(run, StoreError)]
        removed = self._scripts.run_all(
            COMMIT, [spell_removal(keys, run_id, run, at) for run_id, at, run in whole]
        )
        done = zip(whole, removed, strict=True)
        return sum(1 for (_, _, run), gone in done if gone and run and run.status.at_rest)

    def close(self) -> None:
        """Give back connections."""
        self._redis.close()

    def _plan_text(self, plan: Plan) -> str:
        text = self._plan_texts.get(plan.fingerprint)
        if text is None:
            text = plan.model_dump_json()
            _keep(self._plan_texts, plan.fingerprint, text)
        return text


def _wake_member(due: Due) -> str:
    return lease_member(due.lease) if due.lease else due.run_id


def _ms(time: tuple[int, int]) -> int:
    return int(time[0]) * 1000 + int(time[1]) // 1000


def _ripe(first: Sequence[str], now: int) -> bool:
    """True if the first entry of an index, and so perhaps others, is not later than *now*."""
    return bool(first) and float(first[1]) <= now


def _scored(flat: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Pair the members and scores of a WITHSCORES answer."""
    return zip(flat[::2], flat[1::2], strict=True)


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


def _keep(kept: dict[str, _T], name: str, value: _T) -> None:
    if len(kept) >= _PLANS_KEPT:
        kept.clear()
    kept[name] = value
