"""Who looks after workers: what is gone, crashed or deaf is replaced, and counted by its cause.

Owns: stand-ins for workers, looked after by a fleet with little patience.  Refuses to know: Celery.
"""

from __future__ import annotations

import time
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import pytest

from tests.chaos import fleet
from tests.chaos.fleet import Fleet, Place
from tests.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def hire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Fleet]]:
    """A fleet of one stand-in; its probes come through if *probed*."""
    monkeypatch.setattr(fleet, "DEAF", 0.8)
    monkeypatch.setattr(fleet, "_LEAVE", 0.8)
    monkeypatch.setattr(fleet, "_TICK", 0.05)
    hired: list[Fleet] = []

    def make(word: str, *, probed: bool = True) -> Fleet:
        def probe(place: Place) -> None:
            if probed:
                (tmp_path / f"{place.process}.probed").touch()

        command = ["tests.chaos.fake_worker", word]
        hired.append(Fleet([Place(tmp_path, "w1", command, {}, b" ready.")], probe, tmp_path))
        hired[-1].start()
        until(lambda: hired[-1].places["w1"].ready, "it is ready", 15)
        return hired[-1]

    yield make
    for each in hired:
        each.stop()
        assert each.trouble == []


def again(fleet: Fleet) -> bool:
    """True once a second process is ready."""
    place = fleet.places["w1"]
    return place.generation > 1 and place.ready > 0


def causes(fleet: Fleet) -> set[str]:
    """Why processes were replaced."""
    return {each.cause for each in fleet.replaced}


def test_a_worker_that_works_is_left_alone(hire: Callable[..., Fleet]) -> None:
    """As long as its probes come through, nobody replaces it."""
    fleet = hire("wait")
    over = time.monotonic() + 2
    until(lambda: time.monotonic() > over, "time has passed", 15)
    assert (fleet.places["w1"].generation, fleet.replaced) == (1, [])


def test_who_was_killed_is_started_again(hire: Callable[..., Fleet]) -> None:
    """What the nemesis ends is not counted as trouble."""
    fleet = hire("wait")
    fleet.places["w1"].dismiss(SIGKILL)
    until(lambda: again(fleet), "it is replaced", 15)
    assert fleet.replaced == []


@pytest.mark.parametrize(
    ("word", "cause"),
    [
        ("leave", "ended by itself (3)"),
        ("crash", "Unrecoverable error: AttributeError('hostname')"),
    ],
)
def test_who_leaves_or_crashes_is_replaced(
    hire: Callable[..., Fleet], word: str, cause: str
) -> None:
    """A process that ends, or says that it is done for, is replaced and counted."""
    fleet = hire(word)
    until(lambda: again(fleet), "it is replaced", 15)
    assert causes(fleet) == {cause}


def test_who_is_deaf_is_replaced(hire: Callable[..., Fleet]) -> None:
    """A worker that lives and takes no message any more is replaced."""
    fleet = hire("wait", probed=False)
    until(lambda: again(fleet), "it is replaced", 15)
    assert causes(fleet) == {"deaf"}


def test_who_is_disturbed_is_not_deaf(hire: Callable[..., Fleet]) -> None:
    """While a fault keeps a worker from its work, and a little later, nobody expects it."""
    fleet = hire("wait", probed=False)
    place = fleet.places["w1"]
    for _ in range(2):
        place.disturb()
    place.pardon(0.0)
    over = time.monotonic() + 2
    until(lambda: time.monotonic() > over, "time has passed", 15)
    assert fleet.replaced == []
    place.pardon(0.5)
    until(lambda: again(fleet), "it is replaced", 15)
    assert causes(fleet) == {"deaf"}


def test_who_will_not_end_is_ended(hire: Callable[..., Fleet]) -> None:
    """A worker that does not come to its end in good order is ended at last."""
    fleet = hire("stubborn")
    fleet.places["w1"].dismiss(SIGTERM)
    until(lambda: again(fleet), "it is replaced", 15)
    assert causes(fleet) == {"took more than 0.8 s to end"}
