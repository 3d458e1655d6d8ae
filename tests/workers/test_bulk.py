"""One command for many runs, given by the sweep of real workers, of which one is killed at it.

Owns: that it goes on without whoever asked for it, and acts once on each run.  Refuses to know:
which runs are found (`tests/app/test_bulks.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World


def test_it_goes_on_after_its_worker_was_killed(world: World) -> None:
    """Whoever asked keeps nothing; the next worker finds where it was, and what was done."""
    sagas = world.kit.sagas
    runs = [world.kit.approving.start(Trip(), id=f"a-{n}") for n in range(12)]
    bulk = sagas.bulk("cancel", saga="approving", reason="sold out", rps=8, by="ada")
    first = world.worker("first")
    world.beat()
    assert bulk.start(12, by="ada")
    world.until(lambda: 0 < bulk.state().left < 12, "some runs had their turn")
    first.kill()
    world.worker("second")
    world.until(lambda: bulk.state().state == "done", f"the rest had theirs: {bulk.state()}", 90)
    assert {each.outcome for each in bulk.runs()} == {"changed"}
    for run in runs:
        assert world.rest(run).status == "compensated"
        told = [event for event in run.history() if bulk.id in str(event.data)]
        assert len(told) == 1
