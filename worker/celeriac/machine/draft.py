"""A transition in the making: events are decided one by one, and each is applied at once.

Owns: `Draft`, how a command is refused, and what follows an attempt without success: another one,
a run that turns round, or a question to an operator.  Refuses to know: the commands themselves
(`attempts`, `timeouts`, `operators`).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celeriac.errors import CommandRefused
from celeriac.machine.conditions import may_begin_anew, past_pivot
from celeriac.machine.events import Event, EventKind
from celeriac.machine.moves import apply
from celeriac.machine.next_steps import outcome
from celeriac.machine.numbering import instance_of
from celeriac.machine.policy import attempts_left, delay_ms
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.steps import GAVE_UP, PhaseState, PhaseStatus
from celeriac.machine.tries import key_of
from celeriac.machine.visits import as_visited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine.commands import Complete, Defer, Expire, Fail
    from celeriac.machine.plans import Node, Phase, Plan

#: The code of a step that failed before it began: the run may start no more steps.
TOO_MANY_STEPS = "max_steps"


@dataclass(slots=True)
class Draft:
    """A transition in the making: events are applied as they are added."""

    whole: Plan  # with all its groups, whichever of them the run has visited
    maybe_run: Run | None
    now: int
    events: list[Event] = field(default_factory=list)
    epoch: int = 0  # of the earlier try that is decided about; 0: the run as it is now

    @property
    def plan(self) -> Plan:
        """The plan of the run as it stands now."""
        if not self.whole.groups:
            return self.whole
        there = self.maybe_run.of_epoch(self.epoch) if self.maybe_run else None
        return as_visited(self.whole, there)

    @property
    def run(self) -> Run:
        """The run as it stands now; raises CommandRefused if there is none."""
        found = self.maybe_run
        if self.epoch and found is not None:
            found = found.of_epoch(self.epoch)
        if found is None:
            raise CommandRefused("not_started", "there is no such run yet")
        return found

    @contextmanager
    def about(self, epoch: int) -> Iterator[None]:
        """Decide about one of the run's earlier tries, as about any run."""
        whole = self.maybe_run
        outer, self.epoch = self.epoch, 0 if whole and whole.epoch == epoch else epoch
        try:
            yield
        finally:
            self.epoch = outer

    def add(
        self,
        kind: EventKind,
        step: str = "",
        phase: Phase = "do",
        attempt: int = 0,
        *,
        run_id: str | None = None,
        replaces: tuple[int, ...] = (),
        **data: Any,
    ) -> None:
        """Let something happen to the run; *data* without what says nothing."""
        kept = {name: value for name, value in data.items() if value not in (None, "", ())}
        if self.epoch:
            kept["try"] = self.epoch
        event = Event(self.now, kind, step, phase, attempt, kept, replaces)
        self.events.append(event)
        self.maybe_run = apply(self.plan, run_id or self.run.id, self.maybe_run, event)

    def finish(self) -> None:
        """See to what the events left behind; bring the run to rest if there is nothing to do."""
        if not self.events:
            return
        for earlier in self.run.still_undone:
            with self.about(earlier.epoch):
                self._come_to_rest()
        take_signals(self)
        see_to_failures(self)
        self._come_to_rest()

    def _come_to_rest(self) -> None:
        rest = outcome(self.plan, self.run)
        if rest is None:
            return
        if rest is RunStatus.COMPENSATED and self.run.rewinds_to:
            self.add(EventKind.REWOUND, to=self.run.rewinds_to)
            self.finish()  # as below
            return
        begins_at = None if rest is not RunStatus.COMPENSATED else self._next_try()
        if begins_at is None:
            self.add(EventKind.FINISHED, outcome=rest.value)
            return
        self.add(EventKind.TRY_ENDED, until=begins_at)
        if begins_at <= self.now and not self.run.paused:
            self.add(EventKind.BEGAN_ANEW)
            self.finish()  # what begins may take a signal that is there

    def _next_try(self) -> int | None:
        """When the run begins anew, in ms; None if it does not."""
        plan, run = self.plan, self.run
        if self.epoch or not may_begin_anew(plan, run):
            return None
        at = self.now + plan.retry_delay
        ends = run.deadline if plan.on_deadline == "compensate" else None
        return None if ends and at >= ends else at

    @property
    def terminated(self) -> bool:
        """True once the run was abandoned: nothing is done for it any more."""
        return self.run.status is RunStatus.TERMINATED

    def node(self, name: str) -> Node:
        """The step of that name; raises CommandRefused if the saga, or a map of it, has none."""
        plan = self.plan
        if (single := plan.by_name.get(name)) is not None:
            return single
        found, instance = plan.find(name), instance_of(name)
        if found is not None and instance is None:
            return found
        counted = self.run.steps.maps.get(instance.map) if instance else None
        if found is not None and instance and counted and instance.number < counted.count:
            return found
        known = ", ".join(plan.by_name)
        if found is not None and instance:
            known = f"{counted.count} elements" if counted else "no elements yet"
            known = f"{instance.map}, which has {known}"
        raise CommandRefused(
            "unknown_step", f"run {self.run.id!r} has no step {name!r}; it has: {known}"
        )

    def direction(self, step: str, phase: Phase) -> PhaseState:
        """One direction of a step, as it stands now."""
        self.node(step)
        return self.run.step(step).direction(phase)

    def refuse(self, reason: str, message: str) -> CommandRefused:
        """The error that refuses a command, for the caller to raise."""
        return CommandRefused(reason, f"run {self.run.id!r} ({self.run.status}): {message}")


def succeed(draft: Draft, command: Complete, **data: Any) -> None:
    """An attempt has succeeded: the step has its result, or has skipped itself."""
    token = (command.step, command.phase, command.attempt)
    if command.skips:
        draft.add(EventKind.SKIPPED, *token, said=command.said)
    else:
        if command.route and command.route not in draft.whole.groups:
            known = ", ".join(draft.whole.groups)
            raise draft.refuse("unknown_group", f"no group {command.route!r}; it has: {known}")
        data |= {"choice": command.choice, "route": command.route, "ends": command.ends or None}
        draft.add(EventKind.COMPLETED, *token, **data)


def end_attempt(
    draft: Draft,
    kind: EventKind,
    attempt: Complete | Fail | Defer | Expire,
    retry: int | None,
    longest_eta: int,
    **data: Any,
) -> None:
    """An attempt has ended without success: the next is at *retry* (ms), or the step gives up.

    Its message is sent now if it is to be held back for no longer than *longest_eta* (ms).
    """
    if retry is not None and out_of_time(draft, attempt.step, attempt.phase, retry):
        retry = None
    if retry is None:
        data.pop("via", None)
    sent = (retry is not None and retry - draft.now <= longest_eta) or None
    if data.get("why") == "timeout":
        data["timeout"] = draft.node(attempt.step).limit(attempt.phase)
    draft.add(kind, attempt.step, attempt.phase, attempt.attempt, **data, retry=retry, sent=sent)
    see_to_failures(draft, attempt.step)


def out_of_time(draft: Draft, step: str, phase: Phase, at: int) -> bool:
    """True if a step is to give up before *at* (ms), whatever attempts it has left."""
    latest = give_up_at(draft, step, phase)
    return latest is not None and at > latest


def give_up_at(draft: Draft, step: str, phase: Phase = "do") -> int | None:
    """Until when (ms) a step may try, if there is a limit to all its attempts together."""
    limit, begun = (
        draft.node(step).gives_up_after(phase),
        draft.run.step(step).direction(phase).begun,
    )
    if limit is None or not begun:
        return None
    if phase == "do" and past_pivot(draft.plan, draft.run):
        return None  # past its pivot, a run only goes forward
    return begun + limit


def take_signals(draft: Draft) -> None:
    """Let waits take the signals they wait for: the oldest that nobody has taken yet.

    Of several waits for one signal, the one whose turn came first takes it.
    """
    while draft.run.signals and draft.run.status is RunStatus.RUNNING and not draft.run.paused:
        left = {each.name: each for each in draft.run.signals[::-1] if not each.taken_by}
        taking = [
            (step.do.at, name, wait.signal)
            for name, step in draft.run.steps.open.items()
            if step.do.state is PhaseStatus.OPEN
            and (wait := draft.node(name).wait)
            and wait.signal in left
        ]
        if not taking:
            return
        _, step, signal = min(taking, key=lambda each: each[0])
        assert signal is not None
        draft.add(EventKind.COMPLETED, step, signal=signal, key=left[signal].key)


def see_to_failures(draft: Draft, newest: str = "") -> None:
    """See to the steps that gave up: the run turns round, or rests until an operator has decided.

    *newest* has given up just now.  Others may have done so while the run rested because of another
    branch.  They are seen to when the run goes on; but what an operator has to decide of them can
    wait as long as there is something else to do.
    """
    for name, step in draft.run.steps.open.items():
        if draft.run.status is not RunStatus.RUNNING:
            return
        if step.do.state not in GAVE_UP:
            continue
        asks = step.do.state is PhaseStatus.UNKNOWN and _asks_operator(draft, name)
        code = TOO_MANY_STEPS if step.do.too_many else None
        if not (asks or past_pivot(draft.plan, draft.run)):
            draft.add(EventKind.COMPENSATION_STARTED, why="failed", culprit=name, code=code)
        elif name == newest or not _goes_on(draft.run):
            why = "unknown" if asks else None
            outcome = RunStatus.FAILED.value
            draft.add(EventKind.FINISHED, outcome=outcome, culprit=name, why=why, code=code)


def _goes_on(run: Run) -> bool:
    """True while an attempt forward is at work, or one will be."""
    directions = (step.do for step in run.steps.open.values())
    return bool(run.still_undone) or any(
        direction.state is PhaseStatus.RUNNING or direction.state.claimable
        for direction in directions
    )


def may_retry(
    draft: Draft, step: str, phase: Phase, *, unknown: bool, worth_it: bool = True
) -> bool:
    """True if the saga allows another attempt of a step; *unknown*: this one's outcome is."""
    if phase == "do" and draft.run.status is not RunStatus.RUNNING:
        return False
    must_ask = unknown and _asks_operator(draft, step)
    if phase == "do" and past_pivot(draft.plan, draft.run) and not must_ask:
        return True  # it only goes forward
    rule = draft.node(step).policy(phase)
    allowed = attempts_left(rule, draft.direction(step, phase).attempts_in_budget)
    return worth_it and allowed and (rule.after_loss or not unknown)


def retry_delay(draft: Draft, step: str, phase: Phase) -> int:
    """Milliseconds until the next attempt, by the step's policy.

    Jitter is drawn from the run and the step: the same again when the decision is made again.
    """
    made = draft.direction(step, phase).attempts_in_budget
    return delay_ms(
        draft.node(step).policy(phase), made, f"{key_of(draft.run, step)}/{step}/{phase}"
    )


def _asks_operator(draft: Draft, step: str) -> bool:
    """True if nobody but an operator may say what follows when the step's outcome is unknown."""
    return draft.node(step).on_unknown == "operator"
