"""Sagas whose second step is not to be run ahead, or is to be told what it would be alone.

Owns: adding them to the kit's app.  Refuses to know: which worker runs them (`ahead_worker`), and
what should become of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac import Flow, Saga, StepContext  # noqa: TC001 -- read when sagas are planned
from tests.workers import unmodified
from tests.workers.kit import QUICK, Kit, Script, Ticket, Trip

if TYPE_CHECKING:
    from tests.workers.unmodified import Unmodified


class AheadSagas(NamedTuple):
    """The sagas, by what is odd about their second step."""

    elsewhere: Saga[Trip, Ticket]  # it has another queue
    throttled: Saga[Trip, Ticket]  # it has a rate limit
    urgent: Saga[Trip, Ticket]  # it has another priority
    refusing: Saga[Trip, Ticket]  # it refuses
    first_limited: Saga[Trip, Ticket]  # the first has a time limit of 1 s, the second none
    late: Saga[Trip, Ticket]  # the message of the first is acknowledged late, of the second early
    both_limited: Saga[Trip, Ticket]  # each has one of 1 s, and ignores the soft one if told to
    adopted: Saga[int, Any]  # tasks of `unmodified`, of which the third fails
    plain: Unmodified


def extend(kit: Kit) -> AheadSagas:
    """Add the sagas to the kit's app."""
    plain = unmodified.extend(kit)
    kit.app.conf.task_routes = {
        "elsewhere.then": {"queue": "other"},
        "urgent.then": {"priority": 9},
    }
    script = Script(kit.sagas, kit.ledger, kit.folder)

    def pair(name: str, first: dict[str, Any], second: dict[str, Any]) -> Saga[Trip, Ticket]:
        start, then = _step(script, "start", first, name), _step(script, "then", second, name)

        def both(flow: Flow, trip: Trip) -> Ticket:
            flow.step(start, trip)
            made: Ticket = flow.step(then, trip)
            return made

        return kit.sagas.saga(name=name)(both)

    def adopted(flow: Flow, x: int) -> Any:
        flow.step(plain.tasks["fine"], x)
        flow.step(plain.tasks["fine"], x)
        return flow.step(plain.tasks["broken"], x)

    return AheadSagas(
        elsewhere=pair("elsewhere", {}, {}),
        throttled=pair("throttled", {}, {"rate_limit": "100/s"}),
        urgent=pair("urgent", {}, {}),
        refusing=pair("refusing", {"ahead": False}, {"ahead": False}),
        first_limited=pair("first_limited", {"timeout": 1.0}, {}),
        late=pair("late", {"acks_late": True}, {}),
        both_limited=pair("both_limited", {"timeout": 1.0}, {"timeout": 1.0}),
        adopted=kit.sagas.saga(adopted),
        plain=plain,
    )


def _step(script: Script, name: str, options: dict[str, Any], saga: str) -> Any:
    def body(ctx: StepContext, trip: Trip) -> Ticket:
        return script.act(ctx, trip, name)

    def undo(ctx: StepContext, trip: Trip) -> None:
        script.act(ctx, trip, f"{name}.undo")

    body.__name__, undo.__name__ = name, f"un{name}"
    made = script.sagas.step(name=f"{saga}.{name}", retry=QUICK, **options)(body)
    again = {"ahead": False} if "ahead" in options else {}
    made.compensation(name=f"{saga}.un{name}", retry=QUICK, **again)(undo)
    return made
