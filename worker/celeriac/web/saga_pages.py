"""The pages of sagas: all that the application defines, and one, with its newest runs and a start.

Owns: these pages and the form that starts a run.  Refuses to know: what a start does.
"""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from celeriac.errors import InputInvalid, PayloadTooLarge, RunConflict, RunExists
from celeriac.views import graph_of
from celeriac.web.access import Permission
from celeriac.web.csrf import check_token
from celeriac.web.marks import grid
from celeriac.web.problems import problem_of
from celeriac.web.reading_routes import saga_document, saga_documents
from celeriac.web.rendering import page
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here, Site, Viewer, allowed, path_of

if TYPE_CHECKING:
    from celeriac.web.access import Caller

router = APIRouter(route_class=SegmentRoute, include_in_schema=False)

_NEWEST = 50  # runs on the page of a saga


@router.get("/sagas")
def sagas(site: Here, caller: Viewer, request: Request) -> Response:
    """Show the sagas of this application, each with its picture."""
    documents = saga_documents(site)
    graphs = {name: graph_of(each.planned.plan) for name, each in site.sagas.defined.items()}
    return page(request, "sagas.html", caller, sagas=documents, graphs=graphs)


@router.get("/sagas/{name}")
def saga(site: Here, caller: Viewer, request: Request, name: str) -> Response:
    """Show one saga: its picture, its newest runs step by step, and a form to start one."""
    return _page(site, caller, request, name)


def _page(
    site: Site,
    caller: Caller,
    request: Request,
    name: str,
    status: int = HTTPStatus.OK,
    notice: str = "",
    filled_in: dict[str, str] | None = None,
) -> Response:
    document = saga_document(site, name)
    return page(
        request,
        "saga.html",
        caller,
        status,
        path_of(request, "sagas", name),
        saga=document,
        graph=graph_of(site.sagas.defined[name].planned.plan),
        grid=grid(site.sagas.runs(saga=name, limit=_NEWEST).states(failures=False), document.plan),
        took=site.figures.of(
            f"durations of {name}", lambda: next(iter(site.sagas.durations(name, steps=True)), None)
        ),
        acts=caller.may(Permission.ACT),
        notice=notice,
        # A form that is sent twice starts one run.
        filled_in={"id": str(uuid.uuid4()), "input": _sample(document.parameters), "tags": ""}
        | (filled_in or {}),
    )


def _sample(parameters: list[str]) -> str:
    """The form of an input, to be filled in."""
    if len(parameters) < 2:  # noqa: PLR2004 -- one is given as it is, without its name
        return "{}" if parameters else ""
    return "{" + ", ".join(f'"{each}": null' for each in parameters) + "}"


@router.post("/sagas/{name}")
async def start(site: Here, request: Request, name: str) -> Response:
    """Start a run as the form was filled in, and show it."""
    caller = await run_in_threadpool(allowed, request, Permission.ACT)
    form = await request.form()
    check_token(request, form.get("csrf"))
    fields = {each: str(value) for each, value in form.items() if each != "csrf"}
    return await run_in_threadpool(_start, site, caller, request, name, fields)


def _start(
    site: Site, caller: Caller, request: Request, name: str, fields: dict[str, str]
) -> Response:
    saga_document(site, name)  # or it is not found
    try:
        options: Any = {"id": fields.get("id") or None, "tags": _tags(fields.get("tags", ""))}
        options["started_by"] = caller.name
        text, defined = fields.get("input", "").strip(), site.sagas.defined[name]
        run = defined.start_json(text, **options) if text else defined.start(**options)
    except (InputInvalid, PayloadTooLarge, RunConflict, RunExists) as error:
        told = f"Nothing was started: {error}"
        status = problem_of(error).status
        return _page(site, caller, request, name, status, told, fields)
    return RedirectResponse(path_of(request, "runs", run.id), HTTPStatus.SEE_OTHER)


def _tags(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in text.split():
        name, colon, value = each.partition(":")
        if not colon:
            raise InputInvalid(f"tags: give name:value, not {each!r}")
        found[name] = value
    return found
