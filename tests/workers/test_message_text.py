"""What a message says of itself to people, and what Flower makes of it.

Owns: the two texts, also of a run that began anew.  Refuses to know: Flower (`test_flower`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from celeriac.flower import format_task
from celeriac.machine.events import Dispatch
from celeriac.machine.runs import Run, RunStatus
from celeriac.workers.message_text import shown, texts_of

if TYPE_CHECKING:
    from celeriac.machine import Phase


def texts(tries: int, phase: Phase = "do") -> dict[str, str]:
    """The texts of the first attempt of a step, in a try of its run."""
    run = Run("order-42", "place_order", "f", RunStatus.RUNNING, tries, 1_000, tries=tries)
    return texts_of(run, Dispatch("charge", phase, 1, 0))


def test_the_first_try_is_not_counted() -> None:
    """Most runs have one."""
    assert texts(1, "undo") == {
        "argsrepr": "order-42 · charge · undo #1",
        "kwargsrepr": shown(
            saga="place_order", run="order-42", step="charge", phase="compensation", attempt=1
        ),
    }


def test_a_later_try_is_told() -> None:
    """Both texts say which, or the attempts of two tries would look alike."""
    found = texts(2)
    assert found["argsrepr"] == "order-42 · try 2 · charge · #1"
    assert "'try': 2" in found["kwargsrepr"]


@pytest.mark.parametrize("tries", [1, 2])
@pytest.mark.parametrize("phase", ["do", "undo"])
def test_flower_shows_what_the_message_says(tries: int, phase: Phase) -> None:
    """Its text is made of what it can search in."""
    found = texts(tries, phase)
    task = SimpleNamespace(name="shop.charge", args="()", kwargs=found["kwargsrepr"])
    assert format_task(task).args == found["argsrepr"]


def test_a_forged_text_is_left_as_it_came() -> None:
    """Whoever can write to the broker can send what looks like one of ours."""
    forged = texts(2)["kwargsrepr"].replace("'try'", "'card'")
    task = SimpleNamespace(name="shop.charge", args="()", kwargs=forged)
    assert format_task(task).args == "()"
