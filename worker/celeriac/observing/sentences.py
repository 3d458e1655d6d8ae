"""Events in words: the same in logs, in histories and in Flower.

Owns: what is said of each kind of event, and how an attempt is called.  Refuses to know: who says
it, and payloads (an event holds none).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from celeriac.machine import Event, EventKind
from celeriac.scheduling import TickEventKind, utc_text

if TYPE_CHECKING:
    from celeriac.machine import Phase
    from celeriac.scheduling import TickEvent


def sentence(run_id: str, event: Event) -> str:
    """One line that tells an event: `order-42 · charge · #1 failed: BankDown; retry in 1.5 s`."""
    what = title(run_id, event.step, event.phase, event.attempt) if event.step else clean(run_id)
    return f"{what} {details(event)}"


_INTERNAL = (
    *("holder", "plan", "grace", "digest", "starter", "sent", "epoch", "credited"),
    *("given_back", "since", "key", "cut_off", "retryable", "nonce"),
    *("gates", "enters", "gate", "at"),
)
_CAUSES = {
    (EventKind.LOST, "lease"): "lease expired",
    (EventKind.LOST, "death"): "its worker died",
    (EventKind.LOST, "no result"): "no result came from outside",
    (EventKind.LOST, "void"): "the run had turned round before its result could come",
    (EventKind.DISPATCHED, "unclaimed"): "not claimed in time",
    (EventKind.DISPATCHED, "turn"): "its turn at the gate",
    (EventKind.COMPENSATION_STARTED, "deadline"): "deadline passed",
    (EventKind.FINISHED, "unknown"): "outcome unknown",
    (EventKind.COMPLETED, "no signal"): "no signal came in time",
    (EventKind.FAILED, "no signal"): "no signal came in time",
    (EventKind.FAILED, "expired"): "nobody took it up in time",
    (EventKind.FAILED, "owes"): "its run owes something",
    (EventKind.FAILED, "terminated"): "its run was terminated",
    (EventKind.FAILED, "undone"): "its run was undone after all",
}


def details(event: Event) -> str:
    """What an event says beside the run, the step and the time: `lost (lease expired)`."""
    data = {name: value for name, value in event.data.items() if name not in _INTERNAL}
    retry, why = data.pop("retry", None), data.pop("why", "")
    via = json.loads(data.pop("via", "{}"))
    until = data.pop("until", None)
    begins_at = until if event.kind is EventKind.TRY_ENDED else None
    cause = _CAUSES.get((event.kind, why), why)
    if event.kind is EventKind.POSTPONED:
        data.pop("version", None)
        cause = f"{data.pop('count')} times" if "count" in data else ""
    cause = _outside(event, data) or cause
    limit = data.pop("timeout", None)
    cause = _of_other_runs(event, data) or cause
    cause = _read_first(event, data) or cause
    cause = _answered(data) or str(data.pop("said", "")) or cause
    if why == "timeout":
        # Such an end of its process counts as one that nobody knows the outcome of.
        left = data.get("error") in ("SystemExit", "KeyboardInterrupt")
        cause = "outcome unknown" if left else too_slow(limit)
    if why == "failed" and "culprit" in data:
        cause = f"{data.pop('culprit')} failed"
    # What needs no name: the class of an error, and the status in which a run or a report ended.
    words = [data.pop(name) for name in ("error", "outcome") if name in data]
    words += [f"{name} {_plain(value)}" for name, value in data.items()]
    text = event.kind.value.replace("_", " ")
    if event.kind in _BLOCKED:
        text, cause = _blocked(event, str(why)), ""
    text += f" ({_plain(cause)})" if cause else ""
    text += f": {', '.join(_plain(word) for word in words)}" if words else ""
    again = "asked again" if event.kind is EventKind.POSTPONED else "retry"
    if begins_at is not None:
        retry, again = begins_at, "begins anew"
    if retry is None:
        return text
    how = "".join(f", {name} {_plain(value)}" for name, value in via.items())
    return f"{text}; {again} in {(retry - event.at) / 1000:.1f} s{how}"


def _read_first(event: Event, data: dict[str, object]) -> str:
    """What was read when the turn of a map, or of a sleep, came."""
    if event.kind is EventKind.EXPANDED and "count" in data:
        return f"{data.pop('count')} elements"
    if event.kind is EventKind.TAGGED and isinstance(tags := data.pop("tags", ()), list | tuple):
        return ", ".join(f"{name}={value}" for name, value in tags)
    if event.kind is EventKind.OPENED and "until" in event.data:
        return f"until {utc_text(event.data['until'])}"
    return ""


_BLOCKED = (EventKind.BLOCKED, EventKind.QUEUED)


def _blocked(event: Event, why: str) -> str:
    if event.kind is EventKind.QUEUED:
        return f"blocked: {_plain(why)}"
    return f"blocked ({_plain(why)})" if why else "no longer blocked"


def tick_details(event: TickEvent) -> str:
    """What happened to a schedule or its ticks: `skipped 5 ticks from … to … (late)`."""
    text = event.kind.value
    if event.kind in (TickEventKind.SKIPPED, TickEventKind.STARTED, TickEventKind.QUEUED):
        first, last = (utc_text(at) if at is not None else "" for at in (event.tick, event.last))
        text += f" {event.count} ticks from {first} to {last}" if event.last else f" tick {first}"
    text += f" ({clean(event.why)})" if event.why else ""
    text += f": {event.run}" if event.run else ""
    return text + (f", by {clean(event.by)}" if event.by else "")


def _answered(data: dict[str, object]) -> str:
    """What a step has said beside its result, or in place of it."""
    if data.pop("ends", False):
        return "and ended the run"
    if "route" in data:
        return f"and went on with group {data.pop('route')}"
    return "with an answer to the caller" if data.pop("answers", False) else ""


def _of_other_runs(event: Event, data: dict[str, object]) -> str:
    """What an event says of a child, or of the parent: a cause, or a better word in *data*."""
    if "parent" in data:
        run, _, step = event.data["parent"]
        del data["parent"]
        data["child of"] = f"{run}, step {step}"
    if data.pop("child", 0):
        return f"its run is {event.data['holder']}"
    return "its parent knows" if event.kind is EventKind.REPORTED else ""


def _outside(event: Event, data: dict[str, object]) -> str:
    """What is said of an attempt whose result comes, or came, from outside."""
    kept, outside, lost = (data.pop(name, None) for name in ("kept", "outside", "lost"))
    if event.kind is EventKind.DEFERRED and "until" in event.data:
        seconds = (event.data["until"] - event.at) / 1000
        return f"a result is to come from outside within {seconds:g} s"
    if event.kind is EventKind.KEPT and "outcome" in data:
        return "said outside, while the attempt is at work"
    if kept:
        gone = _CAUSES.get((EventKind.LOST, str(lost)), "")
        return "as was said outside before" + (f"; {gone}" if gone else "")
    return "said outside" if outside else ""


def too_slow(limit: int | None) -> str:
    """What is said of an attempt that reached its time limit, which is in ms, if it is known."""
    return "took longer than its timeout" + (f" of {limit / 1000:g} s" if limit else "")


def _plain(value: object) -> str:
    return clean(value) if isinstance(value, str) else str(value)


def title(run_id: str, step: str, phase: Phase, attempt: int, nth: int = 1) -> str:
    """What Flower and logs call an attempt: `order-42 · charge · #1`, `… · undo #1`.

    In the *nth* try of a run that began anew it is `order-42 · try 2 · charge · #1`.
    """
    undo = "undo " if phase == "undo" else ""
    number = f" · {undo}#{attempt}" if attempt or undo else ""  # nobody runs what waits
    anew = f" · try {nth}" if nth > 1 else ""
    return f"{clean(run_id)}{anew} · {step}{number}"


def clean(text: str) -> str:
    """Text with its control characters escaped: a log line stays a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
