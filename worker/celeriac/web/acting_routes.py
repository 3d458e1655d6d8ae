"""The HTTP API for acting: starting a run, and each verb that steers one.

Owns: the table of verbs, and what a start answers.  Refuses to know: what a verb does to a run:
that is the handle's method of the same name.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Header
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import to_jsonable_python
from starlette.responses import Response

from celeriac.errors import ChangedSince, InputInvalid
from celeriac.machine import RunStatus
from celeriac.views import run_document
from celeriac.web.access import Permission
from celeriac.web.forms import (
    CancelRequest,
    ForkRequest,
    PauseRequest,
    ResumeRequest,
    RetryRequest,
    RewindRequest,
    SignalAnswer,
    SignalRequest,
    SkipRequest,
    StartedRun,
    StartRequest,
    SteeredRun,
    TerminateRequest,
    WaiveRequest,
)
from celeriac.web.problems import Refusal, answer, answers, problem_of
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Admin, Approver, Here, Operator, Site

if TYPE_CHECKING:
    from pydantic import BaseModel

    from celeriac.app import RunHandle
    from celeriac.views import RunState
    from celeriac.web.access import Caller

router = APIRouter(route_class=SegmentRoute, prefix="/api/runs", tags=["acting"])

IfMatch = Annotated[
    str | SkipJsonSchema[None],
    Header(
        description='the ETag that the caller has seen, such as "12"; the same as if_version',
        pattern=r'^(\*|(W/)?"[0-9]{1,9}")$',
    ),
]
IdempotencyKey = Annotated[
    str | SkipJsonSchema[None],
    Header(description="the id of the run; the same as `id`", min_length=1, max_length=200),
]


# --- start -------------------------------------------------------------------------------------


@router.post(
    "", status_code=HTTPStatus.ACCEPTED, responses={200: {"model": StartedRun}, **answers(400, 409)}
)
def start(
    site: Here,
    caller: Operator,
    response: Response,
    body: StartRequest,
    idempotency_key: IdempotencyKey = None,
) -> StartedRun:
    """Start a run; the same start again joins it.

    202: it was started.  200: a run with this id and the same input was there; if it has
    completed, its result comes with it, and if it was undone, what the step that failed answered.
    """
    run = _started(site, caller, body, _one_id(body.id, idempotency_key))
    if run.joined:
        response.status_code = HTTPStatus.OK
    state = run.state()
    response.headers["ETag"] = f'"{state.run_version}"'
    document = {**run_document(state), "joined": run.joined}
    if run.joined and caller.sees_payloads(opened=site.opened):
        document |= _outcome(site, run, state)
    return StartedRun.model_validate(document)


def _outcome(site: Site, run: RunHandle[Any], state: RunState) -> dict[str, Any]:
    """What a run that has ended has for whoever waits for it; nothing of one that has not."""
    if state.status is RunStatus.COMPLETED:
        return {"result": site.shown(run.id, to_jsonable_python(run.result(timeout=0)))}
    if state.status is RunStatus.COMPENSATED:
        return {"answer": site.shown(run.id, to_jsonable_python(state.answer))}
    return {}


def _one_id(in_body: str | None, in_header: str | None) -> str | None:
    if in_body is not None and in_header is not None and in_body != in_header:
        raise InputInvalid(
            f"id {in_body!r} and Idempotency-Key {in_header!r} differ: give one of them"
        )
    return in_body if in_header is None else in_header


def _started(site: Site, caller: Caller, body: StartRequest, run_id: str | None) -> RunHandle[Any]:
    saga = site.sagas.defined.get(body.saga)
    if saga is None:
        known = ", ".join(sorted(site.sagas.defined)) or "none"
        raise InputInvalid(f"no saga {body.saga!r}: this application has {known}")
    options: Any = {"id": run_id, "tags": body.tags, "if_exists": body.if_exists}
    options["started_by"] = caller.name
    if "input" not in body.model_fields_set:
        return saga.start(**options)
    return saga.start_json(json.dumps(body.input), **options)


# --- verbs -------------------------------------------------------------------------------------


def steer(
    site: Site, caller: Caller, run_id: str, verb: str, asked: BaseModel
) -> tuple[RunHandle[Any], bool]:
    """Give a command to a run; return its handle, and whether it changed anything.

    What *asked* holds are the parameters of the handle's method *verb*.
    """
    run = site.sagas.run(run_id)
    changed: bool = getattr(run, verb)(**asked.model_dump(), by=caller.name)
    return run, changed


def _steered(
    site: Site, caller: Caller, run_id: str, verb: str, asked: Any, if_match: str | None
) -> Any:
    asked = asked.model_copy(update={"if_version": _one_version(asked.if_version, if_match)})
    try:
        run, changed = steer(site, caller, run_id, verb, asked)
    except ChangedSince as error:
        return _moved_on(site, run_id, error)
    return SteeredRun.model_validate({**run_document(run.state()), "changed": changed})


def _moved_on(site: Site, run_id: str, error: ChangedSince) -> Response:
    """Refuse a command for a run as it was, with the run as it is now."""
    now = run_document(site.sagas.run(run_id).state())
    return answer(problem_of(error).model_copy(update={"run": now}))


def _one_version(in_body: int | None, if_match: str | None) -> int | None:
    """Return the version that a command is for, by the body or by If-Match."""
    if if_match is None or if_match == "*":
        return in_body
    version = int(if_match.removeprefix("W/").strip('"'))
    if in_body not in (None, version):
        raise InputInvalid(f"if_version {in_body} and If-Match {if_match} differ: give one of them")
    return version


_ANSWERS: Any = {"response_model": SteeredRun, "responses": answers(400, 404, 409)}


@router.post("/{run_id}/cancel", **_ANSWERS)
def cancel(
    site: Here,
    caller: Operator,
    run_id: str,
    body: Annotated[CancelRequest | None, Body()] = None,
    if_match: IfMatch = None,
) -> Any:
    """Stop forward work and undo what was done, even if the run has completed."""
    return _steered(site, caller, run_id, "cancel", body or CancelRequest(), if_match)


@router.post("/{run_id}/rewind", **_ANSWERS)
def rewind(
    site: Here, caller: Operator, run_id: str, body: RewindRequest, if_match: IfMatch = None
) -> Any:
    """Undo what came after a step, and the step, then go forward again from there."""
    return _steered(site, caller, run_id, "rewind", body, if_match)


@router.post("/{run_id}/terminate", **_ANSWERS)
def terminate(
    site: Here, caller: Admin, run_id: str, body: TerminateRequest, if_match: IfMatch = None
) -> Any:
    """Abandon a run without undoing anything."""
    return _steered(site, caller, run_id, "terminate", body, if_match)


@router.post("/{run_id}/retry", **_ANSWERS)
def retry(
    site: Here,
    caller: Operator,
    run_id: str,
    body: Annotated[RetryRequest | None, Body()] = None,
    if_match: IfMatch = None,
) -> Any:
    """Retry what a failed run owes: one step, or all of them."""
    return _steered(site, caller, run_id, "retry", body or RetryRequest(), if_match)


@router.post("/{run_id}/waive", **_ANSWERS)
def waive(
    site: Here, caller: Operator, run_id: str, body: WaiveRequest, if_match: IfMatch = None
) -> Any:
    """Declare the owed compensation of a step settled."""
    return _steered(site, caller, run_id, "waive", body, if_match)


@router.post("/{run_id}/pause", **_ANSWERS)
def pause(
    site: Here,
    caller: Operator,
    run_id: str,
    body: Annotated[PauseRequest | None, Body()] = None,
    if_match: IfMatch = None,
) -> Any:
    """Start no further attempt, forward or back, until the run is resumed."""
    return _steered(site, caller, run_id, "pause", body or PauseRequest(), if_match)


@router.post("/{run_id}/resume", **_ANSWERS)
def resume(
    site: Here,
    caller: Operator,
    run_id: str,
    body: Annotated[ResumeRequest | None, Body()] = None,
    if_match: IfMatch = None,
) -> Any:
    """Continue a run that was paused."""
    return _steered(site, caller, run_id, "resume", body or ResumeRequest(), if_match)


@router.post("/{run_id}/skip", **_ANSWERS)
def skip(
    site: Here, caller: Operator, run_id: str, body: SkipRequest, if_match: IfMatch = None
) -> Any:
    """Go on as if a step had completed, because an operator took care of it."""
    return _steered(site, caller, run_id, "skip", body, if_match)


@router.post(
    "/{run_id}/fork",
    status_code=HTTPStatus.ACCEPTED,
    response_model=StartedRun,
    responses=answers(400, 404, 409),
)
def fork(
    site: Here, caller: Operator, run_id: str, body: ForkRequest, if_match: IfMatch = None
) -> Any:
    """Start a new run that takes over what this one did before a step."""
    version = _one_version(body.if_version, if_match)
    asked = body.model_copy(update={"if_version": version})
    try:
        run = site.sagas.run(run_id).fork(**asked.model_dump(), by=caller.name)
    except ChangedSince as error:
        return _moved_on(site, run_id, error)
    return StartedRun.model_validate({**run_document(run.state()), "joined": run.joined})


@router.post("/{run_id}/signal", responses=answers(400, 404, 409))
def signal(site: Here, caller: Approver, run_id: str, body: SignalRequest) -> SignalAnswer:
    """Send a signal to a run, such as an approval that it waits for.

    An approver answers what is asked now; nothing of theirs is kept for a wait that is to come.
    """
    run, step = site.sagas.run(run_id), body.step
    if step is None and body.asked is None and not caller.may(Permission.ACT):
        step = _asked_now(run, caller, body.name)
    options: Any = {"id": body.id, "step": step, "asked": body.asked, "by": caller.name}
    told = run.signal(body.name, body.payload, **options)
    return SignalAnswer(answer=str(told))


def _asked_now(run: RunHandle[Any], caller: Caller, name: str) -> str:
    """Return the wait that is open for a signal; raise Refusal if none is."""
    found = next((each.step for each in run.questions() if each.signal == name), None)
    if found is None:
        text = f"{caller.name} is {caller.role.value} here, and only answers what is asked now"
        raise Refusal(HTTPStatus.FORBIDDEN, "forbidden", text)
    return found


#: What each verb takes, by the name of the handle's method, the route and the command.
VERBS: dict[str, type[BaseModel]] = {
    "cancel": CancelRequest,
    "rewind": RewindRequest,
    "terminate": TerminateRequest,
    "retry": RetryRequest,
    "waive": WaiveRequest,
    "pause": PauseRequest,
    "resume": ResumeRequest,
    "skip": SkipRequest,
}
