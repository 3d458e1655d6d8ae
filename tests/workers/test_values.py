"""What goes in comes out of real workers, or fails its step for good and is undone.

Owns: outputs and heartbeats that JSON would change, inputs that are hard to carry, and the same id
asked for from another process.  Refuses to know: which values those are (`authoring`).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from celeriac import InputInvalid, RunConflict
from tests.workers import load, value_steps
from tests.workers.value_steps import Parcel

if TYPE_CHECKING:
    from tests.workers.world import World

EXTRAS = ("-I", "tests.workers.extra_tasks")


def test_an_output_that_would_change_fails_its_step_and_is_undone(world: World) -> None:
    """It is tried once, it is undone without a result, and nothing stays owed."""
    carry = value_steps.extend(world.kit).carry
    world.worker(args=EXTRAS)
    world.beat()
    expected = {
        "keys": "a key of type NoneType that would come back as another",
        "price": "it is of type Price and would come back as dict",
        "secret": "its card is of type SecretStr and would come back as str",
        "light": "fetch could not be undone: argument 'result' of put_back does not validate",
        "beat": "it is of type tuple and would come back as list",
    }
    runs = [carry.start(word, id=word) for word in expected]
    late = carry.start("fine", id="fine")  # its second step returns what would change
    load.all_rest(world, [*runs, late])
    for run, message in zip(runs, expected.values(), strict=True):
        state = run.state()
        assert (state.status, state.failed_step, state.owed) == ("compensated", "fetch", ())
        assert state.failure is not None
        assert state.failure.type == "OutputInvalid"
        assert message in state.failure.message
        assert world.ledger.bodies(run.id, "fetch") == 1
        assert value_steps.told(world.kit, run) == {"word": run.id, "weight": None}
    state = late.state()
    assert (state.status, state.failed_step, state.owed) == ("compensated", "price", ())
    assert state.failure is not None
    assert "its cents would come back as another value" in state.failure.message
    assert world.ledger.bodies("fine", "price") == 1
    assert value_steps.told(world.kit, late) == {"word": "fine", "weight": 1}


def test_a_hard_input_arrives_whole_and_joins_from_anywhere(world: World) -> None:
    """Secret, set, money and time reach the step as they were; the secret reaches nobody else."""
    deliver = value_steps.extend(world.kit).deliver
    worker = world.worker(args=EXTRAS)
    ready = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    parcel = Parcel(
        card=SecretStr("tok_42"), flags={"gift", "express"}, price=Decimal("1.10"), ready=ready
    )
    run = deliver.start(parcel, id="hard")
    assert run.result(timeout=20)
    assert value_steps.told(world.kit, run) == {
        "card": "tok_42",
        "flags": ["express", "gift"],
        "price": "1.10",
        "ready": "2024-10-27T02:30:00+01:00",
    }
    shown = f"{run.state()!r} {run.history()!r} {worker.log.read_text()}"
    assert "tok_42" not in shown
    # The same in other words: what another process may make of it.
    rest = '"price":"1.1","card":"tok_42","ready":"2024-10-27T01:30:00+00:00"'
    for flags in ('["gift","express"]', '["express","gift"]'):
        assert deliver.start_json(f'{{"flags":{flags},{rest}}}', id="hard").id == run.id
    with pytest.raises(RunConflict):
        deliver.start_json(f'{{"flags":["gift"],{rest}}}', id="hard")


def test_an_input_that_would_change_is_refused_by_start(world: World) -> None:
    """Nothing is written for it."""
    deliver = value_steps.extend(world.kit).deliver
    changed = Parcel(
        card=SecretStr("x"),
        flags=set(),
        price=Decimal(1),
        ready=datetime(1880, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    )
    with pytest.raises(InputInvalid, match=r"'parcel' of deliver .*its ready would come back"):
        deliver.start(changed)
    with world.redis.client() as redis:
        assert redis.dbsize() == 0
