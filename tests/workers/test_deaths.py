"""Whole workers are killed, stopped and cut off: a death is noticed at once, and nothing else is.

Owns: each fault against real processes, with a lease so long that nobody waits for it.  Refuses to
know: the rule (`tests/engine/test_deaths.py`), and what a lease that runs out leads to.
"""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING, Any

from celeriac.engine.deaths import CHANCE
from tests.chaos.proxy import Fault, Proxy
from tests.workers.histories import bodies, claimed_after, events
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac import RunHandle
    from celeriac.store import Presence
    from tests.workers.world import World

LONG = 60  # seconds of a lease: who waits for it is late
SOON = 20  # seconds, on a busy machine; most of it is the start of a worker
ONCE = {"book": 1, "pay": 1, "send": 1}


def on_its_own(place: str, **more: str) -> dict[str, str]:
    """The environment of a worker with long leases, whose processes nobody else can look at."""
    return {"KIT_LEASE": str(LONG), "KIT_PLACE": place, **more}


def presences(world: World) -> dict[str, Presence]:
    """What is known of each worker, by the place where it runs."""
    _, known = world.kit.sagas.runtime.engine.store.presences.known()
    return {each.worker.place: each for each in known}


def swept_for(world: World, ms: int) -> None:
    """Wait until sweeps have come for some time from now on, by the store's clock."""
    store = world.kit.sagas.runtime.engine.store
    over = store.presences.known()[0] + ms
    world.until(lambda: (mark := store.last_sweep()) and mark.at > over, "sweeps have come")


def taken_up(world: World, run: RunHandle[Any], step: str, since: float) -> None:
    """The run ends, and the step that was at work was taken up long before its lease ran out."""
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == {**ONCE, step: 2}
    assert [event.data["why"] for event in events(run, "lost")] == ["death"]
    assert claimed_after(run, step, since) < SOON


def test_all_workers_killed_and_started_at_once(world: World) -> None:
    """Only what was running is repeated; what waited, also in their hands, is done once."""
    env = {"KIT_LEASE": str(LONG)}
    workers = [world.worker(name, env=env) for name in ("w1", "w2")]
    world.beat()
    caught = [
        world.kit.trip.start(Trip(script={"pay": ["gate-after"]}), id=f"caught-{n}")
        for n in range(4)
    ]
    for run in caught:
        world.reached(run, "pay")
    waiting = [world.kit.trip.start(Trip(), id=f"waiting-{number}") for number in range(8)]
    for worker in workers:
        worker.kill()
    killed = time.time()
    world.worker("w3", env=env)
    for run in caught:
        taken_up(world, run, "pay", killed)
    for run in waiting:
        assert world.rest(run).status == "completed"
        assert bodies(world, run) == ONCE


def test_a_worker_on_another_machine_is_killed(split_world: World) -> None:
    """Where nobody can look at its process, its connection tells, if another is heard of."""
    world = split_world
    first = world.worker("w1", env=on_its_own("north"))
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["gate-after"]}), id="caught")
    world.reached(run, "pay")
    world.worker("w2", env=on_its_own("south"))
    swept_for(world, CHANCE)  # the second has been there for a while
    killed = time.time()
    first.kill()
    taken_up(world, run, "pay", killed)


def test_nothing_else_is_taken_for_a_death(split_world: World) -> None:
    """A worker is stopped, its connections are killed, cut and swallowed, Redis is restarted."""
    world = split_world
    assert world.state is not None
    with Proxy(world.state.port) as proxy, world.state.client() as client:
        url = world.state.url.replace(str(world.state.port), str(proxy.port))
        first = world.worker("w1", children=1, env=on_its_own("north", KIT_STATE=url))
        world.beat()
        run = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="held")
        world.reached(run, "pay")
        world.worker("w2", env=on_its_own("south"))
        world.until(lambda: len(presences(world)) == 2, "both are heard of")
        with _another_link(world):
            client.client_kill_filter(_type="normal", skipme=True)
        with _another_link(world):
            assert proxy.drop(reset=True)
        with _another_link(world):
            world.state.restart()
        with _silence(world):
            first.signal_all(signal.SIGSTOP)
        first.signal_all(signal.SIGCONT)
        with _silence(world):
            proxy.begin(Fault("swallow"))
        with _another_link(world):
            proxy.heal(reset=True)
        assert events(run, "lost") == []
        world.open(run, "pay")
        assert world.rest(run).status == "completed"
    assert bodies(world, run) == ONCE
    assert set(presences(world)) == {"north", "south"}


@contextlib.contextmanager
def _another_link(world: World) -> Iterator[None]:
    """The worker is heard of over another connection afterwards, and was never found dead."""
    before = presences(world)["north"]
    yield

    def moved() -> bool:
        with contextlib.suppress(Exception):  # Redis itself may be away
            now = presences(world)["north"]
            return (now.server, now.link) != (before.server, before.link)
        return False

    world.until(moved, "it has another connection")
    swept_for(world, CHANCE + 1_000)
    assert not presences(world)["north"].died


@contextlib.contextmanager
def _silence(world: World) -> Iterator[None]:
    """The worker is silent for longer than one that died could be, and was not found dead."""
    yield

    def silent() -> bool:
        now, _ = world.kit.sagas.runtime.engine.store.presences.known()
        return now - presences(world)["north"].seen > 2 * CHANCE

    world.until(silent, "it is silent")
    swept_for(world, 500)
    assert presences(world)["north"].silent
    assert not presences(world)["north"].died
