"""Finding runs: one by its id, a page of them, and what may be purged.

Owns: what a filter means, and what a handle is made of.  Refuses to know: what is done with the
runs that are found.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
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
from celeriac.errors import InputInvalid, OutputInvalid
from celeriac.machine import RunStatus, checked_tags, duration_ms
from celeriac.store import Query
from celeriac.workers import SagaTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, timedelta

    from celery import Celery

    from celeriac.authoring import Signal
    from celeriac.engine import Engine
    from celeriac.machine import Duration, Run
    from celeriac.views import RunState
    from celeriac.workers import Runtime

_LARGEST_PAGE = 200
_ROUNDS = 10  # pages of runs that are looked at, at most, for one page of those that are wanted


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """What operators look for in runs that failed; the indexes do not know it, so runs are read."""

    owed: bool = False  # something is owed, or (with `asking`) either
    asking: bool = False  # the run asks whether a step took effect
    failed_step: str | None = None  # this step ended the run, or is owed
    code: str | None = None  # that step failed with this error code

    def __bool__(self) -> bool:
        return bool(self.owed or self.asking or self.failed_step or self.code)

    def admits(self, state: RunState) -> bool:
        """True if a run is one of those looked for."""
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
    since: datetime | timedelta | None,
    until: datetime | timedelta | None,
    failed: FailureFilter,
    limit: int,
    cursor: str | None,
    handle: Callable[[str], RunHandle[Any]],
) -> Page:
    """Return a page of runs, newest first; raise InputInvalid for a filter that makes no sense."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _LARGEST_PAGE:
        raise InputInvalid(f"limit must be 1 to {_LARGEST_PAGE}, not {limit!r}")
    check_names(saga=saga, failed_step=failed.failed_step, code=failed.code)
    statuses = checked_statuses(status)
    if (failed.owed or failed.asking) and not statuses:
        statuses = frozenset({RunStatus.FAILED})  # no others owe or ask anything
    query = Query(
        statuses=statuses,
        saga=saga,
        tags=checked_tags(tags),
        awaiting=awaiting,
        since=moment_ms(since),
        until=moment_ms(until),
        limit=limit + 1,
        cursor=load_cursor(cursor),
    )
    engine = runtime.engine
    if failed:
        runs, reached = _failed_runs(engine, query, failed)
    else:
        found = engine.retry_while_unavailable(lambda: engine.store.find(query))
        runs, reached = found.runs, found.cursor
    page = runs[:limit]
    # Of one more than asked for, or where the search was left off for the time being.
    after = (page[-1].started_at, page[-1].id) if runs[limit:] else reached
    handles = tuple(handle(run.id) for run in page)
    return Page(handles, dump_cursor(*after) if after else None, tuple(page), engine)


def _failed_runs(
    engine: Engine, query: Query, failed: FailureFilter
) -> tuple[list[Run], tuple[int, str] | None]:
    """Return runs that *query* and *failed* admit, and where to go on if there may be more."""
    wanted: list[Run] = []
    cursor = query.cursor
    for _ in range(_ROUNDS):
        find = functools.partial(
            engine.store.find, replace(query, limit=_LARGEST_PAGE, cursor=cursor)
        )
        found = engine.retry_while_unavailable(find)
        states = states_of(engine, found.runs, failures=failed.code is not None)
        admitted = {state.id for state in states if failed.admits(state)}
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
