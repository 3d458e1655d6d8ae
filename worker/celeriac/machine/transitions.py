"""THE state machine: what a command leads to.  Pure: no I/O, no clock, no payloads.

Owns: every decision about a run.  Refuses to know: where runs are kept, how messages travel, what
time it is (*now* is an argument), and what the payloads say.

::

    transition(plan, run, command, now) -> Transition(run, events, wake_at, dispatches)

A command is decided into events, and `moves.apply` makes the new run of them, so that folding a
history gives the run by construction.  A command that is not possible now raises CommandRefused
and changes nothing.  A command given twice equals one given once: whoever lost the reply to a
commit may simply decide anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.errors import CommandRefused, RunConflict, RunExists
from celeriac.machine.commands import (
    Block,
    Cancel,
    CheckAttempt,
    Claim,
    Command,
    Complete,
    Expire,
    Fail,
    Pause,
    Redispatch,
    Resume,
    RetryOwed,
    Skip,
    Start,
    Terminate,
    Waive,
    Wake,
)
from celeriac.machine.events import Dispatch, Event, EventKind
from celeriac.machine.moves import apply
from celeriac.machine.policy import attempts_left, delay_ms
from celeriac.machine.runs import PhaseState, PhaseStatus, Run, RunStatus
from celeriac.machine.schedule import in_undo_order, outcome, past_pivot, turned
from celeriac.machine.timing import SHORT_DELAY, due, overdue, waiting_lanes, wake_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.machine.plans import Node, Phase, Plan


# --- deciding ----------------------------------------------------------------------------------


class Transition(NamedTuple):
    """What a command leads to."""

    run: Run
    events: Sequence[Event]  # none: nothing changed
    wake_at: int | None  # ms; None at rest
    dispatches: Sequence[Dispatch]  # messages that should be sent because of it


def transition(plan: Plan, run: Run | None, command: Command, now: int) -> Transition:
    """Decide *command* for *run* (None: there is none yet) at *now* (ms).

    Raises CommandRefused, RunExists or RunConflict; nothing has changed then.
    """
    draft = _Draft(plan, run, now)
    if isinstance(command, Start):
        _start(draft, command)
    else:
        _DECIDE[type(command)](draft, command)
        draft.finish()
    after = draft.run
    before = due(run) if run else set()
    new = sorted(due(after) - before, key=lambda d: (d.at, d.step))
    return Transition(after, tuple(draft.events), wake_at(after), tuple(new))


@dataclass(slots=True)
class _Draft:
    """A transition in the making: events are applied as they are added."""

    plan: Plan
    maybe_run: Run | None
    now: int
    events: list[Event] = field(default_factory=list)

    @property
    def run(self) -> Run:
        if self.maybe_run is None:
            raise CommandRefused("not_started", "there is no such run yet")
        return self.maybe_run

    def add(
        self,
        kind: EventKind,
        step: str = "",
        phase: Phase = "do",
        attempt: int = 0,
        *,
        run_id: str | None = None,
        **data: Any,
    ) -> None:
        kept = {name: value for name, value in data.items() if value not in (None, "", ())}
        event = Event(self.now, kind, step, phase, attempt, kept)
        self.events.append(event)
        self.maybe_run = apply(self.plan, run_id or self.run.id, self.maybe_run, event)

    def finish(self) -> None:
        """See to what the events left behind; bring the run to rest if there is nothing to do."""
        if self.events:
            _see_to_other_failures(self)
            rest = outcome(self.plan, self.run)
            if rest:
                self.add(EventKind.FINISHED, outcome=rest.value)

    def node(self, name: str) -> Node:
        try:
            return self.plan.by_name[name]
        except KeyError:
            known = ", ".join(self.plan.by_name)
            raise CommandRefused(
                "unknown_step", f"run {self.run.id!r} has no step {name!r}; it has: {known}"
            ) from None

    def lane(self, step: str, phase: Phase) -> PhaseState:
        self.node(step)
        return self.run.step(step).lane(phase)

    def refuse(self, reason: str, message: str) -> CommandRefused:
        return CommandRefused(reason, f"run {self.run.id!r} ({self.run.status}): {message}")


# --- starting ----------------------------------------------------------------------------------


def _start(draft: _Draft, command: Start) -> None:
    old = draft.maybe_run
    if old is not None and old.starter == command.nonce:
        return  # this very call again, its reply was lost
    if old is not None and not _may_restart(old, command):
        return
    plan = draft.plan
    draft.add(
        EventKind.STARTED,
        run_id=command.run_id,
        saga=plan.saga,
        plan=plan.fingerprint,
        grace=command.grace,
        digest=command.digest,
        starter=command.nonce,
        tags=command.tags,
        deadline=draft.now + plan.deadline if plan.deadline else None,
        epoch=old.epoch + 1 if old else None,
    )


def _may_restart(old: Run, command: Start) -> bool:
    """True to start anew, False to join; raises if the id must not be touched."""
    if command.if_exists == "fail":
        raise RunExists(old.id, old.status)
    if command.if_exists == "restart":
        if old.status is RunStatus.FAILED:
            raise RunConflict(
                old.id, f"still owes {', '.join(old.owed)}: retry, waive or terminate it first"
            )
        if not old.status.at_rest:
            raise RunConflict(old.id, f"has not ended ({old.status}): wait, cancel or terminate it")
        return True
    if old.digest != command.digest:
        raise RunConflict(
            old.id,
            "exists with another input: use another id, or if_exists='restart' once it has ended",
        )
    return False


# --- an attempt --------------------------------------------------------------------------------


def _claim(draft: _Draft, command: Claim) -> None:
    lane = draft.lane(command.step, command.phase)
    _same_epoch(draft, command)
    if _holds(lane, command) and lane.state is PhaseStatus.RUNNING and not _abandoned(draft):
        return  # granted already, the reply was lost
    if lane.state is PhaseStatus.DONE and command.attempt <= lane.attempt:
        raise draft.refuse("completed", f"{command.step!r} has its result")
    _check_turn(draft, command, lane)
    draft.add(
        EventKind.CLAIMED, command.step, command.phase, command.attempt, holder=command.holder
    )


def _check_turn(draft: _Draft, command: Claim, lane: PhaseState) -> None:
    run = draft.run
    if run.paused:
        raise draft.refuse("paused", f"{command.step!r} waits until it is resumed")
    wanted = RunStatus.RUNNING if command.phase == "do" else RunStatus.COMPENSATING
    waiting = lane.state in (PhaseStatus.SCHEDULED, PhaseStatus.RETRYING)
    if run.status is not wanted or not waiting:
        raise draft.refuse("not_due", f"it is not the turn of {command.phase} {command.step!r}")
    if command.attempt != lane.attempt + 1:
        raise draft.refuse(
            "stale", f"{command.step!r} is at attempt {lane.attempt + 1}, not {command.attempt}"
        )
    # A worker's clock that is a little ahead delivers a retry a little early; that is no harm.
    # An undo that comes before the quiet time would be: the effect may still land (I7).
    quiet = run.quiet if command.phase == "undo" else 0
    if draft.now < quiet or draft.now < lane.at - SHORT_DELAY:
        raise draft.refuse("not_due", f"{command.step!r} is to be tried later")


def _heartbeat(draft: _Draft, command: CheckAttempt) -> None:
    lane = draft.lane(command.step, command.phase)
    _same_epoch(draft, command)
    if not _holds(lane, command) or lane.state is not PhaseStatus.RUNNING:
        raise draft.refuse("stale", f"attempt {command.attempt} no longer holds {command.step!r}")
    if command.phase == "do" and draft.run.status is not RunStatus.RUNNING:
        raise draft.refuse("cancelled", f"{command.step!r} will be undone: stop")
    if _abandoned(draft):
        raise draft.refuse("cancelled", "it was terminated: stop")


def _complete(draft: _Draft, command: Complete) -> None:
    lane = draft.lane(command.step, command.phase)
    if _settles(draft, lane, command):
        draft.add(EventKind.COMPLETED, command.step, command.phase, command.attempt)
    elif _is_late(draft, lane, command):
        late = _late_success if command.phase == "do" else _late_undo
        late(draft, lane, command)


def _fail(draft: _Draft, command: Fail) -> None:
    lane = draft.lane(command.step, command.phase)
    if _settles(draft, lane, command):
        retry = _retry_at(draft, lane, command)
        draft.add(
            EventKind.FAILED,
            command.step,
            command.phase,
            command.attempt,
            error=command.error,
            code=command.code,
            effect=command.effect,
            why="timeout" if command.kind == "timeout" else None,
            retry=retry,
            sent=(retry is not None and retry - draft.now <= SHORT_DELAY) or None,
        )
        _after_failure(draft, command.step, command.phase, retry)
    elif _is_late(draft, lane, command):
        _late_failure(draft, command)


def _holds(lane: PhaseState, command: Claim | Complete | Fail | CheckAttempt) -> bool:
    return lane.attempt == command.attempt and lane.holder == command.holder != ""


def _same_epoch(draft: _Draft, command: Claim | Complete | Fail | CheckAttempt) -> None:
    if command.epoch != draft.run.epoch:
        raise draft.refuse("stale", "the id was started anew meanwhile")


def _settles(draft: _Draft, lane: PhaseState, command: Complete | Fail) -> bool:
    _same_epoch(draft, command)
    if draft.run.status is RunStatus.TERMINATED:
        return False
    return _holds(lane, command) and lane.state is PhaseStatus.RUNNING


def _is_late(draft: _Draft, lane: PhaseState, command: Complete | Fail) -> bool:
    """True for a report that comes after its attempt was given up, and was not noted yet."""
    if command.attempt > lane.attempt or command.attempt < 1:
        raise draft.refuse("stale", f"{command.step!r} has no attempt {command.attempt}")
    if command.attempt == lane.attempt and lane.holder not in ("", command.holder):
        raise draft.refuse("stale", f"attempt {command.attempt} was granted to somebody else")
    terminated = draft.run.status is RunStatus.TERMINATED
    if _holds(lane, command) and not (terminated and lane.state is PhaseStatus.RUNNING):
        return False  # settled already, the reply was lost
    return command.attempt not in lane.late


def _note_late(draft: _Draft, command: Complete | Fail, how: str, **data: Any) -> None:
    draft.add(EventKind.LATE, command.step, command.phase, command.attempt, outcome=how, **data)


def _late_success(draft: _Draft, lane: PhaseState, command: Complete) -> None:
    """An attempt that was given up succeeded after all: use it, or undo it (once more)."""
    run = draft.run
    open_lane = lane.state in (PhaseStatus.SCHEDULED, PhaseStatus.RETRYING)
    given_up = lane.state in (PhaseStatus.UNKNOWN, PhaseStatus.FAILED)
    # It is the answer that an operator was asked for.
    asked = run.status is RunStatus.FAILED and run.culprit == command.step
    if (run.status is RunStatus.RUNNING and open_lane) or (given_up and (_goes_back(run) or asked)):
        draft.add(EventKind.COMPLETED, command.step, "do", command.attempt, late=True)
    else:
        _note_late(draft, command, "completed")
    _undo_again(draft, command)


def _late_failure(draft: _Draft, command: Fail) -> None:
    """An attempt that was given up failed: unless it proves otherwise, it had its effect now."""
    why = "timeout" if command.kind == "timeout" else None
    _note_late(draft, command, "failed", error=command.error, why=why)
    if command.phase == "do" and command.effect is not False:
        _undo_again(draft, command)


def _undo_again(draft: _Draft, command: Complete | Fail) -> None:
    """Undo what came to light after its undo was claimed: its key may have been seen before."""
    if _goes_back(draft.run) and draft.run.step(command.step).undo.attempt > 0:
        draft.add(EventKind.REOPENED, command.step, "undo", command.attempt)


def _goes_back(run: Run) -> bool:
    return turned(run) and run.status is not RunStatus.TERMINATED


def _late_undo(draft: _Draft, lane: PhaseState, command: Complete) -> None:
    """A compensation that was given up succeeded: settled, if it undid the newest effect."""
    settles = lane.state in (PhaseStatus.SCHEDULED, PhaseStatus.RETRYING, PhaseStatus.FAILED)
    if settles and command.attempt > lane.base and not lane.again and not _abandoned(draft):
        draft.add(EventKind.COMPLETED, command.step, "undo", command.attempt, late=True)
    else:
        _note_late(draft, command, "completed")


def _abandoned(draft: _Draft) -> bool:
    return draft.run.status is RunStatus.TERMINATED


def _retry_at(draft: _Draft, lane: PhaseState, command: Fail) -> int | None:
    """When to try again, in ms; None: never."""
    rule = draft.node(command.step).policy(command.phase)
    forward = command.phase == "do"
    if command.kind == "abort" or (forward and draft.run.status is not RunStatus.RUNNING):
        return None
    asks = command.kind == "timeout" and _asks_operator(draft, command.step)
    only_forward = forward and past_pivot(draft.plan, draft.run) and not asks
    worth_it = command.retryable and (command.kind != "timeout" or rule.after_loss)
    if not only_forward and not (worth_it and attempts_left(rule, lane.attempt - lane.base)):
        return None
    delay = command.delay
    if delay is None:
        delay = delay_ms(rule, lane.attempt - lane.base, _seed(draft, command))
    return draft.now + delay


def _seed(draft: _Draft, command: Fail | Expire) -> str:
    return f"{draft.run.key}/{command.step}/{command.phase}"


def _after_failure(draft: _Draft, step: str, phase: Phase, retry: int | None) -> None:
    """An attempt is over: if it was the last of a forward step, the run turns round."""
    run = draft.run
    if retry is not None or phase == "undo" or run.status is not RunStatus.RUNNING:
        return
    unknown = run.step(step).do.state is PhaseStatus.UNKNOWN
    asks = unknown and _asks_operator(draft, step)
    if asks or past_pivot(draft.plan, run):
        why = "unknown" if asks else None
        draft.add(EventKind.FINISHED, outcome=RunStatus.FAILED.value, culprit=step, why=why)
    else:
        draft.add(EventKind.COMPENSATION_STARTED, why="failed", culprit=step)


def _see_to_other_failures(draft: _Draft) -> None:
    """A step may give up while the run rests with a question about another: it is seen to now.

    Otherwise the answer to that question would leave a run that goes on, and has nothing to do.
    """
    for name, step in draft.run.steps.items():
        if step.do.state in (PhaseStatus.FAILED, PhaseStatus.UNKNOWN):
            _after_failure(draft, name, "do", None)


def _asks_operator(draft: _Draft, step: str) -> bool:
    """True if nobody but an operator may say what follows when the step's outcome is unknown."""
    return draft.node(step).on_unknown == "operator"


# --- time --------------------------------------------------------------------------------------


def _expire(draft: _Draft, command: Expire) -> None:
    lane = draft.lane(command.step, command.phase)
    if draft.run.status.at_rest:
        return  # nobody waits for it any more; if it reports, that is a late report
    if lane.state is PhaseStatus.RUNNING and lane.attempt == command.attempt:
        _lose(draft, command, "lease", 0)


def _lose(draft: _Draft, command: Expire, why: str, delay: int) -> None:
    """Give up an attempt whose outcome nobody knows."""
    run, lane = draft.run, draft.lane(command.step, command.phase)
    rule = draft.node(command.step).policy(command.phase)
    forward = command.phase == "do"
    turned = forward and run.status is not RunStatus.RUNNING
    again = rule.after_loss and attempts_left(rule, lane.attempt - lane.base)
    if forward and past_pivot(draft.plan, run) and not _asks_operator(draft, command.step):
        again = True
    retry = draft.now + delay if again and not turned else None
    draft.add(
        EventKind.LOST,
        command.step,
        command.phase,
        command.attempt,
        why=why,
        retry=retry,
        sent=(retry is not None and delay <= SHORT_DELAY) or None,
    )
    _after_failure(draft, command.step, command.phase, retry)


def _wake(draft: _Draft, command: Wake) -> None:
    if draft.run.status.at_rest:
        return
    if command.credit is not None:
        _time_out(draft)
        _meet_deadline(draft, command.credit)
    for dispatch in _retries_due(draft):
        draft.add(EventKind.DISPATCHED, dispatch.step, dispatch.phase, dispatch.attempt, why="due")


def _time_out(draft: _Draft) -> None:
    phases: tuple[Phase, ...] = ("do", "undo")
    for name in list(draft.run.steps):
        for phase in phases:
            lane = draft.run.step(name).lane(phase)
            if lane.state is PhaseStatus.RUNNING and 0 < lane.limit <= draft.now:
                rule = draft.node(name).policy(phase)
                command = Expire(name, phase, lane.attempt)
                delay = delay_ms(rule, lane.attempt - lane.base, _seed(draft, command))
                _lose(draft, command, "timeout", delay)


def _meet_deadline(draft: _Draft, credit: int) -> None:
    run = draft.run
    if run.status is not RunStatus.RUNNING or not run.deadline or run.overdue or run.paused:
        return
    if draft.now < run.deadline:
        return
    if credit > run.credited:
        later = run.deadline + credit - run.credited
        draft.add(EventKind.EXTENDED, deadline=later, credited=credit)
        if draft.now < later:
            return
    if draft.plan.on_deadline == "alert" or past_pivot(draft.plan, draft.run):
        draft.add(EventKind.OVERDUE)
    else:
        draft.add(EventKind.COMPENSATION_STARTED, why="deadline")


def _retries_due(draft: _Draft) -> list[Dispatch]:
    """Attempts that nobody has sent yet, since their time had not come."""
    return [
        Dispatch(name, phase, lane.attempt + 1, draft.now)
        for name, phase, lane in waiting_lanes(draft.run)
        if not lane.sent and lane.at <= draft.now
    ]


def _redispatch(draft: _Draft, command: Redispatch) -> None:
    lost = command.dispatch
    if lost in overdue(draft.run, draft.now):
        draft.add(EventKind.DISPATCHED, lost.step, lost.phase, lost.attempt, why="unclaimed")


def _block(draft: _Draft, command: Block) -> None:
    draft.node(command.step)
    waits = any(name == command.step for name, _, _ in waiting_lanes(draft.run))
    if waits and draft.run.step(command.step).blocked != command.why:
        draft.add(EventKind.BLOCKED, command.step, why=command.why)


# --- operators ---------------------------------------------------------------------------------


def _cancel(draft: _Draft, command: Cancel) -> None:
    run = draft.run
    if run.status is RunStatus.TERMINATED:
        raise draft.refuse("at_rest", "it was terminated, and cannot be undone any more")
    if turned(run):
        return  # it is being undone, was, or could not be: nothing to add
    if past_pivot(draft.plan, run):
        raise _only_forward(draft)
    draft.add(EventKind.COMPENSATION_STARTED, why="cancelled", reason=command.reason, by=command.by)


def _only_forward(draft: _Draft) -> CommandRefused:
    return draft.refuse(
        "past_pivot",
        f"past its pivot {draft.plan.pivot!r} it only goes forward; retry or terminate",
    )


def _terminate(draft: _Draft, command: Terminate) -> None:
    if draft.run.status is RunStatus.TERMINATED:
        return
    if draft.run.status in (RunStatus.COMPLETED, RunStatus.COMPENSATED):
        raise draft.refuse("at_rest", "it has ended; there is nothing to abandon")
    draft.add(EventKind.TERMINATED, reason=command.reason, by=command.by)


def _retry(draft: _Draft, command: RetryOwed) -> None:
    run = draft.run
    if command.step is not None:
        draft.node(command.step)
    if _abandoned(draft):
        raise draft.refuse("at_rest", "it was terminated, and nothing of it is tried again")
    names = [command.step] if command.step else list(run.steps)
    owed = [name for name in names if name in run.owed]
    if not owed:
        if any(_is_tried_anew(run, name) for name in names):
            return  # it is being tried already
        if turned(run) and any(run.step(name).do.base for name in names):
            return  # it was, and the run turned round: the same command again is no other one
        raise draft.refuse("nothing_to_retry", f"nothing of {command.step or 'it'} is owed")
    # In the order in which they are undone: the first to be retried is scheduled at once.
    for name in in_undo_order(draft.plan, run, owed):
        phase: Phase = "undo" if run.step(name).undo.state is PhaseStatus.FAILED else "do"
        draft.add(EventKind.RETRIED, name, phase, reason=command.reason, by=command.by)


def _is_tried_anew(run: Run, name: str) -> bool:
    """True while a budget that somebody gave is being used, or waits for its turn."""
    settled = (PhaseStatus.DONE, PhaseStatus.FAILED, PhaseStatus.UNKNOWN, PhaseStatus.WAIVED)
    lanes = (run.step(name).do, run.step(name).undo)
    return not run.status.at_rest and any(lane.base and lane.state not in settled for lane in lanes)


def _waive(draft: _Draft, command: Waive) -> None:
    draft.node(command.step)
    lane = draft.run.step(command.step).undo
    if lane.state is PhaseStatus.WAIVED:
        return
    if lane.state is not PhaseStatus.FAILED or draft.run.status is RunStatus.TERMINATED:
        raise draft.refuse(
            "not_owed", f"the compensation of {command.step!r} is not owed, so nothing to waive"
        )
    draft.add(EventKind.WAIVED, command.step, "undo", reason=command.reason, by=command.by)


def _pause(draft: _Draft, command: Pause) -> None:
    if draft.run.status.at_rest:
        raise draft.refuse("at_rest", "it has ended; there is nothing to hold")
    if not draft.run.paused:
        draft.add(EventKind.PAUSED, reason=command.reason, by=command.by)


def _resume(draft: _Draft, command: Resume) -> None:
    if draft.run.status.at_rest:
        raise draft.refuse("at_rest", "it has ended; there is nothing to resume")
    if draft.run.paused:
        draft.add(EventKind.RESUMED, reason=command.reason, by=command.by)


def _skip(draft: _Draft, command: Skip) -> None:
    run, lane = draft.run, draft.lane(command.step, "do")
    if lane.state is PhaseStatus.SKIPPED:
        return
    if turned(run):
        raise draft.refuse("turned", "it goes back; an owed compensation is waived, not skipped")
    if run.status.at_rest and command.step not in run.owed:
        raise draft.refuse("at_rest", f"{command.step!r} is not what it waits for")
    if lane.state is PhaseStatus.DONE:
        raise draft.refuse("completed", f"{command.step!r} has its result, which never changes")
    if lane.state is PhaseStatus.RUNNING:
        raise draft.refuse(
            "at_work", f"an attempt of {command.step!r} is at work: skip it when that has ended"
        )
    draft.add(EventKind.SKIPPED, command.step, reason=command.reason, by=command.by)


_DECIDE: dict[type, Callable[[_Draft, Any], None]] = {
    Claim: _claim,
    Complete: _complete,
    Fail: _fail,
    CheckAttempt: _heartbeat,
    Expire: _expire,
    Wake: _wake,
    Redispatch: _redispatch,
    Block: _block,
    Cancel: _cancel,
    Terminate: _terminate,
    RetryOwed: _retry,
    Waive: _waive,
    Pause: _pause,
    Resume: _resume,
    Skip: _skip,
}
