"""The sagas of the kit that wait at gates, and the one whose step nobody takes up in its time.

Owns: them, and the line in the ledger when whoever has passed a gate leaves it again.  Refuses to
know: what the other steps do (`kit`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from celeriac import Breaker, Flow, Limit, Rate, Retry, StepContext
from tests.workers.trip_values import QUICK, Ticket, Trip

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac import Saga, Sagas
    from tests.workers.ledger import Ledger

PLACES, RUNS = 2, 4
BANK = Breaker("bank", failures=3, within="10s", open_for="1s")
# The clients of chaos start such runs at the same time, so one of two waits; not one in a second
# ends there.
SEAL = Rate(1, per="1s", name="seals")
_STAMPS = (Limit(PLACES, name="stamps"), Rate(20, per="1s", name="prints"))
_PATIENT = Retry(max_attempts=9, initial_delay=0.1, max_delay=0.5, jitter=False)
_A_WHILE = 0.05  # seconds inside of a gate


def define(
    sagas: Sagas, hop: Any, act: Callable[[StepContext, Trip, str], Any], ledger: Ledger
) -> dict[str, Saga[Trip, Any]]:
    """The sagas, by the names that they have in the kit."""

    def inside(ctx: StepContext, trip: Trip, name: str) -> Ticket:
        try:
            found: Ticket = act(ctx, trip, name)
            time.sleep(_A_WHILE)
            return found
        finally:
            ledger.end(f"{ctx.run_id}:{name}", ctx.attempt)

    @sagas.step(name="tests.workers.kit.stamp", retry=QUICK, limit=_STAMPS)
    def stamp(ctx: StepContext, trip: Trip) -> Ticket:
        return inside(ctx, trip, ctx.step)

    @stamp.compensation(name="tests.workers.kit.unstamp", retry=QUICK)
    def unstamp(ctx: StepContext, trip: Trip) -> None:
        inside(ctx, trip, f"{ctx.step}.undo")

    seal = _sealing(sagas, act)

    @sagas.step(name="tests.workers.kit.inquire", retry=_PATIENT, breaker=BANK)
    def inquire(ctx: StepContext, trip: Trip) -> Ticket:
        found: Ticket = act(ctx, trip, "inquire")
        return found

    @inquire.compensation(name="tests.workers.kit.uninquire", retry=_PATIENT)
    def uninquire(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, "inquire.undo")

    def stamped(flow: Flow, trip: Trip) -> Ticket:
        flow.options(name="first").step(hop, trip)
        with flow.parallel():
            for name in ("left", "middle", "right"):
                flow.options(name=name).step(stamp, trip)
        return flow.options(name="last").step(seal, trip)  # type: ignore[no-any-return]

    def guarded(flow: Flow, trip: Trip) -> Ticket:
        flow.options(name="first").step(hop, trip)
        return flow.step(inquire, trip)

    def lapsed(flow: Flow, trip: Trip) -> Ticket:
        flow.options(name="first").step(hop, trip)
        found: Ticket = flow.options(name="never", queue="nowhere", expires=1).step(hop, trip)
        return found

    return {
        "stamped": sagas.saga(name="stamped", limit=Limit(RUNS, name="counter"))(stamped),
        "guarded": sagas.saga(name="guarded")(guarded),
        "lapsed": sagas.saga(name="lapsed")(lapsed),
    }


def _sealing(sagas: Sagas, act: Callable[[StepContext, Trip, str], Any]) -> Any:
    """The step that ends a run, at a rate."""

    @sagas.step(name="tests.workers.kit.seal", retry=QUICK, limit=SEAL)
    def seal(ctx: StepContext, trip: Trip) -> Ticket:
        found: Ticket = act(ctx, trip, ctx.step)
        return found

    @seal.compensation(name="tests.workers.kit.unseal", retry=QUICK)
    def unseal(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, f"{ctx.step}.undo")

    return seal
