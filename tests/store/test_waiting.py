"""Waiting for runs in Redis: one subscription for all who wait, whatever happens to it.

Owns: many who wait, few connections; lost messages, connections and servers; forks.  Refuses to
know: what waiting promises in every store (`test_rest`).

The file is long because each loss is tried with threads, coroutines and forks.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis

from celeriac.errors import ResultTimeout, StoreError, StoreUnavailable
from celeriac.machine import RunStatus
from celeriac.store import Waiter, await_rest, wait_for_rest
from celeriac.store.redis import RedisStore
from celeriac.testing.servers import free_port
from tests.processes import until
from tests.redis_server import RedisServer
from tests.store.runs import a_run, ending, starting, write
from tests.store.test_rest import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from celeriac.machine import Run

MANY = 400
DONE = RunStatus.COMPLETED


@pytest.fixture
def narrow_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that takes 50 connections."""
    with RedisServer(tmp_path / "redis", options={"maxclients": 50}) as found:
        yield found


def the_runs(store: RedisStore, count: int) -> list[Run]:
    """Some runs that go on."""
    return [write(store, starting(a_run(f"order-{n}"))) for n in range(count)]


def listened_to(server: RedisServer, store: RedisStore, *run_ids: str) -> bool:
    """True if the ends of all these runs are subscribed to, each of them once."""
    channels = [store._keys.of(run_id).rest_channel(run_id) for run_id in run_ids]
    with server.client() as client:
        return all(count == 1 for _, count in client.pubsub_numsub(*channels))


def connections(server: RedisServer) -> list[dict[str, Any]]:
    """The connections to a server, without the one that asks."""
    with server.client(client_name="who-asks") as client:
        return [each for each in client.client_list() if each["name"] != "who-asks"]


def cut_off(server: RedisServer) -> None:
    """Close every subscription, as a server or a firewall does."""
    with server.client() as client:
        client.client_kill_filter(_type="pubsub", skipme=True)


# --- many who wait -----------------------------------------------------------------------------


def test_many_threads_share_one_subscription(narrow_server: RedisServer) -> None:
    """400 threads wait at a Redis that takes 50 connections: two are used, and all are told."""
    store = RedisStore(narrow_server.url)
    runs = the_runs(store, MANY)
    waiting = [Waiting(store, run.id) for run in runs]
    until(lambda: listened_to(narrow_server, store, *(run.id for run in runs)))
    assert len(connections(narrow_server)) <= 2
    for run in runs:
        write(store, ending(run))
    assert {each.end() for each in waiting} == {DONE}
    assert len(connections(narrow_server)) <= 3  # this thread's is the third
    store.close()
    assert connections(narrow_server) == []


def test_many_wait_for_the_same_run(server: RedisServer, redis_store: RedisStore) -> None:
    """All who wait for one run are told of its end; the run is subscribed to once."""
    [run] = the_runs(redis_store, 1)
    waiting = [Waiting(redis_store, run.id) for _ in range(50)]
    until(lambda: listened_to(server, redis_store, run.id))
    write(redis_store, ending(run))
    assert {each.end() for each in waiting} == {DONE}


def test_each_is_told_what_it_wanted(server: RedisServer, redis_store: RedisStore) -> None:
    """The payloads come with the run, to each who waits for it those that it wanted."""
    run = write(redis_store, starting(a_run(), fields={"a": "1", "b": "2", "c": "3"}))
    found: dict[str, Any] = {}

    def wait(name: str) -> None:
        end = wait_for_rest(redis_store, run.id, 20, lambda _: [name])
        found[name] = end.fields[name]

    threads = [threading.Thread(target=wait, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    until(lambda: listened_to(server, redis_store, run.id))
    write(redis_store, ending(run))
    for thread in threads:
        thread.join(20)
    assert found == {"a": "1", "b": "2", "c": "3"}


def test_what_has_ended_needs_no_subscription(server: RedisServer, redis_store: RedisStore) -> None:
    """Who asks for the result of a run that has ended opens no connection for it."""
    [run] = the_runs(redis_store, 1)
    write(redis_store, ending(run))
    assert wait_for_rest(redis_store, run.id, 5).run
    assert not [each for each in connections(server) if each["flags"] == "P"]


def test_thread_and_connection_are_given_up(
    server: RedisServer, redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nobody waits for some time, nothing is left; whoever comes later starts anew."""
    monkeypatch.setattr("celeriac.store.waiting.IDLE", 0.05)
    for run in the_runs(redis_store, 2):
        waiting = Waiting(redis_store, run.id)
        until(partial(listened_to, server, redis_store, run.id))
        write(redis_store, ending(run))
        assert waiting.end() is DONE
        until(lambda: not any(t.name == "celeriac-waiting" for t in threading.enumerate()))
        until(lambda: not [each for each in connections(server) if each["flags"] == "P"])


def test_who_gives_up_leaves_nothing(server: RedisServer, redis_store: RedisStore) -> None:
    """After a timeout the run is not subscribed to any more, and nobody is on the list."""
    [run, other] = the_runs(redis_store, 2)
    waiting = Waiting(redis_store, other.id)
    until(lambda: listened_to(server, redis_store, other.id))
    impatient = Waiting(redis_store, run.id, timeout=0.3)
    until(lambda: listened_to(server, redis_store, run.id))
    assert isinstance(impatient.end(), ResultTimeout)
    with server.client() as client:
        until(lambda: len(client.pubsub_channels()) == 1)
    assert list(redis_store._waiting._waiters) == [other.id]
    write(redis_store, ending(other))
    assert waiting.end() is DONE


# --- what goes wrong ---------------------------------------------------------------------------


def test_a_wait_survives_a_restart(own_server: RedisServer, own_store: RedisStore) -> None:
    """Who waits while Redis is killed and comes back is woken all the same."""
    runs = the_runs(own_store, 30)
    names = [run.id for run in runs]
    waiting = [Waiting(own_store, run.id) for run in runs]
    until(lambda: listened_to(own_server, own_store, *names))
    own_server.restart()
    until(lambda: listened_to(own_server, own_store, *names))
    assert all(each.waits for each in waiting)
    for run in runs:
        write(own_store, ending(run))
    assert {each.end() for each in waiting} == {DONE}


def test_a_wait_survives_an_outage(own_server: RedisServer, own_store: RedisStore) -> None:
    """Who waits already is not told that Redis is away; who comes meanwhile is."""
    [run, later] = the_runs(own_store, 2)
    waiting = Waiting(own_store, run.id)
    until(lambda: listened_to(own_server, own_store, run.id))
    own_server.kill()
    newcomer = Waiting(own_store, later.id)
    assert isinstance(newcomer.end(), StoreUnavailable)
    assert waiting.waits
    own_server.start()
    write(own_store, ending(run))
    assert waiting.end() is DONE


def test_a_wait_ends_in_time_while_redis_is_down(
    own_server: RedisServer, own_store: RedisStore
) -> None:
    """Patience ends when it should, also if Redis went away meanwhile."""
    [run] = the_runs(own_store, 1)
    waiting = Waiting(own_store, run.id, timeout=1.0)
    until(lambda: listened_to(own_server, own_store, run.id))
    own_server.kill()
    end = waiting.end()
    assert isinstance(end, ResultTimeout)
    assert "is running after 1 s" in str(end)


def test_a_wait_ends_in_time_while_redis_hangs(
    own_server: RedisServer, own_store: RedisStore
) -> None:
    """A server that has stopped answering holds nobody up for longer than was agreed."""
    [run] = the_runs(own_store, 1)
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(ResultTimeout, match=r"could not be looked at within 0\.3 s"):
            wait_for_rest(own_store, run.id, 0.3)
        assert time.monotonic() - began < 2
    finally:
        os.kill(own_server.pid, signal.SIGCONT)


@pytest.mark.parametrize("ended", ["before", "after"])
def test_a_connection_that_is_lost_at_the_end_loses_no_end(
    server: RedisServer, redis_store: RedisStore, ended: str
) -> None:
    """The message is lost with its connection; the run is looked at once there is another."""
    for run in the_runs(redis_store, 10):
        waiting = Waiting(redis_store, run.id)
        until(partial(listened_to, server, redis_store, run.id))
        if ended == "after":
            cut_off(server)
        write(redis_store, ending(run))
        if ended == "before":
            cut_off(server)
        began = time.monotonic()
        assert waiting.end() is DONE
        assert time.monotonic() - began < 5


def test_a_message_that_got_lost_is_made_up_for(
    server: RedisServer, redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All runs are looked at now and then, so that a lost message only delays an end."""
    monkeypatch.setattr("celeriac.store.waiting.LOOK_AGAIN", 0.1)
    monkeypatch.setattr(redis_store._waiting, "channel", lambda run_id: f"celeriac:{{0}}:{run_id}")
    runs = the_runs(redis_store, 3)
    waiting = [Waiting(redis_store, run.id) for run in runs]
    with server.client() as client:
        until(lambda: len(client.pubsub_channels()) == 3)
    for run in runs:
        write(redis_store, ending(run))
    assert {each.end() for each in waiting} == {DONE}


def test_a_subscription_that_goes_silent_is_replaced(
    server: RedisServer, redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that nobody has closed, and that is dead all the same, is given up."""
    monkeypatch.setattr("celeriac.store.subscription.REPLY_TIMEOUT", 0.2)
    monkeypatch.setattr("celeriac.store.waiting.REPLY_TIMEOUT", 0.2)
    [run, other] = the_runs(redis_store, 2)
    waiting = Waiting(redis_store, run.id)
    until(lambda: listened_to(server, redis_store, run.id))
    listener = redis_store._waiting._listener
    assert listener is not None
    dead = listener._subscription
    monkeypatch.setattr(dead, "_ask", lambda *_: setattr(dead, "_asked_at", time.monotonic()))
    second = Waiting(redis_store, other.id)  # what is asked for it is never heard
    until(lambda: listened_to(server, redis_store, run.id, other.id))
    assert listener._subscription is not dead
    for each in (run, other):
        write(redis_store, ending(each))
    assert [waiting.end(), second.end()] == [DONE, DONE]


def test_without_a_subscription_runs_are_looked_at(
    narrow_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no connection is left for it, ends are still noticed, and nobody is told otherwise."""
    store, writer = RedisStore(narrow_server.url), RedisStore(narrow_server.url)
    runs = the_runs(writer, 3)
    store.read("order-0")  # each store has a connection
    taken = [narrow_server.client() for _ in range(60)]
    try:
        with pytest.raises(redis.ConnectionError, match="max number of clients"):
            all(client.ping() for client in taken)
        waiting = [Waiting(store, run.id) for run in runs]
        until(lambda: any("looked for, not heard" in line for line in caplog.messages))
        for run in runs:  # only now: what ends before the first look needs no subscription
            write(writer, ending(run))
        assert {each.end() for each in waiting} == {DONE}
        told = [line for line in caplog.messages if "looked for, not heard" in line]
        assert len(told) == 1
        assert "takes no more connections" in told[0]
    finally:
        for client in taken:
            client.close()
        store.close()
        writer.close()


def test_no_connection_left_is_said(narrow_server: RedisServer) -> None:
    """Who cannot connect since Redis is full is told that, not that it cannot be reached."""
    with narrow_server.client() as client:
        client.config_set("maxclients", 1)
        client.ping()
        store = RedisStore(narrow_server.url)
        with pytest.raises(StoreUnavailable, match="takes no more connections"):
            store.read("order-42")
        store.close()


def test_a_forbidden_subscription_is_told(server: RedisServer) -> None:
    """A user that may read but not subscribe is told so, instead of waiting in vain."""
    with server.client() as client:
        rules = "on >secret ~celeriac:* resetchannels &celeriac:* +@all -subscribe"
        client.execute_command("ACL", "SETUSER", "deaf", *rules.split())
    store = RedisStore(server.url.replace("redis://", "redis://deaf:secret@"))
    [run] = the_runs(store, 1)
    with pytest.raises(StoreError, match="forbids it by its ACL"):
        wait_for_rest(store, run.id, 20)
    store.close()


def test_a_run_that_cannot_be_read_is_told(server: RedisServer, redis_store: RedisStore) -> None:
    """Who waits for a run that is broken is told so, and the others are not."""
    [broken, sound] = the_runs(redis_store, 2)
    waiting = Waiting(redis_store, sound.id)
    with server.client() as client:
        client.hset(redis_store._keys.of(broken.id).run(broken.id), "h", "nonsense")
    with pytest.raises(StoreError):
        wait_for_rest(redis_store, broken.id, 20)
    write(redis_store, ending(sound))
    assert waiting.end() is DONE


def test_a_store_that_is_away_is_told(tmp_path: Path) -> None:  # noqa: ARG001
    """Many who find Redis away are all told so, after the same short patience."""
    store = RedisStore(f"redis://127.0.0.1:{free_port()}/0")
    began = time.monotonic()
    waiting = [Waiting(store, f"order-{n}") for n in range(50)]
    ends = [each.end() for each in waiting]
    assert all(isinstance(end, StoreUnavailable) for end in ends)
    assert len({id(end) for end in ends}) == 50, "each raises an error of its own"
    assert time.monotonic() - began < 10
    store.close()


# --- forks -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("fork", [os.fork, ctypes.PyDLL(None).fork], ids=["python's", "C's"])
def test_a_fork_takes_nothing_from_its_parent(
    server: RedisServer, redis_store: RedisStore, fork: Callable[[], int]
) -> None:
    """A child that was forked while people waited waits for itself; its parent goes on."""
    runs = the_runs(redis_store, 2)
    waiting = Waiting(redis_store, runs[0].id)
    until(lambda: listened_to(server, redis_store, runs[0].id))
    child = fork()
    if child == 0:
        status = 1
        try:
            end = wait_for_rest(redis_store, runs[1].id, 20).run
            status = 0 if end is not None and end.status is DONE else 2
        finally:
            os._exit(status)
    until(lambda: listened_to(server, redis_store, *(run.id for run in runs)))
    write(redis_store, ending(runs[1]))
    assert os.waitpid(child, 0)[1] == 0
    assert waiting.waits
    assert listened_to(server, redis_store, runs[0].id), "the child has closed its parent's"
    write(redis_store, ending(runs[0]))
    assert waiting.end() is DONE


# --- coroutines --------------------------------------------------------------------------------


def test_a_thousand_coroutines_wait_on_one_thread(narrow_server: RedisServer) -> None:
    """1,000 coroutines take one more thread, two connections, and are all told."""
    store = RedisStore(narrow_server.url)
    runs = the_runs(store, 1000)
    names = [run.id for run in runs]
    before = threading.active_count()

    async def main() -> tuple[set[RunStatus | None], int]:
        tasks = [asyncio.create_task(await_rest(store, run.id, 60)) for run in runs]
        await asyncio.to_thread(until, lambda: listened_to(narrow_server, store, *names))
        threads = threading.active_count() - before
        assert len(connections(narrow_server)) <= 2
        await asyncio.to_thread(lambda: [write(store, ending(run)) for run in runs])
        ends = await asyncio.gather(*tasks)
        return {end.run.status if end.run else None for end in ends}, threads

    statuses, threads = asyncio.run(main())
    assert statuses == {DONE}
    assert threads <= 2, "ours, and one of asyncio's own that this test uses"
    store.close()


def test_a_cancelled_task_leaves_nothing(server: RedisServer, redis_store: RedisStore) -> None:
    """Whoever is cancelled while it waits is on no list any more, in no process."""
    runs = the_runs(redis_store, 50)
    names = [run.id for run in runs]

    async def main() -> None:
        tasks = [asyncio.create_task(await_rest(redis_store, run.id, None)) for run in runs]
        await asyncio.to_thread(until, lambda: listened_to(server, redis_store, *names))
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)

    asyncio.run(main())
    assert redis_store._waiting._waiters == {}
    with server.client() as client:
        until(lambda: client.pubsub_channels() == [])


def test_a_coroutine_ends_in_time(redis_store: RedisStore) -> None:
    """A timeout is the time, and says how the run stands."""
    [run] = the_runs(redis_store, 1)
    began = time.monotonic()
    with pytest.raises(ResultTimeout, match=r"is running after 0\.3 s"):
        asyncio.run(await_rest(redis_store, run.id, 0.3))
    assert 0.3 <= time.monotonic() - began < 2
    assert redis_store._waiting._waiters == {}


def test_a_loop_that_has_closed_is_in_nobodys_way(
    server: RedisServer, redis_store: RedisStore
) -> None:
    """A coroutine that was left waiting when its loop closed keeps no other from being told."""
    [run] = the_runs(redis_store, 1)
    loop = asyncio.new_event_loop()
    abandoned = loop.create_task(await_rest(redis_store, run.id, None))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    waiting = [Waiting(redis_store, run.id) for _ in range(3)]
    until(lambda: listened_to(server, redis_store, run.id))
    write(redis_store, ending(run))
    assert {each.end() for each in waiting} == {DONE}
    abandoned._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be left


def test_a_collected_coroutine_leaves_at_any_moment(redis_store: RedisStore) -> None:
    """The garbage collector may end a wait in a thread that is in the middle of another one."""
    [run] = the_runs(redis_store, 1)
    waiting = redis_store._waiting
    loop = asyncio.new_event_loop()
    abandoned = await_rest(redis_store, run.id, None)

    async def begin() -> None:
        abandoned.send(None)

    loop.run_until_complete(begin())
    loop.close()
    assert list(waiting._waiters) == [run.id]
    with waiting._lock:
        abandoned.close()  # what the collector does
        assert waiting._waiters == {}


def test_loops_of_several_threads_wait_side_by_side(
    server: RedisServer, redis_store: RedisStore
) -> None:
    """Any number of event loops in a process share the subscription."""
    runs = the_runs(redis_store, 5)
    ends: list[RunStatus | None] = []

    def serve(run_id: str) -> None:
        found = asyncio.run(await_rest(redis_store, run_id, 20)).run
        ends.append(found.status if found else None)

    threads = [threading.Thread(target=serve, args=(run.id,)) for run in runs]
    for thread in threads:
        thread.start()
    until(lambda: listened_to(server, redis_store, *(run.id for run in runs)))
    for run in runs:
        write(redis_store, ending(run))
    for thread in threads:
        thread.join(20)
    assert ends == [DONE] * 5


def test_one_who_cannot_be_told_is_in_nobodys_way(
    server: RedisServer, redis_store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in one who waits is logged; the others are told."""
    [run] = the_runs(redis_store, 1)

    def told(_: object) -> None:
        raise RuntimeError("gone")

    redis_store.add_waiter(Waiter(run.id, told))
    waiting = [Waiting(redis_store, run.id) for _ in range(3)]
    until(lambda: listened_to(server, redis_store, run.id))
    write(redis_store, ending(run))
    assert {each.end() for each in waiting} == {DONE}
    until(lambda: "cannot be told" in caplog.text)
