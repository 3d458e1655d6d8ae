"""Maps in real workers: each element is a task, whoever runs it, and none is forgotten.

Owns: what is sent, claimed and run.  Refuses to know: what is decided
(`tests/machine/test_maps.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac import RunCompensated
from tests.workers.histories import bodies, claims, effects
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World


def trips(count: int, **scripts: list[str]) -> list[Trip]:
    """So many elements, each with what all of them are to do."""
    return [Trip(script=scripts) for _ in range(count)]


@pytest.mark.parametrize("ahead", [0, 10])
def test_each_element_is_a_task_and_the_list_is_in_order(world: World, ahead: int) -> None:
    """With and without running ahead; a message is no longer for there being more of them."""
    world.worker(env={"KIT_AHEAD": str(ahead)})
    world.beat()
    run = world.kit.fleet.start(trips(12), id="m-1")
    state = world.rest(run)
    assert state.status == "completed"
    assert run.result(5).number == ",".join(f"hop[{n}]-m-1" for n in range(12))
    assert bodies(world, run) == {f"hop[{n}]": 1 for n in range(12)} | {"gather": 1}
    assert state.step("hop").elements == {"completed": 12}


def test_an_element_whose_worker_dies_is_done_again(world: World) -> None:
    """The collector waits for it."""
    world.worker()
    world.beat()
    found = trips(6)
    found[2] = Trip(script={"hop[2]": ["kill"]})
    run = world.kit.fleet.start(found, id="m-2")
    assert world.rest(run).status == "completed"
    assert claims(run, "hop[2]") == [1, 2]
    assert run.result(5).number == ",".join(f"hop[{n}]-m-2" for n in range(6))


def test_a_failed_element_undoes_all(world: World) -> None:
    """Each element once; no other is begun."""
    world.worker()
    world.beat()
    found = trips(40)
    found[5] = Trip(script={"hop[5]": ["abort-clean"]})
    run = world.kit.fleet.start(found, id="m-3")
    state = world.rest(run)
    assert state.status == "compensated"
    with pytest.raises(RunCompensated):
        run.result(1)
    done = [told.removeprefix("do ") for told in effects(world, run) if told.startswith("do ")]
    undone = [told.removeprefix("undo ") for told in effects(world, run) if "undo" in told]
    assert sorted(done) == sorted(undone)
    assert len(done) < 12
    assert state.failed_step == "hop[5]"


def test_a_list_whose_counting_was_missed_is_counted_by_the_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever should have done so died: no message stands for it."""
    world.worker()
    with monkeypatch.context() as patch:
        patch.setattr(world.kit.sagas.runtime.engine, "begin_turn", _away)
        run = world.kit.fleet.start(trips(3), id="m-4")
    assert run.state().step("hop").status == "scheduled"
    world.beat()
    assert world.rest(run).status == "completed"


def _away(*_: object) -> None:
    raise ConnectionError("it died")
