"""What stands in the way of a run that waits: the sweep, the broker, a queue that nobody serves.

Owns: asking them about one run, and what of their answers is a hindrance.  Refuses to know: how it
is printed; and what the run itself knows (that it is paused, or why its message is not sent).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from celery.exceptions import QueueNotFound

from celeriac.engine import Unreachable, asked_for
from celeriac.machine import EventKind, as_visited, due, try_of, wake_at
from celeriac.observing import clean, log
from celeriac.views import span
from celeriac.workers import ask_workers, sweep_is_down

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.machine import Dispatch, Event, Node, Plan, Run
    from celeriac.store import SweepMark
    from celeriac.workers import Runtime, WorkerReports

# So long, in ms, a message may wait before anybody is asked about it, and a sweep be late.
_PATIENCE = 10_000
_LATE = 2_000


class Hindrance(NamedTuple):
    """Something that a run waits for longer than it should."""

    text: str  # `ship waits 5 min in queue labels; nobody takes from it`
    command: str = ""  # of Celery's, after `celery -A APP `, that may end it; '' is none
    does: str = ""  # what the command does


_BLOCKED = (EventKind.BLOCKED, EventKind.QUEUED)


def find_hindrances(runtime: Runtime, plan: Plan, run: Run, now: int) -> list[Hindrance]:
    """Return what *run*, as it was read at *now* (ms), waits for longer than it should.

    Asks broker and workers, which takes a few seconds, only if a message has waited for some.
    """
    if run.status.at_rest or run.paused:
        return []
    found = [*_sweep(runtime, run, now)]
    waiting = [
        each
        for each in due(run)
        if not (run.step(each.step).blocked or _node(plan, run, each).child)
    ]
    late = [each for each in waiting if now - _since(runtime, run, each) >= _PATIENCE]
    if late:
        found += _queues(runtime, plan, run, now, sorted(late, key=lambda each: each.at))
    return found


def _node(plan: Plan, run: Run, dispatch: Dispatch) -> Node:
    return as_visited(plan, try_of(run, dispatch.step, dispatch.epoch)).node(dispatch.step)


# --- the sweep -----------------------------------------------------------------------------------


def _sweep(runtime: Runtime, run: Run, now: int) -> Iterator[Hindrance]:
    at = wake_at(run)
    if at is None or now - at < _LATE:
        return
    mark = runtime.engine.store.last_sweep()
    if sweep_is_down(mark, runtime.settings.sweep_interval):
        yield Hindrance(
            f"due {span((now - at) / 1000)} ago; {_no_sweep(mark)}",
            "beat",
            "sends the sweep, which sees to what is due, late or lost",
        )


def _no_sweep(mark: SweepMark | None) -> str:
    if mark is None:
        return "there was no sweep yet"
    return f"no sweep for {span((mark.now - mark.at) / 1000)}"


# --- queues --------------------------------------------------------------------------------------


def _since(runtime: Runtime, run: Run, dispatch: Dispatch) -> int:
    """Return since when (ms) an attempt waits, over all of its messages."""
    direction = run.step(dispatch.step).direction(dispatch.phase)
    if not direction.sends:
        return dispatch.at
    return _first_sent(runtime.engine.store.history(run.id), dispatch) - run.grace


def _first_sent(history: Sequence[Event], dispatch: Dispatch) -> int:
    """Return when an attempt was first sent again."""
    at = dispatch.at
    for event in reversed(history):
        if event.step == dispatch.step and event.kind not in _BLOCKED:
            if event.kind is not EventKind.DISPATCHED or event.data.get("why") != "unclaimed":
                break
            at = event.at
    return at


def _queues(
    runtime: Runtime, plan: Plan, run: Run, now: int, late: Sequence[Dispatch]
) -> Iterator[Hindrance]:
    reports: WorkerReports | None = None
    for dispatch in late:
        node = _node(plan, run, dispatch)
        if node.reads_first:
            continue  # it waits in no queue: the sweep goes on with it
        task, named = node.task_of(dispatch.phase), node.queue_of(dispatch.phase)
        named = asked_for(run, dispatch).get("queue") or named
        waited = span((now - _since(runtime, run, dispatch)) / 1000)
        backlog = runtime.dispatcher.backlog(task, named)
        if isinstance(backlog, Unreachable):
            yield Hindrance(f"{dispatch.step} waits {waited}; the broker cannot be reached")
            return
        try:
            queue = clean(str(runtime.dispatcher.queue_of(task, named).name))
            reports = ask_workers(runtime.app) if reports is None else reports
        except QueueNotFound as error:
            yield Hindrance(f"{dispatch.step} waits {waited}: {clean(str(error.args[0]))}")
            continue
        except Exception as error:  # noqa: BLE001 -- a router's, or the broker's
            log.debug("nobody can tell who takes %s: %s", task, type(error).__name__)
            continue
        many = "" if backlog is None else f" with {_messages(backlog.messages)}"
        waits = f"{dispatch.step} waits {waited} in queue {queue}"
        yield _taken(runtime, now, reports, task, queue, waits, many)


def _taken(
    runtime: Runtime,
    now: int,
    reports: WorkerReports,
    task: str,
    queue: str,
    waits: str,
    many: str,
) -> Hindrance:
    """Say who takes from a queue, as far as workers have answered."""
    takers = {name: each for name, each in reports.workers.items() if queue in each.queues}
    if any(task in each.tasks for each in takers.values()):
        return Hindrance(f"{waits}{many}; {', '.join(sorted(takers))} takes from it")
    if takers:
        who = ", ".join(sorted(takers))
        return Hindrance(f"{waits}; {who} takes from it, and does not know the task {clean(task)}")
    seen = runtime.engine.store.due(0, 0).pulse.last
    if not reports.workers and now - seen < runtime.engine.terms.lease:
        heard = span((now - seen) / 1000)
        return Hindrance(f"{waits}{many}; no worker answers, one was alive {heard} ago")
    serve = f"worker -Q {shlex.quote(queue)}"
    return Hindrance(
        f"{waits}; nobody takes from it" + ("" if reports.workers else ": no worker answers"),
        serve,
        "starts a worker that takes from it",
    )


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
