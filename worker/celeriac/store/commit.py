"""What `commit.lua` is told: a change, spelled as keys, guards and writes.

Owns: which keys a change touches, in which order, and under which guards.  Refuses to know: how
the script is run (`scripts`), and what the values mean.

The first write of a start adds to an index: a command that Redis refuses at `maxmemory`, so a
refused start leaves nothing behind, also where it replaces a run (I12).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.errors import StoreError
from celeriac.store.bulks import dump_bulk
from celeriac.store.codec import dump_run, stamp
from celeriac.store.history import dump_events
from celeriac.store.keys import CUT, ShardKeys, lease_member, member, pair, plan_member
from celeriac.store.payloads import kept_as, worth_keeping
from celeriac.store.schedules import TICKS_KEPT, dump_schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.machine import Plan, Run
    from celeriac.scheduling import Record, TickEvent
    from celeriac.store.bulks import BulkRecord, Member, Turn
    from celeriac.store.gates import GateChange
    from celeriac.store.protocol import Change, Entry

HEAD = "h"  # as commit.lua knows it
FIELD = "f:"  # what the names of payloads begin with, which share the run's hash with the head
_MOST = 1000  # arguments of one command: Lua can pass some 8,000
_TYPES = {
    "HSET": "hash",
    "RPUSH": "list",
    "LTRIM": "list",
    "LSET": "list",
    "LREM": "list",
    "SADD": "set",
    "SET": "string",
    "DEL": "",
}


class Call(NamedTuple):
    """The keys and arguments of a script."""

    keys: Sequence[str]
    args: Sequence[str | int]


def spell_change(keys: ShardKeys, change: Change, dump_plan: Callable[[Plan], str]) -> Call:
    """Return the call that writes *change*."""
    run, before = change.run, change.before
    if before is None and CUT in run.id:
        raise StoreError(f"run id {run.id!r} holds the control character {CUT!r}: use another id")
    writes = _Writes(keys.run(run.id))
    _list(writes, keys, change)
    if change.fresh:
        writes.add("DEL", keys.run(run.id))
    state = [HEAD, dump_run(run)]
    own = None if change.fresh else before
    for name, text in worth_keeping(change.fields).items():
        state += (FIELD + kept_as(name, own), text)
    writes.add("HSET", keys.run(run.id), *state)
    if change.events:
        _drop(writes, keys.log(run.id), change.events[0].replaces)
        writes.add("RPUSH", keys.log(run.id), *dump_events(change.events, run.started_at))
    _wake(writes, keys, change)
    if change.plan is not None:
        name = change.plan.fingerprint
        writes.add("SET", keys.plan(name), dump_plan(change.plan), "NX")
        writes.add("ZADD", keys.plans, "GT", run.started_at, plan_member(name, change.plan.saga))
    if change.claimed is not None:
        queue, sent = change.claimed
        writes.add("ZADD", keys.seen, "GT", sent, queue)
    rested = run.status.at_rest and not (before and before.status.at_rest)
    return writes.call(
        stamp(before),
        keys.rest_channel(run.id) if rested else "",
        (keys.wake, lease_member(change.lapsed[0]), change.lapsed[1]) if change.lapsed else None,
    )


def spell_removal(keys: ShardKeys, run_id: str, run: Run | None, score: int | None) -> Call:
    """Return the call that removes a run at rest, if it is unchanged.

    With a *score* it must also still be to expire then.
    """
    writes = _Writes(keys.run(run_id))
    writes.add("ZREM", keys.expire, run_id)
    if run is not None and run.status.at_rest:
        writes.add("DEL", keys.run(run_id))
        writes.add("DEL", keys.log(run_id))
        for key, entry in places(keys, run):
            writes.add("ZREM", key, entry)
    guard = (keys.expire, run_id, score) if score is not None else None
    return writes.call(stamp(run), "", guard)


def spell_drop(keys: ShardKeys, entry: Entry) -> Call:
    """Return the call that removes an entry of an index, if its run is still as it was."""
    writes = _Writes(keys.run(entry.run_id))
    writes.add("ZREM", entry.place, entry.member)
    return writes.call(stamp(entry.run), "", None)


def spell_schedule(
    keys: ShardKeys, before: Record | None, record: Record, events: Sequence[TickEvent]
) -> Call:
    """Return the call that writes what is known of a schedule, if it is still as it was found."""
    name = record.name
    writes = _Writes(keys.schedule(name))
    writes.add("SADD", keys.schedules, name)
    writes.add("HSET", keys.schedule(name), HEAD, dump_schedule(record))
    if events:
        writes.add("RPUSH", keys.ticks(name), *[event.dump() for event in events])
        writes.add("LTRIM", keys.ticks(name), -TICKS_KEPT, -1)
    return writes.call(f"{before.version} " if before else "", "", None)


def spell_bulk(
    keys: ShardKeys,
    before: BulkRecord | None,
    record: BulkRecord,
    members: Sequence[Member],
    turns: Sequence[Turn],
) -> Call:
    """Return the call that writes what is known of a command for many, if it is as it was found."""
    writes = _Writes(keys.bulk(record.id))
    writes.add("ZADD", keys.bulks, record.looked_at, record.id)
    writes.add("HSET", keys.bulk(record.id), HEAD, dump_bulk(record))
    if members:
        writes.add("RPUSH", keys.bulk_runs(record.id), *[each.dump() for each in members])
    if turns:
        writes.add("RPUSH", keys.bulk_turns(record.id), *[each.dump() for each in turns])
    if record.state == "going":
        writes.add("ZADD", keys.bulks_going, record.begun_at or 0, record.id)
    else:
        writes.add("ZREM", keys.bulks_going, record.id)
    return writes.call(f"{before.version} " if before else "", "", None)


def spell_bulk_removal(keys: ShardKeys, record: BulkRecord) -> Call:
    """Return the call that removes a command for many, if it is as it was found."""
    writes = _Writes(keys.bulk(record.id))
    writes.add("ZREM", keys.bulks, record.id)
    for key in (keys.bulk(record.id), keys.bulk_runs(record.id), keys.bulk_turns(record.id)):
        writes.add("DEL", key)
    return writes.call(f"{record.version} ", "", None)


def spell_gate(keys: ShardKeys, change: GateChange) -> Call:
    """Return the call that writes what is known of a gate, if it is still as it was found."""
    gate = change.gate
    all_of_it = (keys.gate(gate), keys.gate_places(gate), keys.gate_line(gate))
    own, inside, line = all_of_it
    writes = _Writes(own)
    if change.look_at is None:
        for key in all_of_it:
            writes.add("DEL", key)
        writes.add("ZREM", keys.gates, gate)
    else:
        soonest = ("LT",) if change.at_the_latest else ()
        writes.add("ZADD", keys.gates, *soonest, change.look_at, gate)
        writes.add("HSET", own, HEAD, change.record)
        for key, gone, new in (
            (inside, change.give, change.take),
            (line, change.leave, change.join),
        ):
            if gone:
                writes.add("ZREM", key, *gone)
            for member, at in new.items():
                writes.add("ZADD", key, at, member)
    stamp_of = change.before.partition(" ")[0]
    return writes.call(f"{stamp_of} " if stamp_of else "", "", None)


def places(keys: ShardKeys, run: Run) -> list[tuple[str, str]]:
    """Where a run is listed: (index, member); first by saga and status, then by tags."""
    entry = member(run.started_at, run.id)
    awaiting = [(keys.awaiting, entry)] if run.awaits else []
    late = [(keys.past_deadline, entry)] if run.past_deadline else []
    return [
        (keys.runs(pair(run)), entry),
        *[(keys.tag(name, value), entry) for name, value in run.tags],
        *awaiting,
        *late,
    ]


def _list(writes: _Writes, keys: ShardKeys, change: Change) -> None:
    """Add the writes that move a run between the indexes."""
    run, before = change.run, change.before
    if before is None or change.relist or _listed_as(before) != _listed_as(run):
        old = places(keys, before) if before and not change.relist else []
        new = places(keys, run)
        added = [entry for entry in new if entry not in old]
        for key, entry in added:
            writes.add("ZADD", key, 0, entry)
        if new[0] in added:
            writes.add("SADD", keys.sets, pair(run))
        for key, entry in old:
            if (key, entry) not in new:
                writes.add("ZREM", key, entry)
    if change.expire_at is not None:
        writes.add("ZADD", keys.expire, change.expire_at, run.id)
    elif before and before.status.at_rest:
        writes.add("ZREM", keys.expire, run.id)


def _drop(writes: _Writes, key: str, places: Sequence[int]) -> None:
    """Add the writes that take events out of a history: the last ones, or some between others."""
    if not places:
        return
    if places[0] == len(places) - 1:
        writes.add("LTRIM", key, 0, -len(places) - 1)
        return
    for place in places:
        writes.add("LSET", key, -place - 1, "")
    writes.add("LREM", key, -len(places), "")


def _listed_as(run: Run) -> tuple[Any, ...]:
    """What the places of a run are made of."""
    return run.shown, run.tags, run.saga, run.started_at, run.awaits, run.past_deadline


def _wake(writes: _Writes, keys: ShardKeys, change: Change) -> None:
    """Add the writes to the wake index."""
    gone = [lease_member(lease) for lease in change.released]
    due: list[str | int] = []
    for lease, expiry in change.leases.items():
        due += (expiry, lease_member(lease))
    if change.wake_at is None:
        gone.append(change.run.id)
    else:
        due += (change.wake_at, change.run.id)
    if gone:
        writes.add("ZREM", keys.wake, *gone)
    if due:
        writes.add("ZADD", keys.wake, *due)


class _Writes:
    """Collects keys and writes in the form the script reads."""

    def __init__(self, run_key: str) -> None:
        self._types = {run_key: "hash"}  # in the order of KEYS; the run comes first
        self._writes: list[str | int] = []
        self._places = {run_key: 1}

    def add(self, command: str, key: str, *args: str | int) -> None:
        """Add a write; one that is too long for Lua in several pieces."""
        place = self._places.get(key) or self._place(key, _TYPES.get(command, "zset"))
        if len(args) <= _MOST:
            self._writes += (command, place, len(args), *args)
            return
        for start in range(0, len(args), _MOST):
            piece = args[start : start + _MOST]
            self._writes += (command, place, len(piece), *piece)

    def call(self, expected: str, channel: str, score: tuple[str, str, int] | None) -> Call:
        """Return everything, under its guards; *score* is (key, member, score) to compare."""
        guard: tuple[str | int, ...] = ("", "", "")
        if score:
            guard = (self._place(score[0], "zset"), *score[1:])
        keys = tuple(self._places)
        types = [self._types[key] for key in keys]
        return Call(keys, (expected, channel, *guard, *types, *self._writes))

    def _place(self, key: str, kind: str) -> int:
        self._types.setdefault(key, kind)
        return self._places.setdefault(key, len(self._places) + 1)
