"""Schedules over HTTP: how they stand, their verbs, and their page.

Owns: these routes, for programs and for people.  Refuses to know: what a verb does: that is the
schedule's method of the same name.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from celeriac.app import Schedule
from celeriac.errors import CommandRefused, InputInvalid
from celeriac.views import ScheduleEvent, ScheduleState
from celeriac.web.access import Permission
from celeriac.web.csrf import check_token
from celeriac.web.problems import answers
from celeriac.web.rendering import page
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here, Operator, Site, Viewer, allowed, path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.web.access import Caller

router = APIRouter(route_class=SegmentRoute, prefix="/api/schedules", tags=["schedules"])
pages = APIRouter(route_class=SegmentRoute, include_in_schema=False)

_SHOWN = 10  # events of a schedule on the page


class ScheduleList(BaseModel):
    """All schedules that the code or the store knows, but for those that were deleted."""

    schedules: list[ScheduleState]


class ScheduleDocument(ScheduleState):
    """A schedule, and what happened to it."""

    history: list[ScheduleEvent] = Field(description="the newest 200, oldest first")


class ReasonRequest(BaseModel):
    """Why something is done to a schedule."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=1000)


Why = Annotated[ReasonRequest | None, Body()]


class TriggerRequest(BaseModel):
    """A run that is to be started by hand."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(default=None, description="makes it repeatable")


class Triggered(BaseModel):
    """The run that was started, or that waits for the one before."""

    id: str


# --- for programs ------------------------------------------------------------------------------


@router.get("", responses=answers())
def schedules(site: Here, caller: Viewer) -> ScheduleList:  # noqa: ARG001
    """Return all schedules, by name."""
    return ScheduleList(schedules=site.sagas.schedules())


@router.get("/{name}", responses=answers(404))
def schedule(site: Here, caller: Viewer, name: str) -> ScheduleDocument:  # noqa: ARG001
    """Return one schedule, and what happened to its ticks."""
    return _document(site, name)


def _document(site: Site, name: str) -> ScheduleDocument:
    found = site.sagas.schedule_named(name)
    return ScheduleDocument(**found.state().model_dump(), history=found.history())


@router.post("/{name}/pause", responses=answers(400, 404, 409))
def pause(site: Here, caller: Operator, name: str, body: Why = None) -> ScheduleDocument:
    """Let its ticks start nothing until it is resumed."""
    return _steered(site, caller, name, Schedule.pause, body)


@router.post("/{name}/resume", responses=answers(400, 404, 409))
def resume(site: Here, caller: Operator, name: str, body: Why = None) -> ScheduleDocument:
    """Let its ticks start runs again; those that have passed are not filled in."""
    return _steered(site, caller, name, Schedule.resume, body)


@router.post("/{name}/delete", responses=answers(400, 404, 409))
def delete(site: Here, caller: Operator, name: str, body: Why = None) -> ScheduleDocument:
    """Let it be gone, though the code may have it, until it is resumed."""
    return _steered(site, caller, name, Schedule.delete, body)


def _steered(
    site: Site, caller: Caller, name: str, verb: Callable[..., None], body: ReasonRequest | None
) -> ScheduleDocument:
    verb(site.sagas.schedule_named(name), body.reason if body else "", by=caller.name)
    return _document(site, name)


@router.post("/{name}/trigger", status_code=HTTPStatus.ACCEPTED, responses=answers(400, 404, 409))
def trigger(
    site: Here, caller: Operator, name: str, body: Annotated[TriggerRequest | None, Body()] = None
) -> Triggered:
    """Start a run now; its ticks are as they were."""
    asked = body.id if body else None
    return Triggered(id=site.sagas.schedule_named(name).trigger(id=asked, by=caller.name))


# --- for people --------------------------------------------------------------------------------


@pages.get("/schedules")
def overview(site: Here, caller: Viewer, request: Request) -> Response:
    """Show all schedules, their next ticks, and what became of the last ones."""
    return _page(site, caller, request)


def _page(
    site: Site, caller: Caller, request: Request, status: int = 200, notice: str = ""
) -> Response:
    found = site.sagas.schedules()
    told = {each.name: site.sagas.schedule_named(each.name).history()[-_SHOWN:] for each in found}
    acts = caller.may(Permission.ACT)
    done = request.query_params.get("done", "")
    return page(
        request,
        "schedules.html",
        caller,
        status,
        path_of(request, "schedules"),
        schedules=found,
        told=told,
        acts=acts,
        notice=notice,
        done=done if done in _VERBS else "",
    )


_VERBS = ("pause", "resume", "trigger", "delete")


def _form_of(verb: str) -> Any:
    async def act(site: Here, request: Request, name: str) -> Response:
        caller = await run_in_threadpool(allowed, request, Permission.ACT)
        form = await request.form()
        check_token(request, form.get("csrf"))
        reason = str(form.get("reason") or "")
        return await run_in_threadpool(_act, site, caller, request, name, verb, reason)

    return act


for _verb in _VERBS:
    path = f"/schedules/{{name}}/{_verb}"
    pages.add_api_route(path, _form_of(_verb), methods=["POST"], name=f"schedule {_verb}")


def _act(
    site: Site, caller: Caller, request: Request, name: str, verb: str, reason: str
) -> Response:
    """Do it, and show the schedules again; if it was refused, with the reason."""
    found = site.sagas.schedule_named(name)
    given = () if verb == "trigger" else (reason,)
    try:
        getattr(found, verb)(*given, by=caller.name)
    except (CommandRefused, InputInvalid) as error:
        told = f"Nothing was done: {error}"
        return _page(site, caller, request, HTTPStatus.CONFLICT, told)
    return RedirectResponse(f"{path_of(request, 'schedules')}?done={verb}", HTTPStatus.SEE_OTHER)
