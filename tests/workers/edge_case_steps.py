"""Steps that the kit's scripts cannot play, added to its app.

Owns: the saga `stubborn`, whose step and undo ignore the soft time limit; `brittle`, whose step
takes effect, waits for a gate and then raises; `probe`, whose undo writes down what it was given;
and `asking`, whose step waits for another run.  Refuses to know: which worker runs them
(`extra_tasks`).
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from celery.exceptions import SoftTimeLimitExceeded

from celeriac import Abort, Failure, Flow, Saga, StepContext
from tests.workers.kit import QUICK, Kit, Ticket, Trip

if TYPE_CHECKING:
    from pathlib import Path

    from celeriac import RunHandle


class Odd(NamedTuple):
    """The sagas that were added."""

    stubborn: Saga[Trip, Ticket]
    brittle: Saga[Trip, Ticket]
    probe: Saga[Trip, Ticket]
    asking: Saga[Trip, Ticket]


def extend(kit: Kit) -> Odd:
    """Add the odd sagas to the kit's app."""
    return Odd(_stubborn(kit), _brittle(kit), _probe(kit), _asking(kit))


def _stubborn(kit: Kit) -> Saga[Trip, Ticket]:
    ledger, folder = kit.ledger, kit.folder

    @kit.sagas.step(retry=QUICK, timeout=1.0)
    def insist(ctx: StepContext, trip: Trip) -> Ticket:
        ledger.begin(f"{ctx.run_id}:insist", ctx.attempt)
        ledger.do(ctx.idempotency_key, ctx.attempt)
        if "insist" in trip.script:
            _ignore_limits(kit, ctx, folder / f"{ctx.run_id}.insist.open")
        return Ticket(number="insist")

    @insist.compensation(retry=QUICK, timeout=1.0)
    def desist(ctx: StepContext, trip: Trip) -> None:
        ledger.begin(f"{ctx.run_id}:insist.undo", ctx.attempt)
        if "insist.undo" in trip.script:
            _ignore_limits(kit, ctx, folder / "never")
        ledger.undo(ctx.idempotency_key, ctx.attempt)

    @kit.sagas.step(retry=QUICK)
    def refuse(ctx: StepContext) -> Ticket:
        raise Abort(f"{ctx.step} goes no further", code="no_further", effect=False)

    def stubborn(flow: Flow, trip: Trip) -> Ticket:
        flow.step(insist, trip)
        return flow.step(refuse)

    return kit.sagas.saga(stubborn)


def _ignore_limits(kit: Kit, ctx: StepContext, gate: Path) -> None:
    give_up = time.monotonic() + 60
    while not gate.exists() and time.monotonic() < give_up:
        try:
            time.sleep(0.01)  # a condition is awaited: the gate
        except SoftTimeLimitExceeded:
            kit.ledger.begin(f"{ctx.run_id}:soft", ctx.attempt)


def _brittle(kit: Kit) -> Saga[Trip, Ticket]:
    @kit.sagas.step(retry=QUICK)
    def crack(ctx: StepContext, trip: Trip) -> Ticket:
        words = trip.script["crack"]
        kit.ledger.begin(f"{ctx.run_id}:crack", ctx.attempt)
        if words[ctx.attempt - 1] == "clean":
            raise Abort("not this time", effect=False)
        kit.ledger.do(ctx.idempotency_key, ctx.attempt)
        (kit.folder / f"{ctx.run_id}.crack.reached").touch()
        _ignore_limits(kit, ctx, kit.folder / f"{ctx.run_id}.crack.open")
        raise ConnectionError("too late")

    @crack.compensation(retry=QUICK)
    def mend(ctx: StepContext) -> None:
        kit.ledger.begin(f"{ctx.run_id}:crack.undo", ctx.attempt)
        kit.ledger.undo(ctx.idempotency_key, ctx.attempt)

    def brittle(flow: Flow, trip: Trip) -> Ticket:
        return flow.step(crack, trip)

    return kit.sagas.saga(brittle)


def _probe(kit: Kit) -> Saga[Trip, Ticket]:
    @kit.sagas.step(retry=QUICK)
    def measure(ctx: StepContext, trip: Trip, unit: str = "ms") -> Ticket:
        kit.ledger.do(ctx.idempotency_key, ctx.attempt)
        if "measure" in trip.script:
            raise Abort("out of range", code="range")
        return Ticket(number=f"7 {unit}")

    @measure.compensation(retry=QUICK)
    def forget(
        ctx: StepContext, trip: Trip, unit: str, result: Ticket | None, error: Failure | None
    ) -> None:
        kit.ledger.undo(ctx.idempotency_key, ctx.attempt)
        told = {
            "trip": type(trip).__name__,
            "unit": unit,
            "result": result and result.number,
            "error": error and [error.type, error.code, error.message],
            "key": ctx.idempotency_key,
            "attempt": ctx.attempt,
            "reason": ctx.reason,
            "tags": dict(ctx.tags),
        }
        (kit.folder / f"{ctx.run_id}.told").write_text(json.dumps(told))

    @kit.sagas.step(retry=QUICK)
    def judge(trip: Trip, measured: Ticket) -> Ticket:
        if "judge" in trip.script:
            raise Abort("too much", code="too_much", effect=False)
        return measured

    def probe(flow: Flow, trip: Trip) -> Ticket:
        return flow.step(judge, trip, flow.step(measure, trip, "cm"))

    return kit.sagas.saga(probe)


def _asking(kit: Kit) -> Saga[Trip, Ticket]:
    @kit.sagas.step(retry=QUICK)
    def ask(ctx: StepContext, trip: Trip) -> Ticket:
        kit.ledger.begin(f"{ctx.run_id}:ask", ctx.attempt)
        inner = kit.trip.start(Trip(), id=f"{ctx.run_id}-inner")
        found = asyncio.run(inner.aresult(20)) if "await" in trip.script else inner.result(20)
        kit.ledger.do(ctx.idempotency_key, ctx.attempt)
        return found

    @ask.compensation(retry=QUICK)
    def unask(ctx: StepContext) -> None:
        kit.ledger.begin(f"{ctx.run_id}:ask.undo", ctx.attempt)
        kit.ledger.undo(ctx.idempotency_key, ctx.attempt)

    def asking(flow: Flow, trip: Trip) -> Ticket:
        return flow.step(ask, trip)

    return kit.sagas.saga(name="asking_another")(asking)


def told(kit: Kit, run: RunHandle[Any]) -> dict[str, Any]:
    """What the undo of a probe was given."""
    found: dict[str, Any] = json.loads((kit.folder / f"{run.id}.told").read_text())
    return found
