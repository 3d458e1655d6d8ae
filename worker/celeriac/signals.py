"""Signals for applications, in Celery's style.

Owns: the path by which users import these names.  Refuses to know: what they do
(`observing.signals`).
"""

from __future__ import annotations

from celeriac.observing import (
    saga_compensated,
    saga_completed,
    saga_failed,
    saga_started,
    saga_step_failed,
)

__all__ = ["saga_compensated", "saga_completed", "saga_failed", "saga_started", "saga_step_failed"]
