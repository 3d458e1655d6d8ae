"""The state machine: plans, runs, and what may happen to them.  Pure.

Owns: every rule about a run, and the words that rules are written in.  Refuses to know: clocks,
servers, messages, payloads, and who asks.

Its files, from the ground up::

    numbering < expressions < guards | policy | gates | awaited | received < plans < steps
        < step_states | events < series < runs < tries | visits < conditions | relatives | tables
        < timing < commands | forking | places < rewinding < undoing < next_steps | shown_status
        | step_chains | state_changes < standstill | gate_events < attempt_events | run_events
        | operator_events < moves < draft < late_reports | starting | outside | postponing
        | blocking | queueing | sleeping < attempts < tagging | waits | children | operators
        | expansion < timeouts < transitions < following
"""

from __future__ import annotations

from celeriac.machine.attempts import MAY_HAVE_JOINED
from celeriac.machine.awaited import UNTIL, Wait
from celeriac.machine.commands import (
    KEEPS_DETAILS,
    Acknowledge,
    Block,
    Call,
    Cancel,
    CheckAttempt,
    Claim,
    Command,
    Complete,
    Defer,
    Expand,
    Expire,
    Fail,
    Open,
    Queue,
    Redispatch,
    Report,
    RetryOwed,
    Rewind,
    Start,
    Tag,
    Terminate,
    Unblock,
    Wake,
)
from celeriac.machine.conditions import is_chosen, may_begin_anew, past_pivot
from celeriac.machine.draft import TOO_MANY_STEPS
from celeriac.machine.events import Dispatch, Event, EventKind
from celeriac.machine.expressions import (
    Constant,
    DictOf,
    Expression,
    FirstOf,
    FromInput,
    FromItem,
    FromMap,
    FromStep,
    Frozen,
    ListOf,
    TextOf,
    bound,
)
from celeriac.machine.following import followed
from celeriac.machine.forking import inherited
from celeriac.machine.gates import APART, Gate, Rule, gate_named
from celeriac.machine.guards import Choice, Guard, excludes
from celeriac.machine.moves import apply, fold
from celeriac.machine.numbering import (
    EVERY,
    Instances,
    Ranges,
    in_any_visit,
    in_visit,
    instance_of,
    map_of,
    numbered,
    visit_of,
)
from celeriac.machine.places import (
    InLine,
    Place,
    lines_of,
    may_join,
    next_attempts,
    places_of,
)
from celeriac.machine.plans import (
    MAX_STEPS,
    PHASES,
    Child,
    CompensationOrder,
    Effect,
    Map,
    Node,
    OnDeadline,
    OnUnknown,
    Phase,
    Plan,
    Undo,
)
from celeriac.machine.policy import Duration, Retry, RetryRule, duration_ms, retryable
from celeriac.machine.received import Received
from celeriac.machine.relatives import TO_PARENT, awaited_children, id_of_child, others
from celeriac.machine.rewinding import standing
from celeriac.machine.runs import AT_REST, Run, RunStatus
from celeriac.machine.series import Series
from celeriac.machine.shown_status import shown_step
from celeriac.machine.sleeping import only_sleeps_ended
from celeriac.machine.step_chains import (
    leaves_prepared,
    one_by_one,
    stands_alone,
    steps_one_by_one,
)
from celeriac.machine.step_states import Steps
from celeriac.machine.steps import (
    AT_WORK,
    NOT_SENT,
    WAITS,
    Parent,
    PhaseState,
    PhaseStatus,
    StepState,
    StepStatus,
    changed,
)
from celeriac.machine.tables import EXPIRED, NO_RESULT, IllegalMove
from celeriac.machine.tagging import MOST_TAGS, checked_tags
from celeriac.machine.timing import (
    PATROL,
    SHORT_DELAY,
    dates,
    due,
    overdue,
    patrol,
    wake_at,
)
from celeriac.machine.transitions import Transition, transition
from celeriac.machine.tries import began_once, epoch_of, first_epoch, key_of, try_of
from celeriac.machine.undoing import in_undo_order, may_stand, to_undo
from celeriac.machine.visits import as_visited, laid_out, visits_of
from celeriac.machine.waits import MOST_UNTAKEN, NO_SIGNAL

__all__ = [
    "APART",
    "AT_REST",
    "AT_WORK",
    "EVERY",
    "EXPIRED",
    "KEEPS_DETAILS",
    "MAX_STEPS",
    "MAY_HAVE_JOINED",
    "MOST_TAGS",
    "MOST_UNTAKEN",
    "NOT_SENT",
    "NO_RESULT",
    "NO_SIGNAL",
    "PATROL",
    "PHASES",
    "SHORT_DELAY",
    "TOO_MANY_STEPS",
    "TO_PARENT",
    "UNTIL",
    "WAITS",
    "Acknowledge",
    "Block",
    "Call",
    "Cancel",
    "CheckAttempt",
    "Child",
    "Choice",
    "Claim",
    "Command",
    "CompensationOrder",
    "Complete",
    "Constant",
    "Defer",
    "DictOf",
    "Dispatch",
    "Duration",
    "Effect",
    "Event",
    "EventKind",
    "Expand",
    "Expire",
    "Expression",
    "Fail",
    "FirstOf",
    "FromInput",
    "FromItem",
    "FromMap",
    "FromStep",
    "Frozen",
    "Gate",
    "Guard",
    "IllegalMove",
    "InLine",
    "Instances",
    "ListOf",
    "Map",
    "Node",
    "OnDeadline",
    "OnUnknown",
    "Open",
    "Parent",
    "Phase",
    "PhaseState",
    "PhaseStatus",
    "Place",
    "Plan",
    "Queue",
    "Ranges",
    "Received",
    "Redispatch",
    "Report",
    "Retry",
    "RetryOwed",
    "RetryRule",
    "Rewind",
    "Rule",
    "Run",
    "RunStatus",
    "Series",
    "Start",
    "StepState",
    "StepStatus",
    "Steps",
    "Tag",
    "Terminate",
    "TextOf",
    "Transition",
    "Unblock",
    "Undo",
    "Wait",
    "Wake",
    "apply",
    "as_visited",
    "awaited_children",
    "began_once",
    "bound",
    "changed",
    "checked_tags",
    "dates",
    "due",
    "duration_ms",
    "epoch_of",
    "excludes",
    "first_epoch",
    "fold",
    "followed",
    "gate_named",
    "id_of_child",
    "in_any_visit",
    "in_undo_order",
    "in_visit",
    "inherited",
    "instance_of",
    "is_chosen",
    "key_of",
    "laid_out",
    "leaves_prepared",
    "lines_of",
    "map_of",
    "may_begin_anew",
    "may_join",
    "may_stand",
    "next_attempts",
    "numbered",
    "one_by_one",
    "only_sleeps_ended",
    "others",
    "overdue",
    "past_pivot",
    "patrol",
    "places_of",
    "retryable",
    "shown_step",
    "standing",
    "stands_alone",
    "steps_one_by_one",
    "to_undo",
    "transition",
    "try_of",
    "visit_of",
    "visits_of",
    "wake_at",
]
