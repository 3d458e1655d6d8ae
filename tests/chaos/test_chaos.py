"""Everything is killed, stopped and cut off, and then healed: every run has kept its promises.

Owns: the short form of chaos, with every kind of fault in it, and that chaos finds bugs which were
planted (`PROVE=1`).  Refuses to know: what a run of chaos consists of.  The long form is
`make chaos MINUTES=…`.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.chaos.planted import BUGS
from tests.chaos.report import text
from tests.chaos.run import chaos

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 48.0
SEED = int(os.environ.get("CHAOS_SEED", "1"))
PROVE = os.environ.get("PROVE") == "1"


def _told(line: str) -> None:
    print(line, flush=True)  # noqa: T201 -- pytest shows it when the test fails


def test_chaos(tmp_path: Path) -> None:
    """Every fault of the fault model, in less than a minute; another schedule by CHAOS_SEED."""
    figures = chaos(tmp_path, SEED, SECONDS, tell=_told)
    assert figures.passed, f"{text(figures)}\nartefacts are in {tmp_path}"
    shutil.rmtree(tmp_path)  # only who fails is looked at


@pytest.mark.skipif(not PROVE, reason="a minute and a half; PROVE=1 runs it")
@pytest.mark.parametrize("bug", sorted(BUGS))
def test_chaos_can_fail(tmp_path: Path, bug: str) -> None:
    """A bug in the workers breaks a law of runs within twenty seconds of a few faults."""
    only = ("double-messages", "stop-worker", "kill-child")
    figures = chaos(tmp_path, 2, 21.0, only=only, bug=bug, tell=_told)
    assert figures.violations, text(figures)
