"""Retention: runs at rest go when their time is over, the archive first.

Owns: in which order and how fast runs are removed, and what happens when the archive fails.
Refuses to know: when a run may go (its `expire_at`, set when it came to rest), how it is kept
(`archive`) and how it is removed (the store).

What is live never goes, and neither does what is owed: such a run has no `expire_at`.  A child is
kept as long as its parent, which may still have it undone.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from celeriac.engine.archive import ArchivedRun
from celeriac.errors import ConfigurationError, InputInvalid, StoreError, StoreUnavailable
from celeriac.failure import class_name, safe_text
from celeriac.machine import AT_REST, RunStatus, epoch_of, wake_at
from celeriac.observing import clean, log
from celeriac.store import Expired, Query, load_failure
from celeriac.store.payloads import with_nulls
from celeriac.views import failing_steps, failure_fields, hold_of, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from celeriac.engine.archive import Archive
    from celeriac.machine import Event, Plan, Run
    from celeriac.settings import Terms
    from celeriac.store import Store

#: What may be removed before its time: nothing is owed there.
SETTLED = AT_REST - {RunStatus.FAILED}

_DAY = 86_400_000  # ms
_HOUR = 3_600_000
_MINUTE = 60_000
_MOST_BATCHES = 100  # of one shard in one go
_LOOKED_AT = 200  # runs that a purge reads at once
_ARCHIVED_AT_ONCE = 20  # runs read with their payloads in one go: these may be large
_TURN = 10 * _MINUTE  # should an archive never return, others try no sooner
_PAUSE = 30_000  # ms until an archive that failed is called again
_FAILURES = 2  # in a row: it is the archive, not the run
_ARCHIVE, _PLANS = "archive", "plans"  # the housekeeping that is done by one at a time


class Archivist(NamedTuple):
    """Gives runs to the archive."""

    store: Store
    archive: Archive
    payloads: bool = False  # whether it gets them too: they may hold secrets

    def records(self, runs: Sequence[Run], cause: Mapping[str, str]) -> dict[str, ArchivedRun]:
        """Read *runs* as the archive gets them, by id.

        Left out are those that are gone, and those whose plan was lost: nobody can read them.
        """
        wanted = {
            run.id: None if self.payloads else failure_fields(failing_steps(run)) for run in runs
        }
        found = self.store.read_all(wanted)
        plans = self.store.plans(runs)
        histories = self.store.histories(list(wanted))
        return {
            run.id: self._record(
                plans[run.plan], run, found[run.id].fields, histories[run.id], cause
            )
            for run in runs
            if run.id in found and run.plan in plans
        }

    def _record(
        self,
        plan: Plan,
        run: Run,
        fields: Mapping[str, str],
        history: Sequence[Event],
        cause: Mapping[str, str],
    ) -> ArchivedRun:
        told = fields if self.payloads else _reticent(fields)
        state = state_of(plan, run, told, hold_of(history))
        recorded = with_nulls(run, fields) if self.payloads else None
        return ArchivedRun(state, tuple(history), recorded, cause)

    def flush(self) -> None:
        """Let the archive force to the disk what it was given, if it can."""
        flush = getattr(self.archive, "flush", None)
        if flush is not None:
            flush()

    def told(self, error: Exception) -> str:
        """What went wrong; no text that may quote a payload (X2)."""
        kind = class_name(error)
        return kind if self.payloads else f"{kind}: {clean(safe_text(error))}"


def _reticent(fields: Mapping[str, str]) -> dict[str, str]:
    """Failures without their texts, which may quote a payload."""
    found = {name: load_failure(text) for name, text in fields.items()}
    return {
        name: failure.model_copy(update={"message": "", "traceback": None}).model_dump_json()
        for name, failure in found.items()
        if failure
    }


# --- in the sweep ------------------------------------------------------------------------------


class Retention:
    """Removes what has expired, a batch of each shard in turn.

    Two at once are harmless.  With an archive, one at a time does it, so that no run is archived
    twice for that alone, and an archive that never returns holds up no more than one sweep.
    """

    def __init__(
        self,
        store: Store,
        terms: Terms,
        clock: Callable[[], float],
        archivist: Callable[[], Archivist | None] = lambda: None,
    ) -> None:
        """*archivist* is called when there is something to archive; it may raise."""
        self._store, self._terms, self._clock, self._find = store, terms, clock, archivist
        self._failed = 0  # runs that the archive would not take, in a row
        self._not_ours = False  # somebody else is at the archive, or it has just failed

    def run(self, seconds: float) -> int:
        """Remove what has expired, for *seconds* at most; return how many runs that were."""
        until = self._clock() + seconds
        removed, shards = 0, list(range(self._store.shards))
        for _ in range(_MOST_BATCHES):
            gone = {shard: self._batch(shard, until) for shard in shards}
            removed += sum(gone.values())
            shards = [shard for shard, count in gone.items() if count]
            if not shards or self._clock() >= until:
                break
        if removed:
            log.debug("removed %d runs whose retention was over", removed)
            self._tidy()
        return removed

    def _batch(self, shard: int, until: float) -> int:
        """Remove a batch of one shard; return how many runs that were."""
        if self._not_ours or self._clock() >= until:
            return 0
        try:
            expired = self._expired(shard, self._terms.batch)
            return self._remove(shard, expired, until) if expired else 0
        except StoreUnavailable:
            if not self._store.apart:
                raise
            return 0  # whoever sweeps has told of it
        except StoreError as error:
            # Whatever is wrong with its keys must not keep the other shards from being tidied.
            log.error("nothing is removed from shard %d: %s", shard, error)
            return 0

    def _expired(self, shard: int, most: int) -> list[Expired]:
        """What has expired, without what another run still needs: that is put off."""
        found = self._store.expired(shard, most)
        needed = _needed(self._store, [each.run for each in found])
        if needed:
            self._store.put_off([(each, _HOUR) for each in found if each.run.id in needed])
        return [each for each in found if each.run.id not in needed]

    def _remove(self, shard: int, expired: Sequence[Expired], until: float) -> int:
        try:
            archivist = self._find()
        except ConfigurationError as error:
            self._rest(error)
            return 0
        if archivist is None:
            return self._store.remove(expired)
        if not self._store.try_lock(_ARCHIVE, _TURN):
            self._not_ours = True
            return 0
        pause = _PAUSE
        try:
            # Read anew: what was found before our turn may have been archived meanwhile.
            most = _ARCHIVED_AT_ONCE if archivist.payloads else self._terms.batch
            expired = self._expired(shard, min(self._terms.batch, most))
            kept = self._archived(archivist, expired, until)
            pause = _PAUSE if self._failed >= _FAILURES else 0
            return self._store.remove(kept)
        finally:
            self._store.unlock(_ARCHIVE, pause)

    def _rest(self, error: Exception) -> None:
        """Say once in a while that nothing can be archived."""
        self._not_ours = True
        if self._store.try_lock(_ARCHIVE, _PAUSE):
            log.error("expired runs are kept until the archive works: %s", error)

    # --- the archive ---------------------------------------------------------------------------

    def _archived(
        self, archivist: Archivist, expired: Sequence[Expired], until: float
    ) -> list[Expired]:
        """Give runs to the archive until time is over or it fails; return those that it has."""
        kept: list[Expired] = []
        refused: list[Expired] = []
        records = archivist.records([each.run for each in expired], {"what": "retention"})
        for each in expired:
            if self._clock() >= until or self._failed >= _FAILURES:
                break
            taken = self._archive_one(archivist, each.run, records.get(each.run.id))
            (kept if taken else refused).append(each)
        if kept and not self._flushed(archivist):
            kept = []
        self._put_off(refused)
        return kept

    def _archive_one(self, archivist: Archivist, run: Run, record: ArchivedRun | None) -> bool:
        """Give one run to the archive; return whether it has it now."""
        if record is None:
            log.error("%s: not archived, and so not removed: its plan is lost", clean(run.id))
            return False
        try:
            archivist.archive(record)
        except Exception as error:  # noqa: BLE001 -- an archive may fail in any way
            self._failed += 1
            log.error(
                "%s: not archived, and so not removed: %s", clean(run.id), archivist.told(error)
            )
            return False
        self._failed = 0
        return True

    def _flushed(self, archivist: Archivist) -> bool:
        try:
            archivist.flush()
        except Exception as error:  # noqa: BLE001 -- an archive may fail in any way
            self._failed = _FAILURES
            log.error(
                "the archive could not be flushed, so its runs are kept: %s", archivist.told(error)
            )
            return False
        return True

    def _put_off(self, refused: Sequence[Expired]) -> None:
        """Try again more and more rarely: a few such runs must not keep the others waiting."""
        plans = self._store.plans([each.run for each in refused])
        self._store.put_off([(each, self._delay(plans, each)) for each in refused])

    def _delay(self, plans: Mapping[str, Plan], each: Expired) -> int:
        plan = plans.get(each.run.plan)
        retention = plan.retention if plan and plan.retention is not None else self._terms.retention
        late = (each.at or 0) - each.run.ended_at - retention  # so much it was put off already
        return min(max(2 * late, _MINUTE), _HOUR)

    # --- plans ---------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """Remove plans that nobody follows any more; now and then is enough."""
        try:
            if self._store.try_lock(_PLANS, _HOUR):
                for shard in range(self._store.shards):
                    self._store.remove_plans(shard, _DAY)
        except StoreUnavailable:
            if not self._store.apart:
                raise
        except StoreError as error:
            log.error("old plans are not removed: %s", error)


def _needed(store: Store, runs: Sequence[Run]) -> set[str]:
    """Those of *runs* at rest that must stay: children of runs that are there, and what is awake.

    Awake at rest is what another run has still to be told of.
    """
    parents = {run.id: run.parent for run in runs if run.parent}
    found = store.read_all({each.run: () for each in parents.values()}) if parents else {}
    kept = {run.id for run in runs if wake_at(run) is not None}
    for run_id, parent in parents.items():
        there = found[parent.run].run if parent.run in found else None
        if there is not None and epoch_of(there, parent.step) == parent.epoch:
            kept.add(run_id)
    return kept


# --- by hand -----------------------------------------------------------------------------------


class Purge:
    """Removes runs at rest before their time, because an operator says so.

    Whoever asks and why goes to the archive and to the log: a run that is gone has no history.
    """

    def __init__(
        self,
        store: Store,
        archivist: Archivist | None,
        *,
        ended_before: int,
        statuses: Iterable[RunStatus] = SETTLED,
        saga: str | None = None,
        by: str = "",
        reason: str = "",
    ) -> None:
        """*ended_before* is ms, by the store's clock.  Raises InputInvalid."""
        wanted = frozenset(statuses) or SETTLED
        if not wanted <= SETTLED:
            raise InputInvalid(
                f"status: {', '.join(sorted(SETTLED))} can be purged, not "
                f"{', '.join(sorted(wanted - SETTLED))}: live runs never, and what is owed by a "
                "failed one has to be retried, waived or terminated first"
            )
        self._store, self._archivist, self._ended_before = store, archivist, ended_before
        self._query = Query(statuses=wanted, saga=saga, until=ended_before, limit=_LOOKED_AT)
        self._cause = {"what": "purge", "by": by, "why": reason}
        self.removed = 0  # runs, so far

    def kinds(self) -> list[tuple[str, str, int]]:
        """Return (saga, status, how many), the most first; at most: from the indexes by start."""
        found = []
        for saga, status in self._store.counts():
            if status in self._query.statuses and self._query.saga in (None, saga):
                only = replace(self._query, saga=saga, statuses=frozenset({status}))
                found.append((saga, status.value, self._store.count(only)))
        return sorted((kind for kind in found if kind[2]), key=lambda kind: -kind[2])

    def found(self) -> Iterator[list[Run]]:
        """Find the runs, some at a time, the newest first."""
        query, more = self._query, True
        while more:
            page = self._store.find(query)
            old = [run for run in page.runs if run.ended_at < self._ended_before]
            needed = _needed(self._store, old)
            if runs := [run for run in old if run.id not in needed]:
                yield runs
            query, more = replace(query, cursor=page.cursor), page.cursor is not None

    def run(
        self, rps: float | None = None, pause: Callable[[float], object] = time.sleep
    ) -> Generator[int, None, None]:
        """Remove the runs, *rps* a second at most; yield how many are gone, now and then.

        Whoever stops asking stops it.  Raises what the archive raises: what it has taken before is
        removed then, and nothing else.
        """
        began, seen = time.monotonic(), 0
        for runs in self.found():
            for piece in _pieces(runs, _ARCHIVED_AT_ONCE):
                self._remove(piece)
                seen += len(piece)
                yield self.removed
                early = began + seen / rps - time.monotonic() if rps else 0.0
                if early > 0:
                    pause(early)  # the pace that was asked for

    def _remove(self, runs: Sequence[Run]) -> None:
        kept = [*runs] if self._archivist is None else []
        try:
            if self._archivist is not None:
                self._archive(self._archivist, runs, kept)
        finally:
            self.removed += self._store.remove([Expired(run, None) for run in kept])
            for run in kept:
                log.info("%s: removed (%s)", clean(run.id), self._why)

    def _archive(self, archivist: Archivist, runs: Sequence[Run], kept: list[Run]) -> None:
        """Give *runs* to the archive; *kept* are then those that it has for good."""
        records = archivist.records(runs, self._cause)
        given = []
        try:
            for run in runs:
                if run.id in records:
                    archivist.archive(records[run.id])
                    given.append(run)
        finally:
            archivist.flush()
            kept += given

    @property
    def _why(self) -> str:
        return ", ".join(f"{name}: {clean(text)}" for name, text in self._cause.items() if text)


def _pieces(runs: Sequence[Run], size: int) -> Iterator[Sequence[Run]]:
    return (runs[start : start + size] for start in range(0, len(runs), size))
