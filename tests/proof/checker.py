"""The checker: whether every run keeps its promises, by history, state and ledger.

Owns: checking many runs at once, starts that were asked for (I10, D1), and the command line.
Refuses to know: the laws of a single run (`laws`, `effects`, `indexes`), and what was done to the
system before.

::

    python -m tests.proof.checker --redis redis://localhost:6379/0 --ledger ledger.db
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from celeriac import Sagas
from celeriac.machine import PhaseStatus, RunStatus, id_of_child
from celeriac.machine.events import EventKind
from celeriac.store import Query, Store, payloads
from celeriac.store.redis import RedisStore
from tests.proof.findings import Finding
from tests.proof.indexes import index_findings, stray_entries
from tests.proof.laws import findings
from tests.proof.places import crowds, left_behind
from tests.proof.records import EFFECTS, by_run, collect, keys_of
from tests.proof.violations import Violation, violation
from tests.workers.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from celeriac import Saga
    from tests.proof.records import Books, Record

__all__ = ["Asked", "Violation", "asked", "check_runs"]

_PAGE = 500
Answer = Literal["accepted", "refused", "unknown"]


class Asked(NamedTuple):
    """A start that a client asked for, and what it was told; `unknown`: it got no answer."""

    run_id: str
    digest: str  # of the input
    answer: Answer = "accepted"


def asked(saga: Saga[Any, Any], value: Any, run_id: str, answer: Answer = "accepted") -> Asked:
    """Note a start of *saga* with the input *value*, for `check_runs`."""
    texts = saga.planned.shape.encode((value,), {})
    return Asked(run_id, payloads.digest(saga.name, texts), answer)


def check_runs(
    sagas: Sagas | Store,
    ledger: Books,
    run_ids: Iterable[str] | None = None,
    *,
    starts: Iterable[Asked] = (),
    silent: Collection[str] = (),
    at_rest: bool = False,
) -> list[Violation]:
    """Hold runs to every law; return what was violated, each with its story.

    *run_ids* None is all runs there are, and then nothing else may be in the ledger or in the wake
    index.  *starts* are the starts that clients asked for.  *silent* names steps that keep no
    ledger.  *at_rest*: all of them must have come to rest by now (L1).
    """
    store = sagas.runtime.engine.store if isinstance(sagas, Sagas) else sagas
    starts = list(starts)
    wanted = _all_ids(store) if run_ids is None else list(run_ids)
    accepted = [start.run_id for start in starts if start.answer == "accepted"]
    records = {r.run.id: r for r in collect(store, ledger, [*wanted, *accepted])}
    found = [each for record in records.values() for each in _of_run(store, record, silent)]
    if at_rest:
        found += [each for record in records.values() for each in _restless(record)]
    for run_id in dict.fromkeys(run_id for run_id in [*wanted, *accepted] if run_id not in records):
        found.append(Violation(run_id, "D1", "it was accepted, and there is no such run"))
    found += _of_starts(records, starts)
    if run_ids is None:
        gates = [*crowds(records, ledger.rows()), *(left_behind(store) if at_rest else ())]
        found += [Violation("", each.law, each.what) for each in gates]
        found += [each for record in records.values() for each in _of_children(records, record)]
        found += _strays(store, ledger, records)
    return found


def _all_ids(store: Store) -> list[str]:
    ids: list[str] = []
    page = store.find(Query(limit=_PAGE))
    ids += [run.id for run in page.runs]
    while page.cursor is not None:
        page = store.find(Query(limit=_PAGE, cursor=page.cursor))
        ids += [run.id for run in page.runs]
    return ids


def _of_run(store: Store, record: Record, silent: Collection[str]) -> list[Violation]:
    found = [*findings(record, silent), *index_findings(store, record.run)]
    return [violation(record, each) for each in found]


_AS_ITS_PARENT = {
    # The step of the parent, forward and back -> how its newest run must have ended.
    (PhaseStatus.DONE, PhaseStatus.IDLE): RunStatus.COMPLETED,
    (PhaseStatus.DONE, PhaseStatus.DONE): RunStatus.COMPENSATED,
    (PhaseStatus.UNKNOWN, PhaseStatus.DONE): RunStatus.COMPENSATED,
}


def _of_children(records: Mapping[str, Record], record: Record) -> Iterator[Violation]:
    """I22: when a run is at rest, its children have ended as it has."""
    run = record.run
    for name, step in run.steps.items():
        number = step.undo.child or step.do.child
        wanted = _AS_ITS_PARENT.get((step.do.state, step.undo.state))
        if not (number and wanted and run.status.at_rest):
            continue
        child = id_of_child(run, name, number)
        found = records[child].run.status if child in records else None
        if found is not wanted and run.status is not RunStatus.TERMINATED:
            told = f"{child!r} should have {wanted}, and is {found or 'not there'}"
            yield violation(record, Finding("I22", told, frozenset({name})))


def _restless(record: Record) -> Iterator[Violation]:
    if not record.run.status.at_rest:
        what = f"it is still {record.run.status}"
        yield violation(record, Finding("L1", what))


# --- starts --------------------------------------------------------------------------------------


def _of_starts(records: Mapping[str, Record], starts: Sequence[Asked]) -> Iterator[Violation]:
    """I10: the same id and input is the same run; another input is refused, and leaves nothing."""
    for start in starts:
        record = records.get(start.run_id)
        if record is None:
            continue
        digests = {
            event.data.get("digest") for event in record.history if event.kind is EventKind.STARTED
        }
        if start.answer == "accepted" and start.digest not in digests:
            what = "a start was accepted with an input that the run was not started with"
            yield violation(record, Finding("I10", what))
        if start.answer == "refused" and digests == {start.digest}:
            yield violation(record, Finding("I10", "a start was refused with the run's own input"))


# --- what belongs to no run ----------------------------------------------------------------------


def _strays(store: Store, ledger: Books, records: Mapping[str, Record]) -> Iterator[Violation]:
    keys = {key for record in records.values() for key in keys_of(record.run)}
    for key, rows in by_run(ledger.rows()).items():
        effects = [row for row in rows if row.kind in EFFECTS]
        if key not in keys and effects and store.read(key).run is None:
            what = f"there was an effect under {effects[0].key!r}, which belongs to no run"
            yield Violation(key, "I2", what)
    for run_id, finding in stray_entries(store, records):
        yield Violation(run_id, finding.law, finding.what)


# --- the command line ----------------------------------------------------------------------------


def main(words: Sequence[str] | None = None) -> int:
    """Check what a Redis and a ledger hold; print a story for each violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.checker", description=__doc__)
    parser.add_argument("--redis", required=True, metavar="URL", help="where the runs are")
    parser.add_argument("--ledger", required=True, metavar="FILE", help="what was done")
    parser.add_argument("--namespace", default="celeriac")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--at-rest", action="store_true", help="all runs must be at rest")
    parser.add_argument("--silent", action="append", default=[], metavar="STEP")
    parser.add_argument("run", nargs="*", help="ids; none is all runs")
    given = parser.parse_args(words)
    store = RedisStore(given.redis, namespace=given.namespace, shards=given.shards)
    try:
        found = check_runs(
            store,
            Ledger(given.ledger),
            given.run or None,
            silent=given.silent,
            at_rest=given.at_rest,
        )
    finally:
        store.close()
    for each in found:
        print(each, end="\n\n")  # noqa: T201 -- a program for a terminal
    print(f"{len(found)} violations")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
