"""What must hold of effects: the ledger against the run.

Owns: the laws I1, I2 and I15.  Refuses to know: what must hold of the history alone (`laws`).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from tests.proof.findings import Finding, found_at
from tests.proof.records import EFFECTS, keys_of, run_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from celeriac.machine.runs import Run
    from celeriac.machine.steps import StepState
    from tests.proof.records import Frame, Life, Record
    from tests.workers.ledger import Row


def net_effects(record: Record, silent: Collection[str] = ()) -> Iterator[Finding]:
    """I1: all effects of a completed run stand; none does that was to be undone."""
    for life in record.lives():
        rows = [row for row in record.settled if run_of(row) == life.key]
        standing, undone = _balance(rows)
        for node in life.plan.nodes:
            step = life.run.step(node.name)
            if node.name in silent or node.child:  # the effects of a child are those of its run
                continue
            told = _imbalance(life.run, step, node.name in standing, node.name in undone)
            if told and (node.undo or life.run.status is RunStatus.COMPLETED):
                yield Finding("I1", told.format(node.name), frozenset({node.name}))


def _balance(rows: Iterable[Row]) -> tuple[set[str], set[str]]:
    """The steps whose effect stands, and those that were undone (also before they had one)."""
    standing: set[str] = set()
    undone: set[str] = set()
    for row in rows:
        name = row.key.rpartition(":")[2]
        if row.kind == "do":
            standing.add(name)
        elif EFFECTS.get(row.kind) == "undo":
            standing.discard(name)
            undone.add(name)
    return standing, undone


def _imbalance(run: Run, step: StepState, stands: bool, undone: bool) -> str:
    never_began = run.ended_by and step.do.state is PhaseStatus.IDLE
    over = never_began or step.do.state is PhaseStatus.SKIPPED
    if run.status is RunStatus.COMPLETED and not over:
        if undone:
            return "it completed, but {!r} was undone"
        return "" if stands else "it completed, but no effect of {!r} stands"
    if run.status is RunStatus.COMPENSATED and step.undo.state is not PhaseStatus.WAIVED:
        return "it was compensated, but the effect of {!r} stands" if stands else ""
    if run.status is RunStatus.FAILED and step.undo.state is PhaseStatus.DONE:
        return "{!r} counts as undone, but its effect stands" if stands else ""
    return ""


def one_effect(record: Record) -> Iterator[Finding]:
    """I2: one effect for each key, under keys that stay the same over attempts."""
    keys = keys_of(record.run)
    known = {node.name for plan in record.plans.values() for node in plan.nodes}
    times = Counter(row.key for row in record.rows if row.kind == "do")
    for row in record.rows:
        if row.kind not in EFFECTS:
            continue
        name = row.key.rpartition(":")[2]
        if name not in known or run_of(row) not in keys:
            what = f"there was an effect under the key {row.key!r}, which is that of no step"
            yield Finding("I2", what, frozenset({name}))
        elif times.pop(row.key, 0) > 1:
            yield Finding("I2", f"the key {row.key!r} had its effect twice", frozenset({name}))


def outputs_stay(record: Record) -> Iterator[Finding]:
    """I15: an output is recorded once, and whoever comes later sees exactly it."""
    for life in record.lives():
        for name, frames in _completed(life).items():
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


def _completed(life: Life) -> dict[str, list[Frame]]:
    found: dict[str, list[Frame]] = {}
    for frame in life.frames:
        if frame.event.kind is EventKind.COMPLETED and frame.event.phase == "do":
            found.setdefault(frame.event.step, []).append(frame)
    return found
