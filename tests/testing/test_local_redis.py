"""A Redis of one's own: found, started with the right settings, stopped, started again.

Owns: what `celeriac.testing.servers` promises, with the server on PATH and with the embedded one.
Refuses to know: what the demo and the tests use it for.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import redis

from celeriac.errors import ConfigurationError, StoreUnavailable
from celeriac.testing import servers
from celeriac.testing.servers import (
    Child,
    LocalRedis,
    answers,
    find_embedded_binary,
    find_redis_binary,
)


@pytest.fixture(params=["found", "embedded"])
def binary(request: pytest.FixtureRequest) -> Path:
    """The server that is found first, and the one of the extra."""
    if request.param == "found":
        return find_redis_binary()
    embedded = find_embedded_binary()
    if embedded is None:
        pytest.skip("the extra celeriac[embedded] is not installed")
    return embedded


def setting(server: LocalRedis, name: str) -> str:
    """What the server says of one of its settings."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return str(client.config_get(name)[name])


@pytest.mark.parametrize("socket", [False, True], ids=["port", "socket"])
def test_it_keeps_what_the_promises_rest_on(tmp_path: Path, binary: Path, socket: bool) -> None:
    """The append-only file is on and nothing is evicted; further settings are taken as given."""
    options = {"maxmemory": "8mb"}
    with LocalRedis(tmp_path, binary=binary, socket=socket, options=options) as server:
        assert setting(server, "appendonly") == "yes"
        assert setting(server, "maxmemory-policy") == "noeviction"
        assert setting(server, "maxmemory") == str(8 * 1024 * 1024)
        with redis.Redis.from_url(server.url) as client:
            assert client.info("server")["process_id"] == server.pid
    assert not answers(server.url)


def test_a_kill_loses_nothing(tmp_path: Path, binary: Path) -> None:
    """Killed and started again, it has the same address and the same data."""
    with LocalRedis(tmp_path, binary=binary) as server:
        url = server.url
        with redis.Redis.from_url(url) as client:
            client.set("kept", "yes")
        server.kill()
        with pytest.raises(StoreUnavailable, match="not running"):
            _ = server.pid
        server.start()
        assert server.url == url
        with redis.Redis.from_url(url) as client:
            assert client.get("kept") == b"yes"


def test_it_has_started_once_its_data_are_loaded(tmp_path: Path, binary: Path) -> None:
    """A server that still reads its file answers no command, so it has not started."""
    with LocalRedis(tmp_path, binary=binary, options={"appendonly": "no"}) as server:
        with server.client() as client:
            client.mset({f"key-{number}": "x" * 100 for number in range(1000)})
            client.save()
        # A millisecond for each key, and a look at clients after each KB.
        slow = {"key-load-delay": 1000, "loading-process-events-interval-bytes": 1024}
        server.options.update(slow)
        server.restart()
        with server.client() as client:
            assert client.info("persistence")["loading"] == 0
            assert client.dbsize() == 1000


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """If the server ends at once, the error shows what it wrote."""
    server = LocalRedis(tmp_path, options={"maxmemory-policy": "sometimes"})
    with pytest.raises(StoreUnavailable, match="maxmemory-policy"):
        server.start()


def test_a_port_that_is_taken_is_not_mistaken_for_ones_own(tmp_path: Path) -> None:
    """A server that answers at the port, but is not the child, does not count."""
    with LocalRedis(tmp_path / "first") as first:
        second = LocalRedis(tmp_path / "second")
        second.port = first.port
        with pytest.raises(StoreUnavailable):
            second.start()
        assert answers(first.url)


def test_a_long_socket_path_is_refused(tmp_path: Path) -> None:
    """A folder that is too deep for a socket is refused with what to do."""
    server = LocalRedis(tmp_path / ("x" * 100), socket=True)
    with pytest.raises(ConfigurationError, match="nearer the root"):
        server.start()


def test_the_embedded_one_is_the_fallback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a server on PATH, that of the extra is found."""
    embedded = find_embedded_binary()
    if embedded is None:
        pytest.skip("the extra celeriac[embedded] is not installed")
    monkeypatch.delenv(servers.SERVER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_binary() == embedded


def test_an_old_or_broken_server_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server older than 6.2, or one that does not run, is named and not used."""
    programs = {"redis-server": "echo 'Redis server v=6.0.16 sha=0'", "valkey-server": "exit 1"}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.delenv(servers.SERVER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers, "find_embedded_binary", lambda: None)
    with pytest.raises(ConfigurationError) as refusal:
        find_redis_binary()
    assert "redis-server is older than 6.2" in str(refusal.value)
    assert "valkey-server is broken" in str(refusal.value)
    assert "celeriac[embedded]" in str(refusal.value)


def test_a_server_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server that the environment names is taken, and no other one if it does not run."""
    found, named = find_redis_binary(), tmp_path / "mine"
    monkeypatch.setenv(servers.SERVER_VARIABLE, str(named))
    with pytest.raises(ConfigurationError, match=rf"{named} is broken"):
        find_redis_binary()
    other = tmp_path / "other"
    other.symlink_to(found)
    monkeypatch.setenv(servers.SERVER_VARIABLE, str(other))
    assert find_redis_binary() == other


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(grandchild.pid, flush=True)
time.sleep(600)
"""


def test_a_child_that_will_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """After its time, a child that ignores SIGTERM is killed, and so are its own children."""
    child = Child([sys.executable, "-c", STUBBORN], log=tmp_path / "log")
    try:
        while not child.last_words():
            assert child.alive
        grandchild = int(child.last_words())
        child.stop(seconds=0.2)
        assert child.process.returncode == -signal.SIGKILL
        while _runs(grandchild):
            pass
    finally:
        child.kill()


def _runs(pid: int) -> bool:
    """Whether a process is there and has not ended; one that nobody waited for has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
