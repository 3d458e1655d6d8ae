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
from tests.crash.crash_saga import CrashInput
from tests.crash.environment import AFTER_OUTAGE, Crashed, CrashWorld, now
from tests.proof import sometimes
from tests.workers.histories import claims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.redis_server import RedisServer

_KEYS, _DELAY = 2_000, 1_000  # of filling, and microseconds to load each: two seconds of LOADING


def _state(crash_world: CrashWorld) -> RedisServer:
    assert crash_world.world.state is not None
    return crash_world.world.state


def _refused(crash_world: CrashWorld, name: str) -> int:
    """How often Redis has answered with an error of this name."""
    server = _state(crash_world)
    with server.client() as client:
        if server.version < (7, 0):  # it gives what comes out of scripts another name
            counts: Any = client.info("commandstats")
            return int(counts.get("cmdstat_evalsha", {"failed_calls": 0})["failed_calls"])
        found = client.info("errorstats").get(f"errorstat_{name}", {"count": 0})
    return int(found["count"])


@contextlib.contextmanager
def _read_only(crash_world: CrashWorld, go: Callable[[], None]) -> Iterator[None]:
    before = _refused(crash_world, "READONLY")
    with _state(crash_world).client() as client:
        client.replicaof("127.0.0.1", 1)  # where nobody is: it keeps what it has, and refuses
        go()
        with pytest.raises(StoreUnavailable, match="is a replica"):
            crash_world.saga.start(CrashInput(), id="refused")
        crash_world.world.until(
            lambda: _refused(crash_world, "READONLY") > before + 2, "it was refused"
        )
        client.replicaof("NO", "ONE")
    yield


@contextlib.contextmanager
def _full(crash_world: CrashWorld, go: Callable[[], None]) -> Iterator[None]:
    before = _refused(crash_world, "OOM")
    with _state(crash_world).client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
        go()
        with pytest.raises(StoreFull, match="maxmemory"):
            crash_world.saga.start(CrashInput(), id="refused")
        if _state(crash_world).version >= (7, 0):
            yield  # what is at work comes to rest all the same
            client.config_set("maxmemory", 0)
        else:
            crash_world.world.until(lambda: _refused(crash_world, "OOM") > before + 2, "it waits")
            client.config_set("maxmemory", 0)
            yield


@contextlib.contextmanager
def _forgetful(crash_world: CrashWorld, go: Callable[[], None]) -> Iterator[None]:
    before = _refused(crash_world, "NOSCRIPT")
    # Whoever finds its script gone is cut off before it can load it, until the test has seen that.
    cut_off = crash_world.failpoint("store.forgotten", "", "fail", again=True)
    with _state(crash_world).client() as client:
        client.script_flush()
    go()
    crash_world.world.until(lambda: len(cut_off.hits) > 2, "scripts were missed")
    cut_off.take_away()
    yield
    missed = _refused(crash_world, "NOSCRIPT") - before
    assert missed > 0
    sometimes.seen(sometimes.NOSCRIPT, missed)


@contextlib.contextmanager
def _loading(crash_world: CrashWorld, go: Callable[[], None]) -> Iterator[None]:
    server = _state(crash_world)
    with server.client() as client:
        client.mset({f"filling:{number}": "x" * 100 for number in range(_KEYS)})
        client.bgrewriteaof()
        crash_world.world.until(lambda: _rewritten(client), "its file is short")
    slow = {"key-load-delay": _DELAY, "loading-process-events-interval-bytes": 1024}
    server.kill()
    server.options.update(slow)
    starter = Thread(target=server.start)
    starter.start()
    crash_world.world.until(lambda: _is_loading(crash_world), "it is loading")
    go()
    with pytest.raises(StoreUnavailable, match="is loading its data"):
        crash_world.world.kit.sagas.runtime.engine.store.read("anybody")
    starter.join(20)
    for name in slow:
        del server.options[name]
    yield


def _rewritten(client: redis.Redis) -> bool:
    told: Any = client.info("persistence")
    return not told["aof_rewrite_in_progress"] and not told["aof_rewrite_scheduled"]


def _is_loading(crash_world: CrashWorld) -> bool:
    try:
        crash_world.world.kit.sagas.runtime.engine.store.read("anybody")
    except StoreUnavailable as error:
        return "is loading its data" in str(error)
    raise AssertionError("it has loaded already: give it more to load")


STATES = {"READONLY": _read_only, "OOM": _full, "NOSCRIPT": _forgetful, "LOADING": _loading}


@pytest.mark.parametrize("state", STATES)
def test_redis_will_not(split_crash_world: CrashWorld, state: str) -> None:
    """Whatever Redis answers instead, what was done goes on record, and costs no attempt."""
    crash_world = split_crash_world
    paths = {"forward": ("", "do"), "failing": ("send", "do"), "backward": ("send", "undo")}
    held = []
    for name, (fails, phase) in paths.items():
        run_id = f"{state}-{name}"
        step = "send" if name == "failing" else "pay"
        failpoint = crash_world.failpoint("step.performed", f"{run_id}:1:{step}:{phase}:1:", "hold")
        held.append(
            (crash_world.start(run_id, fails), failpoint, "compensated" if fails else "completed")
        )
    crash_world.hit(*(failpoint for _, failpoint, _ in held))

    def go() -> None:
        for _, failpoint, _ in held:
            failpoint.go()

    with STATES[state](crash_world, go):
        crash_world.judge((Crashed(*each, now()) for each in held), AFTER_OUTAGE)
    for run, _, status in held:
        assert claims(run, "pay") == claims(run, "send") == [1], run.id
        assert claims(run, "pay", "undo") == ([1] if status == "compensated" else []), run.id
