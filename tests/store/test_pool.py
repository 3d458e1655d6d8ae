"""Connections between two uses: none is shared, none is used that a server has closed."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
import redis

from celeriac.store.connecting import connection_to
from celeriac.store.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.store.connection import Connection
    from tests.redis_server import RedisServer


@pytest.fixture
def connection(server: RedisServer) -> Iterator[Connection]:
    """One connection at most, to the shared server."""
    found = connection_to(f"{server.url}?max_connections=1&timeout=10")
    yield found
    found.close()


def own_id(connection: Connection) -> int:
    """Which connection the server is asked on."""
    return int(connection.ask("CLIENT", "ID"))


def test_one_that_was_just_used_is_used_again(connection: Connection) -> None:
    """A round trip makes no new connection."""
    assert len({own_id(connection) for _ in range(20)}) == 1


@pytest.mark.parametrize("without", [(), ("poll",)])
def test_one_that_the_server_has_closed_is_not_used(
    server: RedisServer,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    without: tuple[str, ...],
) -> None:
    """Connections are looked at before they are used: nobody hears of one that was closed."""
    for name in without:
        monkeypatch.delattr(f"select.{name}")
    first = own_id(connection)
    with server.client() as client:
        client.client_kill_filter(_id=first)
    assert own_id(connection) != first


def test_who_waits_is_given_the_next_that_is_free(connection: Connection) -> None:
    """With all connections busy, the next caller goes on as soon as one is given back."""
    taken = connection.pool.take()
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(connection.ask("PING")))
    waiting.start()
    assert answers == []
    connection.pool.give_back(taken)
    waiting.join()
    assert answers == ["PONG"]


def test_a_forked_child_has_connections_of_its_own(connection: Connection) -> None:
    """A child that was forked uses none of its parent's, and finds as many free as there may be."""
    mine = own_id(connection)
    taken = connection.pool.take()  # whoever holds it in the parent is not there in the child
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, str(own_id(connection)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    its = int(os.read(read, 100))
    os.close(read)
    os.close(write)
    connection.pool.give_back(taken)
    assert its != mine
    assert own_id(connection) == mine


def test_one_that_could_not_be_made_takes_no_room() -> None:
    """A connection that fails to be made is not counted: the next caller may try again."""

    def make() -> object:
        made.append(None)
        raise redis.ConnectionError("no")

    made: list[None] = []
    pool = Pool(make, 1, 0.05)
    for _ in range(3):
        with pytest.raises(redis.ConnectionError, match="no"):
            pool.take()
    assert len(made) == 3


def test_many_callers_take_turns() -> None:
    """However many come at a time, no more are made than there may be, and everybody gets one."""

    class Link:
        """A connection that was never used, so there is nothing to look at."""

        _sock = None

    def work() -> None:
        for _ in range(300):
            link = pool.take()
            in_use.append(link)
            most.append(len(in_use))
            in_use.remove(link)
            pool.give_back(link)
        done.append(None)

    pool, in_use = Pool(Link, 2, 30.0), list[object]()
    most, done = list[int](), list[None]()
    callers = [threading.Thread(target=work) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(done) == len(callers)
    assert max(most) <= 2
