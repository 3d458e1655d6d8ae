"""From a function to a plan: what happens once, when a saga is defined.

Owns: steps, placeholders, the wiring of arguments, and every mistake that can be found before
anything runs.  Refuses to know: runs, servers, Celery.

Its files, from the ground up::

    annotations | celery_values | names | task_options | unreadable_types | comparison
    < options < gates | lossless_types < codecs < signal < signatures < compatibility < placeholders
    < calling < compensations < steps < adopted < planned < step_checks < conditions
    < blocks < building < grouping
    < scopes < choosing < waits < children < mapping < flow < planning
"""

from __future__ import annotations

from celeriac.authoring.adopted import define_adopted_compensation
from celeriac.authoring.annotations import UNSAID, accepts_none, described, fields_of, plain
from celeriac.authoring.celery_values import lend, read_carried, write_carried
from celeriac.authoring.codecs import ANYTHING, Codec, adapter_for, complaints, write
from celeriac.authoring.compensations import Compensation, compensation_by
from celeriac.authoring.flow import Flow
from celeriac.authoring.gates import Breaker, Limit, Rate, check_same, gates_of
from celeriac.authoring.mapping import Mapper
from celeriac.authoring.names import checked_name
from celeriac.authoring.options import SAGA, STEP, StepOptions
from celeriac.authoring.placeholders import (
    Placeholder,
    annotation_of,
    element_type,
    entry_type,
    express,
    is_json,
    source_of,
    steps_used,
)
from celeriac.authoring.planned import Planned
from celeriac.authoring.planning import plan_saga
from celeriac.authoring.signal import Answer, Signal
from celeriac.authoring.signatures import Parameter, Shape
from celeriac.authoring.step_checks import policy_of, shape_of
from celeriac.authoring.steps import Step, define_step, is_celery_task
from celeriac.authoring.task_options import misfits, misfits_of
from celeriac.authoring.waits import Question

__all__ = [
    "ANYTHING",
    "SAGA",
    "STEP",
    "UNSAID",
    "Answer",
    "Breaker",
    "Codec",
    "Compensation",
    "Flow",
    "Limit",
    "Mapper",
    "Parameter",
    "Placeholder",
    "Planned",
    "Question",
    "Rate",
    "Shape",
    "Signal",
    "Step",
    "StepOptions",
    "accepts_none",
    "adapter_for",
    "annotation_of",
    "check_same",
    "checked_name",
    "compensation_by",
    "complaints",
    "define_adopted_compensation",
    "define_step",
    "described",
    "element_type",
    "entry_type",
    "express",
    "fields_of",
    "gates_of",
    "is_celery_task",
    "is_json",
    "lend",
    "misfits",
    "misfits_of",
    "plain",
    "plan_saga",
    "policy_of",
    "read_carried",
    "shape_of",
    "source_of",
    "steps_used",
    "write",
    "write_carried",
]
