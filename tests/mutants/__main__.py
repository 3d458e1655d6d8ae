"""Planted bugs against the tests that must catch them: `python -m tests.mutants [NAME …]`.

Owns: planting a bug in a copy of the repository, running there what may catch it, and telling what
did.  Refuses to know: the bugs (`plants`).

Each bug is planted in a copy, so that nothing here is ever changed, and processes that a test
starts run the copy as well.  Two bugs are tried at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING

from tests.fork_server import ForkServer
from tests.mutants.planting import Plant, planted
from tests.mutants.plants import PLANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("worker", "bench", "tests", "workflows", "docs", "pyproject.toml", "README.md")
_LONGEST = 600  # seconds for one attempt to catch a bug
_ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PROVE": ""}
#: Other people's modules that every attempt imports; ours are the copy's own.
_IMPORTS = (
    *(
        "pytest",
        "hypothesis",
        "hypothesis.stateful",
        "pygments.lexers",
        "valkey",
        "multiprocessing",
    ),
    *("celery.canvas", "celery.worker.worker", "celery.app.trace", "celery.utils.timer2"),
    *("kombu.asynchronous.hub", "kombu.transport.redis", "redis.cluster", "redis.asyncio"),
    *("pydantic", "pydantic.dataclasses", "yaml", "click.testing", "dateutil.rrule"),
    *("opentelemetry.trace", "opentelemetry.sdk.trace", "opentelemetry.metrics", "sqlite3"),
)
#: Plug-ins that take a second to load, and that only tests of the web use.
_DEAR = ("schemathesis",)


@dataclass(frozen=True)
class Outcome:
    """What became of a planted bug."""

    name: str
    meaning: str
    caught_by: str  # empty: it survived
    seconds: float


def main(words: Sequence[str] | None = None) -> int:
    """Try the bugs, print what caught each, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="of planted bugs, as they are printed")
    parser.add_argument("--json", type=Path, help="write the outcomes to this file")
    parser.add_argument("--jobs", type=int, default=2, help="bugs at a time (default %(default)s)")
    given = parser.parse_args(words)
    unknown = [name for name in given.names if name not in {plant.name for plant in PLANTS}]
    if unknown:
        parser.error(f"no planted bug is called {unknown[0]!r}: tests/mutants/plants.py names them")
    chosen = [plant for plant in PLANTS if not given.names or plant.name in given.names]
    with closing(fork_server()) as server, ThreadPoolExecutor(given.jobs) as pool:
        outcomes = list(pool.map(partial(_tried, server), chosen))
    survived = [each.name for each in outcomes if not each.caught_by]
    if given.json:
        given.json.write_text(json.dumps({"mutants": [asdict(each) for each in outcomes]}))
    _say(f"{len(outcomes) - len(survived)} of {len(outcomes)} planted bugs were caught")
    if survived:
        _say(f"survived: {', '.join(survived)}")
    return 1 if survived else 0


def fork_server() -> ForkServer:
    """Return what starts pytest without its imports; it ends with this process."""
    return ForkServer(ROOT, _ENVIRONMENT, _IMPORTS)


def _tried(server: ForkServer, plant: Plant) -> Outcome:
    outcome = trial(server, plant)
    fate = f"caught by {outcome.caught_by}" if outcome.caught_by else "SURVIVED"
    _say(f"{plant.name:32} {fate} ({outcome.seconds:.0f} s)")
    return outcome


def trial(server: ForkServer, plant: Plant) -> Outcome:
    """Plant a bug in a copy of the repository and see what catches it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for part in _PARTS:
            _copy(ROOT / part, copy / part)
        file = copy / "worker" / "celeriac" / plant.file
        file.write_text(planted(plant, file.read_text()))
        caught = next((words for words in plant.caught_by if _catches(server, copy, words)), "")
    return Outcome(plant.name, plant.meaning, caught, time.monotonic() - began)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        # What Python has compiled goes along: it fits wherever a file is the same as it was.
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(".hypothesis"))
    else:
        shutil.copy2(source, target)


def _catches(server: ForkServer, copy: Path, words: str) -> bool:
    """True if these tests fail in the copy, for a test's reason."""
    without = ("cacheprovider", *(() if "tests/web" in words else _DEAR))
    options = [word for name in without for word in ("-p", f"no:{name}")]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # it comes of our `_IMPORTS`
    command = [sys.executable, "-m", "pytest", "-x", "-q", *options, *words.split()]
    said = copy / "said"
    running = server.start(command, log=said, env=_ENVIRONMENT, cwd=copy)
    try:
        status = running.wait(_LONGEST)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, SIGKILL)
        return False
    # 1: tests failed, or pytest did.  Whatever else (no test found, an error in its words) catches
    # nothing.
    return status == 1 and "short test summary info" in said.read_text(errors="replace")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
