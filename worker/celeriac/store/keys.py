"""The one table of keys: what is kept where in Redis, for how long, and what it means.

Owns: the names of all keys, the shard a run belongs to, and the spelling of index members.
Refuses to know: how they are written (`commit`) and what the values hold (`codec`).

All keys of a shard carry the same hash tag, `celeriac:{3}:...`, so a run, its history, its wake
entries and its index entries share a slot, and one script may write them all on Redis Cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from celeriac.store.protocol import Lease

if TYPE_CHECKING:
    from celeriac.machine import Run

CUT = "\x1f"  # between the parts of a lease in the wake index; no id or name may hold it
DIGITS = 13  # of a time in an index member: enough until the year 2286
LATEST = 10**DIGITS - 1


class KeyPattern(NamedTuple):
    """A row of the table."""

    pattern: str  # after `<namespace>:{<shard>}:`
    type: str  # as TYPE answers
    lifetime: str
    meaning: str


TABLE = (
    KeyPattern(
        "run:<id>",
        "hash",
        "until expire_at, once at rest",
        "a run: `h` its head, which begins with the stamp; `f:<name>` its payloads",
    ),
    KeyPattern(
        "log:<id>", "list", "as its run", "the run's events, oldest first, over all its restarts"
    ),
    KeyPattern(
        "plan:<fingerprint>",
        "string",
        "while a run may follow it",
        "a plan, kept once for all runs that follow it",
    ),
    KeyPattern(
        "plans",
        "zset",
        "entries: as their plans",
        "`<fingerprint>:<saga>` by ms: when the newest run started that follows the plan",
    ),
    KeyPattern(
        "wake",
        "zset",
        "entries: while a run is not at rest",
        "by ms: `<id>` when to look at a run; id, step, phase, attempt (epoch): when a lease ends",
    ),
    KeyPattern(
        "runs:<saga>:<status>",
        "zset",
        "entries: as their runs",
        "`<started_at>:<id>` of every run of a saga in a status, all with score 0",
    ),
    KeyPattern("sets", "set", "for ever", "`<saga>:<status>` of every runs:... there ever was"),
    KeyPattern(
        "tag:<name>=<value>", "zset", "entries: as their runs", "as runs:..., of the runs so tagged"
    ),
    KeyPattern(
        "awaiting",
        "zset",
        "entries: while they wait",
        "as runs:..., of the runs that wait for a signal and could take one",
    ),
    KeyPattern(
        "past_deadline",
        "zset",
        "entries: until their runs are at rest",
        "as runs:..., of the runs that go on though their deadline has passed",
    ),
    KeyPattern("expire", "zset", "entries: as their runs", "by ms: when a run may be removed"),
    KeyPattern(
        "seen", "zset", "for ever", "queue by ms: when the newest message was sent that arrived"
    ),
    KeyPattern(
        "pulse", "hash", "for ever", "`last` and `since`: signs of life of the workers, in ms"
    ),
    KeyPattern(
        "outages", "zset", "the newest 100", "`<from>-<to>` by ms: the store was out of reach"
    ),
    KeyPattern(
        "workers",
        "hash",
        "entries: while their workers live, and some minutes",
        "in the first shard: the newest sign of life of each worker, by its id",
    ),
    KeyPattern(
        "sweep",
        "hash",
        "for ever",
        "in the first shard: when the newest sweep ended, and its `lag`",
    ),
    KeyPattern(
        "schedule:<name>",
        "hash",
        "for ever",
        "a schedule: `h` its record, which begins with a number",
    ),
    KeyPattern(
        "ticks:<name>",
        "list",
        "for ever; the newest 200",
        "what happened to a schedule and its ticks, oldest first",
    ),
    KeyPattern("schedules", "set", "for ever", "the names of the schedules there ever were"),
    KeyPattern(
        "gate:<gate>",
        "hash",
        "while anybody is inside or waits; an open breaker's: for ever",
        "a gate: `h` its record, which begins with a number",
    ),
    KeyPattern(
        "places:<gate>",
        "zset",
        "entries: while their attempts are at work",
        "who is inside of a gate, by ms: when that is looked at again, or is over",
    ),
    KeyPattern(
        "line:<gate>",
        "zset",
        "entries: while they wait",
        "who waits before a gate, in the order in which they came",
    ),
    KeyPattern(
        "gates",
        "zset",
        "entries: as their gates",
        "by ms: when somebody has to look at which gate",
    ),
    KeyPattern(
        "salt",
        "string",
        "for ever",
        "in the first shard: makes the digests of values in the names of gates",
    ),
    KeyPattern(
        "definitions",
        "hash",
        "for ever",
        "in the first shard: `<version>:<saga>`, and the file that defines it",
    ),
    KeyPattern(
        "bulk:<id>",
        "hash",
        "a week; removed by a later look",
        "in the first shard: one command for many runs; `h` its record, which begins with a number",
    ),
    KeyPattern(
        "bulk_runs:<id>", "list", "as its bulk", "the runs that it is for, and how they stood"
    ),
    KeyPattern("bulk_turns:<id>", "list", "as its bulk", "what it did to each of them so far"),
    KeyPattern("bulks", "zset", "entries: as their bulk", "`<id>` by ms: when somebody looked"),
    KeyPattern(
        "bulks_going", "zset", "entries: while they go on", "`<id>` by ms: when somebody began it"
    ),
    KeyPattern(
        "turns", "hash", "for ever", "in the first shard: until when somebody is at a housekeeping"
    ),
)


class ShardKeys(NamedTuple):
    """The keys of one shard."""

    prefix: str  # `<namespace>:{<shard>}:`

    def run(self, run_id: str) -> str:
        """The state of a run."""
        return f"{self.prefix}run:{run_id}"

    def log(self, run_id: str) -> str:
        """The history of a run."""
        return f"{self.prefix}log:{run_id}"

    def plan(self, fingerprint: str) -> str:
        """A plan."""
        return f"{self.prefix}plan:{fingerprint}"

    def schedule(self, name: str) -> str:
        """What is known of a schedule."""
        return f"{self.prefix}schedule:{name}"

    def ticks(self, name: str) -> str:
        """What happened to a schedule."""
        return f"{self.prefix}ticks:{name}"

    def gate(self, gate: str) -> str:
        """What is known of a gate."""
        return f"{self.prefix}gate:{gate}"

    def gate_places(self, gate: str) -> str:
        """Who is inside of a gate."""
        return f"{self.prefix}places:{gate}"

    def gate_line(self, gate: str) -> str:
        """Who waits before a gate."""
        return f"{self.prefix}line:{gate}"

    @property
    def gates(self) -> str:
        """When somebody has to look at which gate."""
        return self.prefix + "gates"

    @property
    def salt(self) -> str:
        """What makes digests of values those of this store; only the first shard's is used."""
        return self.prefix + "salt"

    @property
    def schedules(self) -> str:
        """The names of the schedules."""
        return self.prefix + "schedules"

    @property
    def plans(self) -> str:
        """When which plan was last started."""
        return self.prefix + "plans"

    def runs(self, pair: str) -> str:
        """The index of a `<saga>:<status>` pair."""
        return f"{self.prefix}runs:{pair}"

    def tag(self, name: str, value: str) -> str:
        """The index of a tag."""
        name = name.replace("%", "%25").replace("=", "%3D")  # the first `=` ends the name
        return f"{self.prefix}tag:{name}={value}"

    @property
    def awaiting(self) -> str:
        """The index of the runs that wait for a signal."""
        return self.prefix + "awaiting"

    @property
    def past_deadline(self) -> str:
        """The index of the runs that go on though their deadline has passed."""
        return self.prefix + "past_deadline"

    @property
    def wake(self) -> str:
        """When to look at which run."""
        return self.prefix + "wake"

    @property
    def sets(self) -> str:
        """The names of the indexes by saga and status."""
        return self.prefix + "sets"

    @property
    def expire(self) -> str:
        """When which run may be removed."""
        return self.prefix + "expire"

    @property
    def seen(self) -> str:
        """The newest arrival in each queue."""
        return self.prefix + "seen"

    @property
    def pulse(self) -> str:
        """The workers' signs of life."""
        return self.prefix + "pulse"

    @property
    def outages(self) -> str:
        """When workers could not reach the store."""
        return self.prefix + "outages"

    @property
    def workers(self) -> str:
        """The newest sign of life of each worker; only the first shard's is used."""
        return self.prefix + "workers"

    @property
    def sweep(self) -> str:
        """The mark of the newest sweep; only the first shard's is used."""
        return self.prefix + "sweep"

    @property
    def definitions(self) -> str:
        """Definitions in files; only the first shard's is used."""
        return self.prefix + "definitions"

    def bulk(self, bulk_id: str) -> str:
        """What is known of one command for many runs; only the first shard's are used."""
        return f"{self.prefix}bulk:{bulk_id}"

    def bulk_runs(self, bulk_id: str) -> str:
        """The runs that it is for."""
        return f"{self.prefix}bulk_runs:{bulk_id}"

    def bulk_turns(self, bulk_id: str) -> str:
        """What it did to each."""
        return f"{self.prefix}bulk_turns:{bulk_id}"

    @property
    def bulks(self) -> str:
        """When somebody looked at which."""
        return self.prefix + "bulks"

    @property
    def bulks_going(self) -> str:
        """Those that are going on."""
        return self.prefix + "bulks_going"

    @property
    def turns(self) -> str:
        """Who is at which housekeeping; only the first shard's is used."""
        return self.prefix + "turns"

    def rest_channel(self, run_id: str) -> str:
        """Where it is published that a run came to rest; a channel, not a key."""
        return f"{self.prefix}rest:{run_id}"


class Keys:
    """The keys of a namespace."""

    def __init__(self, namespace: str, shards: int) -> None:
        self.shards = tuple(ShardKeys(f"{namespace}:{{{n}}}:") for n in range(shards))

    def of(self, run_id: str) -> ShardKeys:
        """The keys of the shard that *run_id* belongs to."""
        return self.shards[shard_of(run_id, len(self.shards))]


def shard_of(run_id: str, shards: int) -> int:
    """The shard of a run: the same on every machine and in every version."""
    return crc32(run_id.encode("utf-8", "surrogateescape")) % shards


def pair(run: Run) -> str:
    """The `<saga>:<status>` a run is listed under; a status holds no colon."""
    return f"{run.saga}:{run.shown.value}"


def member(started_at: int, run_id: str) -> str:
    """A run in an index, spelled so that the order of the text is the order of the list."""
    return f"{started_at:0{DIGITS}d}:{run_id}"


def bound(time: int) -> str:
    """What comes before every member of a run that started at *time*, and after those before."""
    return f"{min(max(time, 0), LATEST):0{DIGITS}d}"


def plan_member(fingerprint: str, saga: str) -> str:
    """A plan among those that were started; a fingerprint holds no colon."""
    return f"{fingerprint}:{saga}"


def definition_member(saga: str, version: int) -> str:
    """A definition among all of them; a version holds no colon."""
    return f"{version}:{saga}"


def split_definition(text: str) -> tuple[str, int]:
    """Return (saga, version) of a definition's member."""
    version, _, saga = text.partition(":")
    return saga, int(version)


def split_member(text: str) -> tuple[int, str]:
    """Return (started_at, id) of an index member."""
    time, _, run_id = text.partition(":")
    return int(time), run_id


def lease_member(lease: Lease) -> str:
    """A live attempt in the wake index."""
    epoch = (str(lease.epoch),) if lease.epoch > 1 else ()
    return CUT.join((lease.run_id, lease.step, lease.phase, str(lease.attempt), *epoch))


def split_wake(text: str) -> tuple[str, Lease | None] | None:
    """Return (run id, lease or None) of a wake member; None if it is neither."""
    match text.split(CUT):
        case [run_id] if run_id:
            return run_id, None
        case [run_id, step, "do" | "undo" as phase, attempt] if attempt.isdecimal():
            return run_id, Lease(run_id, step, phase, int(attempt))
        case [run_id, step, "do" | "undo" as phase, attempt, epoch] if (
            attempt.isdecimal() and epoch.isdecimal()
        ):
            return run_id, Lease(run_id, step, phase, int(attempt), int(epoch))
    return None
