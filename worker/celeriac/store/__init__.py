"""Where runs are kept: one promise, two stores that keep it.

Owns: the promise, the keys in Redis, the scripts, and the memory store.  Refuses to know: what may
happen to a run; it compares, writes and announces, and decides nothing.  `RedisStore` and
`MemoryStore` are imported by their paths, by whoever builds one.

Its files, from the ground up::

    addresses | promise | payloads | codec | answers < connection | keys | waiters
    < sentinel | subscription | commit < connecting | waiting | memory < scripts
    < listing < inspection | removal < redis
"""

from __future__ import annotations

from celeriac.store.keys import Keys, shard_of, split_member
from celeriac.store.payloads import load_failure
from celeriac.store.promise import (
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
from celeriac.store.waiters import await_rest, wait_for_rest

__all__ = [
    "Change",
    "Due",
    "DueBatch",
    "Entry",
    "Expired",
    "IndexedRun",
    "Keys",
    "Lease",
    "Pulse",
    "Query",
    "Snapshot",
    "Store",
    "StoreStats",
    "SweepMark",
    "UnreadableRun",
    "Waiter",
    "await_rest",
    "load_failure",
    "shard_of",
    "split_member",
    "wait_for_rest",
]
