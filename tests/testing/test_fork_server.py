"""Whoever is forked is like whoever is executed: what it is told, what it says, how it ends.

Owns: `tests.fork_server`.  Refuses to know: the programs that the tests start with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import pytest

from tests.fork_server import ForkServer
from tests.house.sources import ROOT
from tests.processes import environment, until

if TYPE_CHECKING:
    from collections.abc import Iterator

TELLS = """
import json, os, signal, sys, threading, time
if __name__ == "__main__":
    zone = time.tzname[0]
    print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), zone]))
    sys.stdout.flush()
    print("loudly", file=sys.stderr)
    print(os.getsid(0) == os.getpid(), threading.active_count(), os.read(0, 1))
    print(sorted(os.listdir("/proc/self/fd"))[:-1], flush=True)
    ends = sys.argv[1]
    if ends == "raises":
        raise ValueError("here it ends")
    if ends == "waits":
        signal.pause()
    sys.exit(int(ends))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """A server that finds the module `tells`."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "tells.py").write_text(TELLS)
    path = os.pathsep.join([environment()["PYTHONPATH"], str(folder)])
    found = ForkServer(ROOT, environment(PYTHONPATH=path))
    try:
        yield found
    finally:
        found.close()


def command(*words: str) -> list[str]:
    """A command that tells what it was told."""
    return [sys.executable, "-m", "tells", *words]


def test_it_is_told_what_an_executed_one_is(server: ForkServer, tmp_path: Path) -> None:
    """Words, environment, folder, time zone, session, files: all the same."""
    found = []
    env = {"HOME": "/", "PATH": "/bin", "TZ": "XYZ3", "NEW": "ä" * 40_000}
    env["PYTHONPATH"] = server._environment["PYTHONPATH"]
    logs = [tmp_path / "forked", tmp_path / "executed"]
    logs[0].write_text("kept\n")
    forked = server.start(command("7", "a b", ""), log=logs[0], env=env)
    assert forked.wait(30) == 7
    with logs[1].open("wb") as out:
        ended = subprocess.run(
            command("7", "a b", ""),
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            check=False,
        )
    assert ended.returncode == 7
    kept, *lines = logs[0].read_text().splitlines()
    assert kept == "kept"
    found = [json.loads(lines[0]), *lines[1:]]
    told, *others = logs[1].read_text().splitlines()
    wanted = json.loads(told)
    for each in (found[0][1], wanted[1]):
        each.pop("LC_CTYPE", None)  # Python's own word, where the locale is C
    assert found == [wanted, *others]


@pytest.mark.parametrize("what", [SIGTERM, SIGKILL])
def test_how_it_ended(server: ForkServer, tmp_path: Path, what: int) -> None:
    """By a signal, as `Popen` says it; while it runs, nobody is told an end."""
    forked = server.start(command("waits"), log=tmp_path / "log", env=server._environment)
    until(lambda: "[" in (tmp_path / "log").read_text(), "it runs")
    assert forked.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        forked.wait(0.01)
    forked.send_signal(what)
    assert (forked.wait(30), forked.poll(), forked.returncode) == (-what,) * 3
    forked.send_signal(what)  # it is gone: nobody else is meant


def test_it_fails_as_python_does(server: ForkServer, tmp_path: Path) -> None:
    """What it raised is in its log, and its exit status is 1."""
    forked = server.start(command("raises"), log=tmp_path / "log", env=server._environment)
    assert forked.wait(30) == 1
    assert (tmp_path / "log").read_text().endswith("ValueError: here it ends\n")


def test_many_at_once(server: ForkServer, tmp_path: Path) -> None:
    """Each end is told to whom it belongs, in whatever order they come."""
    env = server._environment
    many = [server.start(command(str(n)), log=tmp_path / f"{n}", env=env) for n in range(20)]
    assert [each.wait(30) for each in reversed(many)] == list(reversed(range(20)))


def test_it_ends_with_whom_it_serves(tmp_path: Path) -> None:
    """Its own end does not end whom it forked, as nobody's parent does."""
    passing = ForkServer(ROOT, environment())
    words = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "0"]
    forked = passing.start(words, log=tmp_path / "log", env=environment())
    passing.close()
    try:
        os.kill(forked.pid, 0)
    finally:
        os.kill(forked.pid, SIGKILL)
    assert forked.wait(30) == -SIGKILL, "of which it told nobody more"


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (["-c", "pass"], {}),
        (["-m", "celery", "-A", "app", "worker", "-P", "gevent"], {}),
        (["-m", "celery", "-A", "app", "worker"], {"PYTHONHASHSEED": "1"}),
        (["-m", "celery", "-A", "app", "worker"], {"LD_PRELOAD": "clock.so"}),
        (["-m", "celery", "-A", "app", "worker"], {"REMAP_SIGTERM": "SIGQUIT"}),
    ],
)
def test_what_is_read_early_is_not_forked(
    server: ForkServer, words: list[str], more: dict[str, str]
) -> None:
    """What Python or Celery reads while it starts, a fork would never hear of."""
    env = server._environment
    assert server.can_fork([sys.executable, "-m", "celery", "worker"], {**env, "A": "b"}, ROOT)
    assert not server.can_fork([sys.executable, *words], {**env, **more}, ROOT)
    assert not server.can_fork([sys.executable, "-m", "celery"], env, Path("/"))
