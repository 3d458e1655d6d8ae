"""Celery's own unit tests: from its sdist to what failed in a run of them.

Owns: fetching the sdist of the version that is installed, and running a part of its tests.  Refuses
to know: what a failure means.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import celery

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "tests.celery_suite.adopting_plugin"
#: The parts of `t/unit`, each run in a process of its own; none knows what another leaves behind.
PARTS = (
    "app",
    "apps",
    "backends",
    "bin",
    "concurrency",
    "contrib",
    "events",
    "fixups",
    "security",
    "tasks",
    "utils",
    "worker",
    "test_canvas.py",
    "test_generics.py",
    "test_loops.py",
)
_MORE = ("freezegun", "pytest-click")  # what its tests import, and we do not
_SECONDS = 1_500  # for one part


class Ran(NamedTuple):
    """How a part of the suite went."""

    passed: int
    failed: frozenset[str]  # the tests, as `file::class::name`
    adopted: int  # how many tasks were


class NotFetched(Exception):
    """The sdist cannot be had, for want of a network."""


def fetch(folder: Path) -> Path:
    """Return where the tests of the installed Celery are, fetched into *folder*; or NotFetched."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
    wanted = f"celery=={celery.__version__}"
    done = subprocess.run(
        [*pip, "--dest", str(folder), wanted], capture_output=True, text=True, check=False
    )
    found = sorted(folder.glob("celery-*.tar.gz"))
    if done.returncode or not found:
        raise NotFetched(f"{wanted} cannot be downloaded: {done.stderr.strip()[-300:]}")
    with tarfile.open(found[0]) as archive:
        archive.extractall(folder, filter="data")
    home = folder / found[0].name.removesuffix(".tar.gz")
    more = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *_MORE]
    done = subprocess.run(
        [*more, "--target", str(home / "more")], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotFetched(f"{_MORE} cannot be installed: {done.stderr.strip()[-300:]}")
    # The tests alone: Celery itself is the one that is installed.
    (home / "celery").rename(home / "not-this-celery")
    return home


def run(home: Path, part: str, *, adopting: bool) -> Ran:
    """Run a part of the suite, with every task adopted or without Celeriac."""
    name = f"{part}-{'adopted' if adopting else 'plain'}"
    report, count = home / f"{name}.xml", home / f"{name}.count"
    plugins = ["-p", "celery.contrib.pytest", *(["-p", PLUGIN] if adopting else [])]
    env = {**os.environ, "ADOPTED_COUNT": str(count)}
    env["PYTHONPATH"] = os.pathsep.join([str(home / "more"), str(ROOT / "worker"), str(ROOT)])
    options = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    command = [sys.executable, "-m", "pytest", *options, *plugins, f"--junitxml={report}"]
    subprocess.run(
        [*command, f"t/unit/{part}"],
        cwd=home,
        env=env,
        capture_output=True,
        check=False,
        timeout=_SECONDS,
    )
    return _read(report, int(count.read_text()) if adopting else 0)


def _read(report: Path, adopted: int) -> Ran:
    cases = list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314 -- our own file
    failed = {
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    done = [case for case in cases if case.find("skipped") is None]
    return Ran(len(done) - len(failed), frozenset(failed), adopted)
