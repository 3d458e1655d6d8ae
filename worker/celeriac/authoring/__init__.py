"""From a function to a plan: what happens once, when a saga is defined.

Owns: steps, placeholders, the wiring of arguments, and every mistake that can be found before
anything runs.  Refuses to know: runs, servers, Celery.

Its files, from the ground up::

    annotations | celery_values | names | task_options | unreadable_types | comparison
    < options < lossless_types < codecs < signal < signatures < compatibility < placeholders
    < calling < compensations < steps < adopted < planned < step_checks < conditions
    < blocks < building
    < scopes < choosing < waits < children < mapping < flow < planning
"""

from __future__ import annotations

from celeriac.authoring.adopted import define_adopted_compensation
from celeriac.authoring.annotations import accepts_none
from celeriac.authoring.celery_values import lend, read_carried, write_carried
from celeriac.authoring.codecs import ANYTHING, Codec, write
from celeriac.authoring.compensations import Compensation
from celeriac.authoring.flow import Flow
from celeriac.authoring.options import STEP
from celeriac.authoring.planned import Planned
from celeriac.authoring.planning import plan_saga
from celeriac.authoring.signal import Answer, Signal
from celeriac.authoring.signatures import Shape
from celeriac.authoring.steps import Step, define_step
from celeriac.authoring.task_options import misfits, misfits_of

__all__ = [
    "ANYTHING",
    "STEP",
    "Answer",
    "Codec",
    "Compensation",
    "Flow",
    "Planned",
    "Shape",
    "Signal",
    "Step",
    "accepts_none",
    "define_adopted_compensation",
    "define_step",
    "lend",
    "misfits",
    "misfits_of",
    "plan_saga",
    "read_carried",
    "write",
    "write_carried",
]
