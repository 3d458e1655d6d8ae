"""Runs and events in words: what operators read, and what they may do next.

Owns: the wording.  Refuses to know: where it is printed, and what a terminal can show; so nothing
here is escaped yet, apart from the commands, which are to be copied.  The file is long because
what is said in one place is to be said in the same words in all.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import to_json

from celeriac.machine import Event, EventKind, RunStatus, StepStatus, instance_of
from celeriac.observing import clean, details
from celeriac.views.state import RESULT
from celeriac.views.times import age, due, exact, iso, left, span, when

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celeriac.failure import Failure
    from celeriac.views.bulk_outcome import BulkOutcome
    from celeriac.views.state import Hold, RunState, StepView
    from celeriac.views.stats import Stats

_WRONG = (EventKind.FAILED, EventKind.LOST, EventKind.OVERDUE)
_LONGEST_ANSWER = 500  # characters
_ALONE = {"time": "", RESULT: "for its result from outside"}  # what is waited for, and no signal
_TIMES = 10  # exact ones of a line of a list, that are shown with it
_ELEMENTS = 3  # of a run, that are named in a line of a list; a map is told by its counts
_REFUSED = 10  # so many runs that refused a command are named
_AT_EASE = (
    *(StepStatus.PENDING, StepStatus.COMPLETED, StepStatus.SKIPPED),
    StepStatus.COMPENSATED,
    StepStatus.CONFIRMED,
)
_COUNTED = (StepStatus.SCHEDULED, StepStatus.RUNNING)  # elements that a line of a list counts only


# --- runs --------------------------------------------------------------------------------------


def facts(state: RunState) -> list[tuple[str, str]]:
    """What is known of a run as a whole, each with its name; what is not known is left out."""
    found = {
        "started": when(state.started_at)
        + (f", by {state.started_by}" if state.started_by else ""),
        "deadline": due(state.deadline),
        "try": f"{state.tries} of {state.most_tries}" if state.most_tries > 1 else "",
        "begins anew": due(state.begins_at),
        "rewound": _times(state.rewinds),
        "goes back to": state.rewinds_to or "",
        "ended": when(state.ended_at),
        "child of": f"{state.parent}, step {state.parent_step}" if state.parent else "",
        "tags": _pairs(state.tags.items()),
        "why": why(state),
        "reason": state.reason,
        "answer": answered(state),
        "paused": held(state.hold),
        "owed": "" if asked(state) else ", ".join(state.owed),
        "asks": asked(state),
    }
    return [(name, text) for name, text in found.items() if text]


def _times(count: int) -> str:
    return "" if not count else "once" if count == 1 else f"{count} times"


def answered(state: RunState) -> str:
    """What a step said to the caller, as JSON; it is a payload, so this is for operators only."""
    if state.answer is None:
        return ""
    text = to_json(state.answer).decode()
    return text if len(text) <= _LONGEST_ANSWER else f"{text[:_LONGEST_ANSWER]} …"


def held(hold: Hold | None) -> str:
    """Who holds a run, since when and why."""
    if hold is None:
        return ""
    by = f", by {hold.by}" if hold.by else ""
    return f"since {when(hold.since)}{by}" + (f": {hold.reason}" if hold.reason else "")


def asked(state: RunState) -> str:
    """What an operator is asked, if the run waits for an answer."""
    steps = [step.name for step in state.steps if step.asks]
    if len(steps) > 1:
        return f"whether {' and '.join(steps)} took effect: nobody knows, and they honour no key"
    return f"whether {steps[0]} took effect: nobody knows, and it honours no key" if steps else ""


def need(state: RunState) -> str:
    """What a run in `failed` needs somebody for, in a sentence or two; names no more than codes."""
    if state.asking:
        steps = [step.name for step in state.steps if step.asks]
        each = "they honour no key" if len(steps) > 1 else "it honours no key"
        return f"Did {' and '.join(steps)} take effect? Nobody knows, and {each}."
    told = [f"{_gave_up(step)}{_code(_newest(step))}" for step in map(state.step, state.owed)]
    return f"{'; '.join(told)}." if told else ""


def _gave_up(step: StepView) -> str:
    parts = {StepStatus.COMPENSATION_FAILED: "undo", StepStatus.CONFIRM_FAILED: "confirm"}
    part = parts.get(step.status)
    return f"the {part} of {step.name} failed" if part else f"{step.name} gave up"


def why(state: RunState) -> str:
    """Why the run is or was undone, in a few words; empty if it is not."""
    failed = f"{state.failed_step} failed" if state.failed_step else ""
    told = [text for text in (state.why if state.why != "failed" else "", failed) if text]
    return ", ".join(told) + (f" ({failure(state.failure)})" if state.failure else "")


def whereabouts(state: RunState) -> str:
    """Why a run is as it is, and what it is at, in a few words: for a line of a list.

    Steps and codes, never the text of an error, which may quote a payload.
    """
    if state.owed:
        owed = (f"{name}{_code(_newest(state.step(name)))}" for name in state.owed)
        return f"{'asks' if state.asking else 'owed'}: {', '.join(owed)}"
    anew = f"begins anew {due(state.begins_at)}" if state.begins_at else ""
    return "; ".join(filter(None, (_held_by(state.hold), anew, _turned(state), _doing(state))))


def _newest(step: StepView) -> Failure | None:
    return step.undo_failure or step.confirm_failure or step.failure


def _code(found: Failure | None) -> str:
    return f" [{found.code or found.type}]" if found else ""


def _held_by(hold: Hold | None) -> str:
    if hold is None:
        return ""
    return (f"by {hold.by}" if hold.by else "paused") + (f": {hold.reason}" if hold.reason else "")


def _turned(state: RunState) -> str:
    """Why a run was turned round or given up."""
    if state.why == "failed" or (state.failed_step and not state.why):
        return f"{state.failed_step}{_code(state.failure)}"
    return ": ".join(filter(None, (state.why, state.reason)))


def _doing(state: RunState) -> str:
    """The steps that something is going on with."""
    if state.status.at_rest:
        return ""
    busy = [
        step
        for step in state.steps
        if step.status not in _AT_EASE
        and (step.name != state.failed_step or step.status is not StepStatus.FAILED)
    ]
    maps = {step.name for step in state.steps if step.elements is not None}
    elements = [step for step in busy if maps and _is_element(step.name, maps)]
    named = [step for step in elements if step.status not in _COUNTED]
    left_out = {step.name for step in elements} - {step.name for step in named[:_ELEMENTS]}
    told = [_at(step) for step in busy if step.name not in left_out]
    return ", ".join([*told, "…"] if len(named) > _ELEMENTS else told)


def _is_element(name: str, maps: set[str]) -> bool:
    found = instance_of(name)
    return found is not None and found.map in maps


def _at(step: StepView) -> str:
    """What is going on with a step."""
    parts = [
        _code(_newest(step)) if step.status is StepStatus.RETRYING else "",
        f" {_done_of(step.elements)}" if step.elements else "",
        f" blocked: {step.blocked}" if step.blocked else "",
        f" {_awaited_for(step)}" if step.waits_for else "",
        f" ({tried})" if (tried := step.next_attempt or _attempt_at_work(step)) else "",
        f" ({step.progress})" if step.progress else "",
        f" as {step.child}" if step.child and step.status is StepStatus.RUNNING else "",
    ]
    return f"{step.name} {step.status}{''.join(parts)}"


def _attempt_at_work(step: StepView) -> str:
    """Which attempt is at work, if there was one before it."""
    several = {
        StepStatus.RUNNING: step.attempts,
        StepStatus.CONFIRMING: step.confirm_attempts,
        StepStatus.COMPENSATING: step.undo_attempts,
    }
    number = several.get(step.status, 0)
    return f"attempt {number}" if number > 1 else ""


def exact_times(state: RunState) -> str:
    """The exact times of what `whereabouts` tells in how long; empty if it tells of none."""
    if state.status.at_rest:
        return ""
    several = ((step.name, step.next_attempt, step.waits_until) for step in state.steps)
    told = [
        f"{name}: {iso(attempt.at if attempt else until)}"
        for name, attempt, until in several
        if attempt or until
    ]
    return "\n".join(told[:_TIMES])


def _done_of(elements: Mapping[str, int]) -> str:
    """How many elements of a map are done: `(5 of 1000 completed)`."""
    return f"({elements.get(StepStatus.COMPLETED, 0)} of {sum(elements.values())} completed)"


def attempts(step: StepView) -> str:
    """How often a step, its confirm and its compensation, was tried."""
    others = {"confirm": step.confirm_attempts, "undo": step.undo_attempts}
    return ", ".join([f"{step.attempts}", *(f"{of} {n}" for of, n in others.items() if n)])


def trouble(step: StepView) -> str:
    """What went wrong with a step; empty if nothing did."""
    found = [
        f"answered {step.choice}" if step.choice else "",
        awaited(step),
        str(step.next_attempt or ""),
        f"run {step.child}" if step.child else "",
        f"progress: {step.progress}" if step.progress else "",
        counts(step.elements) if step.elements is not None else "",
        f"{'skipped itself' if step.attempts else 'not started'}: {step.because}"
        if step.because
        else "",
        f"blocked: {step.blocked}" if step.blocked else "",
        failure(step.failure) if step.failure else "",
        f"confirm: {failure(step.confirm_failure)}" if step.confirm_failure else "",
        f"undo: {failure(step.undo_failure)}" if step.undo_failure else "",
        f"its undo: {step.undone_by}" if step.undone_by else "",
    ]
    return "; ".join(text for text in found if text)


def awaited(step: StepView) -> str:
    """What a step waits for, while it does."""
    what = _ALONE.get(step.waits_for or "time", f"for signal {step.waits_for}")
    until = f"until {due(step.waits_until)}" if step.waits_until else ""
    return f"{what} {until}".strip()


def _awaited_for(step: StepView) -> str:
    """The same in a line of a list, where an exact time has no room."""
    what = _ALONE.get(step.waits_for or "time", f"for signal {step.waits_for}")
    soon = left(step.waits_until) if step.waits_until else ""
    return f"{what} ({soon} left)".strip() if soon else what


def counts(elements: Mapping[str, int]) -> str:
    """How many elements of a map are in which status, in a few words."""
    told = ", ".join(f"{many} {status}" for status, many in elements.items())
    return f"{sum(elements.values())} elements" + (f": {told}" if told else "")


def failure(found: Failure) -> str:
    """How an attempt failed; the message may quote a payload, so this is for operators only."""
    code = f" [{found.code}]" if found.code else ""
    return f"{found.type}{code}: {found.message}" if found.message else f"{found.type}{code}"


# --- events ------------------------------------------------------------------------------------


def attempt(event: Event) -> str:
    """The step and attempt that an event is about; empty for one about the run."""
    undo = " undo" if event.phase == "undo" else ""
    number = f" #{event.attempt}" if event.attempt else ""
    return f"{event.step}{undo}{number}" if event.step else ""


def happening(event: Event) -> str:
    """What happened."""
    words: dict[str, Any] = dict(event.data)
    if "deadline" in words:
        words["deadline"] = exact(words["deadline"])
    if "try" in words:
        words["try"] = f"{words['try']} (before)"
    if "tags" in words:
        words["tags"] = _pairs(words["tags"])
    return details(replace(event, data=words))


def went_wrong(event: Event) -> bool:
    """True for what an operator looks for in a history: something failed, or was lost."""
    if event.kind is EventKind.FINISHED:
        return event.data.get("outcome") == RunStatus.FAILED
    return event.kind in _WRONG or event.data.get("outcome") == "failed"


def deed(events: Sequence[Event]) -> str:
    """What a command did, by the events it led to; none: nothing."""
    if not events:
        return "nothing changed"
    names = ", ".join(event.step for event in events)
    done = {
        EventKind.COMPENSATION_STARTED: _turned_round(events[0]),
        EventKind.TERMINATED: "terminated; nothing is undone",
        EventKind.BEGAN_ANEW: "begins anew",
        EventKind.RETRIED: f"trying again: {names}",
        EventKind.WAIVED: f"waived: {names}",
        EventKind.PAUSED: "paused; nothing further is taken up",
        EventKind.RESUMED: "resumed",
        EventKind.SKIPPED: f"skipped: {names}",
    }
    return done[events[0].kind]


def _turned_round(event: Event) -> str:
    if "to" in event.data:
        return f"goes back to {event.data['to']}; what came after is undone, and done again"
    return "cancelled; what it did is undone"


def signalled(signal: str, answer: str) -> str:
    """What became of a signal."""
    ends = {"taken": "a wait took it", "kept": "kept for the wait that is to come"}
    return f"signal {signal} accepted: {ends[answer]}"


def tallied(verb: str, tally: BulkOutcome) -> str:
    """What a command did to many runs, as a sentence."""
    counts = {
        "changed": len(tally.changed),
        "had nothing to change": len(tally.unchanged),
        "refused": len(tally.refused),
        "gone meanwhile": len(tally.gone),
        "not reached": tally.left,
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{verb}: {told or 'no run'}."


def refusals(tally: BulkOutcome) -> list[str]:
    """Which runs refused a command, and why: the first of them, and how many more there are."""
    told = [f"{run_id}: {why}" for run_id, why in tally.refused.items()]
    more = len(told) - _REFUSED
    return [*told[:_REFUSED], *([f"and {more} more; -o json names them all"] if more > 0 else [])]


def _pairs(pairs: Any) -> str:
    return " ".join(f"{key}={value}" for key, value in pairs)


# --- advice ------------------------------------------------------------------------------------


class Option(NamedTuple):
    """A verb that an operator may want next."""

    verb: str
    step: str  # empty: it is about the run
    does: str


def advice(state: RunState, saga: str) -> list[tuple[str, str]]:
    """The commands an operator may want next, each with what it does.

    *saga* is how the command line is called: `celery -A shop saga`.
    """
    return [
        (_command(saga, each.verb, state.id, *filter(None, (each.step,))), each.does)
        for each in (*_signals(state), *options(state))
    ]


def options(state: RunState) -> list[Option]:
    """The verbs an operator may want next, what is owed first."""
    # What a parent has taken over is undone with the parent.
    stands = state.only_forward or (state.parent and state.status is RunStatus.COMPLETED)
    undo = [] if stands else [Option("cancel", "", "undo what it did")]
    abandon = Option("terminate", "", "abandon it as it is")
    if state.status is RunStatus.PAUSED:
        resume = Option("resume", "", "let it go on")
        return [resume, *([] if state.why else undo), abandon]
    if state.status is RunStatus.FAILED:
        owed = [step for step in state.steps if step.name in state.owed]
        asks = any(step.asks or (step.child and not state.why) for step in owed)
        return [*_options_on_owed(state), *(undo if asks else []), abandon]
    stay = Option("cancel", "", "do not let it begin anew")
    if state.begins_at:
        return [Option("retry", "", "begin anew at once"), stay, abandon]
    if state.status is RunStatus.COMPENSATING:
        whole = [Option("cancel", "", "undo all of it")] if state.rewinds_to else []
        return [stay, abandon] if state.begins_anew else [*whole, abandon]
    if state.status is RunStatus.COMPLETED:
        return undo
    return [] if state.status.at_rest else [*undo, abandon]


def _options_on_owed(state: RunState) -> list[Option]:
    found = []
    for step in state.steps:
        if step.name in state.owed:
            undone = step.status in (StepStatus.COMPENSATION_FAILED, StepStatus.CONFIRM_FAILED)
            verb, does = (
                ("waive", "declare it settled") if undone else ("skip", "it was seen to by hand")
            )
            found += [Option("retry", step.name, _again(step)), Option(verb, step.name, does)]
    return found


def _signals(state: RunState) -> list[Option]:
    """The signals that would end a wait; each brings a payload that only the sender knows."""
    waits = {step.waits_for: step.name for step in state.steps if step.waits_for}
    return [
        Option("signal", signal, f"end the wait of {step}")
        for signal, step in waits.items()
        if signal not in _ALONE
    ]


def _again(step: StepView) -> str:
    if step.status is StepStatus.COMPENSATION_FAILED:
        return "undo it again"
    if step.status is StepStatus.CONFIRM_FAILED:
        return "confirm it again"
    if step.child:
        return f"try again what {step.child} owes, or start another run"
    if step.asks:
        return "do it (once more): it did not take effect, or that does no harm"
    return "try it again: the run can only go forward"


def _command(saga: str, verb: str, *names: str) -> str:
    reason = " --reason '...'" if verb in ("terminate", "waive", "skip") else ""
    reason += " --result null" if verb == "skip" else ""
    reason += " --payload '...'" if verb == "signal" else ""
    dashes = " --" if any(name.startswith("-") for name in names) else ""
    return f"{saga} {verb}{reason}{dashes} {shlex.join(clean(name) for name in names)}"


# --- all runs ----------------------------------------------------------------------------------


def stats_table(stats: Stats) -> tuple[list[str], list[list[str]]]:
    """The runs by saga and status, with headings; only statuses that occur."""
    statuses = [status for status in RunStatus if any(status in s.counts for s in stats.sagas)]
    headings = ["saga", *statuses, "started in 1 h", "oldest active"]
    rows = [
        [
            each.saga,
            *[str(each.counts.get(status, "")) for status in statuses],
            str(each.started_last_hour or ""),
            f"{each.oldest_active}, {age(each.oldest_since, stats.at)} ago"
            if each.oldest_active and each.oldest_since
            else "",
        ]
        for each in stats.sagas
    ]
    return headings, rows


def stats_facts(stats: Stats) -> list[tuple[str, str]]:
    """What is worth knowing beside how many runs there are."""
    sweep = stats.last_sweep
    late = f", the oldest {span(stats.lag)} late" if stats.overdue else ""
    gone = f", the first {span(stats.retention_lag)} ago" if stats.expired else ""
    swept = f"{when(sweep.at, stats.at)}, took {sweep.took:.3f} s" if sweep else "none"
    return [
        ("active", str(stats.active)),
        ("owed", f"{stats.owed} failed: list --status failed" if stats.owed else "0"),
        ("past deadline", _listed(stats.past_deadline, "--past-deadline")),
        ("due", f"{stats.overdue}{late}"),
        ("last sweep", swept),
        ("to be removed", f"{stats.expired}{gone}"),
    ]


def _listed(count: int, option: str) -> str:
    return f"{count}: list {option}" if count else "0"


def stats_queues(stats: Stats) -> tuple[list[str], list[list[str]]]:
    """The queues, with headings: how much waits in each, and for how long."""
    rows = [
        [
            each.queue,
            "?" if each.messages is None else str(each.messages),
            "?" if each.wait is None else span(each.wait) if each.messages else "",
        ]
        for each in stats.queues
    ]
    return ["queue", "messages", "the oldest waits"], rows
