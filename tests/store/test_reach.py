"""How the store on Redis deals with a server that is away, slow, restarted, or oddly named."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from celeriac.errors import ConfigurationError, StoreUnavailable
from celeriac.store import Query, wait_for_rest
from celeriac.store.connecting import connection_to
from celeriac.store.connection import CONNECTIONS
from celeriac.store.redis import RedisStore
from celeriac.testing.servers import free_port
from tests.redis_server import RedisServer
from tests.store.runs import a_run, due, lease, moving, starting, write

# --- out of reach ------------------------------------------------------------------------------


def test_a_refused_connection_is_told_at_once() -> None:
    """A server that is down raises StoreUnavailable, quickly, naming it but not the password."""
    port = free_port()
    store = RedisStore(f"redis://someone:s3cret@127.0.0.1:{port}/0")
    begin = time.monotonic()
    for call in (
        lambda: store.read("order-42"),
        lambda: store.commit(starting(a_run())),
        lambda: store.due(0, 1),
        lambda: store.pulse(1),
        lambda: store.renew([lease(a_run())], 1),
        lambda: store.find(Query()),
        lambda: wait_for_rest(store, "order-42", 5),
    ):
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}") as caught:
            call()
        assert "s3cret" not in str(caught.value)
    assert time.monotonic() - begin < 5
    store.close()


def test_a_silent_server_is_given_up() -> None:
    """A server that accepts but never answers raises StoreUnavailable after the time-out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = RedisStore(f"redis://127.0.0.1:{port}/0?socket_timeout=0.2")
        with pytest.raises(StoreUnavailable):
            store.read("order-42")
        store.close()


def test_threads_take_turns(own_server: RedisServer) -> None:
    """However many threads ask at once, a process has few connections, and nobody is refused."""
    with own_server.client() as client:
        client.config_set("maxclients", 30)
    store = RedisStore(own_server.url)
    run = write(store, starting(a_run()))
    found: list[object] = []
    together = threading.Barrier(300)

    def ask() -> None:
        together.wait()
        found.extend(store.read(run.id).run for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [run] * 1500
    with own_server.client() as client:
        assert len(client.client_list()) <= CONNECTIONS + 1
    store.close()


def test_who_gets_no_turn_is_told_why(server: RedisServer) -> None:
    """The number of connections may be chosen; when all are busy for long, the error says so."""
    connection = connection_to(f"{server.url}?max_connections=1&timeout=0.1")
    taken = connection.pool.take()
    with pytest.raises(StoreUnavailable, match="keeps all our connections busy"):
        connection.ask("PING")
    connection.pool.give_back(taken)
    assert connection.ask("PING") == "PONG"
    connection.close()


def test_a_connection_to_listen_on_is_not_counted(server: RedisServer) -> None:
    """However often one was opened and lost, there can be another."""
    connection = connection_to(server.url)
    for _ in range(150):
        connection.new_link().disconnect()
    assert connection.ask("PING") == "PONG"
    connection.close()


def test_time_outs_are_short() -> None:
    """Nobody waits longer than some seconds for a store that does not answer."""
    link = connection_to("redis://127.0.0.1/0").pool.take()
    assert link.socket_connect_timeout <= 2
    assert link.socket_timeout <= 5
    assert link.retry.get_retries() == 0


def test_a_wrong_password_is_told(own_server: RedisServer) -> None:
    """A refused login says where to look, and shows no password."""
    store = RedisStore(own_server.url.replace("127.0.0.1", "nobody:s3cret@127.0.0.1"))
    with pytest.raises(StoreUnavailable, match="user and password in saga_redis_url") as caught:
        store.read("order-42")
    assert "s3cret" not in str(caught.value)
    store.close()


def test_an_interrupted_call_leaves_no_answer_behind(
    redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is stopped by a time limit while waiting for an answer does not confuse the next call."""
    run = write(redis_store, starting(a_run()))

    def strike(_: object) -> None:
        raise TimeLimit

    with monkeypatch.context() as patched:
        patched.setattr("celeriac.store.connection.read_answer", strike)
        with pytest.raises(TimeLimit):
            redis_store.history(run.id)
    assert redis_store.read(run.id).run == run


class TimeLimit(BaseException):
    """What a worker raises in the middle of anything."""


def test_a_lost_reply_is_harmless(server: RedisServer) -> None:
    """A commit whose reply got lost was written once; repeating it says so."""
    store = RedisStore(server.url + "?socket_timeout=0.3")
    run = write(store, moving(write(store, starting(a_run()))))  # and the scripts are loaded
    change = moving(run, fields={"out": "1"})
    pool = store._redis.pool
    connection = pool.take()
    connection.send_command("CLIENT", "REPLY", "OFF")
    pool.give_back(connection)
    with pytest.raises(StoreUnavailable):
        store.commit(change)
    assert store.read(run.id, ["out"])[0::2] == (change.run, {"out": "1"})
    assert not store.commit(change)
    assert len(store.history(run.id)) == 3
    store.close()


def test_a_restarted_server_has_everything(own_server: RedisServer, own_store: RedisStore) -> None:
    """After a crash of Redis the store goes on by itself, with all that was acknowledged."""
    run = write(own_store, starting(a_run(), wake_at=1))
    own_server.kill()
    with pytest.raises(StoreUnavailable):
        own_store.read(run.id)
    own_server.start()
    assert own_store.read(run.id).run == run
    assert len(due(own_store, run.id)) == 1
    write(own_store, moving(run))


# --- urls and processes ------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["unix://{}?db=3", "redis+socket://{}?virtual_host=3"])
def test_a_socket_will_do(form: str) -> None:
    """A Redis on a Unix socket is reached, by its own form of URL and by Celery's."""
    with TemporaryDirectory(prefix="cel") as folder:  # the path of a socket must be short
        path = Path(folder, "r.sock")
        with RedisServer(Path(folder), options={"unixsocket": str(path)}) as server:
            store = RedisStore(form.format(path))
            write(store, starting(a_run()))
            with server.client(db=3) as client:
                assert client.dbsize() > 0
            server.kill()
            with pytest.raises(StoreUnavailable, match=r"r\.sock"):
                store.read("order-42")
            store.close()


@pytest.mark.parametrize("url", ["", "localhost", "amqp://s3cret@localhost//", "redis://h:port"])
def test_a_wrong_url_is_refused(url: str) -> None:
    """What is no URL of a Redis raises ConfigurationError, naming the setting."""
    with pytest.raises(ConfigurationError, match="saga_redis_url") as caught:
        RedisStore(url)
    assert "s3cret" not in str(caught.value)


def test_a_forked_child_uses_the_store(redis_store: RedisStore) -> None:
    """A process forked after the store was used goes on with it, and so does its parent."""
    run = write(redis_store, starting(a_run()))
    child = multiprocessing.get_context("fork").Process(
        target=write, args=(redis_store, moving(run))
    )
    child.start()
    assert redis_store.read("nobody").run is None
    child.join()
    assert child.exitcode == 0
    found = redis_store.read(run.id).run
    assert found
    assert found.version == 2


def test_namespaces_are_apart(server: RedisServer, redis_store: RedisStore) -> None:
    """Two namespaces in one Redis know nothing of each other."""
    other = RedisStore(server.url, namespace="other")
    run = write(redis_store, starting(a_run()))
    assert other.read(run.id).run is None
    assert other.counts() == {}
    write(other, starting(a_run()))
    other.close()
