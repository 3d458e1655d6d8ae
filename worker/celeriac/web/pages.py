"""The pages of runs: all of them, one, its history, and the forms that steer it.

Owns: what stands on each page, and what its forms do.  Refuses to know: how it looks (`templates`,
`static`), and what a verb does.  A page shows nothing that the HTTP API does not give.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from celeriac.app import BULK_VERBS
from celeriac.errors import ChangedSince, CommandRefused, InputInvalid
from celeriac.machine import RunStatus
from celeriac.views import history_lines, wording
from celeriac.web.access import Permission, permission_of
from celeriac.web.acting_routes import VERBS, steer
from celeriac.web.attempts import rows_of, tries_of
from celeriac.web.bulk_routes import first_mistake
from celeriac.web.chosen_step import parts_of
from celeriac.web.csrf import check_token
from celeriac.web.forms import RunQuery
from celeriac.web.offers import options_for
from celeriac.web.problems import Refusal
from celeriac.web.reading_routes import filters, place
from celeriac.web.rendering import page
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here, Site, Viewer, allowed, path_of
from celeriac.workers import task_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.machine import Run
    from celeriac.views import RunState, StepView
    from celeriac.web.access import Caller
    from celeriac.web.attempts import Try

router = APIRouter(route_class=SegmentRoute, include_in_schema=False)

_EVENTS = 60  # newest lines of the history on the page of a run
_WHOLE = 1_000  # events that are read for them; of a longer history only the newest are
_NEWEST = 400
_PAGE = 200  # events on a page of a history
#: What people look for most, as filters.
_VIEWS = (
    ("All", ""),
    ("Needs attention", "?owed=true&asking=true"),
    ("Past deadline", "?past_deadline=true"),
    ("Awaits an answer", "?awaiting=true"),
    ("Being undone", "?status=compensating"),
    ("No progress for 15 min", "?idle=15m"),
    ("Paused", "?status=paused"),
)


@router.get("/runs")
def runs(site: Here, caller: Viewer, request: Request) -> Response:
    """Show a page of runs, newest first; the filters are those of the API."""
    params = request.query_params
    asked = {key: [v for v in params.getlist(key) if v] for key in params}
    try:
        query = RunQuery.model_validate(
            {
                key: values if key in ("status", "tag") else values[0]
                for key, values in asked.items()
                if values
            }
        )
    except ValueError as error:
        raise InputInvalid(f"these filters make no sense: {first_mistake(error)}") from None
    found, cursor = site.looks.of(
        request, ("runs", request.url.query), lambda: _some_runs(site, query)
    )
    return page(
        request,
        "runs.html",
        caller,
        runs=found,
        cursor=cursor,
        query=query,
        asked=[(k, v) for k in asked if k not in ("cursor", "limit") for v in asked[k]],
        paging=[("limit", str(query.limit))] if "limit" in query.model_fields_set else [],
        views=_VIEWS,
        here_search=f"?{request.url.query}" if request.url.query else "",
        acts=caller.may(Permission.ACT),
        verbs=[verb for verb in BULK_VERBS if caller.may(permission_of(verb))],
        statuses=list(RunStatus),
        sagas=sorted({*site.sagas.defined, *({query.saga} if query.saga else ())}),
    )


def _some_runs(site: Site, query: RunQuery) -> tuple[tuple[RunState, ...], str | None]:
    found = site.sagas.runs(**filters(query), limit=query.limit, cursor=query.cursor)
    return found.states(), found.cursor


@router.get("/runs/{run_id}")
def run(site: Here, caller: Viewer, request: Request, run_id: str) -> Response:
    """Show one run: what it is at, what may be done, its picture, steps and history."""
    return _run_page(site, caller, request, run_id)


@router.get("/runs/{run_id}/history")
def history(site: Here, caller: Viewer, request: Request, run_id: str) -> Response:
    """Show all that happened to a run, oldest first: each event, or (`fold`) in few lines."""
    first = place(request.query_params.get("cursor") or None)
    fold = request.query_params.get("fold") == "true"
    handle = site.sagas.run(run_id)
    state, events = handle.state(), handle.history(first, _PAGE + 1)
    maps = [step.name for step in state.steps if step.elements]
    lines = history_lines(events[:_PAGE], fold=fold, known=maps)
    return page(
        request,
        "history.html",
        caller,
        state=state,
        lines=lines,
        first=first,
        fold=fold,
        cursor=first + _PAGE if len(events) > _PAGE else None,
    )


def _run_page(
    site: Site, caller: Caller, request: Request, run_id: str, status: int = 200, notice: str = ""
) -> Response:
    handle = site.sagas.run(run_id)
    state = handle.state()
    whole = state.run_version <= _WHOLE
    maps = [step.name for step in state.steps if step.elements]
    events = handle.history(0 if whole else -_NEWEST)
    plan, found, now = handle.look()
    rows, more = rows_of(state, plan, events, now)
    lines = history_lines(events, known=maps)
    steps = {step.name: step for step in state.steps}
    chosen = steps.get(request.query_params.get("step", "")) or steps.get(state.failed_step or "")
    payloads = None
    if caller.sees_payloads(opened=site.opened):
        payloads = site.payloads_of(handle.export(payloads=True))
    done = request.query_params.get("done", "")
    return page(
        request,
        "run.html",
        caller,
        status,
        path_of(request, "runs", run_id),
        state=state,
        facts=wording.facts(_told(state, payloads)),
        graph=handle.graph(),
        options=options_for(state, caller),
        chosen=chosen,
        tries=chosen
        and [
            (each, _in_flower(site, found, chosen, each)) for each in tries_of(events, chosen.name)
        ],
        payloads=payloads,
        parts=chosen and payloads and parts_of(plan, found, chosen, payloads, site.redaction),
        lines=lines[-_EVENTS:],
        numbered=whole,
        rows=rows,
        more_rows=more,
        earlier=not whole or len(lines) > _EVENTS,
        notice=notice,
        done=done if done in VERBS else "",
    )


def _in_flower(site: Site, run: Run, step: StepView, found: Try) -> str:
    """Where Flower shows the task of an attempt; empty if that is not known, or it is none."""
    flower = site.sagas.runtime.settings.flower_url
    if flower is None or step.child or not step.task:
        return ""
    sent = f".{found.sends + 1}" if found.sends else ""
    task = f"{task_id(run, step.name, found.phase, found.attempt)}{sent}"
    return f"{flower.rstrip('/')}/task/{quote(task, safe='')}"


def _told(state: RunState, payloads: Mapping[str, Any] | None) -> RunState:
    """The state with what may quote a payload as these tell it: its answer, and why it failed."""
    known = payloads or {}
    answer = None if state.answer is None else known.get(f"ans:{state.failed_step}")
    told = known.get("cause") or {}
    message = str(told.get("message", "")) if isinstance(told, dict) else ""
    failure = state.failure and state.failure.model_copy(update={"message": message})
    return state.model_copy(update={"answer": answer, "failure": failure})


# --- acting ------------------------------------------------------------------------------------


def _form_of(verb: str) -> Any:
    async def act(site: Here, request: Request, run_id: str) -> Response:
        caller = await run_in_threadpool(allowed, request, permission_of(verb))
        form = await request.form()
        check_token(request, form.get("csrf"))
        fields = {name: str(value) for name, value in form.items() if name != "csrf"}
        return await run_in_threadpool(_act, site, caller, request, run_id, verb, fields)

    return act


for _verb in VERBS:
    router.add_api_route(f"/runs/{{run_id}}/{_verb}", _form_of(_verb), methods=["POST"], name=_verb)


def _act(
    site: Site, caller: Caller, request: Request, run_id: str, verb: str, fields: dict[str, Any]
) -> Response:
    """Give a command, and show the run again; if it was refused, with the reason."""
    try:
        if "result" in fields:
            fields["result"] = json.loads(fields["result"] or "null")
        asked = VERBS[verb].model_validate(
            {name: each for name, each in fields.items() if each != ""}
        )
    except ValueError as error:
        told = first_mistake(error) if hasattr(error, "errors") else f"result: no JSON ({error})"
        return _run_page(site, caller, request, run_id, HTTPStatus.UNPROCESSABLE_ENTITY, told)
    if getattr(asked, "if_version", None) is None:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "input_invalid", "a form names its version")
    try:
        steer(site, caller, run_id, verb, asked)
    except ChangedSince:
        told = "Nothing was done: the run has changed since you looked, to what you see below."
        return _run_page(site, caller, request, run_id, HTTPStatus.CONFLICT, told)
    except (CommandRefused, InputInvalid) as error:
        told = f"Nothing was done: {error}"
        return _run_page(site, caller, request, run_id, HTTPStatus.CONFLICT, told)
    return RedirectResponse(f"{path_of(request, 'runs', run_id)}?done={verb}", HTTPStatus.SEE_OTHER)
