"""What happens to a run while somebody looks: server-sent events.

Owns: one reader of the store for all who watch, and going on after a break.  Refuses to know:
routes, and what an event means.

Each event has its number in the run's history as its id, so a browser that was cut off says which
it has seen last (`Last-Event-ID`), and gets the others from any server of ours.  Whoever has missed
too much is told to look at the whole run again (`reload`).  How far steps say that they are
(`progress`) is no event of the run, and has no number: only the newest is told.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sse_starlette import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from celeriac.errors import SagaError
from celeriac.views import event_document, progress_fields, progress_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from celeriac.machine import Event, Run
    from celeriac.store import Store
    from celeriac.views import Progress

_PACE = 0.5  # seconds between two looks at all runs that are watched
_PACE_AWAY = 3.0  # … while the store is away
_MOST = 500  # events that are sent after a break; who missed more looks at the whole run again
_log = logging.getLogger(__name__)


class _Known(NamedTuple):
    """What is known of the history of a run."""

    number: int  # of events
    newest: Sequence[Event]  # at most `_MOST` of them


class RunWatch:
    """Looks at all runs that somebody watches, with one reader for each process."""

    def __init__(self, store: Callable[[], Store], pace: float = _PACE) -> None:
        self._store, self._pace = store, pace
        self._watched: Counter[str] = Counter()
        self._histories: dict[str, _Known | None] = {}  # None: there is no such run
        self._versions: dict[str, int | None] = {}
        self._progress: dict[str, dict[str, Progress]] = {}  # how far their steps say that they are
        self._runs: dict[str, Run] = {}  # as they were when they were last looked at
        self._moved = asyncio.Condition()
        self._reader: asyncio.Task[None] | None = None

    async def events(self, run_id: str, after: int | None) -> AsyncIterator[ServerSentEvent]:
        """Yield what happens to a run, *after* so many of its events (None: from now on)."""
        self._watched[run_id] += 1
        try:
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read())
            async for told in self._told(run_id, after):
                yield told
        finally:
            self._watched[run_id] -= 1
            if not self._watched[run_id]:
                del self._watched[run_id]

    async def _told(self, run_id: str, after: int | None) -> AsyncIterator[ServerSentEvent]:
        seen, said = after, self._progress.get(run_id, {})
        while True:
            async with self._moved:
                await self._moved.wait_for(partial(self._has_news, run_id, seen, said))
            found = self._histories[run_id]
            if self._progress.get(run_id, {}) != said:
                said = self._progress.get(run_id, {})
                steps = {name: each.model_dump(mode="json") for name, each in said.items()}
                yield ServerSentEvent(event="progress", data=json.dumps(steps))
            if found is None:
                yield ServerSentEvent(event="gone", data="{}")
                return
            if seen is None:
                yield ServerSentEvent(event="watching", id=str(found.number), data="{}")
            elif not 0 <= found.number - seen <= len(found.newest):
                yield ServerSentEvent(event="reload", id=str(found.number), data="{}")
            else:
                news = found.newest[len(found.newest) - (found.number - seen) :]
                for number, event in enumerate(news, seen + 1):
                    document = json.dumps({"number": number, **event_document(event)})
                    yield ServerSentEvent(event="event", id=str(number), data=document)
            seen = found.number

    def _has_news(self, run_id: str, seen: int | None, said: Mapping[str, Progress]) -> bool:
        if run_id not in self._histories:
            return False
        found = self._histories[run_id]
        moved = found is None or found.number != seen
        return moved or self._progress.get(run_id, {}) != said

    async def _read(self) -> None:
        """Look again and again, for as long as somebody watches a run."""
        away = False
        while self._watched:
            try:
                moved = await run_in_threadpool(self._look, list(self._watched))
                away = False
            except SagaError as error:
                if not away:
                    _log.warning("those who watch runs hear nothing for now: %s", error)
                away, moved = True, False
            self._forget()
            if moved:
                async with self._moved:
                    self._moved.notify_all()
            await asyncio.sleep(_PACE_AWAY if away else self._pace)

    def _forget(self) -> None:
        """Keep nothing of a run that nobody watches any more."""
        for run_id in set(self._versions) - set(self._watched):
            del self._versions[run_id]
            self._histories.pop(run_id, None)
            self._progress.pop(run_id, None)
            self._runs.pop(run_id, None)

    def _look(self, run_ids: Sequence[str]) -> bool:
        """Read the histories of those runs that have moved; return whether any has."""
        store = self._store()
        known = ((run_id, self._runs.get(run_id)) for run_id in run_ids)
        found = store.read_all({each: progress_fields(run) if run else () for each, run in known})
        runs = {run_id: each.run for run_id, each in found.items() if each.run}
        versions = {run_id: run.version for run_id, run in runs.items()}
        moved = [each for each in run_ids if versions.get(each) != self._versions.get(each, -1)]
        told = {run_id: _said(run, found[run_id].fields) for run_id, run in runs.items()}
        more = any(told.get(each, {}) != self._progress.get(each, {}) for each in run_ids)
        self._progress, self._runs = told, runs
        if not moved:
            return more
        for run_id in moved:
            there = run_id in versions
            self._histories[run_id] = self._read_on(store, run_id) if there else None
            self._versions[run_id] = versions.get(run_id)
        return True

    def _read_on(self, store: Store, run_id: str) -> _Known:
        """Read what happened to a run since it was last looked at; a long history is read once."""
        known = self._histories.get(run_id)
        if known is not None and known.number:
            # From the last one on that is known: if another is there, some were dropped before it.
            news = store.history(run_id, known.number - 1)
            if news[:1] == known.newest[-1:]:
                newest = [*known.newest[:-1], *news][-_MOST:]
                return _Known(known.number - 1 + len(news), newest)
        events = store.history(run_id)
        return _Known(len(events), events[-_MOST:])


def _said(run: Run, fields: Mapping[str, str]) -> dict[str, Progress]:
    """How far the steps of a run say that they are."""
    told = {name: progress_of(run, name, fields) for name in run.steps.open}
    return {name: each for name, each in told.items() if each is not None}
