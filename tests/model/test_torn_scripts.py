"""Each script is made to fail at every position: an error leaves every key as it was (I12).

Owns: the calls that are hurt, and the ways of hurting them: foreign keys, garbage arguments,
forbidden and renamed commands, forbidden keys, a full memory, a replica, a kill in the middle.
Refuses to know: what the scripts are good for.

Redis keeps what a script wrote before it failed (F7), so a script that can fail after its first
write is found here by comparing the DUMP of every key.

The file is long because each way to hurt a script needs a Redis that is hurt in that way.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from celeriac.machine.runs import RunStatus
from celeriac.store.commit import Call, spell_change, spell_removal
from celeriac.store.keys import Keys, lease_member
from celeriac.store.scripts import COMMIT, FORGET, PAGE, PULSE, SWEPT, TURN, WAKE, Script
from tests.model.expected import stored
from tests.model.faulty_connection import Dressed
from tests.model.test_machine import PROVING
from tests.redis_server import RedisServer
from tests.store.runs import PLAN, a_run, ending, lease, moving, starting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from celeriac.store import Change

KEYS = Keys("celeriac", 2)
SHARD = KEYS.of("order-42")
RUN = a_run(tags=(("tenant", "acme"), ("a=b", "c")))
AT_WORK = moving(RUN, 7, leases={lease(RUN): 5}, claimed=("bank", 5)).run
ENDED = replace(AT_WORK, version=3, status=RunStatus.COMPLETED)
START = starting(RUN, fields={"in:order": '"tea"'})
CLAIM = moving(RUN, 7, leases={lease(RUN): 5}, claimed=("bank", 5))
END = ending(AT_WORK, fields={"out:reserve": "1"}, released=[lease(RUN)], expire_at=9)


class Case(NamedTuple):
    """A call that succeeds when nobody hurts it, and what must have been written before."""

    script: Script
    call: Call
    before: tuple[Change, ...] = ()


def spelled(change: Change) -> Call:
    """A change as `commit.lua` is told it."""
    return spell_change(SHARD, change, lambda plan: plan.model_dump_json())


CASES = {
    "a start": Case(COMMIT, spelled(START)),
    "a claim": Case(COMMIT, spelled(CLAIM), (START,)),
    "an end": Case(COMMIT, spelled(END), (START, CLAIM)),
    "an expiry": Case(
        COMMIT,
        spelled(moving(AT_WORK, 9, lapsed=(lease(RUN), 5), released=[lease(RUN)])),
        (START, CLAIM),
    ),
    "a new start": Case(
        COMMIT,
        spelled(
            starting(
                replace(RUN, epoch=2, version=4, tags=(("b", "c"),)),
                before=ENDED,
                fresh=True,
                fields={"in:order": '"gin"'},
            )
        ),
        (START, CLAIM, END),
    ),
    "a removal": Case(COMMIT, spell_removal(SHARD, RUN.id, ENDED, 9), (START, CLAIM, END)),
    "a renewal": Case(
        WAKE,
        Call((SHARD.wake,), (lease_member(lease(RUN)), "", "+500", RUN.id, 7, 8)),
        (START, CLAIM),
    ),
    "a sign of life": Case(PULSE, Call((SHARD.pulse, SHARD.outages), (1000, 5000))),
    "a mark": Case(SWEPT, Call((SHARD.sweep,), (5, 6))),
    "a turn": Case(TURN, Call((SHARD.turns,), ("removal", 1000, 0))),
    "a plan that goes": Case(
        FORGET,
        Call(
            (SHARD.plans, SHARD.plan(PLAN.fingerprint), SHARD.runs("place_order:failed")),
            (f"{PLAN.fingerprint}:place_order", RUN.started_at, "(9"),
        ),
        (START,),
    ),
    "a page": Case(
        PAGE, Call((SHARD.runs("place_order:running"),), ("+", "-", 5, 50, 1)), (START,)
    ),
}
WRITES = ("HSET", "RPUSH", "SADD", "SET", "ZADD", "ZREM", "DEL", "PUBLISH", "ZREMRANGEBYRANK")
GARBAGE = ("", "x", "-1", "99999", "nan")
MORE_GARBAGE = ("0", "1.5", "inf", "1e400", "+x", "\x00", "FLUSHALL")  # with PROVE=1
FOREIGN: dict[str, tuple[Any, ...]] = {
    "string": ("SET", "not ours"),
    "list": ("RPUSH", "not ours"),
    "hash": ("HSET", "not", "ours"),
    "set": ("SADD", "not ours"),
    "zset": ("ZADD", 1, "not ours"),
    "stream": ("XADD", "*", "not", "ours"),
}

each_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that every test here leaves as it should be."""
    with RedisServer(tmp_path_factory.mktemp("torn")) as found:
        yield found


def prepare(server: RedisServer, case: Case) -> None:
    """Empty the server and write what the case builds on."""
    with server.client() as client:
        client.flushall()
        for change in case.before:
            assert run(client, COMMIT, spelled(change)) == 1


def run(client: redis.Redis, script: Script, call: Call, *, flagged: bool = False) -> Any:
    """Run a script as the store does; raises what Redis answers."""
    text = script.beyond_full if flagged else script.plain
    return client.eval(text, len(call.keys), *call.keys, *call.args)


def everything(server: RedisServer) -> dict[bytes, bytes]:
    """All keys, each with what it holds."""
    with redis.Redis(port=server.port, protocol=2) as client:
        keys: list[bytes] = sorted(client.scan_iter(count=1000))
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.dump(key)
        return dict(zip(keys, pipeline.execute(), strict=True))


def torn(server: RedisServer, ask: Callable[[], Any]) -> str:
    """Return '' if *ask* succeeded, or failed without a trace; else what it left behind."""
    before = everything(server)
    try:
        ask()
    except redis.RedisError as error:
        changed = sorted(key for key, _ in before.items() ^ everything(server).items())
        return f"{error} has changed {changed}" if changed else ""
    return ""


def refused_whole(server: RedisServer, ask: Callable[[], Any], match: str) -> None:
    """Hold *ask* to failing, without a trace."""
    before = everything(server)
    with pytest.raises(redis.RedisError, match=match):
        ask()
    assert everything(server) == before


@each_case
def test_a_call_that_nobody_hurts_succeeds(server: RedisServer, name: str) -> None:
    """The calls that are hurt below are good ones."""
    case = CASES[name]
    prepare(server, case)
    with server.client() as client:
        assert run(client, case.script, case.call)


# --- what is in the way ------------------------------------------------------------------------


@each_case
def test_a_foreign_key_anywhere(server: RedisServer, name: str) -> None:
    """Something else under any of the keys, of any type: all is written, or nothing."""
    case = CASES[name]
    with server.client() as client:
        for key in case.call.keys:
            for kind, (verb, *args) in FOREIGN.items():
                prepare(server, case)
                client.delete(key)
                client.execute_command(verb, key, *args)
                left = torn(server, lambda: run(client, case.script, case.call))
                assert not left, f"{kind} under {key}"


@each_case
def test_garbage_anywhere(server: RedisServer, name: str) -> None:
    """Any argument may be garbage, missing or doubled: all is written, or nothing."""
    case = CASES[name]
    prepare(server, case)
    before = everything(server)
    with server.client() as client:
        for args in spoilt(list(case.call.args)):
            if _fails(lambda: run(client, case.script, Call(case.call.keys, args))):  # noqa: B023
                assert everything(server) == before, args
            else:
                prepare(server, case)


def spoilt(args: list[Any]) -> Iterator[list[Any]]:
    """The arguments with one of them hurt."""
    kinds = GARBAGE + MORE_GARBAGE if PROVING else GARBAGE
    for at in range(len(args)):
        yield from ([*args[:at], garbage, *args[at + 1 :]] for garbage in kinds)
        yield args[:at] + args[at + 1 :]
        yield [*args[: at + 1], *args[at:]]
        yield args[:at]


# --- who may do what ---------------------------------------------------------------------------


@each_case
def test_a_forbidden_command(server: RedisServer, name: str) -> None:
    """An ACL that forbids any one of the commands forbids all of it, or nothing."""
    case = CASES[name]
    if server.version < (7, 0):
        pytest.skip("Redis 6.2 cannot tell in advance: docs/durability.md says so")
    with server.client() as admin:
        for command in WRITES:
            rules = ("on", ">pw", "~*", "&*", "+@all", f"-{command}")
            admin.execute_command("ACL", "SETUSER", "worker", "reset", *rules)
            prepare(server, case)
            with server.client(username="worker", password="pw") as client:  # noqa: S106 -- a test's
                assert not torn(server, lambda: run(client, case.script, case.call)), command


@each_case
def test_a_forbidden_channel(server: RedisServer, name: str) -> None:
    """A user who may write but not publish does all of a call, or nothing."""
    case = CASES[name]
    with server.client() as admin:
        rules = ("on", ">pw", "~*", "resetchannels", "+@all")
        admin.execute_command("ACL", "SETUSER", "worker", "reset", *rules)
        prepare(server, case)
        with server.client(username="worker", password="pw") as client:  # noqa: S106 -- a test's
            assert not torn(server, lambda: run(client, case.script, case.call))


@each_case
def test_a_forbidden_key(server: RedisServer, name: str) -> None:
    """An ACL that leaves out any one of the keys forbids all of it."""
    case = CASES[name]
    with server.client() as admin:
        for left_out in case.call.keys:
            allowed = [f"~{key}" for key in case.call.keys if key != left_out]
            rules = ("on", ">pw", "&*", "+@all", *allowed)
            admin.execute_command("ACL", "SETUSER", "worker", "reset", *rules)
            prepare(server, case)
            with server.client(username="worker", password="pw") as client:  # noqa: S106 -- a test's
                assert not torn(server, lambda: run(client, case.script, case.call)), left_out


@pytest.mark.parametrize("command", [command for command in WRITES if command != "PUBLISH"])
def test_a_renamed_command(tmp_path: Path, command: str) -> None:
    """A server on which a command goes by another name does all of a call, or nothing."""
    config = tmp_path / "renamed.conf"
    config.write_text(f"rename-command {command} MINE{command}\n")
    with RedisServer(tmp_path / "redis", options={"include": str(config)}) as server:
        if server.version < (7, 0):
            pytest.skip("Redis 6.2 cannot tell in advance: docs/durability.md says so")
        with server.client() as client:
            for case in CASES.values():
                if case.before and command != "DEL":
                    continue  # what it builds on cannot be written either
                client.flushall()
                for change in case.before:
                    assert run(client, COMMIT, spelled(change)) == 1
                assert not torn(server, lambda c=case: run(client, c.script, c.call))  # type: ignore[misc]


# --- a server that does not write --------------------------------------------------------------


@each_case
def test_a_full_memory(server: RedisServer, name: str) -> None:
    """At `maxmemory` a script is refused before its first write, or runs to its end (F8)."""
    case = CASES[name]
    prepare(server, case)
    with server.client() as client:
        client.set("ballast", "x" * 2**21)
        try:
            client.config_set("maxmemory", "2mb")
            assert not torn(server, lambda: run(client, case.script, case.call))
            if server.version >= (7, 0):
                prepare_full(server, client, case)
                assert run(client, case.script, case.call, flagged=True)
        finally:
            client.config_set("maxmemory", 0)


def prepare_full(server: RedisServer, client: redis.Redis, case: Case) -> None:
    """Write what a case builds on, and fill the memory again."""
    client.config_set("maxmemory", 0)
    prepare(server, case)
    client.set("ballast", "x" * 2**21)
    client.config_set("maxmemory", "2mb")


@pytest.mark.parametrize("room", range(0, 40_000, 2_500))
def test_a_memory_that_is_nearly_full(server: RedisServer, room: int) -> None:
    """Memory that runs out within a start does not cut it in two."""
    fields = {f"in:{n}": "x" * 1_000 for n in range(20)}
    change = START._replace(fields=fields)
    prepare(server, CASES["a start"])
    with server.client() as client:
        used = int(client.info("memory")["used_memory"])
        try:
            client.config_set("maxmemory", used + room)
            assert not torn(server, lambda: run(client, COMMIT, spelled(change)))
        finally:
            client.config_set("maxmemory", 0)
        known = client.hgetall(SHARD.run(RUN.id))
        assert len(known) in (0, 1 + len(fields))


@each_case
def test_too_few_replicas(server: RedisServer, name: str) -> None:
    """A primary that lacks its replicas refuses all of a call."""
    case = CASES[name]
    prepare(server, case)
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        try:
            assert not torn(server, lambda: run(client, case.script, case.call))
            if case.script is not PAGE:
                refused_whole(server, lambda: run(client, case.script, case.call), "NOREPLICAS")
        finally:
            client.config_set("min-replicas-to-write", 0)


@each_case
def test_a_replica(server: RedisServer, name: str) -> None:
    """A server that has become a replica refuses all of a call."""
    case = CASES[name]
    prepare(server, case)
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")  # where nobody answers
        try:
            assert not torn(server, lambda: run(client, case.script, case.call))
            if case.script is not PAGE:
                with pytest.raises(redis.RedisError, match=r"(?i)read.?only"):
                    run(client, case.script, case.call)
        finally:
            client.replicaof("NO", "ONE")


# --- killed in the middle ----------------------------------------------------------------------

_FIRST_WRITE = "    redis.call(ARGV[at], key, unpack(ARGV, at + 3, last))\n"
_FOR_EVER = "while true do end\n"
_STUCK = "-- Publishing comes first"


def hanging(*, after: int) -> Script:
    """`commit.lua`, which hangs after so many writes."""
    text = COMMIT.plain
    if after == 0:
        assert _STUCK in text
        return Dressed(text.replace(_STUCK, _FOR_EVER + _STUCK))
    assert text.count(_FIRST_WRITE) == 1
    count = f"{_FIRST_WRITE}  done = (done or 0) + 1\n  if done == {after} then {_FOR_EVER} end\n"
    return Dressed("local done\n" + text.replace(_FIRST_WRITE, count))


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that notices soon that a script takes long."""
    with RedisServer(
        tmp_path / "redis", options={"lua-time-limit": 10, "appendfsync": "always"}
    ) as found:
        yield found


def held(server: RedisServer) -> dict[str, Any]:
    """All keys by what they hold: a hash that was loaded again may have another order."""
    with server.client() as client:
        return stored(client, KEYS)


@contextmanager
def hanging_on(server: RedisServer, script: Script, call: Call) -> Iterator[redis.Redis]:
    """Run a script that hangs, and give a client once the server is busy with it."""
    # Or the caller would ask again, of the server that has just been started (F6).
    once = Retry(NoBackoff(), 0)
    with server.client(retry=once) as caller, server.client() as client:
        caller.ping()
        client.ping()  # a server that is busy takes no new clients
        asking = threading.Thread(target=lambda: _fails(lambda: run(caller, script, call)))
        asking.start()
        end = time.monotonic() + 20
        while not _fails(client.ping):
            assert time.monotonic() < end, "the script does not hang"
        yield client
        asking.join(20)
        assert not asking.is_alive()


def _fails(ask: Callable[[], Any]) -> bool:
    try:
        ask()
    except redis.RedisError:
        return True
    return False


def test_a_script_that_was_killed_before_it_wrote(hung: RedisServer) -> None:
    """SCRIPT KILL ends a commit that has written nothing, and nothing is left of it."""
    case = CASES["an end"]
    prepare(hung, case)
    before = everything(hung)
    with hanging_on(hung, hanging(after=0), case.call) as client:
        client.script_kill()
    assert everything(hung) == before


@pytest.mark.parametrize("name", ["a start", "a claim", "an end", "a new start", "a removal"])
@pytest.mark.parametrize("writes", [1, 3])
def test_a_server_that_dies_within_a_script(hung: RedisServer, name: str, writes: int) -> None:
    """Redis killed between two writes of a commit: after the restart there is nothing of it."""
    case = CASES[name]
    prepare(hung, case)
    before = held(hung)
    with hanging_on(hung, hanging(after=writes), case.call) as client:
        with pytest.raises(redis.RedisError, match=r"UNKILLABLE|already executed write"):
            client.script_kill()
        hung.restart()
    assert held(hung) == before
