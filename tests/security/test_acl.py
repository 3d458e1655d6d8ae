"""The users of `docs/security.md`: each may do what it needs, and not what the other may (X3).

Owns: reading the users off the page, and a world in which everybody logs in as one of them.
Refuses to know: what Redis makes of a rule.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import redis

from celeriac import RunNotFound, StoreError
from celeriac.app.wiring import sweep_once
from celeriac.engine.engine import Engine
from celeriac.machine.commands import Start
from celeriac.store.redis import RedisStore
from tests.engine.driver import TERMS
from tests.house.sources import ROOT
from tests.machine.story import saga
from tests.redis_server import RedisServer
from tests.workers import load
from tests.workers.kit import Trip
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
USERS = dict(re.findall(r"^user (\w+) (.+)$", PAGE, re.MULTILINE))
ADDED = re.search(r"On Redis (\d+)\.(\d+) and later.* add `([^`]+)`", PAGE)
PASSWORDS = {name: re.findall(r">(\S+)", rules)[0] for name, rules in USERS.items()}


class Login(RedisServer):
    """A server as one of its users sees it."""

    def __init__(self, server: RedisServer, user: str) -> None:
        super().__init__(server.folder)
        self.port, self.user = server.port, user

    @property
    def url(self) -> str:
        """Where it listens, with name and password."""
        return f"redis://{self.user}:{PASSWORDS[self.user]}@127.0.0.1:{self.port}/0"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis with the users of the page, and what it adds for newer servers."""
    assert ADDED is not None
    with RedisServer(tmp_path / "redis") as found:
        with found.client() as client:
            for name, rules in USERS.items():
                client.execute_command("ACL", "SETUSER", name, *rules.split())
            if found.version >= (int(ADDED[1]), int(ADDED[2])):
                client.execute_command("ACL", "SETUSER", "celeriac", *ADDED[3].split())
        yield found


@pytest.fixture
def world(server: RedisServer, tmp_path: Path) -> Iterator[World]:
    """A world whose messages and runs are in one Redis, under two names."""
    made = World(tmp_path, Login(server, "broker"), Login(server, "celeriac"))
    try:
        yield made
    finally:
        made.close()


def refusals(server: RedisServer) -> list[str]:
    """What the server has refused to anybody."""
    with server.client() as client:
        log = client.acl_log()
    return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in log]


def test_two_users_are_enough(world: World, server: RedisServer) -> None:
    """Runs complete, fail, are undone, steered, listed and removed; nobody is refused anything."""
    world.worker("celery")
    world.beat()
    trip, sagas = world.kit.trip, world.kit.sagas
    scripts: list[dict[str, list[str]]] = [
        {"pay": ["raise"]},
        {"book": ["kill"]},
        {"send": ["abort"]},
        {"send": ["abort"], "pay.undo": ["raise"] * 3},
    ]
    runs = [
        trip.start(Trip(script=script), id=f"run-{number}", tags={"shop": "7"})
        for number, script in enumerate(scripts)
    ]
    load.all_rest(world, runs)
    assert [run.status.value for run in runs] == ["completed"] * 2 + ["compensated", "failed"]
    assert runs[0].result(timeout=20).number
    runs[0].cancel("sent back")
    runs[3].retry(reason="again")
    undone = lambda: all(runs[n].status == "compensated" for n in (0, 2, 3))  # noqa: E731
    world.until(undone, "these are undone")
    held = trip.start(Trip(script={"pay": ["gate"]}), id="held")
    world.reached(held, "pay")
    held.pause(reason="wait")
    held.resume(reason="go")
    held.terminate(reason="enough")
    assert len(sagas.runs(limit=3).runs) == 3
    assert len(sagas.runs(tags={"shop": "7"}, status="compensated").runs) == 3
    assert sagas.runtime.engine.store.counts()
    with server.client() as client:
        shard = sagas.runtime.engine.store.shard_of(runs[2].id)
        client.zadd(f"celeriac:{{{shard}}}:expire", {runs[2].id: 1})
    world.until(lambda: _is_gone(runs[2]), "it was removed")
    sweep_once(sagas.runtime)
    assert refusals(server) == []


def _is_gone(run: Any) -> bool:
    try:
        run.state()
    except RunNotFound:
        return True
    return False


def test_each_user_stays_on_its_side(world: World, server: RedisServer) -> None:
    """With the broker's name one can read and write no run, with the state's no message."""
    run = world.kit.trip.start(Trip(), id="order-42")
    shard = world.kit.sagas.runtime.engine.store.shard_of(run.id)
    prefix = f"celeriac:{{{shard}}}"
    forbidden: dict[str, list[tuple[Any, ...]]] = {
        "broker": [
            ("HGETALL", f"{prefix}:run:order-42"),
            ("HSET", f"{prefix}:run:order-42", "h", "[1]"),
            ("ZADD", f"{prefix}:wake", 1, "order-42"),
            ("EVAL", f"return redis.call('DEL', '{prefix}:run:order-42')", 0),
            *(("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("ACL", "LIST")),
        ],
        "celeriac": [
            ("LPUSH", "celery", "{}"),
            ("LRANGE", "celery", 0, -1),
            ("PUBLISH", "/0.celery.pidbox", "{}"),
            ("GET", "another:{0}:key"),
            *(("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "SET", "save", ""), ("SHUTDOWN",)),
        ],
    }
    for name, commands in forbidden.items():
        with redis.Redis.from_url(Login(server, name).url) as client:
            for command in commands:
                with pytest.raises(redis.ResponseError, match=r"permission|can't access"):
                    client.execute_command(*command)
    assert run.status == "running"


def test_a_user_that_may_too_little_is_told(server: RedisServer) -> None:
    """A missing permission is an error in words, and nothing is written half."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "celeriac", "-rpush")
    store = RedisStore(Login(server, "celeriac").url)
    with pytest.raises(StoreError, match="forbids it by its ACL"):
        Engine(store, TERMS).start(saga("reserve"), Start("order-42", "{}", "me", 700), {})
    store.close()
