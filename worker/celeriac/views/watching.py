"""A run while it goes on: a tree of its steps, each with what it is at or waits for.

Owns: the lines of the tree.  Refuses to know: how often somebody looks, and what a terminal is.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from celeriac.machine import WAITS, PhaseStatus, RunStatus, as_visited, id_of_child, shown_step
from celeriac.observing import clean
from celeriac.views.elements import counted, standing_out, undo_name
from celeriac.views.times import exact_span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.machine import Node, Phase, PhaseState, Plan, Run, StepState
    from celeriac.views.progress import Progress


NOTHING_SAID: Mapping[str, Progress] = MappingProxyType({})


class Look(NamedTuple):
    """A run as it is found."""

    plan: Plan
    run: Run
    now: int  # ms, the store's clock
    progress: Mapping[str, Progress] = NOTHING_SAID  # how far steps say that they are


def tree(
    plan: Plan, run: Run, now: int, progress: Mapping[str, Progress] = NOTHING_SAID
) -> list[str]:
    """Return the run as lines: itself, its steps, and under each step its compensation.

    *now* is the store's time in milliseconds, *progress* how far steps say that they are.
    """
    plan = as_visited(plan, run)
    said = {name: f"  {clean(str(each))}" for name, each in progress.items()}
    lines = [f"{clean(run.id)}: {clean(plan.saga)} {_whole(plan, run, now)}"]
    nodes = [node for node in plan.nodes if node.confirms is None]
    width = max(len(clean(node.name)) for node in nodes)
    for number, node in enumerate(nodes, start=1):
        last = number == len(nodes)
        if node.covers:
            lines.append(f"├─ {clean(node.name):{width}}  {_scope(run, node, now)}".rstrip())
            continue
        step = run.step(node.name)
        told = counted(run, node.name) or _line(run, step, "do", now)
        if told == _PENDING:
            told = shown_step(plan, run, node.name).value
        elif step.choice:
            told += f": {clean(step.choice)}"
        elif step.do.child:
            told += f"  as {clean(id_of_child(run, node.name, step.do.child))}"
        told += said.get(node.name, "") if step.undo.state is PhaseStatus.IDLE else ""
        lines.append(f"{'└─' if last else '├─'} {clean(node.name):{width}}  {told}".rstrip())
        confirm = run.step(plan.confirmed_by.get(node.name, ""))
        if confirm.do.state is not PhaseStatus.IDLE:
            told = _line(run, confirm, "do", now)
            lines.append(f"{'  ' if last else '│ '} ✓ confirm  {told}".rstrip())
        if node.undo and step.undo.state is not PhaseStatus.IDLE:
            name = clean(undo_name(node))
            told = _line(run, step, "undo", now) + said.get(node.name, "")
            lines.append(f"{'  ' if last else '│ '} ↶ {name}  {told}".rstrip())
        elif node.map:
            indent, named = "  " if last else "│ ", standing_out(run, node.name)
            lines += [f"{indent} {clean(each)}  {_of_element(run, each, now)}" for each in named]
        elif _stays(run, node, step) and node.name not in plan.scope_of:
            lines.append(f"{'  ' if last else '│ '} ↶ nothing: it has no compensation")
    return lines


def _scope(run: Run, node: Node, now: int) -> str:
    """What undoes several steps, and where that stands."""
    step, covers = run.step(node.name), f"undoes {', '.join(map(clean, node.covers))}"
    idle = step.undo.state is PhaseStatus.IDLE
    return covers if idle else f"{covers}  ↶ {_line(run, step, 'undo', now)}"


def _of_element(run: Run, name: str, now: int) -> str:
    """Where one step of an element of a map stands, in the direction it goes."""
    step = run.step(name)
    undoing = step.undo.state is not PhaseStatus.IDLE
    return f"{'↶ ' if undoing else ''}{_line(run, step, 'undo' if undoing else 'do', now)}"


def _whole(plan: Plan, run: Run, now: int) -> str:
    if run.status.at_rest:
        owed = f"; owed: {', '.join(map(clean, run.owed))}" if run.owed else ""
        return f"{run.status} after {exact_span(run.ended_at - run.started_at)}{owed}"
    return f"{run.shown} for {exact_span(now - run.started_at)}{_limits(plan, run, now)}"


def _limits(plan: Plan, run: Run, now: int) -> str:
    """What the run as a whole waits for, or is to keep."""
    if run.paused:
        return f"; paused {exact_span(now - run.paused)} ago"
    if run.status is RunStatus.COMPENSATING and run.compensate_not_before > now:
        left = run.compensate_not_before - now
        return f"; undone from in {exact_span(left)} on, an effect may still land until then"
    if run.rewinds_to:
        return f"; goes back to {clean(run.rewinds_to)}, and forward again from there"
    if run.begins_at:
        tried = f"{run.tries} of {1 + plan.retries}"
        return f"; try {tried} was undone, begins anew in {exact_span(run.begins_at - now)}"
    if run.deadline and run.status is RunStatus.RUNNING:
        left = run.deadline - now
        return (
            f"; deadline in {exact_span(left)}" if left >= 0 else f"; {exact_span(-left)} overdue"
        )
    return ""


def _line(run: Run, step: StepState, phase: Phase, now: int) -> str:
    """Where one direction of a step stands, and what it waits for."""
    direction = step.direction(phase)
    words = " ".join(_told(run, direction, now))
    return (
        f"{words}; blocked: {clean(step.blocked)}"
        if step.blocked and direction.state.claimable
        else words
    )


def _told(run: Run, direction: PhaseState, now: int) -> Iterator[str]:
    if direction.state is PhaseStatus.IDLE:
        yield _PENDING
    elif direction.state in WAITS:
        until = (
            f", {exact_span(direction.limit - now)} left"
            if direction.limit and not run.paused
            else ""
        )
        what = " for its result from outside" if direction.state is PhaseStatus.DEFERRED else ""
        yield f"waiting {what} for {exact_span(now - direction.at)}{until}"
    elif direction.state is PhaseStatus.RUNNING:
        yield f"running  attempt {direction.attempt}, for {exact_span(now - direction.at)}"
    elif direction.state.claimable and run.paused:
        yield f"held  before attempt {direction.attempt + 1}"
    elif direction.state.claimable and (direction.at > now or not direction.sent):
        until = exact_span(max(0, direction.at - now))
        yield f"{direction.state}  attempt {direction.attempt + 1} in {until}"
    elif direction.state.claimable:
        since = exact_span(now - direction.at)
        yield f"{direction.state}  attempt {direction.attempt + 1}, waits for a worker for {since}"
    else:
        yield _ENDED.get(direction.state, direction.state.value)
        if direction.attempt > 1:
            yield f" {direction.attempt} attempts"


_PENDING = "pending"
_ENDED = {PhaseStatus.DONE: "completed"}


def _stays(run: Run, node: Node, step: StepState) -> bool:
    took_effect = step.may_have_effect or step.do.state is PhaseStatus.DONE
    return bool(run.why) and node.undo is None and took_effect
