"""Hypothesis drives the real engine on a real Redis; after each rule, all keys are as they must be.

Owns: the rules, and how long they are played (`PROVE=1`: much longer).  Refuses to know: what is
compared (`pure_and_stored`), and what a fault does (`faulty_connection`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, event, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.model.faulty_connection import FAULTS, restart
from tests.model.pure_and_stored import RUN, ModelAndStore
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.machine.walk import Chooser

PROVING = os.environ.get("PROVE") == "1"
EXAMPLES, STEPS = (600, 60) if PROVING else (80, 40)
_MILD = [fault for fault in FAULTS if not fault.startswith("killed")]
_KILLS = [fault for fault in FAULTS if fault.startswith("killed")]
MOST_KILLS = 1  # in one example: each costs as much as all the rest of it

trips = st.integers(1, 6)
engines = st.integers(0, 1)


def chooser(data: st.DataObject) -> Chooser:
    """Let Hypothesis make the choices."""

    def choose(choices: Sequence[Any]) -> Any:
        return choices[data.draw(st.integers(0, len(choices) - 1))]

    return choose


class Machine(RuleBasedStateMachine):
    """A run on a Redis that the machine may harm."""

    server: RedisServer
    both: ModelAndStore
    kills = 0

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Any saga, on an empty Redis."""
        self.both = ModelAndStore(self.server, chooser(data))

    @rule(data=st.data())
    def walk(self, data: st.DataObject) -> None:
        """Something happens: well, badly, twice, too late, or by somebody who has no business."""
        self.both.step(chooser(data))

    @rule(data=st.data(), fault=st.sampled_from(_MILD), trip=trips)
    def walk_on_a_bad_line(self, data: st.DataObject, fault: str, trip: int) -> None:
        """The same, and one of the next round trips goes wrong."""
        self.both.stores[0].line.fault = (fault, trip)
        self.both.step(chooser(data))

    @precondition(lambda self: self.kills < MOST_KILLS)
    @rule(data=st.data(), fault=st.sampled_from(_KILLS), trip=trips)
    def walk_while_redis_dies(self, data: st.DataObject, fault: str, trip: int) -> None:
        """Redis is killed around one of the next round trips, and starts from its AOF."""
        self.kills += 1
        self.both.stores[0].line.fault = (fault, trip)
        self.both.step(chooser(data))

    @rule(data=st.data(), fault=st.sampled_from([None, None, *_MILD]), trip=trips, engine=engines)
    def race(self, data: st.DataObject, fault: str | None, trip: int, engine: int) -> None:
        """Two engines decide at once."""
        self.both.stores[engine].line.fault = (fault, trip) if fault else None
        self.both.race(chooser(data))

    @rule(data=st.data(), fault=st.sampled_from([None, *_MILD]), trip=trips, twice=st.booleans())
    def sweep(self, data: st.DataObject, fault: str | None, trip: int, *, twice: bool) -> None:
        """A sweep, or two at once."""
        self.both.stores[0].line.fault = (fault, trip) if fault else None
        self.both.sweep(chooser(data), twice=twice)

    @rule(data=st.data(), fault=st.sampled_from([None, *_MILD]))
    def renew(self, data: st.DataObject, fault: str | None) -> None:
        """Workers renew their leases, or let them lapse."""
        self.both.stores[0].line.fault = (fault, 1) if fault else None
        self.both.renew(chooser(data))

    @rule(data=st.data())
    def expire_in_vain(self, data: st.DataObject) -> None:
        """A lease was renewed just before somebody took it for lapsed."""
        self.both.expire_in_vain(chooser(data))

    @rule(data=st.data())
    def operate(self, data: st.DataObject) -> None:
        """An operator pauses, resumes or skips."""
        self.both.operate(chooser(data))

    @rule()
    def flush(self) -> None:
        """Redis forgets all scripts."""
        self.both.client.script_flush()

    @rule()
    def cut(self) -> None:
        """All connections end while nobody uses them."""
        self.both.stores[0].line.cut()

    @precondition(lambda self: self.kills < MOST_KILLS)
    @rule()
    def restart(self) -> None:
        """Redis is killed while nobody uses it, and starts from its AOF."""
        self.kills += 1
        restart(self.server)

    @invariant()
    def everything_agrees(self) -> None:
        """Every key is what the pure side says."""
        if hasattr(self, "both"):
            self.both.check()

    def teardown(self) -> None:
        """What has ended is removed in its time, without a trace."""
        if not hasattr(self, "both"):
            return
        try:
            run = self.both.expected[RUN].run
            event(f"ended {run.status}" if run else "gone")
            self.both.come_to_an_end()
        finally:
            note("\n".join(self.both.told))
            self.both.close()


@pytest.fixture
def server(tmp_path: Any) -> Iterator[RedisServer]:
    """A Redis that may be harmed."""
    with RedisServer(tmp_path / "redis") as found:
        yield found


@pytest.mark.timeout(3600 if PROVING else 400)  # a minute where nothing else is going on
def test_the_stored_state_is_the_pure_one(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands of all kinds, faults of all kinds: every key is what the state machine says."""
    monkeypatch.setattr(Machine, "server", server, raising=False)
    walk(Machine, EXAMPLES, STEPS)


def walk(machine: type[Machine], examples: int, steps: int) -> None:
    """Try *examples* ways through a state machine, each of so many steps."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
