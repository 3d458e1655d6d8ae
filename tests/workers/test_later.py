"""Results from outside among real processes: who brings them, when, and how often.

Owns: that a token settles one attempt once, and shows nowhere, whoever is killed.  Refuses to know:
what is decided (`tests/machine/test_outside.py`).
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import InputInvalid, TokenSettled, TokenVoid
from celeriac.engine.changes import leases_of
from celeriac.machine import EventKind
from tests.workers.histories import bodies
from tests.workers.kit import Ticket, Trip
from tests.workers.monitors import Events, Wire

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World

ALL_AT_ONCE = 20


def token_of(world: World, run: RunHandle[Any], attempt: int = 1) -> str:
    """The token that an attempt has given away."""
    left = world.folder / f"{run.id}.token.{attempt}"
    world.until(left.exists, f"attempt {attempt} of {run.id} has a token")
    return left.read_text()


def waiting(world: World, run: RunHandle[Any]) -> str:
    """Wait until nobody is at a run that has asked somebody outside; return the token."""
    world.until(lambda: run.status == "waiting", f"{run.id} waits: {run.status}")
    return token_of(world, run)


def test_a_result_ends_the_wait_and_its_token_shows_nowhere(world: World) -> None:
    """Whoever brings it sends what follows; of many who bring another, one counts."""
    sagas = world.kit.sagas
    worker = world.worker()
    with Events(world.kit.app) as events, Wire(world) as wire:
        run = world.kit.outside.start(Trip(), id="o-1")
        token = waiting(world, run)
        assert leases_of(run.look()[1]) == set()
        with pytest.raises(InputInvalid):
            sagas.complete(token, {"numbers": 7})
        sagas.complete(token, Ticket(number="7"))
        sagas.complete(token, {"number": "7"})
        assert world.rest(run).status == "completed"
        assert run.result() == Ticket(number="7")
        with pytest.raises(TokenSettled):
            sagas.complete(token, Ticket(number="8"))
        hasty = world.kit.outside.start(Trip(), id="o-2")
        given = waiting(world, hasty)

        def bring(number: int) -> str:
            try:
                sagas.complete(given, Ticket(number=str(number)))
            except TokenSettled as refused:
                return refused.code
            return "taken"

        with ThreadPoolExecutor(ALL_AT_ONCE) as pool:
            told = Counter(pool.map(bring, range(ALL_AT_ONCE)))
        assert told == {"taken": 1, "token_settled": ALL_AT_ONCE - 1}
        assert world.rest(hasty).status == "completed"
        assert bodies(world, hasty) == {"book": 1, "ask": 1, "send": 1}

        def told_of() -> list[Any]:
            seen = [e for e in list(events.seen) if e.get("uuid") == "o-1:ask:1"]
            return [e["result"] for e in seen if e["type"] == "task-succeeded"]

        assert world.until(told_of, "Flower hears of it") == ["'its result comes from outside'"]
    secret = token.partition(".")[2]
    seen = [*map(str, events.seen), *wire.commands, worker.text()]
    seen += [str(run.history()), str(run.export(payloads=True))]
    assert not [text for text in seen if secret in text]


def test_a_token_outlives_the_death_of_redis(world: World) -> None:
    """One that waits and one whose body is at work: what was given away is known afterwards."""
    sagas = world.kit.sagas
    world.beat()
    worker = world.worker()
    run = world.kit.outside.start(Trip(), id="o-1")
    early = world.kit.outside.start(Trip(script={"ask": ["gate-after"]}), id="o-2")
    token, kept = waiting(world, run), token_of(world, early)
    world.reached(early, "ask")
    sagas.complete(kept, Ticket(number="early"))
    worker.kill()
    world.redis.kill()
    world.redis.start()
    with pytest.raises(TokenSettled):
        sagas.complete(kept, Ticket(number="another"))
    sagas.complete(token, Ticket(number="7"))
    sagas.complete(token, Ticket(number="7"))
    world.worker("w2")
    for each, number in ((run, "7"), (early, "early")):
        assert (world.rest(each).status, each.result().number) == ("completed", number)
        assert bodies(world, each) == {"book": 1, "ask": 1, "send": 1}


def test_a_result_that_comes_early_late_or_for_a_worker_that_died(world: World) -> None:
    """It is kept until its attempt has ended; it is void for a later one; it is never lost."""
    sagas = world.kit.sagas
    world.worker(children=4)
    world.beat()
    early = world.kit.outside.start(Trip(script={"ask": ["gate"]}), id="early")
    died = world.kit.outside.start(Trip(script={"ask": ["gate-after"]}), id="died")
    late = world.kit.outside.start(Trip(script={"later": ["1"]}), id="late")
    cancelled = world.kit.outside.start(Trip(), id="cancelled")

    sagas.complete(token_of(world, early), Ticket(number="early"))
    world.reached(early, "ask")
    assert early.status == "running"
    world.open(early, "ask")

    world.reached(died, "ask")
    sagas.complete(token_of(world, died), Ticket(number="died"))

    waiting(world, cancelled)
    cancelled.cancel()
    assert world.rest(cancelled).status == "compensated"
    with pytest.raises(TokenVoid):
        sagas.complete(token_of(world, cancelled), Ticket(number="late"))
    world.until(lambda: bodies(world, cancelled).get("ask.undo") == 2, "it is undone once more")

    first, second = token_of(world, late), token_of(world, late, 2)
    with pytest.raises(TokenVoid):
        sagas.complete(first, Ticket(number="first"))
    sagas.complete(second, Ticket(number="second"))
    assert (world.rest(late).status, late.result().number) == ("completed", "second")
    assert [e.attempt for e in late.history() if e.kind is EventKind.LATE] == [1]

    assert (world.rest(early).status, early.result().number) == ("completed", "early")
    assert bodies(world, early) == {"book": 1, "ask": 1, "send": 1}
    for process in world.processes.started[:1]:
        process.kill()
    world.worker("w2")
    assert (world.rest(died).status, died.result().number) == ("completed", "died")
    assert bodies(world, died) == {"book": 1, "ask": 1, "send": 1}
