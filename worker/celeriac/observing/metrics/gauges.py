"""What the store itself says of all runs: read from its indexes when somebody looks.

Owns: which figure of the store is which gauge; and for all gauges, asking once for all who look
within a second, and not letting anybody wait for a server that is away.  Refuses to know:
Prometheus, and what else there is to ask (`server`, `defined`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from celeriac.errors import StoreError
from celeriac.gating import load
from celeriac.machine import RunStatus, gate_named
from celeriac.observing.observers import log
from celeriac.scheduling import Record
from celeriac.store import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from celeriac.store import Store, StoreStats

FRESH = 1.0  # seconds; who looks again within that sees the same
PATIENCE = 1.0  # seconds; who looks waits no longer than that
#: Failed runs that are read to count what each owes; each beyond that counts as one.
_OWED_READ = 200
#: Gates that are read, values counted apart among them; of more, the others are left out.
_GATES_READ = 500
_STATES = ("closed", "half_open", "open")
_NEVER = 10**13 - 1  # ms, the year 2286: nothing was started since, so counting that costs nothing


class Sample(NamedTuple):
    """A value of a gauge."""

    name: str
    labels: tuple[str, ...]
    value: float


class Look(NamedTuple):
    """Somebody who wants to know the gauges."""

    asking: threading.Thread | None  # answers it; None: what is known is fresh
    fresh_from: float  # what was found before that is too old for who looks


class Gauges:
    """The gauges that *ask* finds."""

    def __init__(
        self, ask: Callable[[], Iterable[Sample]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._question, self._clock = ask, clock
        self._lock = threading.Lock()
        self._found: tuple[Sample, ...] = ()
        self._found_at = -FRESH
        self._asking: threading.Thread | None = None

    def begin(self) -> Look:
        """Ask, unless what is known is fresh or was asked already; waits for nothing."""
        with self._lock:
            fresh_from = self._clock() - FRESH
            if self._found_at > fresh_from:
                return Look(None, fresh_from)
            if self._asking is None:
                self._asking = threading.Thread(
                    target=self._ask, name="celeriac-gauges", daemon=True
                )
                self._asking.start()
            return Look(self._asking, fresh_from)

    def seen(self, look: Look, patience: float) -> tuple[Sample, ...]:
        """What was answered; nothing if there is no answer within *patience* seconds.

        What was fresh when the look began counts, however long others kept it waiting.
        """
        if look.asking is not None:
            look.asking.join(patience)
        with self._lock:
            return self._found if self._found_at > look.fresh_from else ()

    def samples(self) -> tuple[Sample, ...]:
        """What is answered within `PATIENCE`, or is known and fresh."""
        return self.seen(self.begin(), PATIENCE)

    def _ask(self) -> None:
        found: tuple[Sample, ...] = ()
        try:
            found = tuple(self._question())
        except StoreError as error:
            log.debug("gauges are left out: %s", error)
        except Exception as error:  # noqa: BLE001 -- it is logged; the other figures are served
            log.warning("gauges are left out", exc_info=error)
        with self._lock:
            self._found, self._found_at, self._asking = found, self._clock(), None


def all_samples(gauges: Sequence[Gauges]) -> list[Sample]:
    """What all of them say; they are asked at the same time, and share one patience."""
    end = time.monotonic() + PATIENCE
    looks = [(each, each.begin()) for each in gauges]
    return [
        sample
        for each, look in looks
        for sample in each.seen(look, max(0.0, end - time.monotonic()))
    ]


class StoreGauges(Gauges):
    """The gauges of a store."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(lambda: standing(store), clock)


def standing(store: Store) -> Iterator[Sample]:
    """All gauges, in a handful of round trips, however many runs there are."""
    figures = store.figures(_NEVER)
    owed = _owed(store, figures)
    for saga in sorted({saga for saga, _ in figures.counts}):
        for status in RunStatus:
            count = figures.counts.get((saga, status), 0)
            yield Sample("celeriac_runs", (saga, status.value), count)
        started_at, _ = figures.oldest.get(saga, (figures.now, ""))
        age = max(0, figures.now - started_at) / 1000
        yield Sample("celeriac_oldest_active_run_seconds", (saga,), age)
        yield Sample("celeriac_obligations", (saga,), owed.get(saga, 0))
    waited = 0 if figures.due_since is None else max(0, figures.now - figures.due_since)
    yield Sample("celeriac_sweep_lag_seconds", (), waited / 1000)
    yield Sample("celeriac_overdue", (), figures.due)
    yield from _gates(store)
    mark = store.last_sweep()
    if mark is not None:
        yield Sample("celeriac_sweep_last_success_timestamp_seconds", (), mark.at / 1000)
    seen = store.due(0, 0).pulse.last
    if seen:
        yield Sample("celeriac_worker_seen_timestamp_seconds", (), seen / 1000)


def late_ticks(store: Store, schedules: Sequence[str]) -> Iterator[Sample]:
    """For how long each of *schedules* has a tick that was not seen to, in one round trip."""
    if not schedules:
        return
    now, found = store.schedules.read(schedules)
    for name, record in found.items():
        if isinstance(record, Record) and record.deleted is None:
            due = record.definition.timetable.next(record.last)
            yield Sample("celeriac_schedule_late_seconds", (name,), max(0, now - due) / 1000)


def _gates(store: Store) -> Iterator[Sample]:
    """How gates stand, by name: the values that one counts apart are one."""
    inside, waiting, state = Counter[str](), Counter[str](), dict[str, int]()
    for gate in store.gates.known()[:_GATES_READ]:
        found = store.gates.read(gate)
        if not found.record:
            continue
        name, record = gate_named(gate), load(gate, found.record)
        inside[name] += found.taken
        waiting[name] += found.waiting
        if record.rule.kind == "breaker":
            stands = _STATES.index(record.state(found.now))
            state[name] = max(state.get(name, 0), stands)
    for name in sorted(inside):
        yield Sample("celeriac_gate_inside", (name,), inside[name])
        yield Sample("celeriac_gate_waiting", (name,), waiting[name])
        if name in state:
            yield Sample("celeriac_breaker_state", (name,), state[name])


def _owed(store: Store, figures: StoreStats) -> dict[str, int]:
    """How many steps are owed, by saga."""
    failed = {
        saga: count
        for (saga, status), count in figures.counts.items()
        if status is RunStatus.FAILED and count
    }
    if not failed:
        return {}
    owed = dict(failed)  # each owes one at least
    for run in store.find(Query(statuses=frozenset({RunStatus.FAILED}), limit=_OWED_READ)).runs:
        owed[run.saga] = owed.get(run.saga, 0) + max(0, len(run.owed) - 1)
    return owed
