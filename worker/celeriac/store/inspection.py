"""Looking at everything a Redis holds of runs, batch by batch, to see whether it fits together.

Owns: walking through all keys of a shard in bounded steps; telling what a run's head says from
what the indexes say of it, at one moment.  Refuses to know: what ought to be so, and what is done
about what is not.

It walks with SCAN, so it stops nobody; what changes meanwhile is looked at again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from celeriac.errors import StoreError
from celeriac.machine import PHASES, began_once, epoch_of
from celeriac.store.answers import ms, scored
from celeriac.store.commit import HEAD, places, spell_drop
from celeriac.store.keys import lease_member, pair, split_member, split_wake
from celeriac.store.listing import read_head
from celeriac.store.protocol import Entry, IndexedRun, Lease, UnreadableRun
from celeriac.store.scripts import COMMIT

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from celeriac.machine import Run
    from celeriac.store.connection import Command, Connection
    from celeriac.store.keys import Keys, ShardKeys
    from celeriac.store.scripts import Scripts

_MOST_LOOKS = 5  # at a run that changes all the time: then somebody sees to it


class _Named(NamedTuple):
    """What an entry of an index says of itself."""

    member: str
    run_id: str
    lease: Lease | None


class Inspection:
    """All that is kept in a Redis, for whoever checks it."""

    def __init__(self, connection: Connection, scripts: Scripts, keys: Keys) -> None:
        self._redis, self._scripts, self._keys = connection, scripts, keys

    def indexed_runs(self, shard: int, batch: int) -> Iterator[IndexedRun | UnreadableRun]:
        """Yield every run of a shard with what the indexes say of it."""
        keys = self._keys.shards[shard]
        prefix = keys.run("")
        for found in self._scan(prefix, batch):
            left = [key.removeprefix(prefix) for key in found]
            for _ in range(_MOST_LOOKS):
                left = yield from self._look(keys, left)
                if not left:
                    break

    def entries(self, shard: int, batch: int) -> Iterator[Entry]:
        """Yield every entry of the indexes of a shard, with the run it speaks of."""
        keys = self._keys.shards[shard]
        for index in (keys.wake, keys.expire, keys.awaiting, keys.past_deadline):
            yield from self._entries_of(keys, index, batch)
        for prefix in (keys.runs(""), keys.prefix + "tag:"):
            for found in self._scan(prefix, batch):
                for index in found:
                    yield from self._entries_of(keys, index, batch)

    def drop(self, entry: Entry) -> bool:
        """Remove an entry, if its run is still as it was."""
        # The shard of the index, where its run was looked for: an entry may be in a wrong one.
        place = next(keys for keys in self._keys.shards if entry.place.startswith(keys.prefix))
        call = spell_drop(place, entry)
        return bool(self._scripts.run(COMMIT, call))

    # --- runs ----------------------------------------------------------------------------------

    def _look(
        self, keys: ShardKeys, run_ids: Sequence[str]
    ) -> Generator[IndexedRun | UnreadableRun, None, list[str]]:
        """Yield how these runs stand; return those that have moved on meanwhile."""
        heads = self._redis.try_all(("HGET", keys.run(run_id), HEAD) for run_id in run_ids)
        runs: list[tuple[Run, str]] = []
        for run_id, head in zip(run_ids, heads, strict=True):
            run = read_head(run_id, head)
            if isinstance(run, StoreError):
                yield UnreadableRun(run_id, str(run))
            elif run is not None:
                runs.append((run, head))
        moved = []
        for (run, head), answers in zip(runs, self._ask_about(keys, runs), strict=True):
            if answers[-1] == head:
                yield _standing(run, answers)
            else:
                moved.append(run.id)
        return moved

    def _ask_about(
        self, keys: ShardKeys, runs: Sequence[tuple[Run, str]]
    ) -> Iterator[list[object]]:
        """Ask the indexes of each run; the head comes last, to see whether it has moved since."""
        asked = [_questions(keys, run) for run, _ in runs]
        answers = iter(self._redis.ask_all(each for questions in asked for each in questions))
        for questions in asked:
            yield [next(answers) for _ in questions]

    # --- entries -------------------------------------------------------------------------------

    def _entries_of(self, keys: ShardKeys, index: str, batch: int) -> Iterator[Entry]:
        cursor = "0"
        while True:
            cursor, flat = self._redis.ask("ZSCAN", index, cursor, "COUNT", batch)
            yield from self._with_runs(keys, index, [member for member, _ in scored(flat)])
            if cursor == "0":
                return

    def _with_runs(self, keys: ShardKeys, index: str, members: Sequence[str]) -> Iterator[Entry]:
        named = [found for member in members if (found := _named(keys, index, member))]
        answers = iter(
            self._redis.try_all(
                question
                for each in named
                for question in (
                    ("HGET", keys.run(each.run_id), HEAD),
                    ("ZSCORE", index, each.member),
                    ("HGET", keys.run(each.run_id), HEAD),
                )
            )
        )
        for each in named:
            head, score, same = next(answers), next(answers), next(answers)
            run = read_head(each.run_id, head)
            # What has come or gone meanwhile tells nothing: only an entry beside its very run does.
            if isinstance(run, StoreError) or score is None or head != same:
                continue
            listed = run is not None and (index, each.member) in places(keys, run)
            kind = {keys.wake: "wake", keys.expire: "expire"}.get(index, "list")
            yield Entry(kind, index, each.member, each.run_id, each.lease, run, listed)

    def _scan(self, prefix: str, batch: int) -> Iterator[list[str]]:
        """Yield the keys that begin with *prefix*, some at a time."""
        pattern = re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + "*"
        cursor = "0"
        while True:
            cursor, found = self._redis.ask("SCAN", cursor, "MATCH", pattern, "COUNT", batch)
            if found:
                yield sorted(set(found))
            if cursor == "0":
                return


def _questions(keys: ShardKeys, run: Run) -> list[Command]:
    return [
        ("TIME",),
        ("ZSCORE", keys.wake, run.id),
        ("ZSCORE", keys.expire, run.id),
        ("EXISTS", keys.plan(run.plan)),
        ("SISMEMBER", keys.sets, pair(run)),
        *[("ZSCORE", index, member) for index, member in places(keys, run)],
        *[("ZSCORE", keys.wake, lease_member(lease)) for lease in _newest(run)],
        *[("ZSCORE", keys.wake, lease_member(lease.as_before)) for lease in _newest(run)],
        ("HGET", keys.run(run.id), HEAD),
    ]


def _standing(run: Run, answers: Sequence[object]) -> IndexedRun:
    time, wake, expire, planned, known, *rest = answers[:-1]
    newest = _newest(run)
    places_found = rest[: len(rest) - 2 * len(newest)]
    scores = [_score(each) for each in rest[len(places_found) :]]
    # That version knew of no second try, whose leases would look like those of the first.
    before = scores[len(newest) :] if began_once(run) else [None] * len(newest)
    both = zip(newest, scores[: len(newest)], before, strict=True)
    leases = {lease: at for lease, new, old in both if (at := new or old) is not None}
    return IndexedRun(
        run=run,
        now=ms(time),  # type: ignore[arg-type]
        wake_at=_score(wake),
        leases=leases,
        expire_at=_score(expire),
        listed=bool(known) and None not in places_found,
        planned=bool(planned),
    )


def _newest(run: Run) -> list[Lease]:
    """The leases of the newest attempt of each step and direction, whether they are held or not."""
    return [
        Lease(run.id, name, phase, step.direction(phase).attempt, epoch_of(each, name))
        for each in (run, *run.earlier)
        for name, step in each.steps.items()
        for phase in PHASES
        if step.direction(phase).attempt
    ]


def _named(keys: ShardKeys, index: str, member: str) -> _Named | None:
    """What an entry of an index says of itself; None if it is none of ours."""
    if index == keys.wake:
        known = split_wake(member)
        return _Named(member, *known) if known else None
    if index == keys.expire:
        return _Named(member, member, None)
    try:
        return _Named(member, split_member(member)[1], None)
    except ValueError:
        return None


def _score(answer: object) -> int | None:
    return None if answer is None else int(float(str(answer)))
