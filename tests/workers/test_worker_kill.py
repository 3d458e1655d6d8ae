"""The accident of the demo: one worker process in the middle of a call dies, and nobody else.

Owns: whom it hits, and how recovery is measured.  Refuses to know: Celery; a child of the test
stands for a process of a worker's pool.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workflows import worker_kill
from workflows.services import ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new book."""
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "shop.db"))
    yield
    ledger.close()


CALLER = """
import sys, time
from workflows.services import ledger
with ledger.call(sys.argv[1], "order-7:step"):
    print("calling", flush=True)
    time.sleep(600)
"""


@contextmanager
def caller(verb: str) -> Iterator[subprocess.Popen[str]]:
    """A child of this process that is in the middle of a call."""
    child = subprocess.Popen(
        [sys.executable, "-c", CALLER, verb],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "calling\n"
            yield child
        finally:
            child.kill()


def test_a_child_in_a_call_is_killed() -> None:
    """The accident hits a child in the middle of a call, and knows what it was working for."""
    with caller("charge") as victim:
        assert worker_kill.busy(os.getpid())
        hit = worker_kill.strike(os.getpid())
        assert hit is not None
        assert victim.wait(timeout=30) == -9
        assert (hit.call.pid, hit.call.verb, hit.order) == (victim.pid, "charge", "order-7")
        assert not worker_kill.busy(os.getpid())


def test_the_work_of_the_dead_is_seen_to_be_taken_up() -> None:
    """Recovery is measured up to the next call with the same key."""
    with caller("hold"):
        hit = worker_kill.strike(os.getpid())
        assert hit is not None
        assert hit.taken_up_after() is None
        with ledger.call("hold", "order-8:step"):
            pass
        assert hit.taken_up_after() is None
        with ledger.call("hold", hit.call.key):
            pass
        took = hit.taken_up_after()
        assert took is not None
        assert 0 <= took < 60


def test_nobody_elses_child_is_killed() -> None:
    """A process that is in a call, but is no child of the worker, is left alone."""
    with caller("charge") as bystander:
        assert worker_kill.strike(bystander.pid) is None
        assert bystander.poll() is None


def test_nobody_is_killed_who_waits_for_a_ferry() -> None:
    """A slow call is none of those that are hit: it would not show how quick recovery is."""
    with caller("ship") as child:
        assert worker_kill.strike(os.getpid()) is None
        assert child.poll() is None


@pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not installed")
def test_children_are_found_with_and_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc, ps tells the same."""
    with caller("hold") as child:
        assert child.pid in worker_kill.children_of(os.getpid())
        monkeypatch.setattr(Path, "exists", lambda _: False)
        assert child.pid in worker_kill.children_of(os.getpid())
        assert worker_kill.children_of(child.pid) == set()
