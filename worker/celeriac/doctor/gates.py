"""Checks of gates: breakers that stay open, lines that stand still, numbers that differ.

Owns: when a breaker is open for long, and a line counts as one that nobody sees to.  Refuses to
know: who may pass (`gating`), and how Redis and the workers were asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.doctor.findings import ERROR, INFO, WARNING, Remark, Table, seen
from celeriac.doctor.formatting import count, names, span
from celeriac.doctor.workers import present_workers
from celeriac.machine import gate_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from celeriac.doctor.facts import Facts
    from celeriac.doctor.store_contents import GateSeen

GATES: Table[Facts] = Table("workers")

_LONG = 600_000  # ms that a breaker may be open; the alert has the same
_PATIENCE = 60_000  # ms


@GATES.check(
    "gates",
    about="No breaker has been open for long, and somebody sees to each line before a gate.",
    severity=WARNING,
    advice="See what is behind the breaker; if it is well again, celery -A app saga "
    "breakers close NAME.",
    by_hand="celery -A app saga breakers list",
)
def gates(facts: Facts) -> Iterator[str | Remark]:
    """What waits at a gate waits for what it says that it does."""
    found, now = seen(facts.contents).gates, seen(facts.server).now
    yield from _unreadable(found)
    yield from _open(found, now)
    unseen = [each for each in found if each.waiting and each.look_at < now - _PATIENCE]
    for name, waiting, oldest in _by_name(unseen, lambda each: each.look_at):
        yield Remark(
            ERROR,
            f"{count(waiting, 'step')} in line before {name}, and nobody has looked at it for "
            f"{span((now - oldest) / 1000)}",
            "See that there is a sweep (saga doctor --only sweep): it calls who is next, if "
            "whoever left could not.",
        )
    empty = [
        each
        for each in found
        if each.first and each.first < now - _PATIENCE and not each.inside and _lets(each, now)
    ]
    for name, waiting, oldest in _by_name(
        [each for each in empty if each not in unseen], lambda each: each.first
    ):
        yield Remark(
            INFO,
            f"nobody was inside of {name} just now, and {count(waiting, 'step')} in line, the "
            f"first for {span((now - oldest) / 1000)}",
            "If that stays so, the messages of those that were called wait in their queue: start "
            "workers for it (saga stats).",
        )


def _lets(gate: GateSeen, now: int) -> bool:
    return gate.record is not None and gate.record.state(now) != "open"


def _unreadable(found: Sequence[GateSeen]) -> Iterator[Remark]:
    unread = {gate_named(each.gate) for each in found if each.record is None}
    if unread:
        yield Remark(
            WARNING,
            f"what is kept of {names(unread)} cannot be read here: a newer version wrote it",
            "Upgrade celeriac here.",
        )


def _open(found: Sequence[GateSeen], now: int) -> Iterator[str]:
    since = {each: each.record.opened for each in found if each.record and each.record.opened}
    long = [each for each, at in since.items() if at < now - _LONG]
    for name, waiting, opened in _by_name(long, since.__getitem__):
        by = {each.record.by for each in long if each.record and gate_named(each.gate) == name}
        who = f" (by {names(by - {''})})" if by - {""} else ""
        yield (
            f"the breaker {name} has been open for {span((now - opened) / 1000)}{who}, with "
            f"{count(waiting, 'step')} in line"
        )


def _by_name(
    found: Sequence[GateSeen], when: Callable[[GateSeen], int]
) -> Iterator[tuple[str, int, int]]:
    """Each name with how many wait there, and the earliest time; values are one."""
    for name in dict.fromkeys(gate_named(each.gate) for each in found):
        own = [each for each in found if gate_named(each.gate) == name]
        yield name, sum(each.waiting for each in own), min(map(when, own))


@GATES.check(
    "gate-numbers",
    about="All workers give each limit, rate and breaker the same numbers.",
    severity=WARNING,
    advice="Fine during a deploy; otherwise give it the same numbers in all code, or different "
    "names: those of whoever comes to the gate count.",
    by_hand="limit= and breaker= in the code that each worker runs",
)
def gate_numbers(facts: Facts) -> Iterator[str | Remark]:
    """Two workers do not change a limit back and forth."""
    here = {
        name: rule.model_dump(exclude_defaults=True)
        for name, rule in facts.app.celeriac.runtime.rules.items()
    }
    said: dict[str, dict[str, list[str]]] = {name: {} for name in here}
    for worker, told in present_workers(facts).items():
        for name, rule in told.gates.items():
            said.setdefault(name, {}).setdefault(_told(rule), []).append(worker)
    for name, rule in here.items():
        said[name].setdefault(_told(rule), []).append("this app")
    for name, several in sorted(said.items()):
        if len(several) > 1:
            yield f"{name}: " + "; ".join(
                f"{numbers} at {names(where)}" for numbers, where in sorted(several.items())
            )


def _told(rule: dict[str, Any]) -> str:
    kind, most = rule.get("kind"), rule.get("most")
    per = span(rule.get("per", 0) / 1000)
    if kind == "limit":
        return f"limit {most}"
    if kind == "rate":
        return f"rate {most} in {per}"
    return f"breaker {most} in {per}, open for {span(rule.get('open_for', 0) / 1000)}"
