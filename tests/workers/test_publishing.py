"""Messages that are sent together: in one round trip, and what becomes of them when it fails.

Owns: `together`, at a real Redis.  Refuses to know: what is sent, and who sends several.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from bench.round_trips import counted
from celeriac import Sagas
from celeriac.engine import BrokerAway
from celeriac.machine.events import Dispatch
from celeriac.machine.runs import Run, RunStatus
from celeriac.workers.canvas import CeleryDispatcher
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
