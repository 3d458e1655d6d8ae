"""What a worker knows beside the kit: `celery -A tests.workers.worker_app worker -I …`.

Owns: adding the sagas of `ahead_steps` and `edge_case_steps` to a worker's app, and counting its
timers.  Refuses to know: what they do.
"""

from __future__ import annotations

import time
from typing import Any

from celery.worker.control import inspect_command

from tests.workers import ahead_steps, edge_case_steps
from tests.workers.worker_app import kit

ahead_steps.extend(kit)
edge_case_steps.extend(kit)


@inspect_command()  # type: ignore[untyped-decorator]  # Celery has no types
def far_timers(state: Any) -> int:
    """How many timers of the main process come in an hour or later, cancelled or not."""
    return sum(each.eta > time.monotonic() + 3_600 for each in state.consumer.timer.queue)
