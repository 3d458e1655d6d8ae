"""What Flower shows of a saga's tasks: `from celeriac.flower import *` in `flowerconfig.py`.

Owns: how a step's message reads in Flower's task list and on its task page, and the columns in
which that can be seen.  Refuses to know: Flower itself, which is not needed to import this, and
runs: all that is shown came with the message, which holds no payload.

Flower searches in what the message says, not in what is shown here: a run's id finds all of its
tasks, and so does `kwargs:run=order-42`, `kwargs:saga=place_order` or `kwargs:phase=compensation`.
"""

from __future__ import annotations

import ast
from typing import Any

from celeriac.observing import clean
from celeriac.workers import ERRBACK, shown

__all__ = ["format_task", "natural_time", "tasks_columns"]

#: The text of a step stands where its arguments would: next to its name it says what it is about.
tasks_columns = "name,args,state,received,started,runtime,retries,worker,uuid"

#: Times as they are, so that they can be compared with a run's history and with the logs.
natural_time = False


def format_task(task: Any) -> Any:
    """Return a task as Flower is to show it: saga, run, step, direction and attempt.

    *task* is Flower's own copy of it (`celery.events.state.Task`).  What is not a saga's is
    returned as it came, and nothing in it can make this fail: whoever can write to the broker can
    send a task that looks like one.
    """
    if task.name == ERRBACK:
        task.args = f"{task.args} · send what is due"
        return task
    told = _told(task.kwargs)
    if told is not None:
        task.args = clean(" · ".join(map(str, told.values())))
        task.kwargs = ""
    return task


def _told(kwargs: Any) -> dict[str, str | int] | None:
    """What the message of a saga says of itself; None for any other."""
    try:
        found = ast.literal_eval(kwargs)  # a literal is read, nothing is run
        return found if shown(**found) == kwargs else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
