"""The runs of an app: found, counted, steered many at a time, and removed.

Owns: what may be asked of `Sagas` once sagas are defined, with its types and its promises.  Refuses
to know: how sagas are defined (`celeriac.sagas`), and how any of this is done.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, TypeVar, overload

from celeriac.app.bulks import BulkCommand, BulkVerb, look_at, newest_bulks
from celeriac.app.completions import Completions, find_completions
from celeriac.app.defining import Definitions
from celeriac.app.finding import ReadFilter, dump_known, find_runs, handle_of, prepare_purge
from celeriac.app.inputs import looked_up
from celeriac.app.queue_stats import queue_stats
from celeriac.app.results import bring_failure, bring_result
from celeriac.app.saga import Saga
from celeriac.app.schedules import Schedule, ScheduleDefinitions, states_of
from celeriac.app.sweeping import sweep_once
from celeriac.engine import Purge, Repair, Ticks, steady
from celeriac.errors import InputInvalid
from celeriac.views import (
    LONGEST,
    Durations,
    QueueStats,
    ServerState,
    StartedRuns,
    Stats,
    WorkerState,
    durations_of,
    servers_of,
    stats_of,
    throughput_of,
    workers_of,
)
from celeriac.workers import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, timedelta

    from celery import Celery

    from celeriac.app.handles import RunHandle
    from celeriac.app.pages import Page
    from celeriac.authoring import Answer, Signal
    from celeriac.engine import Repaired
    from celeriac.machine import Duration, RunStatus
    from celeriac.views import BulkState, ScheduleState

T = TypeVar("T")


class KnownRuns:
    """What is known of the runs of one app, and what may be done about many of them."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.runtime = Runtime(app)
        self._definitions = Definitions(self.runtime)
        self._sagas: dict[str, Saga[Any, Any]] = {}
        self._schedules = ScheduleDefinitions(app)

    @property
    def defined(self) -> Mapping[str, Saga[Any, Any]]:
        """The sagas of this app by name."""
        return dict(self._sagas)

    @property
    def scheduled(self) -> tuple[str, ...]:
        """The names of the schedules that the code of this app has."""
        return self._schedules.names

    def run(self, run_id: str) -> RunHandle[Any]:
        """Return the handle of a run; raise RunNotFound if there is none."""
        handle = self._handle(looked_up(run_id))
        saga = self._sagas.get(handle._read()[0].saga)  # noqa: SLF001 -- one family
        return saga._handle(run_id) if saga else handle  # noqa: SLF001

    def runs(  # noqa: PLR0913 -- the filters
        self,
        *,
        status: str | Iterable[str] | None = None,
        saga: str | Saga[Any, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        awaiting: bool = False,
        past_deadline: bool = False,
        idle: Duration | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        owed: bool = False,
        asking: bool = False,
        failed_step: str | None = None,
        code: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of runs, newest first.

        `awaiting` are runs that wait for a signal, such as an approval, whatever else they do,
        `past_deadline` those that go on though their deadline has passed.  `idle` are runs in which
        nothing has happened for so long ("15m"): of those that run or are being undone, unless a
        status is given.
        `since` and `until` limit when runs were started (a time, or how long ago).  `owed` are runs
        that owe something, `asking` those that ask whether a step took effect (both: either);
        `failed_step` ended the run or is owed, `code` is its error code.  `limit` is 1 to 200;
        `cursor` comes from the previous page.  Raises InputInvalid for an impossible filter.
        """
        return find_runs(
            self.runtime,
            status=status,
            saga=saga.name if isinstance(saga, Saga) else saga,
            tags=tags,
            awaiting=awaiting,
            past_deadline=past_deadline,
            since=since,
            until=until,
            read=ReadFilter(owed, asking, failed_step, code, idle),
            limit=limit,
            cursor=cursor,
            handle=self._handle,
        )

    def bulk(  # noqa: PLR0913 -- the filters
        self,
        verb: BulkVerb,
        *,
        runs: Iterable[str] | None = None,
        status: str | Iterable[str] | None = None,
        saga: str | Saga[Any, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        awaiting: bool = False,
        past_deadline: bool = False,
        idle: Duration | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        owed: bool = False,
        asking: bool = False,
        failed_step: str | None = None,
        code: str | None = None,
        reason: str = "",
        rps: float = 20.0,
        by: str = "",
    ) -> BulkCommand:
        """Look which runs a command would be for: those named in *runs*, or those of a filter.

        Nothing is done to them before `start(expected)` of what is returned, with the number of
        runs that were seen (`state().matched`).  Then the sweep gives the command to *rps* runs a
        second, whether or not this process is still there.  A run that has become something else
        since the look is left as it is.  Runs that ask what became of a step get no `retry` unless
        *asking*.  Raises InputInvalid, also for more than 10,000 runs.
        """
        filters = {
            "status": status if status is None or isinstance(status, str) else [*status],
            "saga": saga.name if isinstance(saga, Saga) else saga,
            "tags": tags,
            "awaiting": awaiting,
            "past_deadline": past_deadline,
            "idle": idle,
            "since": since,
            "until": until,
            "owed": owed,
            "asking": asking,
            "failed_step": failed_step,
            "code": code,
        }
        asked: Any = {"runs": runs, "filters": filters, "reason": reason, "rps": rps, "by": by}
        return look_at(self.runtime.engine, self.runs, verb, **asked)

    def bulk_named(self, bulk_id: str) -> BulkCommand:
        """Return the handle of a command for many runs; whether there is one is not asked yet."""
        return BulkCommand(bulk_id, self.runtime.engine)

    def bulks(self, limit: int = 50) -> list[BulkState]:
        """Return the commands for many runs that were looked at last, the newest first."""
        return newest_bulks(self.runtime.engine, limit)

    @overload
    def signal(
        self,
        run_id: str,
        signal: Signal[T],
        payload: T,
        id: str | None = None,
    ) -> Answer: ...

    @overload
    def signal(
        self,
        run_id: str,
        signal: str,
        payload: Any = None,
        id: str | None = None,
    ) -> Answer: ...

    def signal(
        self,
        run_id: str,
        signal: Any,
        payload: Any = None,
        id: str | None = None,  # noqa: A002
    ) -> Answer:
        """Send a signal to a run: what `run.signal` does."""
        return self._handle(run_id).signal(signal, payload, id=id)

    def schedules(self) -> list[ScheduleState]:
        """Return how all schedules stand, by name, also those of other versions of the code.

        One that was deleted is left out, and known by `schedule_named`.
        """
        return states_of(self._ticks())

    def schedule_named(self, name: str) -> Schedule:
        """Return the handle of a schedule, to steer it; whether there is one is not asked yet."""
        return Schedule(name, self._ticks, self._schedules)

    def complete(self, token: str, result: Any = None, *, by: str = "") -> None:
        """Bring the result of a step from outside: *token* is that of its attempt (`ctx.token`).

        The result is checked against what the step declares to return.  It may come before the step
        has returned `ctx.later(…)`: it is kept then, and counts whatever the step does.  The same
        result again is accepted.  *by* says who brings it, for the run's history.  Raises
        InputInvalid or PayloadTooLarge with nothing written; TokenUnknown, TokenVoid if the attempt
        no longer counts, TokenSettled if it has ended in another way.
        """
        client, dump = self.runtime, functools.partial(dump_known, self.app)
        bring_result(client.engine, client.dispatcher, dump, token, result, by=by)

    def fail(
        self,
        token: str,
        message: str,
        *,
        code: str | None = None,
        effect: bool | None = None,
        retry: bool = False,
        by: str = "",
    ) -> None:
        """Say from outside that a step has failed: what `Abort` with these arguments says.

        *effect* is False if it is proven to have had none: then it is not undone.  With *retry* the
        step may be tried again, by its policy.  *by* says who tells it.  Raises what `complete`
        raises.
        """
        client = self.runtime
        options: Any = {"code": code, "effect": effect, "retry": retry, "by": by}
        bring_failure(client.engine, client.dispatcher, token, message, **options)

    def completions(self, *, cursor: str | None = None) -> Completions:
        """Return the steps that wait for a result from outside, those of the newest runs first.

        Runs are read for it, so that what is returned may be empty and have a cursor: give it to
        look further.
        """
        return find_completions(self.runs, cursor)

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return how many runs there are, by saga and status."""
        engine = self.runtime.engine
        return engine.retry_while_unavailable(engine.store.counts)

    def stats(self, *, queues: bool = True) -> Stats:
        """Return figures about all runs; takes no longer if there are many.

        Without *queues* the broker is not asked, which takes most of the time.
        """
        engine = self.runtime.engine
        found = engine.retry_while_unavailable(lambda: stats_of(engine.store))
        return found.model_copy(update={"queues": self.queues()}) if queues else found

    def queues(self) -> tuple[QueueStats, ...]:
        """Return how much waits in each queue of the sagas, by name; none without the broker."""
        return queue_stats(self.runtime, [saga.planned.plan for saga in self.defined.values()])

    def throughput(self, hours: int = 24) -> tuple[StartedRuns, ...]:
        """Return how many runs were started in each of the last *hours* (1 to 168), oldest first.

        The last is the hour that has begun.  Counted are runs that are still here, from indexes.
        """
        if isinstance(hours, bool) or not isinstance(hours, int) or not 1 <= hours <= LONGEST:
            raise InputInvalid(f"hours: 1 to {LONGEST}, not {hours!r}")
        engine = self.runtime.engine
        return engine.retry_while_unavailable(lambda: throughput_of(engine.store, hours))

    def durations(
        self, saga: str | Saga[Any, Any] | None = None, *, steps: bool = False
    ) -> tuple[Durations, ...]:
        """Return how long runs take and how they end, by saga: of *saga* alone, or of all.

        Seen in the 200 newest runs of each; with *steps* also how long the steps take, which reads
        histories.  Nothing is told of a saga without runs.
        """
        engine = self.runtime.engine
        name = saga.name if isinstance(saga, Saga) else saga
        names = [name] if name is not None else sorted({of for of, _ in self.counts()})
        found = (
            engine.retry_while_unavailable(
                functools.partial(durations_of, engine.store, each, steps=steps)
            )
            for each in names
        )
        return tuple(each for each in found if each.runs)

    def workers(self) -> tuple[WorkerState, ...]:
        """Return the workers that live, or were there until a moment ago, by their signs of life.

        The one that is longest there comes first.
        """
        engine = self.runtime.engine
        return engine.retry_while_unavailable(lambda: workers_of(engine.store))

    def servers(self) -> tuple[ServerState, ...]:
        """Return what the Redis that holds the runs says of itself; of a cluster, each primary."""
        engine = self.runtime.engine
        return engine.retry_while_unavailable(lambda: servers_of(engine.store))

    def purge(
        self,
        older_than: Duration,
        *,
        status: str | Iterable[str] | None = None,
        saga: str | None = None,
        reason: str = "",
        by: str = "",
    ) -> Purge:
        """Prepare to remove runs that ended so long ago, before their retention is over.

        Nothing is removed yet: iterate over `purge.run()`, which yields how many runs are gone so
        far.  The archive gets each run first.  Raises InputInvalid for a status that is not at
        rest, and for `failed`: what is owed is never purged.
        """
        return prepare_purge(
            self.runtime, older_than, status=status, saga=saga, reason=reason, by=by
        )

    def sweep(self) -> int:
        """Sweep once, as the beat task does; return how many runs were looked at."""
        return sweep_once(self.runtime, self._ticks())

    def repair(self, *, dry_run: bool = False) -> Repaired:
        """Check that everything stored about runs is consistent, and mend what is not.

        It looks at every run, which takes time but delays no run; *dry_run* changes nothing.
        """
        return Repair(self.runtime.engine).run(dry_run=dry_run)

    def _ticks(self) -> Ticks:
        """What sees to the schedules, for the process that asks."""
        runtime = self.runtime
        return Ticks(
            runtime.engine,
            runtime.dispatcher,
            self._schedules.scheduled(),
            lambda: steady() - runtime.began,
            self._schedules.told,
        )

    def _handle(
        self,
        run_id: str,
        decode: Callable[[str], Any] = json.loads,
        answer: Callable[[str], Any] = json.loads,
    ) -> RunHandle[Any]:
        return handle_of(self.runtime, run_id, decode, answer, self._definitions.signals)
