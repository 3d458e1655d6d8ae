"""What chaos adds to a worker: `celery -A tests.workers.worker_app worker -I tests.chaos.worker`.

Owns: a task by which whoever supervises workers sees that one still works, telling where one
hangs, notes of the claims that were refused and of who passes a rate, and planting a bug if the
environment names one.
Refuses to know: the load.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from typing import TYPE_CHECKING, Any

from celeriac import CommandRefused
from celeriac.engine.engine import Engine
from tests.chaos import passes, planted
from tests.chaos.fleet import PROBE
from tests.chaos.journal import REFUSED_CLAIMS
from tests.workers.worker_app import kit

if TYPE_CHECKING:
    from celeriac.engine.attempts import Attempt, Delivery

_claim = Engine.claim


@kit.app.task(name=PROBE, shared=False, ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def probe(name: str) -> None:
    """Leave a mark: the broker reaches this worker, and its children are free now and then."""
    (kit.folder / f"{name}.probed").touch()


def _noting_claim(self: Engine, delivery: Delivery, *args: Any, **options: Any) -> Attempt:
    try:
        return _claim(self, delivery, *args, **options)
    except CommandRefused as refused:
        line = f"{refused.reason} {delivery.run_id} {delivery.step}\n".encode()
        handle = os.open(kit.folder / REFUSED_CLAIMS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, line)
        os.close(handle)
        raise


faulthandler.register(signal.SIGUSR2)  # before it is replaced, a worker that hangs tells where
Engine.claim = _noting_claim  # type: ignore[assignment,method-assign]  # it notes, and does the same
passes.note_in(kit.folder)
if bug := os.environ.get(planted.VARIABLE):
    planted.plant(bug)
