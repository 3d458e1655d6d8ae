"""Steps that are runs of their own, beside the pure state machine: parents and children agree.

Owns: that children are really started by what sees to their parents, stored as they must be, and
told what their parent wants.  Refuses to know: what is compared (`pure_and_stored`), and faults of
the line (`test_machine`, whose walks have such steps as well).
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.machine.commands import Cancel
from celeriac.machine.events import EventKind
from tests.model.pure_and_stored import BYSTANDER, RUN, ModelAndStore
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.machine.walk import Chooser

SEEDS = range(8)
STEPS = 40
DEEDS = ("step",) * 6 + ("sweep", "sweep", "race", "operate")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis whose keys are all compared."""
    with RedisServer(tmp_path / "redis") as found:
        yield found


def played(server: RedisServer, seed: int) -> Counter[EventKind]:
    """Go some steps with a saga that has a step which is a run; return what happened to these."""
    choose: Chooser = random.Random(seed).choice  # noqa: S311 -- to be repeated, not to be secret
    both = ModelAndStore(server, choose)
    while not any(node.child for node in both.plan.nodes):
        both.close()
        both = ModelAndStore(server, choose)
    deeds: dict[str, Any] = {
        "step": both.step,
        "sweep": both.sweep,
        "race": both.race,
        "operate": both.operate,
    }
    try:
        for _ in range(STEPS):
            deeds[choose(DEEDS)](choose)
            both.check()
        both.give(Cancel("enough"))
        both._catch_up()
        for _ in range(3):
            both.sweep(choose)
            both.check()
        children = [e for name, e in both.expected.items() if name not in (RUN, BYSTANDER)]
        happened = Counter(event.kind for each in children for event in each.history)
        both.come_to_an_end()
    finally:
        both.close()
    return happened


@pytest.mark.timeout(120)
def test_parents_and_children_are_stored_as_they_must_be(server: RedisServer) -> None:
    """A child is another run of the store, with all that it is made of; some are undone."""
    happened: Counter[EventKind] = Counter()
    for seed in SEEDS:
        happened += played(server, seed)
    wanted = {EventKind.STARTED, EventKind.COMPENSATION_STARTED, EventKind.REPORTED}
    assert wanted <= happened.keys()
