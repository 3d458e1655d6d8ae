"""Messages that are sent together: in one round trip, and what becomes of them when it fails.

Owns: `together`, at a real Redis, and which attempts share a message.  Refuses to know: what is
sent, and who sends several.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from bench.round_trips import counted
from celeriac import Sagas
from celeriac.engine import BrokerAway
from celeriac.machine.events import Dispatch
from celeriac.machine.runs import Run, RunStatus
from celeriac.workers.bundles import ALSO, FEWEST, MOST, take_others
from celeriac.workers.canvas import CeleryDispatcher
from celeriac.workers.headers import HEADER
from celeriac.workers.pace import is_short, note
from tests.machine.story import saga
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 20
PLAN = saga("reserve")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of its own: it is killed."""
    with RedisServer(tmp_path / "redis") as started:
        yield started


@pytest.fixture
def app(server: RedisServer) -> Celery:
    """An app whose broker is a Redis."""
    found = Celery("shop", broker=server.url, set_as_current=False)
    sagas = Sagas(found)

    @sagas.step(name="shop.reserve")
    def reserve(sku: str) -> str:
        return sku

    found.finalize()
    return found


def send(dispatcher: CeleryDispatcher, number: int) -> None:
    """Send the message of a run."""
    run = Run(f"order-{number}", PLAN.saga, PLAN.fingerprint, RunStatus.RUNNING, 1, 1_000)
    dispatcher.send(PLAN, run, [Dispatch("reserve", "do", 1, 0)], 0)


def test_many_messages_take_one_round_trip(app: Celery, server: RedisServer) -> None:
    """They arrive all the same, in their order."""
    dispatcher = CeleryDispatcher(app)
    send(dispatcher, 0)  # connected, and the queue is declared
    with counted() as trips, dispatcher.together():
        for number in range(MANY):
            send(dispatcher, number)
        assert trips == []
    assert len(trips) == 1
    with server.client() as client:
        waiting = client.lrange("celery", 0, -1)
    assert len(waiting) == 1 + MANY
    assert "order-19" in waiting[0]


def test_what_was_sent_before_an_error_is_sent(app: Celery, server: RedisServer) -> None:
    """The runs are committed, and would have to wait for their messages otherwise."""
    dispatcher = CeleryDispatcher(app)

    def fail() -> None:
        with dispatcher.together():
            send(dispatcher, 1)
            raise LookupError("the store is away")

    with pytest.raises(LookupError):
        fail()
    with server.client() as client:
        assert client.llen("celery") == 1


def test_a_round_trip_that_fails_is_told(
    app: Celery, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows whether they arrived: it raises nothing, and the next are sent again."""
    dispatcher = CeleryDispatcher(app)
    send(dispatcher, 0)
    with caplog.at_level(logging.WARNING), dispatcher.together():
        send(dispatcher, 1)
        server.kill()
    assert "messages may not have been sent" in caplog.text
    server.start()
    with dispatcher.together():
        send(dispatcher, 2)
    with server.client() as client:
        assert "order-2" in client.lrange("celery", 0, -1)[0]


def test_where_the_broker_is_away_each_message_says_so(app: Celery, server: RedisServer) -> None:
    """As it does one by one."""
    dispatcher = CeleryDispatcher(app)
    server.kill()
    with dispatcher.together(), pytest.raises(BrokerAway):
        send(dispatcher, 1)


# --- bundles -----------------------------------------------------------------------------------


def hinted(server: RedisServer) -> list[list[str]]:
    """The runs that each waiting message brings, the oldest message first."""
    with server.client() as client:
        waiting = [json.loads(text)["headers"] for text in client.lrange("celery", 0, -1)[::-1]]
    return [[each[0] for each in [found[HEADER], *found.get(ALSO, ())]] for found in waiting]


def test_many_attempts_of_one_kind_share_messages(app: Celery, server: RedisServer) -> None:
    """The first by itself: what is in the way of it is said of its run, and so of each."""
    dispatcher = CeleryDispatcher(app, lambda: 10)
    with dispatcher.together():
        for number in range(FEWEST + 2):
            send(dispatcher, number)
    assert [len(each) for each in hinted(server)] == [1, MOST, MOST, 1]
    everybody = {run_id for each in hinted(server) for run_id in each}
    assert everybody == {f"order-{number}" for number in range(FEWEST + 2)}


def test_a_few_attempts_reach_all_who_are_idle(app: Celery, server: RedisServer) -> None:
    """One by one, since others may be free while one is at work."""
    dispatcher = CeleryDispatcher(app, lambda: 10)
    with dispatcher.together():
        for number in range(FEWEST):
            send(dispatcher, number)
    assert [len(each) for each in hinted(server)] == [1] * FEWEST


@pytest.mark.parametrize("odd", ["a later attempt", "not yet due", "not ahead", "a rate limit"])
def test_what_no_worker_could_take_up_at_once_goes_by_itself(
    app: Celery, server: RedisServer, odd: str
) -> None:
    """Each attempt that a message brings must be one that could be run ahead, now."""
    if odd == "a rate limit":
        app.tasks["shop.reserve"].rate_limit = "100/s"
    attempt, at = 2 if odd == "a later attempt" else 1, 500 if odd == "not yet due" else 0
    dispatcher = CeleryDispatcher(app, lambda: 0 if odd == "not ahead" else 10)
    with dispatcher.together():
        for number in range(2 * FEWEST):
            run = Run(f"order-{number}", PLAN.saga, PLAN.fingerprint, RunStatus.RUNNING, 1, 1_000)
            dispatcher.send(PLAN, run, [Dispatch("reserve", "do", attempt, at)], 0)
    assert {len(each) for each in hinted(server)} == {1}


def test_what_is_in_the_way_of_a_kind_is_said_of_each_run(app: Celery) -> None:
    """A router may raise what it likes: no attempt is kept for a message that cannot be sent."""

    def lost(*_: object, **__: object) -> None:
        raise LookupError("no way there")

    app.conf.task_routes = (lost,)
    dispatcher, refused = CeleryDispatcher(app, lambda: 10), 0
    with dispatcher.together():
        for number in range(FEWEST + 2):
            try:
                send(dispatcher, number)
            except LookupError:
                refused += 1
    assert refused == FEWEST + 2


def test_what_a_message_brings_is_taken_out_of_its_request() -> None:
    """What is sent on with the headers of a request brings nobody else; nonsense is left out."""
    words = ["order-1", 1, "reserve", "do", 1, "plan"]
    for request in ({ALSO: [words, "x", [1]]}, {"headers": {ALSO: [words], "other": 1}}):
        assert [each.run_id for each in take_others(request)] == ["order-1"]
        assert take_others(request) == []
        assert request in ({}, {"headers": {"other": 1}})
    assert take_others({ALSO: "everything"}) == []
    assert len(take_others({ALSO: [words] * 1_000})) == MOST - 1


def test_others_wait_for_short_attempts_only() -> None:
    """One that had to wait for its processor makes no task a long one; what is unknown is long."""
    paces: dict[str, float] = {}
    assert not is_short(paces, "pay")
    note(paces, "pay", 0.001)
    assert is_short(paces, "pay")
    note(paces, "pay", 0.1)
    assert is_short(paces, "pay")
    for _ in range(5):
        note(paces, "pay", 0.1)
    assert not is_short(paces, "pay")
