"""Hundreds of storms: whatever goes wrong, every run comes to rest, and nothing is left standing.

Owns: which seeds are tried, and that the storms are storms: they do what can happen, they repeat
exactly, and they find mistakes that are planted.  Refuses to know: what must hold
(`random_workload`).

`LAB_SEEDS=5000-6000` tries those seeds, `LAB_SEEDS=2000` the first two thousand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from celeriac import EventKind
from celeriac.machine import late_reports, moves, undoing
from celeriac.machine.steps import PhaseState, PhaseStatus, changed
from tests.house.sources import ROOT
from tests.testing.ledger import Ledger
from tests.testing.random_workload import GENTLE, ROUGH, TARDY, RandomWorkload

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac import Event
    from celeriac.machine.plans import Plan
    from celeriac.machine.runs import Run
    from celeriac.testing import Odds

SEEDS = os.environ.get("LAB_SEEDS", "240")
_AT_ONCE = 40

# What a suite that proves anything must have seen: a dead system passes everything.
MUST_HAPPEN = (
    "late success",
    "forbidden",
    "reopened",
    "lost",
    "owed",
    "cancel",
    "paused",
    "child",
    "double sweep",
    "outage",
    "refused: stale",
    "refused: superseded",
    "refused: not_due",
)


def seeds() -> list[range]:
    """The seeds to be tried, some at once."""
    first, _, last = SEEDS.rpartition("-")
    wanted = range(int(first or 0), int(last))
    return [wanted[at : at + _AT_ONCE] for at in range(0, len(wanted), _AT_ONCE)]


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """What happened in all storms of this module."""
    return Counter()


@pytest.mark.parametrize("some", seeds(), ids=lambda some: f"{some.start}-{some.stop}")
def test_every_storm_passes(some: range, seen: Counter[str]) -> None:
    """I1 to I9 and L1 hold, whatever the seed; a failure names its seed and tells its story."""
    for seed in some:
        seen.update(RandomWorkload(seed).live().seen)
        if seed % 2:
            seen.update(RandomWorkload(seed, GENTLE).live().seen)


def test_the_storms_did_what_can_happen(seen: Counter[str]) -> None:
    """Sometimes a step succeeds late, a message is stale, a run is owed: and all of it occurred."""
    if seen["in one storm"] < 200:  # each test in a process of its own, or few seeds asked for
        for seed in range(200):
            seen.update(RandomWorkload(seed).live().seen)
    assert [what for what in MUST_HAPPEN if not seen[what]] == []


def test_a_seed_is_the_same_storm_every_time() -> None:
    """A failure can be had again: its seed gives the same story, to the millisecond."""
    assert story_of(7) == story_of(7)
    assert story_of(7) != story_of(8)


def test_a_seed_is_the_same_storm_in_another_process() -> None:
    """Nothing depends on the order in which a set of this process happens to be."""
    found = "from tests.testing.random_workload import RandomWorkload as Workload"
    code = f"{found}; print(Workload(11).live().lab.story())"
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}:{ROOT / 'worker'}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.rstrip("\n")
        for seed in ("1", "2", "3")
    }
    assert told == {story_of(11)}


# --- the storms can fail -----------------------------------------------------------------------


def forget_unknown(patch: pytest.MonkeyPatch) -> None:
    """What timed out or was lost counts as not done: unknown is not sticky."""
    apply = moves._APPLY[EventKind.LOST]

    def lost(plan: Plan, run: Run, event: Event) -> Run:
        run = apply(plan, run, event)
        step = run.steps[event.step]
        steps = run.steps.put({event.step: changed(step, may_have_effect=False)})
        return changed(run, steps=steps)

    patch.setitem(moves._APPLY, EventKind.LOST, lost)


def holds_anyway(direction: PhaseState, _attempt: int, _holder: str) -> bool:
    """The fencing token is not looked at: whoever reports is believed."""
    return direction.state is PhaseStatus.RUNNING


def no_tombstone(ledger: Ledger, key: str) -> None:
    """A participant that forgets what it was told to undo."""
    ledger.log.append(("undo", key))
    ledger.live.discard(key)


def do_again(ledger: Ledger, key: str) -> None:
    """A participant that does not know its keys."""
    ledger.made.append(key)
    ledger.live.add(key)


#: What is planted, and the workload that shows it soonest.
MISTAKES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Odds]] = {
    "unknown counts as not done": (
        forget_unknown,
        ROUGH,
    ),
    "the token is not looked at": (
        lambda m: m.setattr(PhaseState, "held_by", holds_anyway),
        ROUGH,
    ),
    "undone beside a live attempt": (
        lambda m: m.setattr(undoing, "live_forward", lambda _: False),
        ROUGH,
    ),
    "a late effect is not undone again": (
        lambda m: m.setattr(late_reports, "_undo_again", lambda *_: None),
        GENTLE,
    ),
    "a participant without tombstones": (
        lambda m: m.setattr(Ledger, "undo", no_tombstone),
        TARDY,
    ),
    "a participant without keys": (lambda m: m.setattr(Ledger, "do", do_again), ROUGH),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storms that let everything pass would prove nothing: these mistakes make one fail."""
    plant, odds = MISTAKES[mistake]
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=r"seed \d+|I9"):  # noqa: PT012 -- any of them
        for seed in range(400):
            RandomWorkload(seed, odds).live()


def story_of(seed: int) -> str:
    """All that happened in a storm."""
    return RandomWorkload(seed).live().lab.story()
