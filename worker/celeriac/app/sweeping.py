"""One sweep of an app: all shards, its schedules, and commands for many runs.

Owns: what a sweep is made of, for beat's task and for whoever sweeps by hand.  Refuses to know:
what it does, and who asks for it how often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.app.bulks import see_to_bulks
from celeriac.engine import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.engine import Ticks
    from celeriac.workers import Runtime


def sweep_once(runtime: Runtime, ticks: Ticks | None = None) -> int:
    """Sweep every shard once, and see to the rest; return how many runs were looked at.

    It ends about when the next is asked for: however much is due, one process of all workers is at
    it, and the others are at steps.
    """
    interval = runtime.settings.sweep_interval
    sweep = Sweep(runtime.engine, runtime.dispatcher, lambda: runtime.archivist, ticks)
    found = sweep.run(interval, max(0.5, interval / 2))
    see_to_bulks(runtime.engine, runtime.dispatcher, interval)
    return found


def sweep_task(runtime: Runtime, ticks: Callable[[], Ticks | None]) -> Any:
    """Return what the task of beat's ticks does."""

    def sweep(task: Any) -> None:
        """See to every run whose time has come."""
        # Nobody hears of this task (send_events), so what it sends must not name it as the parent:
        # Celery takes for that the task a worker is at, unless it was called as a function.
        task.request.called_directly = True
        sweep_once(runtime, ticks())

    return sweep
