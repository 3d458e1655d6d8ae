"""What must hold of effects: the ledger against the run.

Owns: the laws I1, I2, I15 and I25.  Refuses to know: what must hold of the history alone (`laws`).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from celeriac.machine.tries import epoch_of, first_epoch
from tests.proof.findings import Finding, found_at
from tests.proof.records import EFFECTS, keys_of, run_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from celeriac.machine import Node
    from celeriac.machine.runs import Run
    from celeriac.machine.steps import StepState
    from tests.proof.records import Frame, Life, Record
    from tests.workers.ledger import Row


def net_effects(record: Record, silent: Collection[str] = ()) -> Iterator[Finding]:
    """I1: all effects of a completed run stand; none does that was to be undone."""
    for life in record.lives():
        run, keys = life.run, dict(_keys(life.run))
        rows = [row for row in record.settled if run_of(row) in keys]
        standing, undone = _balance(keys, rows)
        for node in life.plan.nodes:
            at, undoer = (epoch_of(run, node.name), node.name), life.plan.undoer_of(node.name)
            if node.name in silent or not _acts(node):
                continue
            undo = run.step(undoer or node.name).undo.state
            told = _imbalance(run, run.step(node.name), undo, at in standing, at in undone)
            if told and (undoer or run.status is RunStatus.COMPLETED):
                yield Finding("I1", told.format(node.name), frozenset({node.name}))
        yield from _of_earlier_tries(record, life, standing)


def _of_earlier_tries(
    record: Record, life: Life, standing: set[tuple[int, str]]
) -> Iterator[Finding]:
    """I25, I26: of a step that was done again, only the newest effect stands."""
    run = life.run
    if run.status not in (RunStatus.COMPLETED, RunStatus.COMPENSATED):
        return
    undoers, waived = record.undoers(life), life.waived
    for epoch, name in sorted(standing & undoers.keys()):
        over = epoch != epoch_of(run, name)
        if over and (epoch, undoers[epoch, name]) not in waived:
            what = f"{name!r} was done again, and its effect of try {epoch} stands"
            yield Finding("I25", what, frozenset({name}))


def _keys(run: Run) -> Iterator[tuple[str, int]]:
    """What the keys of each try of a run begin with, and its epoch."""
    for epoch in range(first_epoch(run), run.epoch + 1):
        yield (run.id if epoch == 1 else f"{run.id}~{epoch}"), epoch


def _acts(node: Node) -> bool:
    """True for a step with an effect of its own; that of a child is one of another run."""
    return not (node.child or node.wait or node.choice or node.map or node.covers)


def _balance(
    keys: Mapping[str, int], rows: Iterable[Row]
) -> tuple[set[tuple[int, str]], set[tuple[int, str]]]:
    """The steps whose effect stands, and those that were undone (also before they had one)."""
    standing: set[tuple[int, str]] = set()
    undone: set[tuple[int, str]] = set()
    for row in rows:
        at = (keys[run_of(row)], row.key.rpartition(":")[2])
        if row.kind == "do":
            standing.add(at)
        elif EFFECTS.get(row.kind) == "undo":
            standing.discard(at)
            undone.add(at)
    return standing, undone


def _imbalance(run: Run, step: StepState, undo: PhaseStatus, stands: bool, undone: bool) -> str:
    never_began = run.ended_by and step.do.state is PhaseStatus.IDLE
    over = never_began or step.do.state is PhaseStatus.SKIPPED
    if run.status is RunStatus.COMPLETED and not over:
        if undone:
            return "it completed, but {!r} was undone"
        return "" if stands else "it completed, but no effect of {!r} stands"
    if run.status is RunStatus.COMPENSATED and undo is not PhaseStatus.WAIVED:
        return "it was compensated, but the effect of {!r} stands" if stands else ""
    if run.status is RunStatus.FAILED and undo is PhaseStatus.DONE:
        return "{!r} counts as undone, but its effect stands" if stands else ""
    return ""


def one_effect(record: Record) -> Iterator[Finding]:
    """I2: one effect for each key, under keys that stay the same over attempts."""
    keys = keys_of(record.run)
    times = Counter(row.key for row in record.rows if row.kind == "do")
    for row in record.rows:
        if row.kind not in EFFECTS:
            continue
        name = row.key.rpartition(":")[2]
        if not record.knows(name) or run_of(row) not in keys:
            what = f"there was an effect under the key {row.key!r}, which is that of no step"
            yield Finding("I2", what, frozenset({name}))
        elif times.pop(row.key, 0) > 1:
            yield Finding("I2", f"the key {row.key!r} had its effect twice", frozenset({name}))


def outputs_stay(record: Record) -> Iterator[Finding]:
    """I15: an output is recorded once, and whoever comes later sees exactly it."""
    for life in record.lives():
        for (_, name), frames in _completed(life).items():
            if len(frames) > 1:
                yield found_at(frames[1], "I15", f"the output of {name!r} was recorded twice")
    for row in record.rows:
        if row.kind != "saw" or run_of(row) != record.run.key:
            continue
        for name, seen in json.loads(row.text).items():
            kept = record.outputs.get(name)
            if kept is None or json.loads(kept) != seen:
                reader = row.key.rpartition(":")[2]
                what = f"{reader!r} #{row.attempt} saw {seen!r} of {name!r}; recorded is {kept}"
                yield Finding("I15", what, frozenset({name, reader}))


def _completed(life: Life) -> dict[tuple[int, str], list[Frame]]:
    found: dict[tuple[int, str], list[Frame]] = {}
    for frame in life.frames:
        if frame.event.kind is EventKind.COMPLETED and frame.event.phase == "do":
            found.setdefault((frame.epoch, frame.event.step), []).append(frame)
    return found
