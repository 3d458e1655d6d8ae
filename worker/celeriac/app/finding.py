"""Finding runs: one by its id, a page of them, and what may be purged.

Owns: what a filter means, and what a handle is made of.  Refuses to know: what is done with the
runs that are found.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from celeriac.app.handles import RunHandle, dump_plain
from celeriac.app.inputs import (
    check_names,
    checked_statuses,
    dump_cursor,
    load_cursor,
    moment_ms,
)
from celeriac.app.pages import Page, states_of
from celeriac.engine import Purge
from celeriac.errors import DefinitionError, InputInvalid, OutputInvalid
from celeriac.machine import RunStatus, checked_tags, duration_ms
from celeriac.store import Query
from celeriac.workers import SagaTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from celery import Celery

    from celeriac.authoring import Signal
    from celeriac.engine import Engine
    from celeriac.machine import Duration, Run
    from celeriac.views import RunState
    from celeriac.workers import Runtime

_LARGEST_PAGE = 200
_ROUNDS = 10  # pages of runs that are looked at, at most, for one page of those that are wanted


@dataclass(frozen=True, slots=True)
class ReadFilter:
    """What operators look for and the indexes do not know: runs are read for it."""

    owed: bool = False  # something is owed, or (with `asking`) either
    asking: bool = False  # the run asks whether a step took effect
    failed_step: str | None = None  # this step ended the run, or is owed
    code: str | None = None  # that step failed with this error code
    idle: Duration | None = None  # nothing has happened in the run for so long

    def __bool__(self) -> bool:
        failed = self.owed or self.asking or self.failed_step or self.code
        return bool(failed) or self.idle is not None

    @property
    def statuses(self) -> frozenset[RunStatus]:
        """Where such runs are; empty: in any status."""
        if self.owed or self.asking:
            return frozenset({RunStatus.FAILED})  # no others owe or ask anything
        if self.idle is not None:
            return frozenset({RunStatus.RUNNING, RunStatus.COMPENSATING})
        return frozenset()

    def quiet_since(self) -> datetime | None:
        """Since when nothing may have happened; raise InputInvalid."""
        if self.idle is None:
            return None
        try:
            return datetime.now(UTC) - timedelta(milliseconds=duration_ms(self.idle))
        except (DefinitionError, OverflowError):
            raise InputInvalid(f"idle: how long, such as 15m or 2h, not {self.idle!r}") from None

    def admits(self, state: RunState, quiet_since: datetime | None = None) -> bool:
        """True if a run is one of those looked for."""
        if quiet_since and (state.status.at_rest or state.changed_at > quiet_since):
            return False
        if self.owed or self.asking:
            asks = state.asking
            if not ((self.asking and asks) or (self.owed and state.owed and not asks)):
                return False
        if self.failed_step and self.failed_step not in (state.failed_step, *state.owed):
            return False
        return not self.code or self.code in state.codes


def find_runs(  # noqa: PLR0913 -- the filters of the interface
    runtime: Runtime,
    *,
    status: str | Iterable[str] | None,
    saga: str | None,
    tags: Mapping[str, str] | None,
    awaiting: bool,
    past_deadline: bool,
    since: datetime | timedelta | None,
    until: datetime | timedelta | None,
    read: ReadFilter,
    limit: int,
    cursor: str | None,
    handle: Callable[[str], RunHandle[Any]],
) -> Page:
    """Return a page of runs, newest first; raise InputInvalid for a filter that makes no sense."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _LARGEST_PAGE:
        raise InputInvalid(f"limit must be 1 to {_LARGEST_PAGE}, not {limit!r}")
    check_names(saga=saga, failed_step=read.failed_step, code=read.code)
    query = Query(
        statuses=checked_statuses(status) or read.statuses,
        saga=saga,
        tags=checked_tags(tags),
        awaiting=awaiting,
        past_deadline=past_deadline,
        since=moment_ms(since),
        until=moment_ms(until),
        limit=limit + 1,
        cursor=load_cursor(cursor),
    )
    engine = runtime.engine
    if read:
        runs, reached = _read_runs(engine, query, read)
    else:
        found = engine.retry_while_unavailable(lambda: engine.store.find(query))
        runs, reached = found.runs, found.cursor
    page = runs[:limit]
    # Of one more than asked for, or where the search was left off for the time being.
    after = (page[-1].started_at, page[-1].id) if runs[limit:] else reached
    handles = tuple(handle(run.id) for run in page)
    return Page(handles, dump_cursor(*after) if after else None, tuple(page), engine)


def _read_runs(
    engine: Engine, query: Query, read: ReadFilter
) -> tuple[list[Run], tuple[int, str] | None]:
    """Return runs that *query* and *read* admit, and where to go on if there may be more."""
    quiet_since = read.quiet_since()
    wanted: list[Run] = []
    cursor = query.cursor
    for _ in range(_ROUNDS):
        find = functools.partial(
            engine.store.find, replace(query, limit=_LARGEST_PAGE, cursor=cursor)
        )
        found = engine.retry_while_unavailable(find)
        states = states_of(engine, found.runs, failures=read.code is not None)
        admitted = {state.id for state in states if read.admits(state, quiet_since)}
        wanted += [run for run in found.runs if run.id in admitted]
        cursor = found.cursor
        if cursor is None and len(found.runs) == _LARGEST_PAGE:
            cursor = (found.runs[-1].started_at, found.runs[-1].id)
        if cursor is None or len(wanted) >= query.limit:
            break
    return wanted, cursor


def prepare_purge(
    runtime: Runtime,
    older_than: Duration,
    *,
    status: str | Iterable[str] | None,
    saga: str | None,
    reason: str,
    by: str,
) -> Purge:
    """Return what removes runs that ended so long ago; nothing is removed before it is asked to."""
    check_names(saga=saga)
    store = runtime.engine.store
    return Purge(
        store,
        runtime.archivist,
        ended_before=store.read("").now - duration_ms(older_than),
        statuses=checked_statuses(status),
        saga=saga,
        by=by,
        reason=reason,
    )


def handle_of(
    runtime: Runtime,
    run_id: str,
    decode: Callable[[str], Any],
    answer: Callable[[str], Any],
    signals: Mapping[str, Signal[Any]],
) -> RunHandle[Any]:
    """Return the handle of a run; *decode* and *answer* make its result and answer of JSON text."""
    dump = functools.partial(dump_result, runtime.app)
    return RunHandle(run_id, runtime.engine, runtime.dispatcher, decode, dump, answer, signals)


def dump_result(app: Celery, task: str, result: Any) -> str:
    """Return what a task might have returned as JSON, as strictly as where it had done so."""
    known = app.tasks.get(task)
    if not isinstance(known, SagaTask) or known.saga_adopted:
        return dump_plain(task, result)
    try:
        return known.saga_shape.dump(result)
    except OutputInvalid as error:
        raise InputInvalid(str(error)) from None


def dump_known(app: Celery, task: str, result: Any) -> str:
    """Do what `dump_result` does; raise InputInvalid for a task that this process does not know."""
    if task not in app.tasks:
        raise InputInvalid(
            f"this process does not know {task}, so it cannot check its result: import the module "
            "that defines it"
        )
    return dump_result(app, task, result)
