"""What the workers of these tests know beside the kit: `celery … worker -I tests.crash.arm_points`.

Owns: arming the points of a worker, and noting what must happen sometimes.  Refuses to know: which
failpoints a test sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.engine.engine import Engine
from celeriac.errors import CommandRefused
from tests.crash import crash_saga, failpoints
from tests.proof import sometimes
from tests.workers.worker_app import kit

if TYPE_CHECKING:
    from celeriac.engine.attempts import Attempt

_LATE = ("stale", "superseded", "completed")


def _noted() -> None:
    """Note each claim that is refused, and each message that came for an attempt that is over."""
    claim = Engine.claim

    def claim_and_note(self: Engine, *args: Any, **kwargs: Any) -> Attempt:
        try:
            return claim(self, *args, **kwargs)
        except CommandRefused as refused:
            sometimes.seen(sometimes.REFUSED_CLAIM)
            if refused.reason in _LATE:
                sometimes.seen(sometimes.STALE_DELIVERY)
            raise

    Engine.claim = claim_and_note  # type: ignore[assignment,method-assign]  # in this process only


_noted()
saga = crash_saga.extend(kit, failpoints.arm(kit.folder))
