"""From a function to a plan: what happens once, when a saga is defined.

Owns: steps, placeholders, the wiring of arguments, and every mistake that can be found before
anything runs.  Refuses to know: runs, servers, Celery.

Its files, from the ground up::

    annotations | options | signatures < placeholders < steps < flow
"""

from __future__ import annotations

from celeriac.authoring.flow import (
    Flow,
    Planned,
    define_adopted_compensation,
    define_step,
    plan_saga,
)
from celeriac.authoring.signatures import Shape, adapter_for, write
from celeriac.authoring.steps import Compensation, Step

__all__ = [
    "Compensation",
    "Flow",
    "Planned",
    "Shape",
    "Step",
    "adapter_for",
    "define_adopted_compensation",
    "define_step",
    "plan_saga",
    "write",
]
