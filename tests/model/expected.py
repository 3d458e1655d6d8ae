"""What Redis must hold, said by the pure side alone: every key, to the byte.

Owns: a run as the state machine made it, the payloads and the times that came with it, and the
keys that follow from these (I13, I15); and what Redis really holds.  Refuses to know: how a commit
is spelled, and how it got there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.engine.changes import came_before, with_failures
from celeriac.machine import Plan
from celeriac.machine.events import EventKind
from celeriac.machine.moves import fold
from celeriac.machine.plans import PHASES
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from celeriac.machine.timing import wake_at
from celeriac.machine.tries import epoch_of, first_epoch
from celeriac.machine.visits import as_visited
from celeriac.store import Lease
from celeriac.store.codec import load_run
from celeriac.store.history import load_events
from celeriac.store.keys import Keys, ShardKeys, lease_member, member, pair
from celeriac.store.payloads import field_of, kept_as, worth_keeping
from tests.engine.driver import TERMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import redis

    from celeriac.machine.events import Event
    from celeriac.machine.runs import Run
    from celeriac.machine.transitions import Transition

Held = dict[str, Any]
#: Keys of a shard that are about the workers and the sweep, not about runs.
_OF_WORKERS = ("pulse", "outages", "sweep", "turns")
_OF_GATES = ("gate:", "places:", "line:", "gates", "salt")


class Expected:
    """One run as it must be stored."""

    def __init__(self, plan: Plan, run_id: str, shard: ShardKeys) -> None:
        self.plan, self.run_id, self.shard = plan, run_id, shard
        self.run: Run | None = None
        self.history: list[Event] = []
        self.fields: dict[str, str] = {}
        self.wake: dict[str, int] = {}  # of this run: its timer, and the leases of its attempts
        self.pairs: set[str] = set()
        self.newest_start = 0  # also of those that were removed
        self.epoch_outputs: dict[tuple[int, str], str] = {}

    def record(self, done: Transition, now: int, fields: Mapping[str, str]) -> None:
        """Take note of a transition that was committed at *now*, with these payloads."""
        before, self.run = self.run, done.run
        if any(event.kind is EventKind.STARTED for event in done.events):
            self.fields.clear()
            before = None
        epoch = done.events[0].data.get("try") if done.events else None
        if epoch:
            about = (before and before.of_epoch(epoch)) or done.run
            fields = {field_of(about, name): text for name, text in fields.items()}
        for place in done.events[0].replaces if done.events else ():
            del self.history[-place - 1]
        self.history += done.events
        taken = came_before(done.events, before or done.run)
        known = {**{name: self.fields.get(kept_as(name, before)) for name in taken}, **fields}
        results = {to: text for name, to in taken.items() if (text := known[name]) is not None}
        brought = {name: text for name, text in fields.items() if name not in taken}
        left = with_failures(self.plan, done.events, {**brought, **results}, before)
        kept = worth_keeping(left)
        self.fields.update({kept_as(name, before): text for name, text in kept.items()})
        self.pairs.add(pair(done.run))
        self.newest_start = max(self.newest_start, done.run.started_at)
        self._record_outputs(first_epoch(done.run))
        self.wake.pop(self.run_id, None)
        if done.wake_at is not None:
            self.wake[self.run_id] = done.wake_at
        self._record_leases(now)

    def _record_outputs(self, epoch: int) -> None:
        for name, text in self.fields.items():
            if "out:" in name:
                kept = self.epoch_outputs.setdefault((epoch, name), text)
                assert kept == text, f"{name} was recorded, and changes (I15)"

    def _record_leases(self, now: int) -> None:
        held = {lease_member(lease) for lease in leases(self.run)}
        for entry in list(self.wake):
            if entry != self.run_id and entry not in held:
                del self.wake[entry]
        for entry in held:
            self.wake.setdefault(entry, now + TERMS.lease)

    def check(self) -> None:
        """Folding the history gives the run (I9), which is awake unless at rest (I13)."""
        if self.run is None:
            return
        assert fold(self.plan, self.run_id, self.history) == self.run
        assert (self.run_id in self.wake) == (wake_at(self.run) is not None)

    def forget(self) -> None:
        """The run is removed."""
        self.run = None
        self.history, self.fields, self.wake = [], {}, {}
        self.epoch_outputs.clear()  # the next life under this id is its first again

    def holds(self) -> Held:
        """Every key that holds something of this run."""
        run, shard = self.run, self.shard
        held: Held = {shard.sets: set(self.pairs)} if self.pairs else {}
        if self.pairs:
            held[shard.plan(self.plan.fingerprint)] = self.plan
            held[shard.plans] = {f"{self.plan.fingerprint}:{self.plan.saga}": self.newest_start}
        if run is None:
            return held
        entry = {member(run.started_at, run.id): 0}
        held[shard.run(run.id)] = {"h": run} | {
            f"f:{name}": text for name, text in self.fields.items()
        }
        held[shard.log(run.id)] = [event.dump() for event in self.history]
        held[shard.wake] = dict(self.wake)
        held[shard.runs(pair(run))] = entry
        held |= {shard.tag(name, value): entry for name, value in run.tags}
        if run.status is RunStatus.RUNNING and any(map(self._awaits, run.steps)):
            held[shard.awaiting] = entry
        if run.overdue and not run.status.at_rest:
            held[shard.past_deadline] = entry
        if run.status.at_rest and run.status is not RunStatus.FAILED:
            retention = TERMS.retention if self.plan.retention is None else self.plan.retention
            held[shard.expire] = {run.id: run.ended_at + retention}
        return {key: value for key, value in held.items() if value}

    def _awaits(self, name: str) -> bool:
        """True if a step stands open until its signal comes."""
        assert self.run is not None
        wait = as_visited(self.plan, self.run).node(name).wait
        is_open = self.run.step(name).do.state is PhaseStatus.OPEN
        return is_open and wait is not None and wait.signal is not None


def leases(run: Run | None) -> set[Lease]:
    """The attempts at work, each of which must have its lease in the wake index."""
    if run is None or run.status.at_rest:
        return set()
    return {
        Lease(run.id, name, phase, step.direction(phase).attempt, epoch_of(each, name))
        for each in (run, *run.still_undone)
        for name, step in each.steps.items()
        for phase in PHASES
        if step.direction(phase).state is PhaseStatus.RUNNING
        if not step.direction(phase).child  # a run that is at work has leases of its own
    }


def united(parts: list[Held]) -> Held:
    """What several runs need together: indexes are shared."""
    held: Held = {}
    for part in parts:
        for key, value in part.items():
            old = held.get(key)
            if isinstance(old, set):
                held[key] = old | value
            elif isinstance(old, dict):
                held[key] = {e: max(value.get(e, 0), old.get(e, 0)) for e in old.keys() | value}
            else:
                held[key] = value
    return held


def stored(client: redis.Redis, keys: Keys) -> Held:
    """Every key that Redis holds, but those of the workers and of gates."""
    aside = {shard.prefix + name for shard in keys.shards for name in _OF_WORKERS}
    # Any: what redis-py says of its answers depends on how it is asked.
    found: list[Any] = sorted(key for key in client.scan_iter(count=1000) if key not in aside)
    of_gates = tuple(shard.prefix + kind for shard in keys.shards for kind in _OF_GATES)
    names = [key for key in found if not key.startswith(of_gates)]
    kinds = _pipelined(client, [("TYPE", name) for name in names])
    reads = [_READ[kind] for kind in kinds]
    asked = zip(reads, names, strict=True)
    values = _pipelined(client, [(verb, name, *args) for (verb, *args), name in asked])
    return {
        name: _shaped(name, kind, value)
        for name, kind, value in zip(names, kinds, values, strict=True)
    }


_READ: dict[str, tuple[Any, ...]] = {
    "hash": ("HGETALL",),
    "list": ("LRANGE", 0, -1),
    "string": ("GET",),
    "set": ("SMEMBERS",),
    "zset": ("ZRANGE", 0, -1, "WITHSCORES"),
}


def _pipelined(client: redis.Redis, commands: list[tuple[Any, ...]]) -> list[Any]:
    pipeline: Any = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    found: list[Any] = pipeline.execute() if commands else []
    return found


def _shaped(name: str, kind: str, value: Any) -> Any:
    if kind == "hash" and "h" in value:
        return {**value, "h": load_run(name.partition(":run:")[2], value["h"])}
    if kind == "list":
        return [event.dump() for event in load_events(value)]
    if kind == "string":
        return Plan.model_validate_json(value)  # defaults may be left out
    if kind == "zset":
        return {entry: int(score) for entry, score in _pairs(value)}
    return set(value) if kind == "set" else value


def _pairs(value: Any) -> Any:
    return (
        value
        if value and isinstance(value[0], tuple)
        else zip(value[::2], value[1::2], strict=True)
    )
