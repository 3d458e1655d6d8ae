"""What the Redis that holds the runs says of itself: one round trip when somebody looks.

Owns: which of its words is which gauge.  Refuses to know: what is in it, and what of it is good:
the alerts say that, and the doctor.

A server may say nothing (an ACL without INFO or SLOWLOG) or leave words out: a gauge that it does
not speak of is not there, and the others are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.observing.metrics.gauges import Sample
from celeriac.observing.observers import log
from celeriac.store.answers import said_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from celeriac.store.connection import Command, Connection

_OF_THE_FULLEST = ("celeriac_redis_memory_bytes", "celeriac_redis_memory_limit_bytes")
_LEAST = ("celeriac_redis_aof_ok", "celeriac_redis_uptime_seconds")
_INFO: Command = ("INFO",)
_SLOW: Command = ("SLOWLOG", "GET", 1)
_FORBIDDEN = "NoPermissionError"
_NUMBERS = {
    "celeriac_redis_memory_bytes": "used_memory",
    "celeriac_redis_memory_limit_bytes": "maxmemory",
    "celeriac_redis_evicted_keys": "evicted_keys",
    "celeriac_redis_uptime_seconds": "uptime_in_seconds",
    "celeriac_redis_clients": "connected_clients",
    "celeriac_redis_aof_delayed_fsyncs": "aof_delayed_fsync",
}


class Condition:
    """Tells all gauges of the servers at *connection*; asked again and again, for months.

    Of the nodes of a cluster, numbers are added up; of what is good or bad it tells the worst.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # What an ACL forbids is asked once: each refusal is a line in the server's ACL LOG.
        self._asked = {_INFO: _told, _SLOW: _slow}

    def samples(self) -> Iterator[Sample]:
        """All gauges, in one round trip; raises StoreUnavailable if a server is away."""
        told = [{each.name: each for each in self._of(at)} for at in self._members()]
        fullest = max(told, key=_fullness, default={})
        for name in dict.fromkeys(name for each in told for name in each):
            found = [each[name] for each in told if name in each]
            if name in _OF_THE_FULLEST:
                yield fullest.get(name, found[0])
            else:
                values = [each.value for each in found]
                yield found[0]._replace(value=min(values) if name in _LEAST else sum(values))

    def _members(self) -> Iterable[Connection]:
        return self._connection.members().values()

    def _of(self, server: Connection) -> Iterator[Sample]:
        answers = server.try_all(tuple(self._asked))
        for (command, read), answer in zip(list(self._asked.items()), answers, strict=True):
            if isinstance(answer, Exception):
                log.debug("%s tells no gauges: %s", command[0], answer)
                if type(answer).__name__ == _FORBIDDEN:
                    del self._asked[command]
            else:
                yield from read(answer)


def _fullness(told: Mapping[str, Sample]) -> float:
    """How full the memory of a server is; one without a limit counts by what it uses."""
    used, most = (told[name].value if name in told else 0.0 for name in _OF_THE_FULLEST)
    return used / (most or 2**60)


def _slow(entries: Any) -> Iterator[Sample]:
    # They are numbered from 0 since the start, however many of them are kept.
    yield Sample("celeriac_redis_slow_commands", (), float(entries[0][0] + 1 if entries else 0))


def _told(said: Any) -> Iterator[Sample]:
    words = said_by(said)
    for name, word in _NUMBERS.items():
        if words.get(word, "").isdecimal():
            yield Sample(name, (), float(words[word]))
    if "aof_enabled" in words:
        yield Sample("celeriac_redis_aof_ok", (), float(_aof_is_well(words)))


def _aof_is_well(words: Mapping[str, str]) -> bool:
    """True if there is an append-only file, and all that was last written to it got there."""
    told = ("aof_last_write_status", "aof_last_bgrewrite_status")
    return words["aof_enabled"] == "1" and all(words.get(word, "ok") == "ok" for word in told)
