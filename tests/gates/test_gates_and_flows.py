"""Gates together with everything else that a saga can say: nothing leaks, nothing stands still.

Owns: that each way in which an attempt or a run can end gives its places back and leaves the line.
Refuses to know: what each construct does by itself (`tests/testing`), and the numbers of gates
(`tests/gating`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import pytest
from celery import Celery

from celeriac import (
    Abort,
    Breaker,
    CommandRefused,
    Done,
    Flow,
    Limit,
    NotYet,
    Rate,
    Retry,
    Route,
    Sagas,
    Signal,
    Skip,
    StepContext,
    TokenRefused,
)
from celeriac.machine import EventKind
from celeriac.testing import Lab

GATES: dict[str, dict[str, Any]] = {
    "limit": {"limit": Limit(1, name="bank")},
    "by value": {"limit": [Limit(1, key="order", name="order"), Limit(2, name="bank")]},
    "rate": {"limit": Rate(2, per="5s", name="bank")},
    "breaker": {"breaker": Breaker("bank", failures=2, within="1m", open_for="5s")},
}
QUICK = Retry(max_attempts=2, initial_delay="1s", jitter=False)


class Bank:
    """A step with a gate, and what its body does, by the name of the saga."""

    def __init__(self, gates: dict[str, Any], saga: str) -> None:
        self.sagas = Sagas(Celery("gated", broker="memory://"))
        self.saga_name = saga
        self.tokens: list[str] = []
        self.calls = 0
        limited = {} if "breaker" in gates else {"limit": Limit(2, name="runs")}
        options = {"name": "charge", "retry": QUICK, **gates}
        if saga == "expires":
            options["expires"] = "3s"
        if saga == "two_phase":
            options.pop("breaker", None)

        @self.sagas.step(**options)
        def charge(ctx: StepContext, order: str) -> str | None:
            self.calls += 1
            return self._act(ctx, order)

        @charge.compensation
        def refund(order: str) -> None:
            del order

        self.charge = charge
        self.saga: Any = getattr(self, f"_{saga}")(limited)

    def _act(self, ctx: StepContext, order: str) -> str | None:
        first = self.calls == 1
        kind = self.saga_name
        if kind == "not_yet" and self.calls < 4:
            raise NotYet(after="2s")
        if kind == "skips" and first:
            raise Skip("not needed")
        if kind == "done" and first:
            raise Done(None)
        if kind == "aborts" and first:
            raise Abort("declined", effect=False)
        if kind == "fails" and first:
            raise ConnectionError("the bank is down")
        if kind in ("later", "never"):
            self.tokens.append(ctx.token)
            return ctx.later("8s")
        return order

    def _plain(self, options: dict[str, Any]) -> Any:
        @self.sagas.saga(**options)
        def pay(flow: Flow, order: str) -> str | None:
            return flow.step(self.charge, order)

        return pay

    _not_yet = _skips = _done = _aborts = _fails = _later = _never = _expires = _plain

    def _groups(self, options: dict[str, Any]) -> Any:
        @self.sagas.step(name="ask")
        def ask(ctx: StepContext) -> None:
            if "~" not in ctx.step:
                raise Route("entry")

        @self.sagas.saga(**options)
        def pay(flow: Flow, order: str) -> None:
            with flow.group("entry"):
                flow.step(self.charge, order)
                flow.step(ask)

        return pay

    def _map(self, options: dict[str, Any]) -> Any:
        @self.sagas.step(name="list")
        def list_(order: str) -> list[str]:
            return [order, order, "other", order]

        @self.sagas.saga(**options)
        def pay(flow: Flow, order: str) -> None:
            flow.map(self.charge, flow.step(list_, order), concurrency=3)

        return pay

    def _parallel(self, options: dict[str, Any]) -> Any:
        @self.sagas.step(name="break", retry=Retry(max_attempts=1))
        def break_(order: str) -> None:
            raise Abort(f"no {order}", effect=False)

        @self.sagas.saga(**options)
        def pay(flow: Flow, order: str) -> None:
            with flow.parallel():
                flow.step(self.charge, order)
                flow.options(name="again").step(self.charge, order)
                flow.step(break_, order)

        return pay

    def _two_phase(self, options: dict[str, Any]) -> Any:
        @self.charge.confirm
        def take(result: str | None) -> None:
            del result

        @self.sagas.saga(**options)
        def pay(flow: Flow, order: str) -> None:
            with flow.two_phase():
                flow.step(self.charge, order)
                flow.options(name="again").step(self.charge, order)

        return pay

    def _child(self, options: dict[str, Any]) -> Any:
        inner = self._plain({})

        @self.sagas.saga(**options)
        def buy(flow: Flow, order: str) -> None:
            flow.child(inner, order)

        return buy

    def _tries(self, options: dict[str, Any]) -> Any:
        @self.sagas.step(name="sometimes", retry=Retry(max_attempts=1))
        def sometimes(ctx: StepContext) -> None:
            if "try" not in ctx.idempotency_key and self.calls < 9:
                raise ConnectionError("not now")

        @self.sagas.saga(retries=1, retry_delay="1s", **options)
        def pay(flow: Flow, order: str) -> None:
            flow.step(self.charge, order)
            flow.step(sometimes)

        return pay

    def _scope(self, options: dict[str, Any]) -> Any:
        @self.sagas.step(name="pack", retry=Retry(max_attempts=1))
        def pack(order: str) -> None:
            raise Abort(f"no {order}", effect=False)

        @self.sagas.step(name="clear", limit=Limit(1, name="desk"))
        def clear(order: str) -> None:
            del order

        @self.sagas.saga(**options)
        def pay(flow: Flow, order: str) -> None:
            with flow.undone_by(clear, order):
                flow.step(self.charge, order)
                flow.step(pack, order)

        return pay

    def _waits(self, options: dict[str, Any]) -> Any:
        @self.sagas.saga(deadline="20s", on_deadline="compensate", **options)
        def pay(flow: Flow, order: str) -> None:
            flow.step(self.charge, order)
            flow.wait(approved, timeout="9s", on_timeout="continue")
            flow.options(name="again").step(self.charge, order)

        return pay


approved = Signal("approved", bool)
ENDINGS = ("plain", "not_yet", "skips", "done", "aborts", "fails", "later", "never", "expires")
BLOCKS = ("groups", "map", "parallel", "two_phase", "child", "tries", "scope", "waits")
Deed = Literal["cancel", "hold", "terminate", "fork", "rewind"]
DEEDS: tuple[Deed, ...] = ("cancel", "hold", "terminate", "fork", "rewind")
CELLS = [
    (saga, kind, DEEDS[(row + column) % len(DEEDS)])
    for row, saga in enumerate(ENDINGS + BLOCKS)
    for column, kind in enumerate(GATES)
]


class Day:
    """Four runs that come at once, in a lab of their own."""

    def __init__(self, saga: str, kind: str) -> None:
        self.lab, self.bank = Lab(), Bank(GATES[kind], saga)
        self.runs = [self.lab.start(self.bank.saga, "o1", id=f"r{n}") for n in range(4)]
        self.step = "charge[]" if saga == "map" else "charge"
        self.lab.slow(self.step, "4s", times=9)

    def steer(self, deed: Deed) -> None:
        """What an operator does, while the first body is at work, to one inside and one in line."""

        def act() -> None:
            for run in (self.runs[0], self.runs[-1]):
                with suppress(CommandRefused):
                    if deed == "cancel":
                        run.cancel()
                    elif deed == "terminate":
                        run.terminate("enough")
                    elif deed == "hold":
                        run.pause("a moment")
                        run.resume()

        self.lab.at(f"{self.step} after body", act)
        if deed == "rewind":
            self.lab.advance("6s")
            for run in self.runs:
                with suppress(CommandRefused):
                    run.rewind(to="charge", reason="once more")

    def rest(self) -> None:
        """Let all come to rest, with results that come from outside."""
        self.lab.advance("30s")
        while self.bank.tokens and self.bank.saga_name == "later":
            with suppress(TokenRefused):  # it may not count any more
                self.lab.complete(self.bank.tokens.pop(0), "paid")
            self.lab.advance("9s")
        self.lab.advance("5m")

    def fork(self) -> None:
        """Let one go on from where another one stood."""
        with suppress(CommandRefused):  # where there is nothing to fork
            self.runs.append(self.runs[1].fork(at="charge", id="f"))
        self.lab.advance("2m")

    @property
    def left(self) -> list[str]:
        """What is wrong now: runs that stand still, places and turns that are left, gates."""
        found = [f"{run.id} is {run.status}" for run in self.runs if not run.status.at_rest]
        gates = self.lab.world.store.kept_gates
        for gate in gates.known():
            seen = gates.read(gate)
            if seen.taken or seen.waiting or '"opened"' not in seen.record:
                found.append(f"{gate}: {seen}")
        return found


@pytest.mark.parametrize(("saga", "kind", "deed"), CELLS)
def test_nothing_leaks(saga: str, kind: str, deed: Deed) -> None:
    """All rest, nobody is inside or waits; also if an operator steers who is inside and in line."""
    for steered in (False, True) if kind == "limit" else (True,):
        day = Day(saga, kind)
        if steered:
            day.steer(deed)
        day.rest()
        if deed == "fork" and steered:
            day.fork()
        assert day.left == [], day.lab.story()
        if kind == "limit":
            assert most_inside(day.lab) == 1, day.lab.story()


LEAVES = {
    *(EventKind.COMPLETED, EventKind.FAILED, EventKind.LOST, EventKind.SKIPPED),
    *(EventKind.POSTPONED, EventKind.REWOUND),
}


def most_inside(lab: Lab) -> int:
    """How many attempts of the gated step were inside at a time, at most, by the histories."""
    inside: set[tuple[str, str, str]] = set()
    most = 0
    for run, event in lab.world.observed.events:
        key = (run, event.step, event.phase)
        if event.kind is EventKind.TERMINATED:
            inside = {each for each in inside if each[0] != run}
        elif event.kind is EventKind.CLAIMED and event.step.startswith(("charge", "again")):
            inside.add(key)
        elif event.kind in LEAVES:
            inside.discard(key)
        most = max(most, len(inside))
    return most
