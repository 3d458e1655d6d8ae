"""Checks of the sweep: whether what was lost is found, and found in time.

Owns: when the sweep counts as down, late or doubled.  Refuses to know: how workers and Redis were
asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.doctor.findings import ERROR, WARNING, Remark, Table, seen
from celeriac.doctor.formatting import names, span
from celeriac.doctor.workers import present_workers
from celeriac.workers import own_queue, sweep_is_down

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from celeriac.doctor.facts import Facts
    from celeriac.workers import Ticks

SWEEP: Table[Facts] = Table("workers")

_BEAT_RECENT = 30.0  # seconds since its last tick in which a beat counts as there
_LATE_FOR = 5.0  # seconds in which no tick of it has come in time


@SWEEP.check(
    "sweep",
    about="A sweep went through all shards just now.",
    severity=ERROR,
    advice="Start a beat (celery -A app beat), or celery -A app saga sweep --every 1; see that a "
    "worker takes from its queue, which saga stats names. Without it nothing lost is found, and "
    "no schedule ticks.",
    by_hand="the workers' and beat's logs",
)
def sweep(facts: Facts) -> Iterator[str | Remark]:
    """Deadlines, retries and lost messages are seen to."""
    mark = seen(facts.sweep)
    kept = len(facts.app.celeriac.scheduled)
    so = f", so none of {kept} schedules ticks" if kept else ""
    if mark is None:
        yield f"it has never been through{so}"
        return
    ago = (mark.now - mark.at) / 1000
    if sweep_is_down(mark, facts.settings.sweep_interval):
        yield f"it was last through {span(ago)} ago{so}"


@SWEEP.check(
    "sweep-lag",
    about="The sweep looks at what is due within a lease.",
    severity=WARNING,
    advice="Give the queue of the sweep a worker of its own (celery -A app worker -Q celeriac "
    "-c 1; under a saga_namespace the queue has that behind a dot), or raise saga_sweep_batch.",
    by_hand="the oldest entries of the wake indexes: ZRANGE NAMESPACE:{0}:wake 0 0 WITHSCORES",
)
def sweep_lag(facts: Facts) -> Iterator[str | Remark]:
    """It keeps up."""
    contents, now = seen(facts.contents), seen(facts.server).now
    late = (now - contents.due) / 1000 if contents.due else 0.0
    if late > facts.settings.lease + 2 * facts.settings.sweep_interval:
        yield f"something has been due for {span(late)}, and was not looked at"


@SWEEP.check(
    "beat",
    about="One beat sends the ticks of the sweep, and they arrive in time.",
    severity=WARNING,
    advice="Run exactly one beat: a second one doubles all periodic tasks.",
    by_hand="the processes of celery beat, on all machines",
)
def beat(facts: Facts) -> Iterator[str | Remark]:
    """There are not two of them."""
    found = {name: worker.beats for name, worker in present_workers(facts).items()}
    recent = [pair for beats in found.values() for pair in beats.items() if _is_recent(pair[1])]
    at_once = _at_once(recent, 2 * facts.settings.sweep_interval)
    if at_once:
        yield f"{len(at_once)} of them at the same time: {names(at_once)}"
    late = {name for name, beats in found.items() if any(map(_is_late, beats.values()))}
    if late:
        yield Remark(
            ERROR,
            f"{names(late)} get each tick too late to count: the clock of beat is behind theirs, "
            "or there is too much before it",
            "Let all machines keep their time by NTP, and see how long the queue "
            f"{own_queue(facts.app)!r} is.",
        )


def _is_recent(ticks: Ticks) -> bool:
    return ticks.last < _BEAT_RECENT


def _is_late(ticks: Ticks) -> bool:
    """True if its ticks come, and none has been in time for a while.

    Those that had waited for a worker to start come too late all at once, which means nothing.
    """
    since = ticks.first if ticks.timely is None else ticks.timely
    return _is_recent(ticks) and since - ticks.last > _LATE_FOR


def _at_once(ticks: Iterable[tuple[str, Ticks]], overlap: float) -> set[str]:
    """The beats whose times of sending overlap: one that followed another is no second one."""
    spans: dict[str, tuple[float, float]] = {}  # from and to, in seconds ago
    for name, tick in ticks:
        first, last = spans.get(name, (tick.first, tick.last))
        spans[name] = max(first, tick.first), min(last, tick.last)
    return {
        name
        for name, (first, last) in spans.items()
        for other, (begin, end) in spans.items()
        if other != name and min(first, begin) - max(last, end) > overlap
    }
