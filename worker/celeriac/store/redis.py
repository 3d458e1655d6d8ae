"""The store that lasts: runs in Redis, written by one script.

Owns: the `Store` promise on Redis 6.2 or newer.  Refuses to know: what a transition means, how
keys are called (`keys`), how a change is spelled (`commit`) and how errors are worded
(`connection`).

A run is read in one round trip and committed in one.  Nothing here retries (F6): whoever asked
reads again and decides anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.errors import StoreError, StoreUnavailable
from celeriac.machine import Plan, Run, RunStatus, began_once
from celeriac.store import payloads
from celeriac.store.answers import ms, said_by, scored
from celeriac.store.codec import dump_plan, load_plan, load_run, stamp
from celeriac.store.commit import FIELD, HEAD, Call, spell_change
from celeriac.store.connecting import connection_to
from celeriac.store.history import load_events
from celeriac.store.inspection import Inspection
from celeriac.store.keys import Keys, definition_member, shard_of, split_definition
from celeriac.store.links import RedisPresences
from celeriac.store.listing import Listing, read_head
from celeriac.store.protocol import Due, DueBatch, RunPage, Snapshot, StoreStats, SweepMark
from celeriac.store.redis_bulks import RedisBulks
from celeriac.store.redis_gates import RedisGates
from celeriac.store.redis_schedules import RedisSchedules
from celeriac.store.removal import Removal
from celeriac.store.scripts import COMMIT, SWEPT, Scripts
from celeriac.store.waiting import Waiting
from celeriac.store.wake import WakeIndex

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from celeriac.machine import Event
    from celeriac.store.connection import Command
    from celeriac.store.protocol import (
        Change,
        Entry,
        Expired,
        IndexedRun,
        Lease,
        Query,
        UnreadableRun,
        Waiter,
    )

_T = TypeVar("_T")

_PLANS_KEPT = 1000  # in this process; plans never change


class RedisStore:
    """Runs in the Redis at *url*, under *namespace*, spread over *shards* hash tags."""

    def __init__(self, url: str, *, namespace: str = "celeriac", shards: int = 8) -> None:
        self.shards = shards
        self._keys = Keys(namespace, shards)
        self._redis = connection_to(url)
        self.apart = self._redis.apart
        self._scripts = Scripts(self._redis)
        self._listing = Listing(self._redis, self._scripts, self._keys)
        self._removal = Removal(self._redis, self._scripts, self._keys)
        self._inspection = Inspection(self._redis, self._scripts, self._keys)
        self._wake = WakeIndex(self._redis, self._scripts, self._keys)
        self.presences = RedisPresences(self._redis, self._scripts, self._keys.shards[0].workers)
        self.schedules = RedisSchedules(self._redis, self._scripts, self._keys)
        self.bulks = RedisBulks(self._redis, self._scripts, self._keys)
        self.gates = RedisGates(self._redis, self._scripts, self._keys)
        self._waiting = Waiting(self, self._redis, self._rest_channel)
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
        run = load_run(run_id, head) if head is not None else None
        names = [payloads.kept_as(name, run) for name in fields]
        if names != list(fields):  # only now it is known that it began anew
            head, *texts = self._redis.ask("HMGET", key, HEAD, *[FIELD + name for name in names])
            run = load_run(run_id, head) if head is not None else None
        found = {name: text for name, text in zip(fields, texts, strict=True) if text is not None}
        return Snapshot(run, ms(time), found)

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
            found = load_plan(run_id, text)
            _keep(self._plans, fingerprint, found)
        return found

    def history(self, run_id: str, first: int = 0, limit: int | None = None) -> list[Event]:
        """Return the events of a run, oldest first; empty if there is no such run."""
        key = self._keys.of(run_id).log(run_id)
        # Counted from the end, Redis knows no place before the first: then all of these are read.
        last = -1 if limit is None or first < 0 else first + limit - 1
        if first == 0:
            return load_events(self._redis.ask("LRANGE", key, 0, last))
        asked = (self._reading(run_id, ()), ("LRANGE", key, first, last))
        found, texts = self._redis.ask_all(asked)
        run = load_run(run_id, found[0]) if found[0] else None
        if run is None or run.epoch > 1:  # times count from one of several starts: which, is before
            return self.history(run_id)[first:][:limit]
        return load_events(texts, run.started_at)[:limit]

    # --- several runs ----------------------------------------------------------------------------

    def read_all(
        self, wanted: Mapping[str, Sequence[str] | None], known: Sequence[Run] = ()
    ) -> dict[str, Snapshot]:
        """Read several runs by id, each with the payload fields named (None: all), in one go."""
        if not wanted:
            return {}
        shards: dict[int, list[str]] = {}
        for run_id in wanted:
            shards.setdefault(self.shard_of(run_id), []).append(run_id)
        # Each shard is asked for the time as well: in a cluster they may be at several servers.
        asked: list[Command] = []
        for run_ids in shards.values():
            asked += (("TIME",), *(self._reading(run_id, wanted[run_id]) for run_id in run_ids))
        answers = iter(self._redis.try_all(asked))
        just_read = {run.id: run for run in known}
        read: dict[str, Snapshot] = {}
        for run_ids in shards.values():
            time = next(answers)
            if not isinstance(time, StoreUnavailable):  # then its runs could not be read either
                self._redis.check([time])
            for run_id in run_ids:
                head, fields = _parted(wanted[run_id], next(answers))
                before = just_read.get(run_id)
                moved = before is None or not str(head).startswith(stamp(before))
                run = read_head(run_id, head) if moved else before
                if isinstance(run, Run):
                    read[run_id] = self._of_its_try(Snapshot(run, ms(time), fields), wanted[run_id])
        return {run_id: read[run_id] for run_id in wanted if run_id in read}

    def plans(self, runs: Iterable[Run]) -> dict[str, Plan]:
        """Return the plans that *runs* follow, by fingerprint; those that are lost are left out."""
        wanted = {run.plan: run.id for run in runs}
        known = {name: plan for name in wanted if (plan := self._plans.get(name))}
        missing = {name: run_id for name, run_id in wanted.items() if name not in known}
        if missing:
            texts = self._redis.ask_all(
                ("GET", self._keys.of(run_id).plan(name)) for name, run_id in missing.items()
            )
            for name, text in zip(missing, texts, strict=True):
                if text is not None:
                    known[name] = Plan.model_validate_json(text)
                    _keep(self._plans, name, known[name])
        return known

    def histories(self, run_ids: Sequence[str]) -> dict[str, list[Event]]:
        """Return the history of each of *run_ids*, empty if there is no such run."""
        if not run_ids:
            return {}
        answers = self._redis.ask_all(
            ("LRANGE", self._keys.of(run_id).log(run_id), 0, -1) for run_id in run_ids
        )
        return {run_id: load_events(texts) for run_id, texts in zip(run_ids, answers, strict=True)}

    def _of_its_try(self, found: Snapshot, names: Sequence[str] | None) -> Snapshot:
        """What was read of a run, with the payloads of the try that it is at."""
        run = found.run
        if run is None or began_once(run):
            return found
        if names is None:
            fields = {payloads.read_as(name, run): text for name, text in found.fields.items()}
            return found._replace(fields=fields)
        return found._replace(fields=self.read(run.id, names).fields) if names else found

    def _reading(self, run_id: str, names: Sequence[str] | None) -> Command:
        key = self._keys.of(run_id).run(run_id)
        if names is None:
            return ("HGETALL", key)
        return ("HMGET", key, HEAD, *[FIELD + name for name in names])

    # --- the wake index ------------------------------------------------------------------------

    def due(self, shard: int, limit: int) -> DueBatch:
        """Return up to *limit* entries of a shard's wake index whose time has come."""
        return self._wake.due(shard, limit)

    def coming(self, shard: int, within_ms: int, skip: int, limit: int) -> list[Due]:
        """Return entries of a shard's wake index whose time comes within *within_ms*."""
        return self._wake.coming(shard, within_ms, skip, limit)

    def postpone(self, entries: Mapping[Due, int]) -> None:
        """Move entries to a later time (ms), each only if it still stands where it was found."""
        self._wake.postpone(entries)

    def renew(self, leases: Sequence[Lease], lease_ms: int) -> set[Lease]:
        """Extend *leases* to *lease_ms* from now; return those that no longer exist."""
        return self._wake.renew(leases, lease_ms)

    def lapse(self, leases: Sequence[Lease]) -> None:
        """Let *leases* run out now: whoever held them is known to be dead."""
        self._wake.lapse(leases)

    def pulse(self, gap_ms: int, outage_ms: int = 0, shards: Collection[int] | None = None) -> None:
        """Note a sign of life of a worker, in every shard or in *shards*."""
        self._wake.pulse(gap_ms, outage_ms, shards)

    def swept(self, lag_ms: int, took_ms: int) -> None:
        """Note that a sweep got through every shard, now."""
        self._scripts.run(SWEPT, Call((self._keys.shards[0].sweep,), (lag_ms, took_ms)))

    def last_sweep(self) -> SweepMark | None:
        """Return what was noted of the newest sweep; None: there was none yet."""
        fields, time = self._redis.ask_all(
            (("HMGET", self._keys.shards[0].sweep, "at", "lag", "took"), ("TIME",))
        )
        if None in fields:
            return None
        at, lag, took = (int(text) for text in fields)
        return SweepMark(at, lag, took, ms(time))

    # --- everything else -----------------------------------------------------------------------

    def find(self, query: Query) -> RunPage:
        """Return up to `query.limit` runs, newest first, and where to go on."""
        return self._listing.find(query)

    def count(self, query: Query) -> int:
        """Return how many runs there are of a saga, status and time; with tags, at most."""
        return self._listing.count(query)

    def figures(self, since: int = 0) -> StoreStats:
        """Return how the runs stand as a whole, from the indexes; `recent` counts from *since*."""
        return self._listing.figures(since)

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return the number of runs by saga and status, from the indexes."""
        return self._listing.counts()

    def servers(self) -> dict[str, dict[str, str]]:
        """Return what each server says of itself, by its name."""
        members = self._redis.members().items()
        return {name: said_by(server.try_all((("INFO",),))[0]) for name, server in members}

    def add_waiter(self, waiter: Waiter) -> None:
        """Tell *waiter* when its run is at rest; one subscription serves all of this process."""
        self._waiting.add(waiter)

    def remove_waiter(self, waiter: Waiter) -> None:
        """Tell *waiter* nothing more."""
        self._waiting.remove(waiter)

    def expired(self, shard: int, limit: int) -> list[Expired]:
        """Return up to *limit* runs at rest whose `expire_at` has passed, oldest first."""
        return self._removal.expired(shard, limit)

    def remove(self, expired: Sequence[Expired]) -> int:
        """Remove runs, each only if it is at rest and unchanged; return how many."""
        return self._removal.remove(expired)

    def put_off(self, expired: Sequence[tuple[Expired, int]]) -> None:
        """Let runs expire so many ms from now, each only if it still was to expire as found."""
        self._removal.put_off(expired)

    def remove_plans(self, shard: int, unused_ms: int) -> int:
        """Remove plans that no run of a shard can follow any more; return how many."""
        return self._removal.plans(shard, unused_ms)

    def indexed_runs(self, shard: int, batch: int = 100) -> Iterator[IndexedRun | UnreadableRun]:
        """Yield every run of a shard with what the indexes say of it, *batch* at a time."""
        return self._inspection.indexed_runs(shard, batch)

    def entries(self, shard: int, batch: int = 100) -> Iterator[Entry]:
        """Yield every entry of the indexes of a shard, with the run it speaks of."""
        return self._inspection.entries(shard, batch)

    def drop(self, entry: Entry) -> bool:
        """Remove an entry of an index, if the run it speaks of is still as it was found."""
        return self._inspection.drop(entry)

    def keep_definition(self, saga: str, version: int, text: str) -> str:
        """Keep the file that defines a version of a saga; return the one that is kept."""
        key, member = self._keys.shards[0].definitions, definition_member(saga, version)
        commands = (("HSETNX", key, member, text), ("HGET", key, member))
        kept: str = self._redis.ask_all(commands)[1]
        return kept

    def definitions(self) -> dict[tuple[str, int], str]:
        """Return all definitions that are kept, by saga and version."""
        found = self._redis.ask("HGETALL", self._keys.shards[0].definitions)
        return {split_definition(member): text for member, text in scored(found)}

    def try_lock(self, work: str, ms: int) -> bool:
        """Return True if nobody else is at *work*; then nobody will be, for *ms* milliseconds."""
        return self._removal.turn(work, ms)

    def unlock(self, work: str, ms: int = 0) -> None:
        """Give back the turn at *work*; nobody takes it again for *ms* milliseconds."""
        self._removal.turn(work, ms, whoever=True)

    def close(self) -> None:
        """Give back connections."""
        self._waiting.close()
        self.presences.close()
        self._redis.close()

    def _rest_channel(self, run_id: str) -> str:
        return self._keys.of(run_id).rest_channel(run_id)

    def _plan_text(self, plan: Plan) -> str:
        text = self._plan_texts.get(plan.fingerprint)
        if text is None:
            text = dump_plan(plan)
            _keep(self._plan_texts, plan.fingerprint, text)
        return text


def _parted(names: Sequence[str] | None, answer: Any) -> tuple[Any, dict[str, str]]:
    """Part the head of a run from the payload fields that were asked for."""
    if isinstance(answer, Exception):
        return answer, {}
    if names is None:
        known = dict(scored(answer))
        head = known.pop(HEAD, None)
        return head, {name.removeprefix(FIELD): text for name, text in known.items()}
    head, *texts = answer
    return head, {name: text for name, text in zip(names, texts, strict=True) if text is not None}


def _keep(kept: dict[str, _T], name: str, value: _T) -> None:
    if len(kept) >= _PLANS_KEPT:
        kept.clear()
    kept[name] = value
