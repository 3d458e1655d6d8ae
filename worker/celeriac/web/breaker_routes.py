"""Gates over HTTP: how limits, rates and breakers stand, setting a breaker, and their pages.

Owns: these routes, for programs and for people.  Refuses to know: when a breaker opens by itself
(`gating`).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from celeriac.errors import InputInvalid
from celeriac.views import GateDetails, GateState
from celeriac.web.access import Permission
from celeriac.web.csrf import check_token
from celeriac.web.problems import answers, problem_of
from celeriac.web.rendering import page
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Admin, Here, Site, Viewer, allowed, path_of

if TYPE_CHECKING:
    from celeriac.web.access import Caller

router = APIRouter(route_class=SegmentRoute, tags=["breakers"])
pages = APIRouter(route_class=SegmentRoute, include_in_schema=False)


class GateList(BaseModel):
    """All gates that the code or the store knows."""

    gates: list[GateState]


class Circuits(BaseModel):
    """How all breakers stand, for probes."""

    status: Literal["ok", "open"] = Field(description="`open` if one of them lets nothing through")
    circuits: dict[str, Literal["closed", "open", "half_open"]]


_OPEN: dict[int | str, dict[str, Any]] = {
    503: {**answers()[503], "model": Circuits},
    500: answers()[500],
}


# --- for programs ------------------------------------------------------------------------------


@router.get("/health/circuits", responses=_OPEN)
def circuits(site: Here, response: Response) -> Circuits:
    """Return how the breakers stand; 503 while one lets nothing through."""
    found = {each.name: each.state for each in site.sagas.gates() if each.state}
    if "open" not in found.values():
        return Circuits(status="ok", circuits=found)
    response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Circuits(status="open", circuits=found)


@router.get("/api/breakers", responses=answers())
def breakers(site: Here, caller: Viewer) -> GateList:  # noqa: ARG001
    """Return all limits, rates and breakers, by name."""
    return _all(site)


@router.get("/api/breakers/{name}", responses=answers(404))
def breaker(site: Here, caller: Viewer, name: str) -> GateDetails:  # noqa: ARG001
    """Return one of them: how it stands, who has a place, and who waits."""
    return site.sagas.gate(name)


@router.post("/api/breakers/{name}/open", responses=answers())
def open_breaker(site: Here, caller: Admin, name: str) -> GateList:
    """Let nothing through a breaker until somebody closes it."""
    site.sagas.open_breaker(name, by=caller.name)
    return _all(site)


@router.post("/api/breakers/{name}/close", responses=answers())
def close_breaker(site: Here, caller: Admin, name: str) -> GateList:
    """Let everything through a breaker again, those who wait first."""
    site.sagas.close_breaker(name, by=caller.name)
    return _all(site)


def _all(site: Site) -> GateList:
    return GateList(gates=site.sagas.gates())


# --- for people --------------------------------------------------------------------------------


@pages.get("/breakers")
def gates(site: Here, caller: Viewer, request: Request) -> Response:
    """Show all limits, rates and breakers, how they stand, and how many wait."""
    return _list(site, caller, request)


def _list(
    site: Site, caller: Caller, request: Request, status: int = HTTPStatus.OK, notice: str = ""
) -> Response:
    found = site.looks.of(request, ("breakers",), site.sagas.gates)
    own = path_of(request, "breakers")
    return page(request, "breakers.html", caller, status, own, gates=found, notice=notice)


@pages.get("/breakers/{name}")
def gate(site: Here, caller: Viewer, request: Request, name: str) -> Response:
    """Show one: how it stands, who has a place, and who waits."""
    found = site.looks.of(request, ("breaker", name), lambda: site.sagas.gate(name))
    acts = caller.may(Permission.ADMINISTER)
    return page(request, "breaker.html", caller, gate=found, acts=acts)


@pages.post("/breakers/{name}/open", name="breaker open")
async def open_by_form(site: Here, request: Request, name: str) -> Response:
    """Open a breaker as a form says it."""
    return await _by_form(site, request, name, "open")


@pages.post("/breakers/{name}/close", name="breaker close")
async def close_by_form(site: Here, request: Request, name: str) -> Response:
    """Close a breaker as a form says it."""
    return await _by_form(site, request, name, "close")


async def _by_form(site: Site, request: Request, name: str, verb: str) -> Response:
    caller = await run_in_threadpool(allowed, request, Permission.ADMINISTER)
    form = await request.form()
    check_token(request, form.get("csrf"))
    return await run_in_threadpool(_set, site, caller, request, name, verb)


def _set(site: Site, caller: Caller, request: Request, name: str, verb: str) -> Response:
    """Do it, and show the gate; if it was refused, all of them with the reason."""
    do = site.sagas.open_breaker if verb == "open" else site.sagas.close_breaker
    try:
        do(name, by=caller.name)
    except InputInvalid as error:
        return _list(site, caller, request, problem_of(error).status, f"Nothing was done: {error}")
    return RedirectResponse(path_of(request, "breakers", name), HTTPStatus.SEE_OTHER)
