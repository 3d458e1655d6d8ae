"""Synthetic runs by the million: one is driven by the engine, and the others are copies of it.

Owns: driving a run at any time of one's choice, reading what Redis then holds of it, and writing
the same for other ids, times and tags.  Refuses to know: what is in a run: a test compares some
that were copied with some that were driven, byte by byte.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.engine.attempts import Delivery
from celeriac.engine.engine import Engine
from celeriac.failure import Failure
from celeriac.machine.awaited import Wait
from celeriac.machine.commands import Fail, Start
from celeriac.machine.expressions import FromInput, FromStep
from celeriac.machine.plans import Node, Plan, Undo
from celeriac.settings import Terms
from celeriac.store.keys import shard_of
from celeriac.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.engine.attempts import Attempt
    from celeriac.machine import Phase
    from celeriac.machine.runs import Run
    from celeriac.store import Snapshot

DAY = 86_400_000  # ms
TERMS = Terms(lease=15_000, grace=DAY, retention=7 * DAY, max_payload=10_000, batch=100)
SHARDS = 8
ENDED = ("completed", "compensated", "failed")
NAP = 10 * DAY  # longer ago than any run was started

# As long as what is put in their place, and in no run by chance.
_ID, _TENANT, _SHARD = "order-@@@@@@@@", "tenant-####", "{?}"
_TIME = 1_000_000_000_000  # ms
_SLOTS = re.compile(r"(order-@{8}|tenant-#{4}|\{\?\}|1000\d{9})")
_STEP = 125  # ms that a claim takes, and a body: an eighth of a second, exact as a float


class SyntheticRun(NamedTuple):
    """What tells a synthetic run from the others of its template."""

    number: int
    started_at: int  # ms
    tenant: int

    @property
    def run_id(self) -> str:
        """Its id."""
        return f"order-{self.number:08d}"

    @property
    def tags(self) -> tuple[tuple[str, str], ...]:
        """Its tags: many runs share a region, few a tenant."""
        return (("region", "europe"), ("tenant", f"tenant-{self.tenant:04d}"))


def plan_of(saga: str, outcome: str = "completed") -> Plan:
    """A saga of three steps, each with its undo; of runs that are `sleeping`, behind a sleep."""
    names = ("reserve", "charge", "ship")
    nodes = [
        Node(
            name=name,
            task=f"shop.{name}",
            after=names[n - 1 : n] if n else (),
            args={"order": FromInput(input="order")},
            undo=Undo(task=f"shop.undo_{name}", wants=("order", "result")),
        )
        for n, name in enumerate(names)
    ]
    if outcome == "sleeping":
        nap = Node(name="nap", task="", wait=Wait(timeout=NAP, on_timeout="continue"))
        nodes = [nap, nodes[0].model_copy(update={"after": ("nap",)}), *nodes[1:]]
    return Plan(saga=saga, params=("order",), nodes=tuple(nodes), result=FromStep(step="ship"))


class Dated(RedisStore):
    """The store, in a time of one's choice."""

    now = began = _TIME

    def seconds(self) -> float:
        """How long ago the run began."""
        return (self.now - self.began) / 1000

    def read(self, run_id: str, fields: Sequence[str] = ()) -> Snapshot:
        """Read a run, now."""
        return super().read(run_id, fields)._replace(now=self.now)


class RunFactory:
    """Drives runs with the real engine, at any time."""

    def __init__(self, url: str) -> None:
        self.store = Dated(url, shards=SHARDS)
        self.engine = self._fresh_engine()

    def drive(self, plan: Plan, of_run: SyntheticRun | None, outcome: str) -> Run:
        """Bring a run to *outcome*: `completed`, `compensated`, `failed`, `running`, `sleeping`."""
        run_id = of_run.run_id if of_run else _ID
        tags = of_run.tags if of_run else (("region", "europe"), ("tenant", _TENANT))
        self.store.now = self.store.began = of_run.started_at if of_run else _TIME
        # Each run has a time of its own, and an engine counts on from the last that it was told.
        self.engine = self._fresh_engine()
        start = Start(run_id, "0123456789abcdef", "beefcafe", TERMS.grace, tags=tags)
        self.engine.start(plan, start, {"in:order": '{"sku":"tea","quantity":2,"amount":1999}'})
        for name in ("reserve", "charge") if outcome in ENDED else ():
            self._do(plan, run_id, name)
        if outcome == "completed":
            self._do(plan, run_id, "ship")
        elif outcome in ("compensated", "failed"):
            self._fail(plan, run_id, "ship", "do")
            self._undo(plan, run_id, outcome)
        found = self.store.read(run_id).run
        assert found is not None
        assert found.shown == ("waiting" if outcome == "sleeping" else outcome), found
        return found

    def close(self) -> None:
        """Give back connections."""
        self.store.close()

    def _fresh_engine(self) -> Engine:
        return Engine(self.store, TERMS, clock=self.store.seconds)

    def _undo(self, plan: Plan, run_id: str, outcome: str) -> None:
        if outcome == "failed":
            self._fail(plan, run_id, "charge", "undo")
        else:
            self._do(plan, run_id, "charge", "undo")
        self._do(plan, run_id, "reserve", "undo")

    def _do(self, plan: Plan, run_id: str, step: str, phase: Phase = "do") -> None:
        attempt = self._claim(plan, run_id, step, phase)
        self.engine.complete(attempt, f'{{"{step}_id":"{step}-4711"}}')

    def _fail(self, plan: Plan, run_id: str, step: str, phase: Phase) -> None:
        attempt = self._claim(plan, run_id, step, phase)
        failure = Failure(type="BankDown", message="no answer", code="bank_down")
        command = Fail(step, phase, 1, "holder01", 1, kind="abort", error="BankDown", effect=False)
        self.engine.fail(attempt, command, failure)

    def _claim(self, plan: Plan, run_id: str, step: str, phase: Phase) -> Attempt:
        self.store.now += _STEP
        hint = Delivery(run_id, 1, step, phase, 1, plan.fingerprint)
        attempt = self.engine.claim(hint, "holder01")
        self.store.now += _STEP
        return attempt


class RunTemplate:
    """What Redis holds of one run, with slots for all that differs between runs."""

    def __init__(self, url: str, client: Any, plan: Plan, outcome: str) -> None:
        """Drive a run to *outcome* on an empty Redis, and take its form."""
        client.flushall()
        with closing(RunFactory(url)) as factory:
            factory.drive(plan, None, outcome)
        shard = f"{{{shard_of(_ID, SHARDS)}}}"
        text = "".join(
            _spelled([part.replace(shard, _SHARD) for part in command])
            for command in _writes(client)
        )
        self._common = list(_common(client))
        self._parts = _SLOTS.split(text)
        self._times = [
            (n, int(part) - _TIME)
            for n, part in enumerate(self._parts)
            if part[:4] == "1000" and n % 2
        ]
        self._places = {
            slot: [n for n, part in enumerate(self._parts) if part == slot]
            for slot in (_ID, _TENANT, _SHARD)
        }

    def shared(self, newest: int) -> str:
        """The commands that write, in every shard, what all runs of the template share."""
        return "".join(
            _spelled([part.format(shard=f"{{{shard}}}", newest=newest) for part in command])
            for shard in range(SHARDS)
            for command in self._common
        )

    def filled(self, run: SyntheticRun) -> str:
        """The commands that write *run*, as Redis reads them."""
        parts = self._parts
        values = {
            _ID: run.run_id,
            _TENANT: run.tags[1][1],
            _SHARD: f"{{{shard_of(run.run_id, SHARDS)}}}",
        }
        for slot, places in self._places.items():
            for n in places:
                parts[n] = values[slot]
        for n, after in self._times:
            parts[n] = str(run.started_at + after)
        return "".join(parts)


def _writes(client: Any) -> Iterator[list[str]]:
    """The commands that would write everything in this Redis that is of the one run in it."""
    for key in sorted(client.scan_iter()):
        kind = client.type(key)
        if kind == "hash" and _ID in key:
            yield ["HSET", key, *(part for pair in client.hgetall(key).items() for part in pair)]
        elif kind == "list":
            yield ["RPUSH", key, *client.lrange(key, 0, -1)]
        elif kind == "zset":
            for entry, score in client.zrange(key, 0, -1, withscores=True):
                if _ID in entry:
                    yield ["ZADD", key, str(int(score)), entry]


def _common(client: Any) -> Iterator[list[str]]:
    """The commands that would write what a run shares with others: its plan, and its pair."""
    for key in sorted(client.scan_iter()):
        prefix, _, rest = key.partition("}:")
        here = f"{prefix.partition('{')[0]}{{shard}}:{rest}"
        if rest.startswith("plan:"):
            yield ["SET", here, _quoted(client.get(key))]
        elif rest == "sets":
            yield ["SADD", here, *client.smembers(key)]
        elif rest == "plans":
            yield ["ZADD", here, "GT", "{newest}", *client.zrange(key, 0, -1)]


def _quoted(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _spelled(command: list[str]) -> str:
    parts = "".join(f"${len(part.encode())}\r\n{part}\r\n" for part in command)
    return f"*{len(command)}\r\n{parts}"
