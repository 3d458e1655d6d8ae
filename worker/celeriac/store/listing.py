"""Listing and counting runs by the indexes, without looking at all of them.

Owns: how a query becomes ranges of the indexes, and how the shards' answers are merged.  Refuses
to know: how runs are written, and which of them a query admits (`Query`).

A page costs three round trips, whatever it shows, and however many runs there are: the names of
the indexes, one script for each shard that reads their newest entries, and the heads.
"""

from __future__ import annotations

import heapq
import logging
from itertools import chain
from math import ceil, sqrt
from typing import TYPE_CHECKING, NamedTuple

from celeriac.errors import StoreError, StoreUnavailable
from celeriac.machine import AT_REST, Run, RunStatus
from celeriac.store.answers import ms, ripe
from celeriac.store.codec import load_run
from celeriac.store.commit import HEAD, Call
from celeriac.store.keys import Keys, bound, member, split_member
from celeriac.store.protocol import RunPage, StoreStats
from celeriac.store.scripts import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from celeriac.store.connection import Command, Connection
    from celeriac.store.protocol import Query
    from celeriac.store.scripts import Scripts

_log = logging.getLogger(__name__)

_LOOKED_AT = 2_000  # members in a shard, at most, by one call of a script: a few milliseconds
_ROUNDS = 10  # of that, at most, for one page

Groups = list[list[str]]  # of indexes: what is looked for is in one of each group


class _Place(NamedTuple):
    """An index by saga and status."""

    saga: str
    status: RunStatus
    key: str


class Listing:
    """The runs of a Redis, by its indexes."""

    def __init__(self, connection: Connection, scripts: Scripts, keys: Keys) -> None:
        self._connection, self._scripts, self._keys = connection, scripts, keys

    # --- pages ---------------------------------------------------------------------------------

    def find(self, query: Query) -> RunPage:
        """Return up to `query.limit` runs that *query* admits, newest first, and where to go on."""
        shards = self._groups(query)
        runs: list[Run] = []
        before = member(*query.cursor) if query.cursor else None
        for _ in range(_ROUNDS):
            members, before = self._page(shards, query, before, query.limit - len(runs))
            runs += [run for run in self._heads(members) if query.admits(run)]
            if before is None or len(runs) == query.limit:
                break
        return RunPage(runs, split_member(before) if before is not None else None)

    def _page(
        self, shards: list[Groups], query: Query, before: str | None, limit: int
    ) -> tuple[list[str], str | None]:
        """Return up to *limit* members before *before*, newest first, and where to go on.

        Takes one round trip.
        """
        args = (*_bounds(query, before), _share(limit, len(shards)), _LOOKED_AT)
        answers = self._scripts.run_all(
            PAGE, [_spell_page(groups, args) for groups in shards if groups and all(groups)]
        )
        # Further down, one of the shards does not know yet what it has.
        known = max((reached for _, reached in answers), default="")
        merged = heapq.merge(*(found for found, _ in answers), reverse=True)
        whole = [entry for entry in merged if entry >= known]
        if len(whole) > limit:
            return whole[:limit], whole[limit - 1]
        return whole, known or None

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
        for head in heads:
            if isinstance(head, StoreUnavailable):
                raise head
        found = [read_head(run_id, head) for run_id, head in zip(ids, heads, strict=True)]
        return [run for run in found if isinstance(run, Run)]

    # --- indexes -------------------------------------------------------------------------------

    def _groups(self, query: Query) -> list[Groups]:
        """The indexes of each shard that *query* needs."""
        found = [[[shard.tag(*tag)] for tag in query.tags] for shard in self._keys.shards]
        if query.awaiting:
            for groups, shard in zip(found, self._keys.shards, strict=True):
                groups.append([shard.awaiting])
        if query.past_deadline:
            for groups, shard in zip(found, self._keys.shards, strict=True):
                groups.append([shard.past_deadline])
        marked = query.tags or query.awaiting or query.past_deadline
        if query.saga or query.statuses or not marked:
            for groups, listed in zip(found, self._listed(query), strict=True):
                groups.append(listed)
        return found

    def _listed(self, query: Query) -> Groups:
        """The indexes by saga and status of each shard that hold what *query* asks for."""
        shards = self._keys.shards
        if query.saga and query.statuses:  # then it is plain how they are called
            pairs = [f"{query.saga}:{status.value}" for status in sorted(query.statuses)]
            return [[shard.runs(pair) for pair in pairs] for shard in shards]
        return [
            [place.key for place in places if _may_hold(place, query)] for places in self._places()
        ]

    def _places(self) -> list[list[_Place]]:
        """All indexes by saga and status of each shard."""
        shards = self._keys.shards
        answers = self._connection.ask_all(("SMEMBERS", shard.sets) for shard in shards)
        return [
            [_place(pair, shard.runs(pair)) for pair in sorted(pairs)]
            for shard, pairs in zip(shards, answers, strict=True)
        ]

    # --- numbers -------------------------------------------------------------------------------

    def count(self, query: Query) -> int:
        """Return how many runs the indexes hold of what *query* asks for; with tags, at most."""
        upper, lower = _bounds(query, None)
        shards = self._groups(query)
        keys = [key for groups in shards for group in groups for key in group]
        asked = (("ZLEXCOUNT", key, lower, upper) for key in keys)
        size = dict(zip(keys, self._connection.ask_all(asked), strict=True)) if keys else {}
        sizes = [[sum(size[key] for key in group) for group in groups] for groups in shards]
        return sum(min(found, default=0) for found in sizes)

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return how many runs each index by saga and status holds."""
        places = list(chain(*self._places()))
        asked: list[Command] = [("ZCARD", place.key) for place in places]
        return _counted(places, self._connection.ask_all(asked)) if asked else {}

    def figures(self, since: int) -> StoreStats:
        """Return how the runs stand as a whole; takes two round trips."""
        shards, from_here = self._keys.shards, f"[{bound(since)}"
        # Each shard by its own clock: in a cluster they may be at several servers.
        asked_times = (each for shard in shards for each in (("TIME",), ("EXISTS", shard.wake)))
        times = [ms(time) for time in self._connection.ask_all(asked_times)[::2]]
        places = list(chain(*self._places()))
        active = [place for place in places if place.status not in AT_REST]
        asked: tuple[list[Command], ...] = (
            [("ZCARD", shard.awaiting) for shard in shards],
            [("ZCARD", shard.past_deadline) for shard in shards],
            [("ZCARD", place.key) for place in places],
            [("ZLEXCOUNT", place.key, from_here, "+") for place in places],
            [("ZRANGE", place.key, 0, 0) for place in active],
            [
                each
                for at, now in zip(shards, times, strict=True)
                for each in _ripe_in(at.wake, now)
            ],
            [
                each
                for at, now in zip(shards, times, strict=True)
                for each in _ripe_in(at.expire, now)
            ],
        )
        answers = iter(self._connection.ask_all(chain(*asked)))
        parts = [[next(answers) for _ in part] for part in asked]
        awaiting, late, sizes, recent, firsts, wake, expire = parts
        return StoreStats(
            max(times),
            _counted(places, sizes),
            _by_saga(places, recent),
            _oldest(active, firsts),
            *_overdue(wake, times),
            *_overdue(expire, times),
            sum(awaiting),
            sum(late),
        )


def read_head(run_id: str, answer: str | Exception | None) -> Run | StoreError | None:
    """Return the run that Redis answered with, None if there is none, or why it cannot be read."""
    try:
        return _head(run_id, answer)
    except StoreUnavailable as error:
        return error
    except StoreError as error:
        _log.warning("left out: %s", error)
        return error


def _head(run_id: str, answer: str | Exception | None) -> Run | None:
    if isinstance(answer, Exception):
        if str(answer).startswith("WRONGTYPE"):
            raise StoreError(f"under the key of run {run_id!r} is something else")
        raise answer
    return load_run(run_id, answer) if answer is not None else None


# --- queries -----------------------------------------------------------------------------------


def _place(pair: str, key: str) -> _Place:
    saga, _, status = pair.rpartition(":")
    return _Place(saga, RunStatus(status), key)


def _may_hold(place: _Place, query: Query) -> bool:
    return (query.saga is None or place.saga == query.saga) and (
        not query.statuses or place.status in query.statuses
    )


def _share(limit: int, shards: int) -> int:
    """How many members of a page to read in each shard: as many as one will hardly ever hold.

    If it does hold more, what is missing takes another round.
    """
    mean = limit / shards
    return min(limit, ceil(mean + 3 * sqrt(mean)) + 2)


def _spell_page(groups: Groups, args: Sequence[str | int]) -> Call:
    keys = [key for group in groups for key in group]
    numbers = [number for number, group in enumerate(groups, 1) for _ in group]
    return Call(keys, (*args, *numbers))


def _bounds(query: Query, before: str | None) -> tuple[str, str]:
    """Return the upper and the lower bound of a page, as ZRANGE BYLEX REV wants them."""
    upper = [before] if before else []
    if query.until is not None:
        upper.append(bound(query.until))
    lower = "-" if query.since is None else f"[{bound(query.since)}"
    return (f"({min(upper)}" if upper else "+"), lower


# --- numbers -----------------------------------------------------------------------------------


def _counted(places: Sequence[_Place], sizes: Sequence[int]) -> dict[tuple[str, RunStatus], int]:
    counts: dict[tuple[str, RunStatus], int] = {}
    for place, size in zip(places, sizes, strict=True):
        if size:
            key = (place.saga, place.status)
            counts[key] = counts.get(key, 0) + size
    return counts


def _by_saga(places: Sequence[_Place], sizes: Sequence[int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, size in zip(places, sizes, strict=True):
        if size:
            found[place.saga] = found.get(place.saga, 0) + size
    return found


def _oldest(places: Sequence[_Place], firsts: Sequence[list[str]]) -> dict[str, tuple[int, str]]:
    found: dict[str, str] = {}
    for place, first in zip(places, firsts, strict=True):
        if first:
            found[place.saga] = min(first[0], found.get(place.saga, first[0]))
    return {saga: split_member(entry) for saga, entry in found.items()}


def _ripe_in(key: str, now: int) -> Iterator[Command]:
    yield ("ZCOUNT", key, "-inf", now)
    yield ("ZRANGE", key, 0, 0, "WITHSCORES")


def _overdue(answers: Sequence[int | list[str]], times: Sequence[int]) -> tuple[int, int | None]:
    """Add up what `_ripe_in` asked of the shards: how many entries, and since when the oldest."""
    total, since = 0, None
    for count, first, now in zip(answers[::2], answers[1::2], times, strict=True):
        assert isinstance(count, int)
        assert isinstance(first, list)
        if ripe(first, now):
            total += count
            since = min(int(float(first[1])), since) if since is not None else int(float(first[1]))
    return total, since
