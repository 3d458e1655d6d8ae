"""Who may pass a gate now, whose turn is next, and what an attempt that ended means for a breaker.

Owns: every rule about that, for all three kinds as one: a gate has so many places.  Those of a
limit are given back; those of a rate end by themselves; a breaker has no end of them while it is
closed, none while it is open, and one while it is half open.  Refuses to know: runs, the clock, and
where any of it is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.gating.records import Outcome, Record
    from celeriac.machine import Phase, Rule

#: What is undone waits before what is done: by so much (ms) its turn seems to have come earlier.
_UNDO_FIRST = 4 * 10**12
_MOST_FAILURES = 1_000  # that are kept of a breaker
_DAY = 24 * 3_600_000  # ms
_MONTH = 30 * _DAY


class Inside(NamedTuple):
    """Who is inside of a gate, and how many wait, at one moment."""

    now: int  # ms
    ends: Sequence[int]  # ms: when places end, the earliest first; if there are many, not all
    taken: int  # how many there are
    waiting: int

    @property
    def ended(self) -> int:
        """How many places are over by time."""
        return sum(1 for end in self.ends if end <= self.now)

    @property
    def live(self) -> int:
        """How many places are not."""
        return self.taken - self.ended


class Verdict(NamedTuple):
    """Whether somebody may pass."""

    passes: bool
    why: str = ""  # not, as people are told
    turn: int | None = None  # ms: when it will be, as far as that is known


def order_in_line(phase: Phase, since: int) -> int:
    """Where somebody stands in a line: the smaller, the earlier."""
    return since - _UNDO_FIRST if phase == "undo" else since


def call_order(order: int) -> tuple[Phase, int]:
    """The phase and time that `order_in_line` made a place of."""
    return ("undo", order + _UNDO_FIRST) if order < 0 else ("do", order)


def judge(gate: str, record: Record, inside: Inside, before: int) -> Verdict:
    """Whether somebody may pass, with *before* in line before; what has ended is not inside."""
    rule, now = record.rule, inside.now
    free = _capacity(record, now) - inside.live
    if before < free:
        return Verdict(True)
    if rule.kind == "breaker":
        if record.state(now) == "half_open":
            return Verdict(False, f"breaker {gate} is half open: one attempt tries it")
        by = f" (by {record.by})" if record.by and not record.until else ""
        return Verdict(False, f"breaker {gate} is open{by}", record.until or None)
    if rule.kind == "rate":
        words = f"rate {gate}: no more than {rule.most} in {rule.per / 1000:g} s"
        return Verdict(False, words, _turn(rule, inside, before - max(int(free), 0)))
    return Verdict(False, f"limit {gate}: no more than {rule.most} at a time")


def place_ends(record: Record, now: int, lease: int) -> int | None:
    """When a place that is taken now is over, or looked up again; None: there is no need of one."""
    if record.rule.kind == "rate":
        return now + record.rule.per
    needless = record.rule.kind == "breaker" and not record.opened
    return None if needless else now + lease


def turns(record: Record, inside: Inside, horizon: int, most: int) -> list[int]:
    """When it is the turn of the first who wait, in ms: of those whose turn is by *horizon*."""
    now = inside.now
    free = min(max(_capacity(record, now) - inside.live, 0), inside.waiting, most)
    found = [now] * int(free)
    if record.rule.kind == "rate":
        for place in range(min(inside.waiting, most) - len(found)):
            at = _turn(record.rule, inside, place)
            if at is None or at > horizon:
                break
            found.append(at)
    return found


def look_at(record: Record, inside: Inside, lease: int, horizon: int) -> int | None:
    """When somebody has to look at a gate again, in ms; None: there is nothing to keep of it."""
    now, rule = inside.now, record.rule
    live = [end for end in inside.ends if end > now]
    if not inside.taken and not inside.waiting:
        fresh = [at + rule.per for at in record.failures if at + rule.per > now]
        if record.opened:
            # One of a value that nobody asks for any more must not be kept for ever.
            fresh = [record.until + _DAY if record.until else now + _MONTH]
        return max(fresh) if fresh and max(fresh) > now else None
    times = live[:1] if inside.waiting or rule.kind != "rate" else live[-1:]
    if inside.waiting:
        if _capacity(record, now) > inside.live:
            times = [now + lease]  # who was called may never come
        elif rule.kind == "rate":
            times = [max(now + 1, end - horizon) for end in times]
    if record.opened and record.until > now:
        times.append(record.until)
    return min(times, default=now + lease if inside.taken or inside.waiting else _MONTH + now)


def report(record: Record, outcome: Outcome, now: int, *, tried: bool) -> Record:
    """What is known of a breaker after an attempt has ended; *tried*: it was the one that tried."""
    rule = record.rule
    if record.opened:
        if not tried or not record.until or outcome == "none":
            return record
        if outcome == "answer":
            return record.model_copy(update={"opened": 0, "until": 0, "failures": (), "by": ""})
        return record.model_copy(update={"opened": now, "until": now + rule.open_for})
    if outcome != "failure":
        return record
    recent = [at for at in record.failures if now - at < rule.per]
    failures = (*recent, now)[-_MOST_FAILURES:]
    if len(failures) < rule.most:
        return record.model_copy(update={"failures": failures})
    opened = {"opened": now, "until": now + rule.open_for, "failures": (), "by": ""}
    return record.model_copy(update=opened)


def set_by_operator(record: Record, by: str, now: int, *, to_open: bool) -> Record:
    """A breaker that an operator opens, until one closes it, or closes."""
    opened = record.opened or now if to_open else 0
    return record.model_copy(update={"opened": opened, "until": 0, "failures": (), "by": by})


def _capacity(record: Record, now: int) -> float:
    if record.rule.kind != "breaker":
        return record.rule.most
    return {"closed": float("inf"), "open": 0, "half_open": 1}[record.state(now)]


def _turn(rule: Rule, inside: Inside, place: int) -> int | None:
    """When a place ends that somebody can take who has *place* others before him; of a rate."""
    live = [end for end in inside.ends if end > inside.now]
    if not live:
        return None
    rounds, left = divmod(place, rule.most)
    return live[min(left, len(live) - 1)] + rounds * rule.per
