"""Where runs are kept: one promise, two stores that keep it.

Owns: the promise, the keys in Redis, the scripts, and the memory store.  Refuses to know: what may
happen to a run; it compares, writes and announces, and decides nothing.  `RedisStore` and
`MemoryStore` are imported by their paths, by whoever builds one.

Its files, from the ground up::

    addresses | presence | schedules | bulks | gates | payloads | pool | codec | history | answers
    < protocol < connection | keys | slots | waiters < cluster | sentinel | subscription | commit
    | gate_members
    < connecting | waiting | memory < scripts
    < links | listing | wake
    < inspection | removal | redis_schedules | redis_bulks | redis_gates < redis
"""

from __future__ import annotations

from celeriac.store.bulks import BulkRecord, Bulks, Member, Outcome, Turn
from celeriac.store.codec import laid_aside
from celeriac.store.gate_members import line_member, place_member, split_line, split_place
from celeriac.store.gates import GateChange, Gates, GateSnapshot
from celeriac.store.keys import Keys, shard_of, split_member
from celeriac.store.payloads import load_failure
from celeriac.store.presence import Connected, Presence, Presences, Worker
from celeriac.store.protocol import (
    Change,
    Due,
    DueBatch,
    Entry,
    Expired,
    IndexedRun,
    Lease,
    Pulse,
    Query,
    Snapshot,
    Store,
    StoreStats,
    SweepMark,
    UnreadableRun,
    Waiter,
)
from celeriac.store.schedules import Schedules, UnreadableSchedule
from celeriac.store.waiters import await_rest, wait_for_rest

__all__ = [
    "BulkRecord",
    "Bulks",
    "Change",
    "Connected",
    "Due",
    "DueBatch",
    "Entry",
    "Expired",
    "GateChange",
    "GateSnapshot",
    "Gates",
    "IndexedRun",
    "Keys",
    "Lease",
    "Member",
    "Outcome",
    "Presence",
    "Presences",
    "Pulse",
    "Query",
    "Schedules",
    "Snapshot",
    "Store",
    "StoreStats",
    "SweepMark",
    "Turn",
    "UnreadableRun",
    "UnreadableSchedule",
    "Waiter",
    "Worker",
    "await_rest",
    "laid_aside",
    "line_member",
    "load_failure",
    "place_member",
    "shard_of",
    "split_line",
    "split_member",
    "split_place",
    "wait_for_rest",
]
