"""What people are shown of runs, whoever shows it: terminal, dashboard, archive, Flower.

Owns: snapshots, documents, pictures and wording.  Refuses to know: where it is printed, and how a
terminal or a browser works.

Its files, from the ground up::

    times | elements | progress | redaction < questions | next_attempts | schedules | bulk_states
    | gates < state | stats | throughput | durations | workers | servers
    | bulk_outcome | undo_plan | step_values | graph | watching
    < wording | drawing | completions < documents | folding
"""

from __future__ import annotations

from celeriac.views.bulk_outcome import BulkOutcome
from celeriac.views.bulk_states import BulkKind, BulkState, BulkTurn, bulk_state
from celeriac.views.completions import Completion, completions_of
from celeriac.views.documents import event_document, run_document, stats_document
from celeriac.views.drawing import Drawing, draw
from celeriac.views.durations import Durations, StepDurations, durations_of
from celeriac.views.elements import failing_steps, shown_steps
from celeriac.views.folding import HistoryLine, history_lines, of_step
from celeriac.views.gates import (
    MOST_THERE,
    AtGate,
    GateDetails,
    GateState,
    Seen,
    gate_details,
    gate_states,
)
from celeriac.views.graph import Graph, graph_of
from celeriac.views.next_attempts import NextAttempt
from celeriac.views.progress import Progress, as_told, progress_fields, progress_of
from celeriac.views.questions import Question, question_fields, questions_of
from celeriac.views.redaction import HIDDEN, Redaction
from celeriac.views.schedules import (
    ScheduleEvent,
    ScheduleState,
    schedule_event,
    schedule_state,
    tick_time,
)
from celeriac.views.servers import ServerState, servers_of
from celeriac.views.state import (
    RESULT,
    RunState,
    StepView,
    answer_fields,
    answer_of,
    failure_fields,
    hold_of,
    state_of,
    words_fields,
)
from celeriac.views.stats import QueueStats, SagaStats, Stats, SweepStats, stats_of
from celeriac.views.step_values import inputs_of, result_of_step, results_of_map
from celeriac.views.throughput import LONGEST, StartedRuns, throughput_of
from celeriac.views.times import span
from celeriac.views.undo_plan import UndoPlan, undo_fields, undo_plan_of
from celeriac.views.watching import NOTHING_SAID, Look, tree
from celeriac.views.wording import deed, signalled
from celeriac.views.workers import WorkerState, workers_of

__all__ = [
    "HIDDEN",
    "LONGEST",
    "MOST_THERE",
    "NOTHING_SAID",
    "RESULT",
    "AtGate",
    "BulkKind",
    "BulkOutcome",
    "BulkState",
    "BulkTurn",
    "Completion",
    "Drawing",
    "Durations",
    "GateDetails",
    "GateState",
    "Graph",
    "HistoryLine",
    "Look",
    "NextAttempt",
    "Progress",
    "Question",
    "QueueStats",
    "Redaction",
    "RunState",
    "SagaStats",
    "ScheduleEvent",
    "ScheduleState",
    "Seen",
    "ServerState",
    "StartedRuns",
    "Stats",
    "StepDurations",
    "StepView",
    "SweepStats",
    "UndoPlan",
    "WorkerState",
    "answer_fields",
    "answer_of",
    "as_told",
    "bulk_state",
    "completions_of",
    "deed",
    "draw",
    "durations_of",
    "event_document",
    "failing_steps",
    "failure_fields",
    "gate_details",
    "gate_states",
    "graph_of",
    "history_lines",
    "hold_of",
    "inputs_of",
    "of_step",
    "progress_fields",
    "progress_of",
    "question_fields",
    "questions_of",
    "result_of_step",
    "results_of_map",
    "run_document",
    "schedule_event",
    "schedule_state",
    "servers_of",
    "shown_steps",
    "signalled",
    "span",
    "state_of",
    "stats_document",
    "stats_of",
    "throughput_of",
    "tick_time",
    "tree",
    "undo_fields",
    "undo_plan_of",
    "words_fields",
    "workers_of",
]
