"""A run in a test's hands: commands one by one, and a clock that moves when the test says so.

Owns: small plans, giving a command its usual values, and the laws that are checked after each of
them.  Refuses to know: which command makes sense when.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.errors import CommandRefused, RunConflict, RunExists
from celeriac.machine import FromInput, Map, Node, Phase, Plan, RetryRule, Undo, epoch_of
from celeriac.machine.commands import (
    Cancel,
    CheckAttempt,
    Claim,
    Command,
    Complete,
    Defer,
    Expand,
    Expire,
    Fail,
    Open,
    Pause,
    Resume,
    RetryOwed,
    Rewind,
    Skip,
    Start,
    Terminate,
    Waive,
    Wake,
)
from celeriac.machine.events import Event, EventKind
from celeriac.machine.moves import fold
from celeriac.machine.transitions import Transition, transition
from tests.machine.laws import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine.runs import Run
    from celeriac.machine.steps import PhaseStatus, StepState

NOON = 1_700_000_000_000
GRACE = 5_000


def budget(attempts: int | None = 2, delay: int = 1_000, **values: Any) -> RetryRule:
    """A retry rule without surprises: always the same delay, in ms."""
    return RetryRule(
        max_attempts=attempts, backoff="none", initial_delay=delay, jitter=False, **values
    )


def step(name: str, **values: Any) -> Node:
    """A step with an undo, two attempts a second apart in both directions."""
    undo = Undo(task=f"shop.undo_{name}", wants=("result",), retry=budget())
    return Node(**{"name": name, "task": f"shop.{name}", "retry": budget(), "undo": undo, **values})


def mapped(name: str, *nodes: Node, concurrency: int = 2, **values: Any) -> Node:
    """A map: of one step, or of several, which say what they wait for."""
    items, each = FromInput(input="items"), nodes or (step(f"{name}[]"),)
    made = Map(items=items, nodes=each, concurrency=concurrency)
    return Node(name=name, task=f"shop.{name}", map=made, **values)


def saga(*steps: Node | str, **values: Any) -> Plan:
    """A plan of steps one after the other; those that say themselves what they wait for keep it."""
    nodes: list[Node] = []
    for given in steps:
        node = step(given) if isinstance(given, str) else given
        before = [each.name for each in nodes if not each.covers]
        if before and not (node.after or node.covers):
            node = node.model_copy(update={"after": (before[-1],)})
        nodes.append(node)
    return Plan(**{"saga": "place_order", "nodes": tuple(nodes), **values})


class Story:
    """One run under one plan, from its first command on."""

    def __init__(self, plan: Plan, run_id: str = "order-42") -> None:
        self.plan, self.run_id = plan, run_id
        self.now = NOON
        self.maybe_run: Run | None = None
        self.history: list[Event] = []
        self.dropped = 0  # events that others took the place of
        self._holders: dict[tuple[int, str, Phase, int], str] = {}

    # --- looking -------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """The run as it is now."""
        assert self.maybe_run is not None
        return self.maybe_run

    @property
    def status(self) -> str:
        """Where the run stands, in a word."""
        return self.run.status.value

    def __getitem__(self, name: str) -> StepState:
        return self.run.step(name)

    def states(self, phase: Phase = "do") -> dict[str, PhaseStatus]:
        """Where each step of the plan stands, in one direction."""
        return {node.name: self[node.name].direction(phase).state for node in self.plan.nodes}

    def kinds(self) -> list[str]:
        """What happened until now, in short: `claimed reserve`."""
        return [f"{event.kind} {event.step}".strip() for event in self.history]

    def happened(self, kind: EventKind, phase: Phase = "do") -> list[str]:
        """The steps to which it happened, in that order."""
        return [e.step for e in self.history if e.kind is kind and e.phase == phase]

    # --- commands ------------------------------------------------------------------------------

    def give(self, command: Command) -> Transition:
        """Decide *command* now; one that is refused must leave the run as it was."""
        before = self.maybe_run
        text = repr(before)
        try:
            done = transition(self.plan, before, command, self.now)
        except (CommandRefused, RunConflict, RunExists):
            assert repr(before) == text
            raise
        for place in done.events[0].replaces if done.events else ():
            told = self.history.pop(-place - 1)
            assert told.step == done.events[0].step, "what another step went through is dropped"
            self.dropped += 1
        self.history += done.events
        self.maybe_run = done.run
        check(self.plan, before, command, done, self.now)
        assert done.run.version == len(self.history) + self.dropped
        return done

    def check_history(self) -> None:
        """The events, written down and read again, make the run (I9)."""
        told = [Event.load(event.dump()) for event in self.history]
        assert fold(self.plan, self.run_id, told) == self.maybe_run

    def start(self, **values: Any) -> Transition:
        """Start the run."""
        known: dict[str, Any] = {"digest": "input", "nonce": "call-1", "grace": GRACE}
        return self.give(Start(self.run_id, **{**known, **values}))

    def claim(
        self, name: str, phase: Phase = "do", attempt: int | None = None, holder: str = ""
    ) -> Transition:
        """Take the next attempt of a step, or the one given."""
        number = attempt or self[name].direction(phase).attempt + 1
        holder = holder or f"worker-{len(self._holders)}"
        epoch = epoch_of(self.run, name)
        node, run = self.plan.find(name), self.run
        gates = tuple(gate.name for gate in node.gates) if node and phase == "do" else ()
        gates = run.step(name).gates if phase == "undo" else gates
        enters = () if run.entered else tuple(gate.name for gate in self.plan.gates)
        done = self.give(Claim(name, phase, number, holder, epoch, gates=gates, enters=enters))
        self._holders[epoch, name, phase, number] = holder
        return done

    def complete(
        self, name: str, phase: Phase = "do", attempt: int | None = None, **values: Any
    ) -> Transition:
        """Report success, as whoever was granted the attempt (the newest, unless given)."""
        return self.give(Complete(*self._token(name, phase, attempt), **values))

    def expand(self, name: str, count: int, **values: Any) -> Transition:
        """Count the list of a map."""
        number = self[name].do.attempt + 1
        return self.give(Expand(name, number, count, self.run.epoch, **values))

    def open(self, name: str, until: int, **values: Any) -> Transition:
        """Say until when a sleep lasts."""
        number = self[name].do.attempt + 1
        return self.give(Open(name, number, until, self.run.epoch, **values))

    def choose(self, name: str, choice: str) -> Transition:
        """Take and complete a step that chooses."""
        self.claim(name)
        return self.complete(name, choice=choice)

    def fail(
        self, name: str, phase: Phase = "do", attempt: int | None = None, **values: Any
    ) -> Transition:
        """Report a failure, as whoever was granted the attempt."""
        step_, phase, number, holder, epoch = self._token(name, phase, attempt)
        told = {"error": "BankDown", **values}
        return self.give(Fail(step_, phase, number, holder, epoch, **told))

    def postpone(
        self, name: str, delay: int = 30_000, phase: Phase = "do", **values: Any
    ) -> Transition:
        """Take an attempt of a step, which cannot say yet."""
        self.claim(name, phase)
        return self.fail(name, phase, kind="postpone", delay=delay, **values)

    def defer(self, name: str, delay: int = 60_000) -> Transition:
        """The body says that its result comes from outside."""
        return self.give(Defer(*self._token(name, "do", None), delay=delay))

    def say(self, name: str, attempt: int | None = None, by: str = "", **values: Any) -> Transition:
        """Somebody outside says that a step has succeeded; with *values*, how it failed."""
        number, holder = attempt or self[name].do.attempt, self[name].do.holder
        epoch = epoch_of(self.run, name)
        if not values:
            return self.give(Complete(name, "do", number, holder, epoch, outside=True, by=by))
        told: Any = {"kind": "abort", "error": "No", "outside": True, "by": by, **values}
        return self.give(Fail(name, "do", number, holder, epoch, **told))

    def heartbeat(self, name: str, phase: Phase = "do", attempt: int | None = None) -> Transition:
        """Ask whether the attempt still counts."""
        return self.give(CheckAttempt(*self._token(name, phase, attempt)))

    def expire(self, name: str, phase: Phase = "do", attempt: int | None = None) -> Transition:
        """Let the lease of an attempt run out."""
        number = self[name].direction(phase).attempt if attempt is None else attempt
        return self.give(Expire(name, phase, number))

    def wake(self, credit: int | None = 0, **values: Any) -> Transition:
        """Look at the run, as the sweep does."""
        return self.give(Wake(credit, **values))

    def cancel(self, reason: str = "changed my mind") -> Transition:
        """Stop and undo."""
        return self.give(Cancel(reason))

    def rewind(self, to: str) -> Transition:
        """Go back to a step, and forward again from there."""
        return self.give(Rewind(to, f"call-{self.run.version}", "the wrong card", "ada"))

    def terminate(self, reason: str = "enough") -> Transition:
        """Abandon."""
        return self.give(Terminate(reason))

    def retry(self, name: str | None = None) -> Transition:
        """Give what is owed a new budget."""
        return self.give(RetryOwed(name, "fixed it"))

    def waive(self, name: str) -> Transition:
        """Declare an owed undo settled."""
        return self.give(Waive(name, "refunded by hand"))

    def pause(self, reason: str = "the bank is down") -> Transition:
        """Hold the run."""
        return self.give(Pause(reason, by="ada"))

    def resume(self) -> Transition:
        """Let the run go on."""
        return self.give(Resume("it is back", by="ada"))

    def skip(self, name: str, choice: str = "") -> Transition:
        """Go on as if a step had completed."""
        return self.give(Skip(name, "done by hand", by="ada", choice=choice))

    # --- several at once -----------------------------------------------------------------------

    def do(self, *names: str) -> Story:
        """Take and complete each of the steps."""
        return self._through("do", names)

    def undo(self, *names: str) -> Story:
        """Take and complete the compensation of each of the steps."""
        return self._through("undo", names)

    def give_up(self, name: str, phase: Phase = "do", **values: Any) -> Story:
        """Take an attempt of a step, which fails for good."""
        self.claim(name, phase)
        self.fail(name, phase, kind="abort", **values)
        return self

    def lose(self, name: str, phase: Phase = "do") -> Story:
        """Take an attempt of a step, whose worker then gives no sign of life any more."""
        self.claim(name, phase)
        self.expire(name, phase)
        return self

    def advance(self, ms: int) -> Story:
        """Let time pass; nobody looks."""
        self.now += ms
        return self

    def _through(self, phase: Phase, names: tuple[str, ...]) -> Story:
        for name in names:
            self.claim(name, phase)
            self.complete(name, phase)
        return self

    def _token(
        self, name: str, phase: Phase, attempt: int | None
    ) -> tuple[str, Phase, int, str, int]:
        number = attempt or self[name].direction(phase).attempt
        epoch = epoch_of(self.run, name)
        return name, phase, number, self._holders.get((epoch, name, phase, number), "nobody"), epoch


def started(*steps: Node | str, **values: Any) -> Story:
    """A run of these steps that was just started."""
    story = Story(saga(*steps, **values))
    story.start()
    return story


@contextmanager
def refused(reason: str, match: str | None = None) -> Iterator[None]:
    """The command inside is refused for *reason*."""
    with pytest.raises(CommandRefused, match=match) as caught:
        yield
    assert caught.value.reason == reason
