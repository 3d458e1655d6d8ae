"""What Flower shows of a saga's tasks: `from celeriac.flower import *` in `flowerconfig.py`.

Owns: how a step's message reads in Flower's task list and on its task page, and the columns in
which that can be seen.  Refuses to know: Flower itself, which is not needed to import this, and
runs: all that is shown came with the message, which holds no payload, and with what a step told of
itself while it was at work.

Flower searches in what the message says, not in what is shown here: a run's id finds all of its
tasks, and so does `kwargs:run=order-42`, `kwargs:saga=place_order` or `kwargs:phase=compensation`.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from celeriac.observing import title
from celeriac.workers import ERRBACK, EVENT, JOINT, shown

if TYPE_CHECKING:
    from celeriac.machine import Phase

__all__ = ["format_task", "natural_time", "tasks_columns"]

#: The text of a step stands where its arguments would: next to its name it says what it is about.
tasks_columns = "name,args,state,received,started,runtime,retries,worker,uuid"

#: Times as they are, so that they can be compared with a run's history and with the logs.
natural_time = False

_LONGEST_ID = 20


def format_task(task: Any) -> Any:
    """Return a task as Flower is to show it: run, step, direction and attempt.

    In the words of logs and histories: `order-42 · charge · #2`, `order-42 · charge · undo #1`; in
    the second try of a run that began anew, `order-42 · try 2 · charge · #1`.  While its attempt is
    at work it says how far that is, once it has told: `order-42 · print · #1 · 3 of 10 labels`.

    *task* is Flower's own copy of it (`celery.events.state.Task`).  What is not a saga's is
    returned as it came, and nothing in it can make this fail: whoever can write to the broker can
    send a task that looks like one.
    """
    if task.name == ERRBACK:
        task.args = f"{task.args} · send what is due"
        return task
    told = _told(task.kwargs)
    if told is not None:
        phase: Phase = "undo" if told["phase"] == "compensation" else "do"
        attempt, nth = int(told["attempt"]), int(told.get("try", 1))
        step, whole = str(told["step"]), str(told["run"])
        far = _how_far(task, title(whole, step, phase, attempt, nth))
        task.args = f"{title(_short(whole), step, phase, attempt, nth)}{far}"
    return task


def _how_far(task: Any, called: str) -> str:
    """How far an attempt is, if it is at work and was the one that has told."""
    at_work = getattr(task, "state", "") == EVENT.removeprefix("task-").upper()
    told = task.args if at_work and isinstance(task.args, str) else ""
    return told[len(called) :] if told.startswith(called + JOINT) else ""


def _short(run_id: str) -> str:
    """An ID that leaves room for the step; the column beside it, and the page, have it whole."""
    return run_id if len(run_id) <= _LONGEST_ID else f"{run_id[:9]}…{run_id[-10:]}"


def _told(kwargs: Any) -> dict[str, str | int] | None:
    """What the message of a saga says of itself; None for any other."""
    try:
        found = ast.literal_eval(kwargs)  # a literal is read, nothing is run
        return found if shown(**found) == kwargs else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
