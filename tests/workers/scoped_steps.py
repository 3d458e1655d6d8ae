"""The sagas of the kit whose steps are undone as one, confirmed as one, or visited in groups.

Owns: them, and the tasks that undo and confirm.  Refuses to know: what its steps do (`kit`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import Flow, Route, StepContext
from tests.workers.trip_values import QUICK, Ticket, Trip

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac import Saga, Sagas


def define(
    sagas: Sagas, hop: Any, act: Callable[[StepContext, Trip, str], Any]
) -> Saga[Trip, Ticket]:
    """First, then left beside right, undone as one by call_off; last."""

    @sagas.step(name="tests.workers.kit.call_off", retry=QUICK)
    def call_off(ctx: StepContext, trip: Trip) -> None:
        for each in ctx.each():
            act(each, trip, f"{each.step}.undo")

    def bundle(flow: Flow, trip: Trip) -> Ticket:
        flow.options(name="first").step(hop, trip)
        with flow.undone_by(call_off, trip), flow.parallel():
            flow.options(name="left").step(hop, trip)
            flow.options(name="right").step(hop, trip)
        found: Ticket = flow.options(name="last").step(hop, trip)
        return found

    return sagas.saga(name="bundle")(bundle)


def define_transfer(
    sagas: Sagas, hop: Any, act: Callable[[StepContext, Trip, str], Any]
) -> Saga[Trip, Ticket]:
    """First; debit and credit in two phases; last."""

    @sagas.step(name="tests.workers.kit.hold", retry=QUICK)
    def hold(ctx: StepContext, trip: Trip) -> Ticket:
        found: Ticket = act(ctx, trip, ctx.step)
        return found

    @hold.compensation(name="tests.workers.kit.release", retry=QUICK)
    def release(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, f"{ctx.step}.undo")

    @hold.confirm(name="tests.workers.kit.take", retry=QUICK)
    def take(ctx: StepContext, trip: Trip, result: Ticket) -> None:
        assert result.number == f"{ctx.step}-{ctx.run_id}"
        act(ctx, trip, f"{ctx.step}.confirm")

    def transfer(flow: Flow, trip: Trip) -> Ticket:
        flow.options(name="first").step(hop, trip)
        with flow.two_phase():
            flow.options(name="debit").step(hold, trip)
            flow.options(name="credit").step(hold, trip)
        found: Ticket = flow.options(name="last").step(hop, trip)
        return found

    return sagas.saga(name="transfer")(transfer)


def define_rounds(
    sagas: Sagas, hop: Any, act: Callable[[StepContext, Trip, str], Any]
) -> Saga[Trip, Ticket | None]:
    """Entry: first, then.  Manual: decide.  First and decide go where the script says."""

    @sagas.step(name="tests.workers.kit.turn", retry=QUICK)
    def turn(ctx: StepContext, trip: Trip) -> Ticket:
        found: Ticket = act(ctx, trip, ctx.step)
        for group in trip.script.get(f"{ctx.step}.goes", []):
            raise Route(group)
        return found

    @turn.compensation(name="tests.workers.kit.turn_back", retry=QUICK)
    def turn_back(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, f"{ctx.step}.undo")

    def rounds(flow: Flow, trip: Trip) -> Ticket | None:
        with flow.group("entry"):
            flow.options(name="first").step(turn, trip)
            found: Ticket = flow.options(name="then").step(hop, trip)
        with flow.group("manual"):
            flow.options(name="decide").step(turn, trip)
        return found

    return sagas.saga(name="rounds")(rounds)
