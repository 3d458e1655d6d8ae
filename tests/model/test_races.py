"""Many processes' worth of engines on the same few runs at once, on a real Redis, in real time.

Owns: threads that read, decide and commit as fast as they can.  Refuses to know: in which order;
what must hold is what holds in any.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from celeriac.engine.engine import Engine
from celeriac.engine.repair import Repair
from celeriac.machine.commands import (
    Cancel,
    CheckAttempt,
    Claim,
    Command,
    Complete,
    Expire,
    Fail,
    Pause,
    Redispatch,
    Resume,
    RetryOwed,
    Start,
    Terminate,
    Wake,
)
from celeriac.machine.events import EventKind
from celeriac.machine.moves import fold
from celeriac.machine.timing import due
from celeriac.store.redis import RedisStore
from tests.engine.driver import GRACE, TERMS
from tests.machine.story import saga
from tests.machine.walk import REFUSALS
from tests.machine.world import running
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    from celeriac.machine.events import Event
    from celeriac.machine.runs import Run

THREADS = 4
SECONDS = 30.0 if os.environ.get("PROVE") == "1" else 2.0
RUNS = ("order-1", "order-2")
PLAN = saga("reserve", "charge", "ship")


def wishes(run: Run, choose: random.Random, name: str) -> list[Command]:
    """What somebody might ask of a run as it was a moment ago."""
    found: list[Command] = [
        Wake(),
        Wake(None),
        RetryOwed(),
        Pause(name),
        Resume(name),
        Resume(name),
    ]
    for d in due(run):
        holder = f"{name}-{choose.random()}"
        found += [Claim(d.step, d.phase, d.attempt, holder, run.epoch)] * 6 + [Redispatch(d)]
    for step, phase, direction in running(run):
        token = (step, phase, direction.attempt, direction.holder, run.epoch)
        found += [Complete(*token)] * 4 + [Fail(*token), CheckAttempt(*token)]
        found += [Expire(step, phase, direction.attempt)]
    if choose.random() < 0.05:
        found += [Cancel(name), Terminate(name)]
    if run.status.at_rest:
        found += [
            Start(run.id, "input", f"{name}-{choose.random()}", GRACE, if_exists="restart")
        ] * 9
    return found


def race(url: str, name: str, until: float, tally: Counter[str]) -> None:
    """Ask for one thing after the other."""
    choose = random.Random(name)  # noqa: S311 -- no secret
    store = RedisStore(url, shards=2)
    engine = Engine(store, TERMS)
    while time.monotonic() < until:
        run = store.read(choose.choice(RUNS)).run
        assert run is not None
        command = choose.choice(wishes(run, choose, name))
        try:
            if isinstance(command, Start):
                engine.start(PLAN, command, {"order": '"tea"'})
            else:
                engine.command(run.id, command)
            tally["done"] += 1
        except REFUSALS:
            tally["refused"] += 1
    store.close()


@pytest.mark.timeout(180)
def test_nothing_is_torn_by_a_race(tmp_path: Path) -> None:
    """Whoever comes first: histories fold, no attempt has two holders, and all fits together."""
    with RedisServer(tmp_path / "redis") as server:
        store = RedisStore(server.url, shards=2)
        engine = Engine(store, TERMS)
        for run_id in RUNS:
            engine.start(PLAN, Start(run_id, "input", "call-1", GRACE), {"order": '"tea"'})
        tally: Counter[str] = Counter()
        until = time.monotonic() + SECONDS
        threads = [
            threading.Thread(target=race, args=(server.url, f"t{n}", until, tally))
            for n in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert tally["done"] > 100
        assert tally["refused"] > 10, "they have never been in each other's way"
        assert Repair(engine).run(dry_run=True).faults == ()
        for run_id in RUNS:
            run, history = store.read(run_id).run, store.history(run_id)
            assert fold(PLAN, run_id, history) == run
            assert max(claims(history).values(), default=0) <= 1, "an attempt has two holders (I3)"
        store.close()


def claims(history: list[Event]) -> Counter[tuple[int, str, str, int]]:
    """How often each attempt was granted, in each life of the id."""
    epoch, found = 0, Counter[tuple[int, str, str, int]]()
    for event in history:
        epoch += event.kind is EventKind.STARTED
        if event.kind is EventKind.CLAIMED:
            found[epoch, event.step, event.phase, event.attempt] += 1
    return found
