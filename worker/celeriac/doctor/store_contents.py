"""What is in the store, seen from its indexes: live plans, shards that differ, gates, what is late.

Owns: reading samples of the indexes, a bounded number of entries from each end.  Refuses to know:
what follows from them.  Nothing is scanned, so a million runs cost no more than a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.errors import StoreError
from celeriac.gating import Record, call_order, load
from celeriac.machine import AT_REST, Plan
from celeriac.store import Keys, shard_of, split_member
from celeriac.store.answers import scored
from celeriac.store.codec import load_run
from celeriac.store.commit import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from celeriac.machine import Run
    from celeriac.settings import Settings
    from celeriac.store.connection import Connection

MOST_SHARDS = 1024  # as the setting allows
_SAMPLE = 400  # runs looked at, from both ends of the indexes
_GATES = 100


class _Index(NamedTuple):
    """The runs of one saga in one status, in one shard."""

    shard: int
    pair: str

    @property
    def live(self) -> bool:
        return self.pair.rpartition(":")[2] not in AT_REST


class GateSeen(NamedTuple):
    """A gate, for one value if it counts them apart."""

    gate: str
    record: Record | None  # None: it cannot be read here
    inside: int  # places that are not over
    waiting: int
    first: int  # ms; since when the first in line has waited, 0: nobody does
    look_at: int  # ms; when somebody has to look at it


@dataclass(frozen=True, slots=True)
class StoreContents:
    """What the indexes hold."""

    live: int = 0  # runs that are not at rest
    looked_at: int = 0  # how many of them were looked at
    plans: Mapping[str, Plan] = field(default_factory=dict)  # of these, by fingerprint
    oldest: int = 0  # ms; when the oldest run there is was started, 0: there is none
    due: int = 0  # ms; since when something has been due, 0: nothing is
    pulse: int = 0  # ms; the newest sign of life of any worker, 0: never
    blocked: Mapping[str, str] = field(default_factory=dict)  # of these: id -> step and reason
    misplaced: Sequence[str] = ()  # runs in a shard that is not theirs
    beyond: Mapping[int, int] = field(default_factory=dict)  # shards beyond ours: last pulse, in ms
    stranded: int = 0  # live runs in these
    gates: Sequence[GateSeen] = ()  # those that have to be looked at first


def read_contents(connection: Connection, settings: Settings, now: int) -> StoreContents:
    """Read what the indexes say at *now*; raises StoreError where that is forbidden."""
    keys = Keys(settings.namespace, settings.shards)
    wake = _first_scores(connection, (shard.wake for shard in keys.shards))
    pulses = connection.ask_all(("HGET", shard.pulse, "last") for shard in keys.shards)
    indexes = _indexes(connection, keys)
    members = _members(connection, keys, indexes)
    live = [index for index in indexes if index.live]
    runs = _live_runs(connection, keys, members)
    fingerprints = {run.plan: shard for shard, run in reversed(runs)}
    beyond = _beyond(connection, settings)
    return StoreContents(
        live=_size(connection, keys, live),
        looked_at=len(runs),
        plans=_plans(connection, keys, fingerprints),
        oldest=min((at for found in members.values() for at, _ in found), default=0),
        due=min((at for at in wake if 0 < at <= now), default=0),
        pulse=max((int(last) for last in pulses if last), default=0),
        blocked={
            run.id: f"{name}: {step.blocked}"
            for _, run in runs
            for name, step in run.steps.items()
            if step.blocked and not step.line
        },
        misplaced=[
            run_id
            for index, found in members.items()
            for _, run_id in found
            if shard_of(run_id, settings.shards) != index.shard
        ],
        beyond=beyond,
        stranded=_stranded(connection, settings, beyond),
        gates=list(_gates(connection, keys, now)),
    )


def _gates(connection: Connection, keys: Keys, now: int) -> Iterator[GateSeen]:
    """Those that have to be looked at first, and so those that nobody has looked at."""
    asked = (("ZRANGE", shard.gates, 0, _GATES - 1, "WITHSCORES") for shard in keys.shards)
    due = [pair for answer in connection.ask_all(asked) for pair in scored(answer)]
    for gate, look_at in sorted(due, key=lambda pair: float(pair[1]))[:_GATES]:
        own = keys.of(gate)
        text, inside, waiting, line = connection.ask_all(
            (
                ("HGET", own.gate(gate), HEAD),
                ("ZCOUNT", own.gate_places(gate), f"({now}", "+inf"),
                ("ZCARD", own.gate_line(gate)),
                ("ZRANGE", own.gate_line(gate), 0, 0, "WITHSCORES"),
            )
        )
        try:
            record = load(gate, text or "")
        except StoreError:
            record = None
        since = [call_order(int(float(order)))[1] for _, order in scored(line)]
        yield GateSeen(
            gate, record, int(inside), int(waiting), since[0] if since else 0, int(float(look_at))
        )


def _first_scores(connection: Connection, names: Iterable[str]) -> Iterator[int]:
    for answer in connection.ask_all(("ZRANGE", name, 0, 0, "WITHSCORES") for name in names):
        if answer:
            yield int(float(answer[1]))


def _indexes(connection: Connection, keys: Keys) -> list[_Index]:
    answers = connection.ask_all(("SMEMBERS", shard.sets) for shard in keys.shards)
    return [_Index(shard, pair) for shard, pairs in enumerate(answers) for pair in sorted(pairs)]


def _size(connection: Connection, keys: Keys, indexes: Sequence[_Index]) -> int:
    commands = (("ZCARD", keys.shards[each.shard].runs(each.pair)) for each in indexes)
    return sum(connection.ask_all(commands)) if indexes else 0


def _members(
    connection: Connection, keys: Keys, indexes: Sequence[_Index]
) -> dict[_Index, set[tuple[int, str]]]:
    """The oldest and the newest runs of each index, as (started_at, id)."""
    if not indexes:
        return {}
    live = sum(index.live for index in indexes)
    names = [keys.shards[index.shard].runs(index.pair) for index in indexes]
    # Of runs at rest, one of each end tells enough.
    depths = [max(1, _SAMPLE // (2 * live)) if index.live else 1 for index in indexes]
    oldest = connection.ask_all(
        ("ZRANGE", name, 0, depth - 1) for name, depth in zip(names, depths, strict=True)
    )
    newest = connection.ask_all(
        ("ZRANGE", name, -depth, -1) for name, depth in zip(names, depths, strict=True)
    )
    ends = zip(indexes, oldest, newest, strict=True)
    return {index: {split_member(each) for each in (*old, *new)} for index, old, new in ends}


def _live_runs(
    connection: Connection, keys: Keys, members: Mapping[_Index, set[tuple[int, str]]]
) -> list[tuple[int, Run]]:
    """The live runs among *members*, as far as they can be read, each with its shard."""
    named = [
        (index.shard, run_id)
        for index, found in members.items()
        if index.live
        for _, run_id in found
    ]
    heads = connection.try_all(
        ("HGET", keys.shards[shard].run(run_id), HEAD) for shard, run_id in named
    )
    pairs = zip(named, heads, strict=True)
    runs = [(shard, _run_of(run_id, head)) for (shard, run_id), head in pairs]
    return [(shard, run) for shard, run in runs if run is not None]


def _run_of(run_id: str, head: Any) -> Run | None:
    if not isinstance(head, str):
        return None  # removed meanwhile, or something else is under its key
    try:
        return load_run(run_id, head)
    except StoreError:
        return None  # spoilt: the sweep tells of it


def _plans(connection: Connection, keys: Keys, found: Mapping[str, int]) -> dict[str, Plan]:
    texts = connection.ask_all(
        ("GET", keys.shards[shard].plan(fingerprint)) for fingerprint, shard in found.items()
    )
    plans: dict[str, Plan] = {}
    for fingerprint, text in zip(found, texts, strict=True):
        try:
            plans[fingerprint] = Plan.model_validate_json(text)
        except ValueError:
            continue  # of a version that this one cannot read
    return plans


def _beyond(connection: Connection, settings: Settings) -> dict[int, int]:
    """The shards beyond ours that somebody has worked on, with their newest pulse."""
    keys = Keys(settings.namespace, MOST_SHARDS).shards[settings.shards :]
    answers = connection.try_all(("HGET", shard.pulse, "last") for shard in keys)
    return {
        number: int(last)
        for number, last in enumerate(answers, start=settings.shards)
        if isinstance(last, str) and last.isdecimal()
    }


def _stranded(connection: Connection, settings: Settings, beyond: Mapping[int, int]) -> int:
    """How many live runs are in shards that nobody looks at who has our settings."""
    keys = Keys(settings.namespace, MOST_SHARDS)
    shards = list(beyond)
    answers = connection.ask_all(("SMEMBERS", keys.shards[shard].sets) for shard in shards)
    found = [
        _Index(shard, pair) for shard, pairs in zip(shards, answers, strict=True) for pair in pairs
    ]
    return _size(connection, keys, [index for index in found if index.live])
