"""Waits: nodes that no worker runs, ended by a signal or by a time.

Owns: which signals are accepted, and what follows when the time of a wait is over; and that a step
whose result comes from outside waits for it.  Refuses to
know: payloads, who sends, and the clock.  Which wait takes which signal is decided where all that
an event leaves behind is seen to (`draft.take_signals`): ending a wait and taking a signal are one
decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.attempts import settles
from celeriac.machine.commands import Expire
from celeriac.machine.conditions import may_begin_anew, turned
from celeriac.machine.draft import give_up_at
from celeriac.machine.events import EventKind
from celeriac.machine.late_reports import check_known
from celeriac.machine.outside import lose, settle_as_kept, time_out
from celeriac.machine.runs import RunStatus
from celeriac.machine.sleeping import TIME_IS_OVER
from celeriac.machine.steps import WAITS, PhaseState, PhaseStatus
from celeriac.machine.tables import EXPIRED, VOID
from celeriac.machine.tries import is_over

if TYPE_CHECKING:
    from celeriac.machine.commands import Defer, Signal, Wake
    from celeriac.machine.draft import Draft
    from celeriac.machine.plans import Node, Plan
    from celeriac.machine.runs import Run

#: Why a wait ended whose signal did not come in time.
NO_SIGNAL = "no signal"
#: What has a date at which it ends although nobody has done anything.
_ENDS = WAITS | {PhaseStatus.SCHEDULED}
#: Signals of a run that nobody has taken yet, at most.
MOST_UNTAKEN = 1_000


def signal(draft: Draft, command: Signal) -> None:
    """Accept a signal, unless its id was accepted before."""
    run = draft.run
    if any(each.key == command.key for each in run.signals):
        return  # the same one again: it has its answer, whatever became of the run
    waits = _waits_for(draft.plan, command.name)
    if not _waits_for(draft.whole, command.name):
        known = ", ".join(draft.plan.signals) or "no signal"
        raise draft.refuse(
            "unknown_signal", f"it does not wait for {command.name!r}; its saga waits for {known}"
        )
    _check_sender(draft, command)
    if command.step:
        _answer(draft, command)
        return
    if run.status.at_rest:
        raise draft.refuse("at_rest", f"it takes no signal {command.name!r} any more")
    tries_left = run.tries <= draft.plan.retries
    anew = bool(run.rewinds_to) or may_begin_anew(draft.plan, run) if turned(run) else tries_left
    if turned(run) and not anew:
        raise draft.refuse("turned", f"it is being undone, so it takes no {command.name!r}")
    again = draft.whole.groups  # any of them may be visited yet
    if not (anew or again or any(may_take(run, node) for node in waits)):
        names = ", ".join(node.name for node in waits)
        raise draft.refuse("no_wait", f"nothing waits for {command.name!r} any more ({names})")
    if sum(not each.taken_by for each in run.signals) >= MOST_UNTAKEN:
        raise draft.refuse(
            "too_many_signals", f"{MOST_UNTAKEN} signals wait to be taken, which is the most"
        )
    draft.add(EventKind.SIGNALLED, signal=command.name, key=command.key, by=command.by)


def _check_sender(draft: Draft, command: Signal) -> None:
    """Refuse whoever started the run, or is not named, if a wait is for the eyes of another."""
    if not any(
        node.wait.not_by_starter for node in _waits_for(draft.whole, command.name) if node.wait
    ):
        return
    if not command.by:
        text = f"{command.name!r} must not come from who started it, so say who sends it"
        raise draft.refuse("by_starter", text)
    if command.by == draft.run.started_by:
        text = f"{command.by} started it, so somebody else has to send {command.name!r}"
        raise draft.refuse("by_starter", text)


def _waits_for(plan: Plan, signal: str) -> list[Node]:
    return [node for node in plan.nodes if node.wait and node.wait.signal == signal]


def _answer(draft: Draft, command: Signal) -> None:
    """Accept a signal for one wait, which takes it: it must not be kept for another visit."""
    run, node = draft.run, draft.plan.find(command.step)
    if node is None or node.wait is None or node.wait.signal != command.name:
        raise draft.refuse("no_wait", f"{command.step!r} does not wait for {command.name!r}")
    direction = run.step(command.step).do
    if direction.state is not PhaseStatus.OPEN or run.status is not RunStatus.RUNNING:
        raise draft.refuse("not_waiting", f"{command.step!r} is not waiting for {command.name!r}")
    if command.asked not in (0, direction.at):
        text = f"{command.step!r} has been asked anew: look at what it asks now"
        raise draft.refuse("asked_anew", text)
    if run.paused:
        raise draft.refuse("paused", f"{command.step!r} takes no answer until the run is resumed")
    draft.add(EventKind.SIGNALLED, signal=command.name, key=command.key, by=command.by)
    draft.add(EventKind.COMPLETED, command.step, signal=command.name, key=command.key)


def may_take(run: Run, node: Node) -> bool:
    """True if a wait is open, or may be yet."""
    state = run.step(node.name).do.state
    if state is PhaseStatus.IDLE:
        asked = [(guard, run.step(guard.step).choice) for guard in node.guards]
        return all(guard.holds(choice) for guard, choice in asked if choice)
    return state is PhaseStatus.OPEN


def defer(draft: Draft, command: Defer) -> None:
    """Let an attempt go whose result comes from outside; if the run has turned, give it up."""
    direction = draft.direction(command.step, command.phase)
    if command.phase == "undo":
        raise draft.refuse("wrong_direction", "a compensation has no result to wait for")
    if is_over(draft.run, command.step, command.epoch):
        return  # it was settled, and the try with it; the reply was lost
    if not settles(draft, direction, command):
        check_known(draft, direction, command)
        return  # nothing is known yet: what comes from outside is told then
    if settle_as_kept(draft, command):
        return
    if turned(draft.run):
        lose(draft, Expire(command.step, command.phase, command.attempt), VOID)
    else:
        _wait_outside(draft, command)


def _wait_outside(draft: Draft, command: Defer) -> None:
    """Let an attempt go, until its result comes or its time is over."""
    until = draft.now + command.delay
    latest = give_up_at(draft, command.step)
    until = until if latest is None else min(until, latest)
    token = (command.step, command.phase, command.attempt)
    draft.add(EventKind.DEFERRED, *token, until=max(until, 1))


def end(draft: Draft, command: Wake) -> None:
    """End the waits whose time is over: for a signal, a date, a result from outside, or a worker.

    A time that was to come has come, whatever else happened; but nobody could send a signal or
    a result, or take up a step, while the store was out of reach, so these have that much longer.
    """
    for name in list(draft.run.steps.open):
        run, direction = draft.run, draft.run.step(name).do
        if run.status is not RunStatus.RUNNING or run.paused:
            return
        if direction.state not in _ENDS or not 0 < direction.limit <= draft.now:
            continue
        if direction.state is PhaseStatus.OPEN:
            _end(draft, command, name, direction)
        elif direction.state is PhaseStatus.SCHEDULED:
            _expire(draft, command, name, direction)
        elif not _has_longer(draft, command, name, direction.at, direction.credited):
            time_out(draft, name, command.longest_eta)


def _end(draft: Draft, command: Wake, name: str, direction: PhaseState) -> None:
    wait = draft.node(name).wait
    assert wait is not None
    if wait.signal is None:
        draft.add(EventKind.COMPLETED, name, why=TIME_IS_OVER)
    elif not _has_longer(draft, command, name, direction.at, direction.credited):
        if wait.on_timeout == "continue":
            draft.add(EventKind.COMPLETED, name, why=NO_SIGNAL)
        else:
            draft.add(
                EventKind.FAILED,
                name,
                error="WaitTimedOut",
                code="timeout",
                effect=False,
                why=NO_SIGNAL,
            )


def _expire(draft: Draft, command: Wake, name: str, direction: PhaseState) -> None:
    """Nobody has taken a step up in its time: it has failed, and cannot have had an effect."""
    since = direction.limit - direction.credited - (draft.node(name).expires or 0)
    if not _has_longer(draft, command, name, since, direction.credited):
        told, code = "StepExpired", EXPIRED
        draft.add(EventKind.FAILED, name, error=told, code=code, effect=False, why=EXPIRED)


def _has_longer(draft: Draft, command: Wake, name: str, since: int, credited: int) -> bool:
    """True if an outage gives a wait more time, or if nobody knows yet whether it does."""
    if command.credit is None:
        return True
    total = _overlap(command.outages, since, draft.now)
    if total <= credited:
        return False
    draft.add(EventKind.EXTENDED, name, credited=total)
    return draft.run.step(name).do.limit > draft.now


def _overlap(outages: tuple[tuple[int, int], ...], since: int, until: int) -> int:
    """How many ms of *outages* there were between two times."""
    total, end = 0, since
    for begin, over in sorted(outages):
        ended = min(over, until)
        total += max(0, ended - max(begin, end))
        end = max(end, ended)
    return total
