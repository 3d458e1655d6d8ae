"""The users that `saga doctor --acl` prints: each may do what it needs, and no more (X3).

Owns: a world in which everybody logs in as one of them, and that the page shows the same.
Refuses to know: what Redis makes of a rule.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import redis
from celery import Celery

from celeriac import ResultTimeout, RunNotFound, Sagas, StoreError
from celeriac.app.sweeping import sweep_once
from celeriac.doctor import users
from celeriac.doctor.acl import COMMANDS
from celeriac.engine.engine import Engine
from celeriac.machine import Plan
from celeriac.machine.commands import Claim, Fail, Start, Terminate
from celeriac.store.redis import RedisStore
from tests.engine.driver import TERMS
from tests.house.sources import ROOT
from tests.machine.story import saga, step
from tests.redis_server import RedisServer
from tests.workers import load
from tests.workers.kit import Trip, build
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
LINE = re.compile(r"^user (\w+) (.+)$", re.MULTILINE)
ADDED = re.search(r"On Redis (\d+)\.(\d+) and later.* add `([^`]+)`", PAGE)
PASSWORDS = {"celeriac": "change-me", "broker": "change-me-too"}
# Said by clients and operators, or by nobody in this test.
SCRIPTS = [each.read_text() for each in (ROOT / "worker/celeriac/store").glob("*.lua")]
UNUSED = {"auth", "hello", "ping", "client|setname", "config|get", "select"}


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
    """A Redis with the users that the doctor prints for the kit, and no other rights."""
    with RedisServer(tmp_path / "redis") as found:
        with found.client() as client:
            kit = build(found.url, tmp_path)
            for each in users(kit.sagas.runtime):
                [(name, rules)] = LINE.findall(each.line)
                client.execute_command("ACL", "SETUSER", name, *rules.split())
            kit.sagas.runtime.close()
        yield found


@pytest.fixture
def world(server: RedisServer, tmp_path: Path) -> Iterator[World]:
    """A world whose messages and runs are in one Redis, under two names."""
    made = World(tmp_path, Login(server, "broker"), Login(server, "celeriac"))
    try:
        yield made
    finally:
        made.close()


def refusals(server: RedisServer) -> set[str]:
    """What the server has refused to anybody."""
    with server.client() as client:
        log = client.acl_log()
    found = {f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in log}
    # Redis 6.2 refuses what it does not know, as the page says; clients do without.
    unknown = (
        set() if server.version >= (7, 0) else {f"{user}: command client" for user in PASSWORDS}
    )
    return found - unknown


def used_commands(server: RedisServer) -> set[str]:
    """The commands of the rights, as they are spelled there, that somebody has sent."""
    with server.client() as client:
        used = {name.removeprefix("cmdstat_").lower() for name in client.info("commandstats")}
    # Redis 6.2 counts `client` only.
    counted = str if server.version >= (7, 0) else lambda command: command.partition("|")[0]
    return {command for command in COMMANDS if counted(command) in used}


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
    with pytest.raises(ResultTimeout):
        trip.start(Trip(script={"pay": ["gate"]}), id="awaited").result(timeout=0.2)
    store = sagas.runtime.engine.store
    store.pulse(1_000, 10)
    _poll_side_by_side(sagas.runtime.engine)
    assert store.keep_definition("trip", 1, "saga: trip") == store.definitions()["trip", 1]
    assert sagas.stats().sagas
    sweep_once(sagas.runtime)
    assert refusals(server) == set()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "celeriac", "+scan", "+zscan")
        assert not sagas.repair(dry_run=True).left
        assert refusals(server) == set()
    assert set(COMMANDS) - used_commands(server) - UNUSED == set()


def _poll_side_by_side(engine: Engine) -> None:
    """Two steps that cannot say yet, in turn: their events are dropped between others."""
    plan = Plan(saga="polls", nodes=(step("left"), step("right")))
    engine.start(plan, Start("polling", "{}", "me", 700), {})
    for number, name in ((1, "left"), (1, "right"), (2, "left"), (3, "left")):
        engine.command("polling", Claim(name, "do", number, f"{name}-{number}"))
        later = Fail(name, "do", number, f"{name}-{number}", kind="postpone", delay=1)
        engine.command("polling", later)
    engine.command("polling", Terminate("enough"))


def test_what_scripts_do_is_permitted() -> None:
    """Each command of each script, and each write that the commits consist of."""
    called = {name for text in SCRIPTS for name in re.findall(r"redis\.p?call\('(\w+)'", text)}
    written = {name for text in SCRIPTS for name in re.findall(r"(\w+) = \{\d", text)}
    assert {"RPUSH", "LTRIM", "ZSCORE"} <= called | written
    assert {name.lower() for name in called | written} <= {*COMMANDS}


def test_the_page_shows_what_is_printed(server: RedisServer) -> None:
    """The lines of an application that has set nothing, but for what newer servers add."""
    app = Celery("shop", broker=server.url, set_as_current=False)
    sagas = Sagas(app)
    printed = [each.line for each in users(sagas.runtime)]
    sagas.runtime.close()
    assert ADDED is not None
    if server.version >= (int(ADDED[1]), int(ADDED[2])):
        assert printed[0].endswith(f" {ADDED[3]}")
        printed[0] = printed[0].removesuffix(f" {ADDED[3]}")
    assert printed == [f"user {name} {rules}" for name, rules in LINE.findall(PAGE)]


def test_names_are_those_of_the_application(server: RedisServer) -> None:
    """Its users, namespace, prefix and queues; no password is among them."""
    url = f"redis://ann:{quote('s/ecr#et', safe='')}@127.0.0.1:{server.port}/0"
    app = Celery("shop", broker=url, set_as_current=False)
    app.conf.update(
        saga_namespace="shop",
        task_default_queue="odd[1]",
        broker_transport_options={"global_keyprefix": "x:"},
    )
    sagas = Sagas(app)
    state, messages = (each.line for each in users(sagas.runtime))
    sagas.runtime.close()
    assert state.startswith("user ann on >change-me resetkeys resetchannels ~x:shop:{*}:* ")
    assert "~x:odd\\[1\\] ~x:odd\\[1\\]??[0-9] ~x:celeriac.shop " in messages
    assert not re.search("ecr|s%2F", state + messages)


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
