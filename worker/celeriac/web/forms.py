"""What the HTTP API takes and answers, as models: its OpenAPI is drawn from them.

Owns: names, types and limits of what is sent.  Refuses to know: what is done with it.  The file is
long because a reader of the API finds all of its words in one place.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from celeriac.machine import RunStatus
from celeriac.views import BulkState, BulkTurn, Durations, ServerState, StartedRuns, WorkerState

_LONGEST_REASON = 2_000  # characters


def _no_number(value: Any) -> Any:
    """Refuse what Pydantic would take for seconds since 1970."""
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("give a date and a time with its zone, such as 2026-11-29T12:00:00Z")
    return value


def _whole(text: str) -> str:
    """Refuse half of a character, which JSON may hold, and no store."""
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("it holds half of a character")
    return text


Whole = Annotated[str, AfterValidator(_whole)]
Reason = Annotated[str, StringConstraints(max_length=_LONGEST_REASON)]
GivenReason = Annotated[str, StringConstraints(max_length=_LONGEST_REASON, pattern=r"\S")]
#: A time as `views` spells it for programs: RFC 3339 in UTC, to the millisecond.
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Time = Annotated[AwareDatetime, BeforeValidator(_no_number)]
StepName = Annotated[str, StringConstraints(min_length=1, max_length=400)]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Told(BaseModel):
    # What the package tells of a run in a later version is told here as well.
    model_config = ConfigDict(extra="allow")


# --- what is sent ------------------------------------------------------------------------------


class StartRequest(_Sent):
    """A run to be started."""

    saga: str = Field(description="the name of the saga")
    input: Any = Field(
        default=None,
        description="the value of the saga's parameter; if there are several, an object by name",
    )
    id: str | None = Field(
        default=None, description="makes the start repeatable; left out: a new UUID"
    )
    tags: dict[str, str] = Field(default_factory=dict, description="labels to find the run by")
    if_exists: Literal["join", "fail", "restart"] = "join"


class _Verb(_Sent):
    if_version: int | None = Field(
        default=None,
        description="the `run_version` that the caller has seen: refused if the run has moved on",
    )


class CancelRequest(_Verb):
    """Stop forward work and undo what was done."""

    reason: Reason = ""


class RewindRequest(_Verb):
    """Undo what came after a step, and the step, then go forward again from there."""

    to: StepName
    reason: Reason = ""


class TerminateRequest(_Verb):
    """Abandon a run without undo."""

    reason: GivenReason


class RetryRequest(_Verb):
    """Retry what is owed: one step, or all of them."""

    step: StepName | None = None
    reason: Reason = ""


class WaiveRequest(_Verb):
    """Declare an owed compensation settled."""

    step: StepName
    reason: GivenReason


class PauseRequest(_Verb):
    """Start no further attempt until the run is resumed."""

    reason: Reason = ""


class ResumeRequest(_Verb):
    """Continue a run that was paused."""

    reason: Reason = ""


class SkipRequest(_Verb):
    """Go on as if a step had completed with a result."""

    step: StepName
    result: Any = None
    reason: Reason = ""


class ForkRequest(_Verb):
    """Start a new run with what another one did before a step."""

    at: StepName
    id: str | None = Field(default=None, description="of the new run; makes it repeatable")
    reason: Reason = ""


class SignalRequest(_Sent):
    """Send a signal to a run."""

    name: str = Field(min_length=1, max_length=400, description="of the signal")
    payload: Any = None
    id: str | None = Field(
        default=None, description="the same id counts once; left out, each call is a signal"
    )
    step: StepName | None = Field(
        default=None, description="the wait that this answers, which must be open"
    )
    asked: Time | None = Field(
        default=None,
        description="the `since` of the question that this answers: refused (`asked_anew`) if the "
        "wait asks another one by now",
    )


class CompletionError(_Sent):
    """How a step has failed, as somebody outside says."""

    message: str = Field(max_length=20_000, description="for people: what went wrong")
    code: str | None = Field(default=None, min_length=1, max_length=100, description="for programs")
    effect: bool | None = Field(
        default=None, description="false: it is proven to have had no effect, so it is not undone"
    )
    retry: bool = Field(default=False, description="the step may be tried again, by its policy")


class CompletionRequest(_Sent):
    """The result of a step, or how it failed; one of the two."""

    result: Any = None
    error: CompletionError | None = None


class RunFilter(_Sent):
    """Which runs are meant: all given conditions hold."""

    status: list[RunStatus] = Field(default_factory=list, description="one or several")
    saga: Whole | None = None
    tag: list[Whole] = Field(default_factory=list, description="`name:value`; all of them hold")
    awaiting: bool = Field(default=False, description="only runs that wait for a signal")
    since: Time | None = Field(default=None, description="started at this time or later")
    until: Time | None = Field(default=None, description="started before this time")
    past_deadline: bool = Field(
        default=False, description="only runs that go on though their deadline has passed"
    )
    idle: str | None = Field(
        default=None,
        max_length=40,
        description="only runs in which nothing has happened for so long: `15m`, `2h`, `1d`; of "
        "those that run or are being undone, unless a status is given",
    )
    owed: bool = Field(default=False, description="only runs that owe something; with asking: or")
    asking: bool = Field(default=False, description="only runs that ask what became of a step")
    failed_step: Whole | None = Field(
        default=None, max_length=400, description="the step that ended the run, or is owed"
    )
    code: Whole | None = Field(default=None, max_length=100, description="its error code")


class RunQuery(RunFilter):
    """Which runs to list, and how many."""

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, description="of the page before")


class LookRequest(_Sent):
    """Which runs a command would be for: those of a filter, or those that are named."""

    filter: RunFilter | None = None
    runs: list[str] | None = Field(default=None, min_length=1, max_length=1_000)
    reason: Annotated[str, StringConstraints(max_length=1_900)] = ""
    rps: float = Field(default=20.0, ge=0.1, le=1_000, description="runs a second, at most")


class BulkStart(_Sent):
    """That a look is confirmed."""

    expected: int = Field(description="how many runs the caller has seen: `matched`")


# --- what is answered --------------------------------------------------------------------------


class AttemptDocument(BaseModel):
    """The attempt that a step waits for, between two."""

    at: Moment = Field(description="not before")
    number: int | None = Field(
        description="which it is of those that its policy allows; null: it was asked to come "
        "again, which uses no attempt up"
    )
    of: int | None = Field(description="how many its policy allows; null: as many as it takes")


class StepDocument(_Told):
    """A step of a run."""

    name: str
    task: str
    status: str
    attempts: int
    undo_attempts: int
    waits_for: str | None = Field(
        default=None, description="a signal, `time`, or `a result` that comes from outside"
    )
    waits_until: Moment | None = Field(default=None, description="when that is over")
    elements: dict[str, int] | None = Field(
        default=None, description="of a map: how many of its elements are in which status"
    )
    next_attempt: AttemptDocument | None = None


class RunDocument(_Told):
    """A run, as `saga show -o json` tells it."""

    id: str
    saga: str
    version: int = Field(description="of the saga's definition")
    plan: str = Field(description="fingerprint of the plan that it follows")
    run_version: int = Field(description="how many events made this state: `if_version`")
    status: str
    started_at: Moment
    started_by: str | None = Field(description="who asked for it, if that was said")
    changed_at: Moment
    ended_at: Moment | None
    deadline: Moment | None
    tags: dict[str, str]
    why: str | None
    reason: str | None
    owed: list[str]
    origin: str | None = Field(description="of a fork: the run whose results it has taken over")
    begins_anew: bool = Field(description="it will, once what it did is undone")
    only_forward: bool = Field(description="it is past its pivot, so a cancel is refused")
    steps: list[StepDocument]


class StartedRun(RunDocument):
    """A run that was started, or that was there."""

    joined: bool = Field(description="it was there, and the input is the same")
    result: Any = Field(default=None, description="of a run that has completed")
    answer: Any = Field(
        default=None, description="of a run that was undone: what the step that failed answered"
    )


class SteeredRun(RunDocument):
    """A run after a command."""

    changed: bool = Field(description="False: there was nothing to change")


class SignalAnswer(BaseModel):
    """What became of a signal."""

    answer: str = Field(description="`taken` by a wait, or `kept` for one that has to come")


class QuestionDocument(_Told):
    """What a run asks people: an open wait for a signal."""

    run_id: str
    saga: str
    step: str = Field(description="the wait; name it in the answer")
    signal: str = Field(description="POST it to /api/runs/{run_id}/signal")
    title: str
    summary: str
    about: dict[str, Any] = Field(description="what the saga shows beside it, by its label")
    payload: dict[str, Any] = Field(description="the JSON schema of an answer")
    not_by_starter: bool = Field(description="whoever started the run may not answer")
    started_by: str | None
    since: Moment = Field(description="send it along in the answer, as `asked`")
    until: Moment | None
    page: str = Field(description="of this question and no later one: a path, for a mail")


class QuestionList(BaseModel):
    """A page of questions, those of the newest runs first."""

    approvals: list[QuestionDocument]
    cursor: str | None = Field(description="for the next page; null: this is the last")


class OutsideDocument(_Told):
    """A step that waits for a result from outside.  Its token is with whoever was asked."""

    run_id: str
    saga: str
    status: str
    run_version: int = Field(description="of the run: a skip's `if_version`")
    step: str
    attempt: int
    until: Moment | None


class OutsideList(BaseModel):
    """A page of such steps, those of the newest runs first; one may hold none, and a cursor."""

    completions: list[OutsideDocument]
    cursor: str | None = Field(description="for the next page; null: this is the last")


class CompletionAnswer(BaseModel):
    """A result was taken."""

    taken: bool = True


class RunList(BaseModel):
    """A page of runs, newest first."""

    runs: list[RunDocument]
    cursor: str | None = Field(description="for the next page; null: this is the last")


class BulkList(BaseModel):
    """Commands for many runs."""

    bulks: list[BulkState]


class BulkRuns(BaseModel):
    """A page of the runs of a command, in the order of their turns."""

    runs: list[BulkTurn]
    cursor: str | None = Field(description="for the next page; null: this is the last")


class EventDocument(_Told):
    """Something that happened to a run."""

    number: int = Field(description="1 is the first event of the run")
    at: Moment
    event: str
    step: str | None
    phase: str | None
    attempt: int | None


class HistoryPage(BaseModel):
    """A page of a run's events, oldest first."""

    events: list[EventDocument]
    cursor: str | None = Field(description="for the next page; null: this is the last")


class SagaStep(BaseModel):
    """A step of a saga, as it is defined."""

    name: str
    task: str
    undo: str | None = Field(description="the task that undoes it")
    pivot: bool
    after: list[str] = Field(description="the steps that it waits for")


class SagaDocument(BaseModel):
    """A saga of this application."""

    name: str
    version: int
    plan: str = Field(description="fingerprint: runs keep the plan that they were started with")
    about: str = Field(description="the first line of its docstring")
    parameters: list[str]
    steps: list[SagaStep]
    runs: dict[str, int] = Field(description="how many there are, by status")


class SagaList(BaseModel):
    """All sagas of this application."""

    sagas: list[SagaDocument]


class StatsDocument(_Told):
    """How the runs stand as a whole.  Durations are seconds."""

    at: Moment
    active: int
    owed: int
    awaiting: int
    past_deadline: int
    overdue: int
    lag: float


class DurationsList(BaseModel):
    """How long runs take, by saga; without those that have no runs."""

    sagas: list[Durations]


class WorkerList(BaseModel):
    """The workers, the one that is longest there first."""

    workers: list[WorkerState]


class ServerList(BaseModel):
    """The servers that hold runs, by name."""

    servers: list[ServerState]


class FindingDocument(_Told):
    """What one check of the doctor came to."""

    check: str
    severity: str = Field(description="error, warning, info, unchecked or ok")
    found: str
    advice: str | None = Field(description="what to do")


class DoctorReport(BaseModel):
    """What an examination came to, the worst first."""

    at: Moment
    summary: str
    findings: list[FindingDocument]


class Throughput(BaseModel):
    """The runs that were started in each hour, the oldest first."""

    hours: list[StartedRuns]


class Health(BaseModel):
    """For probes."""

    status: Literal["ok"] = "ok"
