"""Messages get lost, doubled and reordered, and the ledger is the same as without.

Owns: faults between publishing and delivery.  Refuses to know: processes that die, and outages of
Redis, which have files of their own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.workers import load
from tests.workers.kit import GRACE, Trip

if TYPE_CHECKING:
    from tests.workers.world import World

RUNS = range(20)


def calm(world: World) -> None:
    """The same runs without any fault, to compare with."""
    runs = load.start(world, "calm", RUNS)
    load.all_rest(world, runs)
    assert load.statuses(runs) == load.expected(runs)


def test_every_message_dropped_for_three_seconds(world: World) -> None:
    """Three seconds in which no message arrives change nothing but the time it takes."""
    world.worker()
    world.beat()
    calm(world)
    gated = {"pay": ["gate-after"]}
    caught = [world.kit.trip.start(Trip(script=gated), id=f"caught-{n}") for n in range(2)]
    for run in caught:
        world.reached(run, "pay")
    runs = load.start(world, "lossy", RUNS[:10])
    with world.fault("drop"):
        over = time.monotonic() + 3
        runs += load.start(world, "lossy", RUNS[10:])
        for run in caught:
            world.open(run, "pay")
        world.until(lambda: time.monotonic() > over, "three seconds have passed")
    load.all_rest(world, runs + caught)
    assert load.statuses(runs) == load.expected(runs)
    assert {run.status.value for run in caught} == {"completed"}
    assert load.outline(world, "lossy") == load.outline(world, "calm")
    lost = world.published("", "-")
    assert {f"tests.workers.kit.send {run.id}:send:1" for run in caught} <= set(lost)
    assert any("celeriac.sweep" in message for message in lost)
    assert sum(":book:1" in message for message in lost) >= 10


def test_the_next_link_of_a_chain_lost(world: World) -> None:
    """A chain that loses its next link goes on where it stopped, after the grace."""
    world.worker()
    world.beat()
    with world.fault("drop", only=":pay:1"):
        run = world.kit.trip.start(Trip(), id="link")
        world.until(lambda: world.published(":pay:1", "-"), "the link was lost")
    assert world.rest(run).status == "completed"
    assert [world.ledger.bodies("link", step) for step in ("book", "pay", "send")] == [1, 1, 1]
    again = [event for event in run.history() if event.kind == "dispatched"]
    assert {(event.step, event.attempt, event.data["why"]) for event in again} == {
        ("pay", 1, "unclaimed")
    }
    booked = next(event for event in run.history() if event.kind == "completed")
    assert again[0].at - booked.at >= GRACE * 1000


def test_every_errback_lost(world: World) -> None:
    """Without a single errback the sweep sends the compensations."""
    world.worker()
    world.beat()
    with world.fault("drop", only="celeriac.compensate"):
        run = world.kit.trip.start(Trip(script={"send": ["abort"]}), id="errback")
        assert world.rest(run).status == "compensated"
    assert world.published("celeriac.compensate", "-")
    assert not world.published("celeriac.compensate")
    steps = ("send.undo", "pay.undo", "book.undo")
    assert [world.ledger.bodies("errback", step) for step in steps] == [1, 1, 1]


def test_a_compensations_next_link_lost(world: World) -> None:
    """A chain of compensations that loses its next link goes on all the same."""
    world.worker()
    world.beat()
    with world.fault("drop", only=":pay:undo:1"):
        run = world.kit.trip.start(Trip(script={"send": ["abort"]}), id="backlink")
        world.until(lambda: world.published(":pay:undo:1", "-"), "the link was lost")
    assert world.rest(run).status == "compensated"
    steps = ("send.undo", "pay.undo", "book.undo")
    assert [world.ledger.bodies("backlink", step) for step in steps] == [1, 1, 1]


def test_every_message_doubled(world: World) -> None:
    """Of two equal messages one finds nothing to do: no body runs twice."""
    world.worker()
    world.beat()
    calm(world)
    with world.fault("double"):
        runs = load.start(world, "double", RUNS)
        load.all_rest(world, runs)
    assert load.statuses(runs) == load.expected(runs)
    assert load.outline(world, "double") == load.outline(world, "calm")
    single = len(world.published(" calm-"))
    assert 2 * single <= len(world.published(" double-")) <= 3 * single


def test_doubled_messages_do_not_multiply(world: World) -> None:
    """In a long saga a doubled message does not double all that follow it."""
    world.worker()
    world.beat()
    with world.fault("double"):
        runs = [world.kit.march.start(Trip(), id=f"march-{n}") for n in range(10)]
        bad = {"hop-10": ["abort"]}
        runs += [world.kit.march.start(Trip(script=bad), id=f"back-{n}") for n in range(10)]
        load.all_rest(world, runs)
    assert [run.status.value for run in runs] == ["completed"] * 10 + ["compensated"] * 10
    for run in runs:
        steps = 10 if run.id.startswith("march") else 20
        sent = len(world.published(f" {run.id}:"))
        assert 2 * steps <= sent <= 3 * steps, load.told(run)
        assert len(world.ledger.rows(f"{run.id}:%", "begin")) == steps


def test_messages_reordered(world: World) -> None:
    """Messages that overtake each other change nothing."""
    world.worker()
    world.beat()
    calm(world)
    with world.fault("reorder"):
        runs = load.start(world, "mixed", RUNS)
        load.all_rest(world, runs)
    assert load.statuses(runs) == load.expected(runs)
    assert load.outline(world, "mixed") == load.outline(world, "calm")


def test_all_faults_at_once(world: World) -> None:
    """Doubled, reordered and now and then lost: the ledger is the same."""
    world.worker()
    world.beat()
    calm(world)
    with world.fault("double"), world.fault("reorder"):
        with world.fault("drop", only="5:"):
            runs = load.start(world, "wild", RUNS)
            world.until(lambda: world.published("wild-15:", "-"), "something was lost")
        load.all_rest(world, runs)
    assert load.statuses(runs) == load.expected(runs)
    assert load.outline(world, "wild") == load.outline(world, "calm")
