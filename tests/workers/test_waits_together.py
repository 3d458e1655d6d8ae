"""Hard cases of waiting, among one set of real processes: who speaks late, twice or in vain.

Owns: signals to a run that is being undone, tokens that no longer count or never did, families
whose messages are lost or doubled, and sleepers while clocks are set.  Refuses to know: what is
decided (`tests/machine`), and who is killed meanwhile (`test_waits`, `test_later`,
`test_children`).

All tests share their processes, each has runs of its own.  Nobody ticks: one process sweeps.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from celeriac import (
    CommandRefused,
    InputInvalid,
    PayloadTooLarge,
    RunNotFound,
    TokenSettled,
    TokenUnknown,
    TokenVoid,
)
from celeriac.engine.tokens import read, written
from celeriac.machine import EventKind
from celeriac.store.keys import shard_of
from celeriac.testing.servers import find_redis_binary
from tests.chaos import clock
from tests.redis_server import RedisServer
from tests.workers.histories import bodies, claims, events
from tests.workers.kit import Ticket, Trip
from tests.workers.monitors import Events, Wire
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac import RunHandle

HOUR = 3_600


class Clocks(NamedTuple):
    """What time it is to whom, where that can be set."""

    redis: clock.Clock
    worker: clock.Clock
    sweep: clock.Clock


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Clocks | None:
    """A clock for each; None where clocks cannot be set."""
    library = clock.build(tmp_path_factory.mktemp("clocks"))
    if library is None:
        return None
    return Clocks(*(clock.Clock(library, name) for name in Clocks._fields))


@pytest.fixture(scope="module")
def world(clocks: Clocks | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A worker and a sweep, for all tests of this file."""
    folder = tmp_path_factory.mktemp("together")
    binary = clocks.redis.wrap(find_redis_binary()) if clocks else None
    with RedisServer(folder / "redis", binary=binary) as redis:
        made = World(folder, redis)
        try:
            made.celery(
                *("sweep", "saga", "sweep", "--every", "0.2"),
                **(clocks.sweep.env if clocks else {}),
            )
            made.worker(children=4, env=clocks.worker.env if clocks else {})
            yield made
        finally:
            made.close()


def waiting(world: World, run: RunHandle[Any]) -> None:
    """Wait until nobody is at a run."""
    world.until(lambda: run.status == "waiting", f"{run.id} waits: {run.status}")


def refusal(run: RunHandle[Any], click: str) -> str:
    """Why a run takes no signal."""
    with pytest.raises(CommandRefused) as refused:
        run.signal("approved", {"number": "8"}, id=click)
    return refused.value.reason


def token_of(world: World, run: RunHandle[Any], attempt: int = 1) -> str:
    """The token that an attempt has given away."""
    left = world.folder / f"{run.id}.token.{attempt}"
    world.until(left.exists, f"attempt {attempt} of {run.id} has a token")
    return left.read_text()


# --- signals -----------------------------------------------------------------------------------


def test_a_run_that_is_being_undone_takes_no_signal(world: World) -> None:
    """What was taken before has its answer again, whatever has become of the run since."""
    script = {"send": ["abort"], "book.undo": ["gate"]}
    run = world.kit.approving.start(Trip(script=script), id="undone")
    waiting(world, run)
    assert run.signal("approved", {"number": "7"}, id="one") == "taken"
    world.reached(run, "book.undo")
    assert refusal(run, "two") == "turned"
    assert run.signal("approved", {"number": "9"}, id="one") == "taken", "the same click"
    world.open(run, "book.undo")
    assert world.rest(run).status == "compensated"
    assert refusal(run, "two") == "at_rest"
    assert run.signal("approved", {"number": "9"}, id="one") == "taken"
    assert len(events(run, EventKind.SIGNALLED)) == 1


def test_a_wait_that_was_cancelled_takes_no_signal(world: World) -> None:
    """It has ended with the word of whoever cancelled; nothing is kept, and nothing is sent."""
    run = world.kit.approving.start(Trip(script={"book.undo": ["gate"]}), id="cancelled")
    waiting(world, run)
    run.cancel("changed my mind")
    assert refusal(run, "late") == "turned"
    world.reached(run, "book.undo")
    world.open(run, "book.undo")
    assert world.rest(run).status == "compensated"
    assert bodies(world, run) == {"book": 1, "book.undo": 1}
    assert not events(run, EventKind.SIGNALLED)


# --- tokens ------------------------------------------------------------------------------------


def test_the_token_of_an_attempt_that_failed_no_longer_counts(world: World) -> None:
    """What comes with it is on record; the next attempt has a token of its own."""
    sagas = world.kit.sagas
    run = world.kit.outside.start(Trip(script={"ask": ["raise-after"]}), id="again")
    first, second = token_of(world, run), token_of(world, run, 2)
    waiting(world, run)
    for number in ("first", "first", "another"):
        with pytest.raises(TokenVoid):
            sagas.complete(first, Ticket(number=number))
    sagas.complete(second, Ticket(number="second"))
    sagas.complete(second, Ticket(number="second"))
    with pytest.raises(TokenSettled):
        sagas.fail(second, "after all")
    assert (world.rest(run).status, run.result()) == ("completed", Ticket(number="second"))
    assert [event.attempt for event in events(run, EventKind.LATE, "ask")] == [1]


def test_a_token_that_nobody_gave_out(world: World) -> None:
    """One error for one that was made up, one of another run, and one whose run is gone."""
    sagas = world.kit.sagas
    mine, other = (world.kit.outside.start(Trip(), id=name) for name in ("mine", "other"))
    tokens = {}
    for run in (mine, other):
        waiting(world, run)
        tokens[run] = token_of(world, run)
    (named, secret), (of_other, _) = read(tokens[mine]), read(tokens[other])
    later = named._replace(attempt=2)
    for made_up in (
        "",
        "x.y",
        written(named, "x"),
        written(of_other, secret),
        written(later, secret),
    ):
        with pytest.raises(TokenUnknown):
            sagas.complete(made_up, Ticket(number="7"))
    mine.terminate("no more of it")
    with pytest.raises(TokenVoid):
        sagas.complete(tokens[mine], Ticket(number="7"))
    world.until(lambda: list(sagas.purge(0.001, status="terminated").run()), "it is removed")
    with pytest.raises(RunNotFound):
        mine.state()
    with pytest.raises(TokenUnknown):
        sagas.complete(tokens[mine], Ticket(number="7"))
    sagas.complete(tokens[other], Ticket(number="7"))
    assert world.rest(other).status == "completed"


def test_what_is_brought_shows_nowhere(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what a signal brings, nor a result, nor why it failed: it is a payload."""
    secret, sagas = "canary4929x1234x5678", world.kit.sagas
    caplog.set_level("DEBUG")
    asking = [world.kit.outside.start(Trip(), id=f"secret-{n}") for n in (1, 2)]
    signalled = world.kit.approving.start(Trip(), id="secret-3")
    for run in (*asking, signalled):
        waiting(world, run)
    with Events(world.kit.app) as stream, Wire(world) as wire:
        assert signalled.signal("approved", {"number": secret}) == "taken"
        for wrong in ({"numbers": secret}, [secret], "x" * 20_000 + secret):
            with pytest.raises((InputInvalid, PayloadTooLarge)) as refused:
                sagas.complete(token_of(world, asking[0]), wrong)
            assert secret not in str(refused.value)
        sagas.complete(token_of(world, asking[0]), Ticket(number=secret))
        sagas.fail(token_of(world, asking[1]), secret, code="no")
        ended = [world.rest(run).status for run in (*asking, signalled)]
        world.until(lambda: len(stream.of_run("secret-3")) >= 3, "its last step has told of itself")
    assert ended == ["completed", "compensated", "completed"]
    seen = [*map(str, stream.seen), *wire.to_broker(), caplog.text]
    seen += [process.text() for process in world.processes.started]
    seen += [str((run.history(), run.export())) for run in (*asking, signalled)]
    assert not [text for text in seen if secret in text]
    assert any(secret in text for text in wire.to_store()), "it was there to be seen"


# --- parents and children ----------------------------------------------------------------------


def apart(name: str) -> str:
    """An id whose run is on another shard than its child."""
    ids = (f"{name}-{number}" for number in range(99))
    return next(each for each in ids if shard_of(each, 8) != shard_of(f"{each}.trip", 8))


@pytest.mark.parametrize("fault", ["drop", "double"])
def test_messages_of_a_family_that_are_lost_or_doubled(world: World, fault: str) -> None:
    """Parent and child are on different shards: each step is done once, each end is told once."""
    name = apart(fault)
    # The first of the child, the last of it, and the one that follows its end in the parent.
    about = [f"{name}.trip:book:1", f"{name}.trip:send:1", f"{name}:last:1"]
    sign, times = ("-", 1) if fault == "drop" else ("+", 2)
    # What is dropped is sent again by a sweep until it gets through; all is doubled at once.
    parts = about if fault == "drop" else ["\n".join(about)]
    run = None
    for part in parts:
        with world.fault(fault, part):
            run = run or world.kit.family.start(Trip(script={}), id=name)
            for each in part.splitlines():
                world.until(lambda each=each: len(world.published(each, sign)) >= times, each)  # type: ignore[misc]
    assert run is not None
    child = world.kit.sagas._handle(f"{name}.trip")
    assert [world.rest(each).status for each in (run, child)] == ["completed", "completed"]
    assert bodies(world, run) == {"first": 1, "last": 1}
    assert bodies(world, child) == {"book": 1, "pay": 1, "send": 1}
    assert claims(run, "trip") == [1]


# --- clocks ------------------------------------------------------------------------------------


def test_clocks_that_are_set_while_a_run_sleeps(world: World, clocks: Clocks | None) -> None:
    """The time of Redis counts: nobody else's wakes a run early, or lets it sleep on.

    Should that be set, a run sleeps as long as its date says; it goes on once, also if the time
    comes twice.
    """
    if clocks is None:
        pytest.skip("clocks cannot be set here")
    clocks.worker.set(HOUR)
    clocks.sweep.set(-HOUR)
    short = world.kit.asleep.start(Trip(), id="short")
    due = datetime.now(UTC) + timedelta(hours=1)
    long = world.kit.dated.start(Trip(), due, id="long")
    assert world.rest(short).status == "completed"
    (slept,) = events(short, EventKind.COMPLETED, "sleep")
    (began,) = events(short, EventKind.COMPLETED, "book")
    assert 2_000 <= slept.at - began.at < 10_000
    waiting(world, long)
    clocks.redis.set(-HOUR)
    clocks.redis.set(HOUR + 1)
    assert world.rest(long).status == "completed"
    clocks.redis.set(0)
    assert bodies(world, long) == {"book": 1, "send": 1}
    (slept,) = events(long, EventKind.COMPLETED, "sleep")
    assert slept.at >= due.timestamp() * 1000
