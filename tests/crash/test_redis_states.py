"""The Redis of the runs is up but not willing: loading, read-only, full, without its scripts.

Owns: each of these states while an attempt has something to report, forward and back, with the
broker left alone.  Refuses to know: a Redis that is gone (`test_matrix` restarts it).
"""

from __future__ import annotations

import contextlib
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import StoreFull, StoreUnavailable
from tests.crash.crash_saga import Journey
from tests.crash.environment import AFTER_OUTAGE, Arena, Crashed, now
from tests.proof import sometimes
from tests.workers.histories import claims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.redis_server import RedisServer

_KEYS, _DELAY = 2_000, 1_000  # of filling, and microseconds to load each: two seconds of LOADING


def _state(arena: Arena) -> RedisServer:
    assert arena.world.state is not None
    return arena.world.state


def _refused(arena: Arena, name: str) -> int:
    """How often Redis has answered with an error of this name."""
    with _state(arena).client() as client:
        found = client.info("errorstats").get(f"errorstat_{name}", {"count": 0})
    return int(found["count"])


@contextlib.contextmanager
def _read_only(arena: Arena, go: Callable[[], None]) -> Iterator[None]:
    before = _refused(arena, "READONLY")
    with _state(arena).client() as client:
        client.replicaof("127.0.0.1", 1)  # where nobody is: it keeps what it has, and refuses
        go()
        with pytest.raises(StoreUnavailable, match="is a replica"):
            arena.saga.start(Journey(), id="refused")
        arena.world.until(lambda: _refused(arena, "READONLY") > before + 2, "it was refused")
        client.replicaof("NO", "ONE")
    yield


@contextlib.contextmanager
def _full(arena: Arena, go: Callable[[], None]) -> Iterator[None]:
    with _state(arena).client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
        go()
        with pytest.raises(StoreFull, match="maxmemory"):
            arena.saga.start(Journey(), id="refused")
        yield  # what is at work comes to rest all the same
        client.config_set("maxmemory", 0)


@contextlib.contextmanager
def _forgetful(arena: Arena, go: Callable[[], None]) -> Iterator[None]:
    before = _refused(arena, "NOSCRIPT")
    # Whoever finds its script gone is cut off before it can load it, until the test has seen that.
    cut_off = arena.trap("store.forgotten", "", "fail", again=True)
    with _state(arena).client() as client:
        client.script_flush()
    go()
    arena.world.until(lambda: len(cut_off.hits) > 2, "scripts were missed")
    cut_off.take_away()
    yield
    missed = _refused(arena, "NOSCRIPT") - before
    assert missed > 0
    sometimes.seen(sometimes.NOSCRIPT, missed)


@contextlib.contextmanager
def _loading(arena: Arena, go: Callable[[], None]) -> Iterator[None]:
    server = _state(arena)
    with server.client() as client:
        client.mset({f"filling:{number}": "x" * 100 for number in range(_KEYS)})
        client.bgrewriteaof()
        arena.world.until(lambda: _rewritten(client), "its file is short")
    slow = {"key-load-delay": _DELAY, "loading-process-events-interval-bytes": 1024}
    server.kill()
    server.options.update(slow)
    starter = Thread(target=server.start)
    starter.start()
    arena.world.until(lambda: _is_loading(arena), "it is loading")
    go()
    with pytest.raises(StoreUnavailable, match="is loading its data"):
        arena.world.kit.sagas.runtime.engine.store.read("anybody")
    starter.join(20)
    for name in slow:
        del server.options[name]
    yield


def _rewritten(client: redis.Redis) -> bool:
    told: Any = client.info("persistence")
    return not told["aof_rewrite_in_progress"] and not told["aof_rewrite_scheduled"]


def _is_loading(arena: Arena) -> bool:
    try:
        arena.world.kit.sagas.runtime.engine.store.read("anybody")
    except StoreUnavailable as error:
        return "is loading its data" in str(error)
    raise AssertionError("it has loaded already: give it more to load")


STATES = {"READONLY": _read_only, "OOM": _full, "NOSCRIPT": _forgetful, "LOADING": _loading}


@pytest.mark.parametrize("state", STATES)
def test_redis_will_not(split_arena: Arena, state: str) -> None:
    """Whatever Redis answers instead, what was done goes on record, and costs no attempt."""
    arena = split_arena
    paths = {"forward": ("", "do"), "failing": ("send", "do"), "backward": ("send", "undo")}
    held = []
    for name, (fails, phase) in paths.items():
        run_id = f"{state}-{name}"
        step = "send" if name == "failing" else "pay"
        trap = arena.trap("step.performed", f"{run_id}:1:{step}:{phase}:1:", "hold")
        held.append((arena.start(run_id, fails), trap, "compensated" if fails else "completed"))
    arena.hit(*(trap for _, trap, _ in held))

    def go() -> None:
        for _, trap, _ in held:
            trap.go()

    with STATES[state](arena, go):
        arena.judge((Crashed(*each, now()) for each in held), AFTER_OUTAGE)
    for run, _, status in held:
        assert claims(run, "pay") == claims(run, "send") == [1], run.id
        assert claims(run, "pay", "undo") == ([1] if status == "compensated" else []), run.id
