"""The plug-in: a fixture for those who ask for it, and nothing for those who do not.

Owns: what a run of pytest with Celeriac installed sees of it, from a wheel too.  Refuses to know:
what the lab does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from celeriac.testing import Lab
from tests.house.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """
from celery import Celery
from celeriac import Flow, Sagas

app = Celery("shop", set_as_current=False)
sagas = Sagas(app)

@sagas.step(name="shop.charge")
def charge(order: str) -> str:
    return f"paid {order}"

@sagas.saga
def place_order(flow: Flow, order: str) -> str:
    return flow.step(charge, order)
"""
WITH_LAB = """
import celeriac, celeriac_pytest
from shop import place_order

def test_it(lab):
    print(celeriac.__file__, celeriac_pytest.__file__)
    lab.crash_before("charge")
    run = lab.start(place_order, "42", id="order-42")
    lab.run()
    assert run.status == "compensated"
"""
WITH_EXPLORE = """
from celeriac.testing import explore
from shop import place_order

def wrong(run):
    assert run.status != "compensated", "the money is gone"

def test_it():
    report = explore(place_order, "42", check=wrong, pairs=False)
    assert report.ok, report
"""
WITHOUT_LAB = """
import sys

def test_it():
    assert not {"celeriac", "celery", "pydantic"} & set(sys.modules)
"""


def run_pytest(folder: Path, *words: str, site: str = "") -> subprocess.CompletedProcess[str]:
    """Run pytest on the files in a folder, strictly, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (site, str(folder))))},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of somebody's."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def test_the_fixture_is_a_lab(lab: Lab) -> None:
    """Each test gets one of its own, which is empty."""
    assert isinstance(lab, Lab)
    assert lab.story() == "nothing was started"
    assert (lab.done, lab.undone, lab.ran) == ([], [], [])


def test_those_who_do_not_use_it_do_not_pay_for_it(folder: Path) -> None:
    """A run without the fixture imports neither Celeriac nor Celery."""
    (folder / "test_without.py").write_text(WITHOUT_LAB)
    done = run_pytest(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lab" in run_pytest(folder, "--fixtures").stdout


def test_a_test_that_fails_shows_the_story(folder: Path) -> None:
    """Below the failure stands what happened in its lab."""
    (folder / "test_with.py").write_text(WITH_LAB)
    done = run_pytest(folder)
    assert done.returncode == 1, done.stdout + done.stderr
    told = done.stdout.partition("what happened in lab")[2]
    assert "charge · #1: dies before the body" in told
    assert "finished: completed" in told


def test_a_test_that_explores_shows_what_was_found(folder: Path) -> None:
    """`assert report.ok, report` shows the shortest story and the test to paste, in full."""
    (folder / "test_explore.py").write_text(WITH_EXPLORE)
    done = run_pytest(folder)
    assert done.returncode == 1, done.stdout + done.stderr
    told = done.stdout.partition("what explore says in report")[2]
    assert "The shortest: the money is gone" in told
    assert "As a test, to paste:" in told
    assert "lab.start(place_order" in told


def test_it_works_from_a_wheel(folder: Path, tmp_path: Path) -> None:
    """What an installation brings is enough for the fixture."""
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    site = tmp_path / "site"
    (wheel,) = (tmp_path / "dist").iterdir()
    zipfile.ZipFile(wheel).extractall(site)
    (folder / "test_with.py").write_text(WITH_LAB.replace('"compensated"', '"completed"'))
    done = run_pytest(folder, "-s", "test_with.py", site=str(site))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{site}/celeriac/__init__.py {site}/celeriac_pytest.py" in done.stdout
