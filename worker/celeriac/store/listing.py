"""Listing runs, newest first, page by page, without looking at all of them.

Owns: how a query becomes ranges of the indexes, and how the shards' answers are merged.  Refuses
to know: how runs are written, and which of them a query admits (`Query`).

A page costs one range for each index that may hold a part of it, and the heads it shows.
"""

from __future__ import annotations

import heapq
import logging
from itertools import islice
from typing import TYPE_CHECKING

from celeriac.errors import StoreError
from celeriac.models import Run, RunStatus
from celeriac.store.codec import load_run
from celeriac.store.commit import HEAD, Call
from celeriac.store.keys import DIGITS, LATEST, Keys, member, split_member
from celeriac.store.scripts import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.store import Query
    from celeriac.store.connection import Connection
    from celeriac.store.scripts import Scripts

_log = logging.getLogger(__name__)


class Listing:
    """The runs of a Redis, by its indexes."""

    def __init__(self, connection: Connection, scripts: Scripts, keys: Keys) -> None:
        self._connection, self._scripts, self._keys = connection, scripts, keys

    def find(self, query: Query) -> list[Run]:
        """Return up to `query.limit` runs that *query* admits, newest first."""
        indexes = self._tagged(query) if query.tags else self._listed(query)
        found: list[Run] = []
        before = member(*query.cursor) if query.cursor else None
        while len(found) < query.limit:
            members = self._page(indexes, query, before)
            found += [run for run in self._heads(members) if query.admits(run)]
            if len(members) < query.limit:
                break
            before = members[-1]
        return found[: query.limit]

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return how many runs each index by saga and status holds."""
        pairs = [(n, pair) for n, pairs in enumerate(self._pairs()) for pair in pairs]
        sizes = self._connection.ask_all(
            ("ZCARD", self._keys.shards[shard].runs(pair)) for shard, pair in pairs
        )
        counts: dict[tuple[str, RunStatus], int] = {}
        for (_, pair), size in zip(pairs, sizes, strict=True):
            if size:
                saga, _, status = pair.rpartition(":")
                key = (saga, RunStatus(status))
                counts[key] = counts.get(key, 0) + size
        return counts

    def _pairs(self) -> list[list[str]]:
        """The `<saga>:<status>` pairs of each shard."""
        shards = self._keys.shards
        answers = self._connection.ask_all(("SMEMBERS", shard.sets) for shard in shards)
        return [sorted(answer) for answer in answers]

    def _listed(self, query: Query) -> list[list[str]]:
        """The indexes of each shard that hold what *query* asks for."""
        return [
            [shard.runs(pair) for pair in pairs if _may_hold(pair, query)]
            for shard, pairs in zip(self._keys.shards, self._pairs(), strict=True)
        ]

    def _tagged(self, query: Query) -> list[list[str]]:
        """The index of the first tag, in each shard; the heads tell the rest."""
        name, value = query.tags[0]
        return [[shard.tag(name, value)] for shard in self._keys.shards]

    def _page(self, indexes: list[list[str]], query: Query, before: str | None) -> list[str]:
        """Return the first `query.limit` members before *before*, newest first, over all indexes.

        Takes one round trip.
        """
        args = (*_bounds(query, before), query.limit)
        pages = self._scripts.run_all(PAGE, [Call(found, args) for found in indexes if found])
        merged = heapq.merge(*(page for shard in pages for page in shard), reverse=True)
        return list(islice(merged, query.limit))

    def _heads(self, members: Iterable[str]) -> list[Run]:
        """Read the runs of *members*.

        Those removed meanwhile are left out, and so are those that cannot be read: one record that
        was spoilt must not hide all the others.
        """
        ids = [split_member(entry)[1] for entry in members]
        if not ids:
            return []
        heads = self._connection.try_all(
            ("HGET", self._keys.of(run_id).run(run_id), HEAD) for run_id in ids
        )
        found = [read_head(run_id, head) for run_id, head in zip(ids, heads, strict=True)]
        return [run for run in found if isinstance(run, Run)]


def read_head(run_id: str, answer: str | Exception | None) -> Run | StoreError | None:
    """Return the run that Redis answered with, None if there is none, or why it cannot be read."""
    try:
        return _head(run_id, answer)
    except StoreError as error:
        _log.warning("left out: %s", error)
        return error


def _head(run_id: str, answer: str | Exception | None) -> Run | None:
    if isinstance(answer, Exception):
        if str(answer).startswith("WRONGTYPE"):
            raise StoreError(f"under the key of run {run_id!r} is something else")
        raise answer
    return load_run(run_id, answer) if answer is not None else None


def _may_hold(pair: str, query: Query) -> bool:
    saga, _, status = pair.rpartition(":")
    return (query.saga is None or saga == query.saga) and (
        not query.statuses or status in query.statuses
    )


def _bounds(query: Query, before: str | None) -> tuple[str, str]:
    """Return the upper and the lower bound of a page, as ZRANGE BYLEX REV wants them."""
    upper = [before] if before else []
    if query.until is not None:
        upper.append(_prefix(query.until))
    lower = "-" if query.since is None else f"[{_prefix(query.since)}"
    return (f"({min(upper)}" if upper else "+"), lower


def _prefix(time: int) -> str:
    return f"{min(max(time, 0), LATEST):0{DIGITS}d}"
