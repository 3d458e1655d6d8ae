"""Checks of the state Redis: what it keeps, and whether it takes our commands.

Owns: which settings and conditions of a Redis keep the promises.  Refuses to know: how they were
read.  F8, F9 and F10 (docs/celery.md) say why they matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.doctor.findings import ERROR, INFO, WARNING, Remark, Table, Unseen, seen
from celeriac.doctor.formatting import count, size, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.doctor.facts import Facts
    from celeriac.doctor.server import Server

TABLE: Table[Facts] = Table("redis")
check = TABLE.check

_FLOOR = (6, 2)
_BY_WHICH_DEATHS_SHOW = ("CLIENT ID", "CLIENT LIST")
_RECENT = 900  # seconds since a restart in which it is worth telling
_PLENTY = 64 * 1024 * 1024  # bytes; below, no ratio of memory says anything
_FULL, _BRIMMING = 0.8, 0.95  # parts of maxmemory
_SKEW, _BAD_SKEW = 0.5, 1.0  # seconds; a tick that is a second old counts no more
_SLOW, _VERY_SLOW = 5.0, 25.0  # ms of a round trip; a step takes three


@check(
    "redis",
    about="The state Redis answers.",
    severity=ERROR,
    advice="Check that it is up, and that saga_redis_url, its password and the network are right: "
    "without it nothing starts and nothing goes on.",
    by_hand="redis-cli -u URL ping",
)
def redis(facts: Facts) -> Iterator[str | Remark]:
    """It is there."""
    if isinstance(facts.server, Unseen) and facts.server.told_by == "redis":
        yield facts.server.why
    else:
        seen(facts.server)


@check(
    "permissions",
    about="The state Redis allows the commands that sagas need.",
    severity=ERROR,
    advice="Give the user of saga_redis_url what sagas need: celery -A app saga doctor --acl "
    "prints the whole rule.",
    by_hand="ACL GETUSER name",
)
def permissions(facts: Facts) -> Iterator[str | Remark]:
    """Its ACL lets us work."""
    said = seen(facts.server).refuses("NOPERM", "NoPermission")
    refused = [command for command in said if command not in _BY_WHICH_DEATHS_SHOW]
    if refused:
        yield f"its ACL refuses {', '.join(refused)} on our keys"


@check(
    "dead-workers",
    about="The state Redis shows which connections stand, and so which worker has died.",
    severity=WARNING,
    advice="Give the user of saga_redis_url +client|id +client|list +info, and let no proxy hide "
    "connections; until then, what a worker was doing that died waits for its leases to run out.",
    by_hand="CLIENT LIST",
)
def dead_workers(facts: Facts) -> Iterator[str | Remark]:
    """It tells who is connected."""
    server = seen(facts.server)
    refused = [command for command in server.refused if command in _BY_WHICH_DEATHS_SHOW]
    if refused:
        yield f"it refuses {', '.join(refused)}"
    server.says("run_id")


@check(
    "redis-version",
    about="The state Redis has version 6.2 or newer.",
    severity=ERROR,
    advice="Use Redis 6.2 or newer (7.0 lets runs in flight go on when memory is full), or Valkey.",
    by_hand="INFO server: redis_version",
)
def redis_version(facts: Facts) -> Iterator[str | Remark]:
    """It is new enough."""
    text = seen(facts.server).says("redis_version")
    parts = [int(part) for part in text.split(".")[:2] if part.isdecimal()]
    if tuple(parts) < _FLOOR:
        yield f"it is version {text}: scripts and commands of 6.2 are missing"


@check(
    "primary",
    about="The state Redis is a primary, not a replica.",
    severity=ERROR,
    advice="Name the primary in saga_redis_url; where a failover moves it, name what follows it.",
    by_hand="ROLE",
)
def primary(facts: Facts) -> Iterator[str | Remark]:
    """It may be written to."""
    server = seen(facts.server)
    if server.refuses("READONLY", "ReadOnly") or server.says("role") != "master":
        yield "it is a replica: writes are refused, or lost with the next synchronisation"


@check(
    "eviction",
    about="Redis evicts no key when memory is full.",
    severity=ERROR,
    advice="CONFIG SET maxmemory-policy noeviction, and the same in redis.conf; give caches a "
    "server of their own.",
    by_hand="CONFIG GET maxmemory-policy",
)
def eviction(facts: Facts) -> Iterator[str | Remark]:
    """Live state is never thrown away."""
    policy = seen(facts.server).setting("maxmemory-policy", "maxmemory_policy")
    if policy != "noeviction":
        yield f"maxmemory-policy is {policy}: when memory is full, live runs are thrown away"


@check(
    "evicted",
    about="Redis has evicted no key since it was started.",
    severity=WARNING,
    advice="Runs may be missing: look for `is not in the store` in the workers' logs, restore a "
    "backup if there are any, and then CONFIG RESETSTAT.",
    by_hand="INFO stats: evicted_keys",
)
def evicted(facts: Facts) -> Iterator[str | Remark]:
    """It has not happened already."""
    number = int(seen(facts.server).number("evicted_keys"))
    if number:
        yield f"{count(number, 'key')} evicted since it was started; some may have been ours"


@check(
    "aof",
    about="Redis writes an append-only file.",
    severity=ERROR,
    advice="CONFIG SET appendonly yes, and the same in redis.conf.",
    by_hand="CONFIG GET appendonly",
)
def aof(facts: Facts) -> Iterator[str | Remark]:
    """What was accepted outlives the server's process."""
    server = seen(facts.server)
    said = server.setting("appendonly", "aof_enabled")
    if said not in ("1", "yes"):
        yield "appendonly is no: a restart of Redis loses runs that were accepted"


@check(
    "fsync",
    about="Redis syncs its append-only file to disk every second, or at each write.",
    severity=WARNING,
    advice="CONFIG SET appendfsync everysec (or always), and the same in redis.conf.",
    by_hand="CONFIG GET appendfsync",
)
def fsync(facts: Facts) -> Iterator[str | Remark]:
    """A power failure costs a second at most."""
    if seen(facts.server).setting("appendfsync") == "no":
        yield "appendfsync is no: a power failure may lose half a minute of accepted runs"


@check(
    "fsync-on-rewrite",
    about="Redis syncs its append-only file to disk also while it rewrites it.",
    severity=WARNING,
    advice="CONFIG SET no-appendfsync-on-rewrite no, and the same in redis.conf.",
    by_hand="CONFIG GET no-appendfsync-on-rewrite",
)
def fsync_on_rewrite(facts: Facts) -> Iterator[str | Remark]:
    """Rewriting is no exception."""
    if seen(facts.server).setting("no-appendfsync-on-rewrite") == "yes":
        yield "no-appendfsync-on-rewrite is yes: a power failure during a rewrite loses all since"


@check(
    "disk",
    about="The last time Redis wrote to its disk, it could.",
    severity=ERROR,
    advice="Check that the disk is not full and that Redis may write to its folder; its log says "
    "more.",
    by_hand="INFO persistence: aof_last_write_status, rdb_last_bgsave_status",
)
def disk(facts: Facts) -> Iterator[str | Remark]:
    """Its files are whole."""
    server = seen(facts.server)
    stopped = server.refuses("MISCONF")
    if stopped:
        yield f"it refuses to write ({server.refused[stopped[0]]})"
        return
    failed = {
        name: server.says(name)
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
        if name != "aof_last_write_status" or server.setting("", "aof_enabled") == "1"
    }
    for name, status in failed.items():
        if status != "ok":
            severity = ERROR if name == "aof_last_write_status" else WARNING
            yield Remark(severity, f"{name} is {status}")


@check(
    "memory",
    about="maxmemory is set, and there is room below it.",
    severity=WARNING,
    advice="Give Redis more memory and raise maxmemory, or lower saga_retention: when it is full, "
    "no run is accepted.",
    by_hand="INFO memory: used_memory, maxmemory",
)
def memory(facts: Facts) -> Iterator[str | Remark]:
    """It will not be full soon."""
    server = seen(facts.server)
    if server.refuses("OOM", "OutOfMemory"):
        yield Remark(ERROR, "it is full: no run is accepted")
        return
    most = int(server.setting("maxmemory", "maxmemory"))
    if not most:
        yield Remark(
            WARNING,
            "maxmemory is 0: when memory runs out, the system ends Redis instead of Redis "
            "refusing new runs",
            "CONFIG SET maxmemory to about half of the machine's or container's memory: rewriting "
            "the append-only file copies what changes meanwhile.",
        )
        return
    used = int(server.number("used_memory")) - _uncounted(server)
    if used > _FULL * most:
        text = f"{size(used)} of {size(most)} are in use ({used / most:.0%})"
        yield Remark(ERROR if used > _BRIMMING * most else WARNING, text)


def _uncounted(server: Server) -> int:
    """Bytes that do not count towards maxmemory: buffers for replicas and the file."""
    try:
        return int(server.number("mem_not_counted_for_evict"))
    except Unseen:
        return 0


@check(
    "fragmentation",
    about="Redis takes little more memory from the system than it uses.",
    severity=WARNING,
    advice="CONFIG SET activedefrag yes if the server can do it, or restart it in a quiet hour; "
    "check that the machine does not swap.",
    by_hand="INFO memory: used_memory_rss, mem_fragmentation_ratio",
)
def fragmentation(facts: Facts) -> Iterator[str | Remark]:
    """Its memory is what maxmemory thinks it is."""
    server = seen(facts.server)
    used, taken = server.number("used_memory"), server.number("used_memory_rss")
    if used > _PLENTY and taken > 1.5 * used:
        yield f"it takes {size(int(taken))} from the system for {size(int(used))} of data"
    if used > _PLENTY and taken < 0.7 * used:
        yield f"only {size(int(taken))} of its {size(int(used))} are in memory: it is swapped out"


@check(
    "connections",
    about="Redis has room for more clients.",
    severity=WARNING,
    advice="CONFIG SET maxclients higher; each worker process keeps a few connections.",
    by_hand="INFO clients: connected_clients, maxclients",
)
def connections(facts: Facts) -> Iterator[str | Remark]:
    """There is room for more workers."""
    server = seen(facts.server)
    now, most = server.number("connected_clients"), server.number("maxclients")
    if now > _FULL * most:
        yield f"{now:.0f} of {most:.0f} possible clients are connected"


@check(
    "restart",
    about="Redis was not restarted in the last 15 minutes.",
    severity=INFO,
    advice="Its log says why; if it lost anything, it is the last second (appendfsync).",
    by_hand="INFO server: uptime_in_seconds",
)
def restart(facts: Facts) -> Iterator[str | Remark]:
    """Nothing was lost just now."""
    server, contents = seen(facts.server), seen(facts.contents)
    up = server.number("uptime_in_seconds")
    # Only if there was something before: a new server is no restarted one.
    if up < _RECENT and 0 < contents.oldest < server.now - (up + 1) * 1000:
        yield f"it was restarted {span(up)} ago, with runs in it"


@check(
    "latency",
    about="Redis answers within 5 ms.",
    severity=WARNING,
    advice="Move Redis nearer to the workers, and find out what keeps it busy: SLOWLOG GET, "
    "LATENCY DOCTOR, and other programs on its machine.",
    by_hand="redis-cli --latency",
)
def latency(facts: Facts) -> Iterator[str | Remark]:
    """Three round trips a step take no time to speak of."""
    trip = seen(facts.server).round_trip
    if trip > _SLOW:
        text = f"a round trip takes {trip:.1f} ms, and a step takes three of them"
        yield Remark(WARNING if trip > _VERY_SLOW else INFO, text)


NTP = (
    "Let all machines keep their time by NTP: ticks of the sweep count for a second only, and "
    "Celery's delays are told in the sender's time."
)


@check(
    "clock",
    about="This machine's clock agrees with that of Redis within half a second.",
    severity=WARNING,
    advice=NTP,
    by_hand="TIME in redis-cli, and date",
)
def clock(facts: Facts) -> Iterator[str | Remark]:
    """Nothing that is sent from here comes too early or too late."""
    server = seen(facts.server)
    if server.now:  # it says what time it is
        yield from skewed("this machine", -server.ahead / 1000)


def skewed(who: str, ahead: float) -> Iterator[Remark]:
    """What is to be said of a clock that is so many seconds ahead of that of Redis."""
    if abs(ahead) >= _SKEW:
        severity = ERROR if abs(ahead) >= _BAD_SKEW else WARNING
        way = "ahead of" if ahead > 0 else "behind"
        yield Remark(severity, f"the clock of {who} is {span(abs(ahead))} {way} that of Redis")


@check(
    "shards",
    about="Every run is in the shard that saga_shards gives it.",
    severity=ERROR,
    advice="Set saga_shards back, everywhere, to the value that this namespace began with.  To "
    "change it, use a new saga_namespace and let the old one drain.",
    by_hand="the value of saga_shards that was deployed before",
)
def shards(facts: Facts) -> Iterator[str | Remark]:
    """Nobody has changed their number."""
    contents, ours = seen(facts.contents), facts.settings.shards
    if contents.misplaced:
        yield (
            f"with saga_shards = {ours}, {contents.misplaced[0]} and others are not found: they "
            "were started with another number"
        )
    if contents.stranded:
        yield (
            f"{count(contents.stranded, 'live run')} in shards beyond {ours - 1}: with saga_shards "
            f"= {ours} nobody looks at them"
        )
    now = seen(facts.server).now
    fresh = [n for n, last in contents.beyond.items() if now - last < facts.settings.lease_ms]
    if fresh:
        yield f"other workers use {max(fresh) + 1} shards or more in this namespace, and we {ours}"
