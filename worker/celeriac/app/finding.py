"""Finding runs: one by its id, a page of them, and what may be purged.

Owns: what a filter means, and what a handle is made of.  Refuses to know: what is done with the
runs that are found.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from celeriac.app.handles import RunHandle, dump_plain
from celeriac.app.inputs import (
    checked_statuses,
    checked_tags,
    dump_cursor,
    load_cursor,
    moment_ms,
)
from celeriac.app.pages import Page
from celeriac.engine import Purge
from celeriac.errors import InputInvalid, OutputInvalid
from celeriac.machine import duration_ms
from celeriac.store import Query
from celeriac.workers import SagaTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, timedelta

    from celery import Celery

    from celeriac.machine import Duration
    from celeriac.workers import Runtime

_LARGEST_PAGE = 200


def find_runs(  # noqa: PLR0913 -- the filters of the interface
    runtime: Runtime,
    *,
    status: str | Iterable[str] | None,
    saga: str | None,
    tags: Mapping[str, str] | None,
    since: datetime | timedelta | None,
    until: datetime | timedelta | None,
    limit: int,
    cursor: str | None,
    handle: Callable[[str], RunHandle[Any]],
) -> Page:
    """Return a page of runs, newest first; raise InputInvalid for a filter that makes no sense."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _LARGEST_PAGE:
        raise InputInvalid(f"limit must be 1 to {_LARGEST_PAGE}, not {limit!r}")
    query = Query(
        statuses=checked_statuses(status),
        saga=saga,
        tags=checked_tags(tags),
        since=moment_ms(since),
        until=moment_ms(until),
        limit=limit + 1,
        cursor=load_cursor(cursor),
    )
    engine = runtime.engine
    found = engine.retry_while_unavailable(lambda: engine.store.find(query))
    page = found.runs[:limit]
    # Of one more than asked for, or where the search was left off for the time being.
    after = (page[-1].started_at, page[-1].id) if found.runs[limit:] else found.cursor
    handles = tuple(handle(run.id) for run in page)
    return Page(handles, dump_cursor(*after) if after else None, tuple(page), engine)


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


def handle_of(runtime: Runtime, run_id: str, decode: Callable[[str], Any]) -> RunHandle[Any]:
    """Return the handle of a run; *decode* makes its result of JSON text."""
    dump = functools.partial(dump_result, runtime.app)
    return RunHandle(run_id, runtime.engine, runtime.dispatcher, decode, dump)


def dump_result(app: Celery, task: str, result: Any) -> str:
    """Return what a task might have returned as JSON, as strictly as where it had done so."""
    known = app.tasks.get(task)
    if not isinstance(known, SagaTask) or known.saga_adopted:
        return dump_plain(task, result)
    try:
        return known.saga_shape.dump(result)
    except OutputInvalid as error:
        raise InputInvalid(str(error)) from None
