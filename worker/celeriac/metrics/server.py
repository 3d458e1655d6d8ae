"""What the Redis that holds the runs says of itself: one INFO when somebody looks.

Owns: which of its words is which gauge.  Refuses to know: what is in it, and what of it is good:
the alerts say that, and the doctor.

A server may say nothing (an ACL without INFO) or leave words out: a gauge that it does not speak
of is not there, and the others are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.metrics.gauges import Sample
from celeriac.observe import log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.store.connection import Connection

_NUMBERS = {
    "celeriac_redis_memory_bytes": "used_memory",
    "celeriac_redis_memory_limit_bytes": "maxmemory",
    "celeriac_redis_evicted_keys": "evicted_keys",
    "celeriac_redis_uptime_seconds": "uptime_in_seconds",
    "celeriac_redis_clients": "connected_clients",
}


def condition(connection: Connection) -> Iterator[Sample]:
    """All gauges of the server, in one round trip; raises StoreUnavailable if it is away."""
    [said] = connection.try_all((("INFO",),))
    if isinstance(said, Exception):
        log.debug("the gauges of Redis are left out: %s", said)
        return
    words = _words(said)
    for name, word in _NUMBERS.items():
        if words.get(word, "").isdecimal():
            yield Sample(name, (), float(words[word]))
    if "aof_enabled" in words:
        yield Sample("celeriac_redis_aof_ok", (), float(_aof_is_well(words)))


def _words(said: Any) -> dict[str, str]:
    lines = (line.partition(":") for line in str(said).splitlines() if not line.startswith("#"))
    return {word: value for word, colon, value in lines if colon}


def _aof_is_well(words: Mapping[str, str]) -> bool:
    """True if there is an append-only file, and all that was last written to it got there."""
    told = ("aof_last_write_status", "aof_last_bgrewrite_status")
    return words["aof_enabled"] == "1" and all(words.get(word, "ok") == "ok" for word in told)
