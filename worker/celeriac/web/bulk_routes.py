"""One command for many runs over HTTP: a look, its confirmation, and how far it has got.

Owns: these routes, for programs and for people.  Refuses to know: which runs are found, and who
gives them the command (`sagas.bulk`).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from celeriac.app import BULK_VERBS, BulkVerb
from celeriac.errors import CommandRefused, InputInvalid
from celeriac.views import BulkState
from celeriac.web.access import Permission, permission_of
from celeriac.web.csrf import check_token
from celeriac.web.forms import BulkList, BulkRuns, BulkStart, LookRequest
from celeriac.web.problems import answers
from celeriac.web.reading_routes import filters, place
from celeriac.web.rendering import page
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here, Needs, Operator, Site, Viewer, allowed, path_of

if TYPE_CHECKING:
    from starlette.datastructures import FormData

    from celeriac.app import BulkCommand
    from celeriac.web.access import Caller

router = APIRouter(route_class=SegmentRoute, prefix="/api/bulk", tags=["many runs"])
pages = APIRouter(route_class=SegmentRoute, include_in_schema=False)

_SHOWN = 100  # runs on a page


# --- for programs ------------------------------------------------------------------------------


@router.get("", responses=answers())
def bulks(
    site: Here,
    caller: Viewer,  # noqa: ARG001
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> BulkList:
    """Return the commands for many runs that were looked at last, newest first."""
    return BulkList(bulks=site.sagas.bulks(limit))


def _look_of(verb: BulkVerb) -> Any:
    def look(site: Here, caller: Operator, body: LookRequest) -> BulkState:
        """Look which runs the command would be for; nothing is done to them yet.

        `POST /api/bulk/{id}/start` with `matched` as `expected` does it.
        """
        return _look(site, caller, verb, body).state()

    return look


for _verb in BULK_VERBS:
    router.add_api_route(
        f"/{_verb}",
        _look_of(_verb),
        methods=["POST"],
        name=f"look: {_verb}",
        status_code=HTTPStatus.CREATED,
        responses=answers(400),
        dependencies=[Depends(Needs(permission_of(_verb)))],
    )


def _look(site: Site, caller: Caller, verb: Any, body: LookRequest) -> BulkCommand:
    asked: dict[str, Any] = {"reason": body.reason, "rps": body.rps, "by": caller.name}
    if body.runs is not None:
        asked["runs"] = body.runs
    given = filters(body.filter) if body.filter else {}
    return site.sagas.bulk(verb, **given, **asked)


@router.get("/{bulk_id}", responses=answers(404))
def bulk(site: Here, caller: Viewer, bulk_id: str) -> BulkState:  # noqa: ARG001
    """Return how far a command for many runs has got."""
    return site.sagas.bulk_named(bulk_id).state()


@router.get("/{bulk_id}/runs", responses=answers(404))
def bulk_runs(
    site: Here,
    caller: Viewer,  # noqa: ARG001
    bulk_id: str,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="of the page before")] = None,
) -> BulkRuns:
    """Return a page of its runs, in the order of their turns, and what became of each."""
    first = place(cursor)
    found = site.sagas.bulk_named(bulk_id).runs(first, limit + 1)
    more = str(first + limit) if len(found) > limit else None
    return BulkRuns(runs=found[:limit], cursor=more)


@router.post("/{bulk_id}/start", status_code=HTTPStatus.ACCEPTED, responses=answers(400, 404, 409))
def start(
    request: Request, site: Here, caller: Operator, bulk_id: str, body: BulkStart
) -> BulkState:
    """Let the sweep give the command to the runs that were found; `expected` is how many."""
    found = _mine(site, request, bulk_id)
    found.start(body.expected, by=caller.name)
    return found.state()


@router.post("/{bulk_id}/stop", responses=answers(404))
def stop(request: Request, site: Here, caller: Operator, bulk_id: str) -> BulkState:
    """Let the runs that had no turn yet be as they are."""
    found = _mine(site, request, bulk_id)
    found.stop(by=caller.name)
    return found.state()


def _mine(site: Site, request: Request, bulk_id: str) -> BulkCommand:
    """A command that whoever asks may give."""
    found = site.sagas.bulk_named(bulk_id)
    allowed(request, permission_of(found.state().verb))
    return found


# --- for people --------------------------------------------------------------------------------


@pages.get("/bulk")
def overview(site: Here, caller: Viewer, request: Request) -> Response:
    """Show the commands for many runs that were looked at last."""
    return page(request, "bulks.html", caller, bulks=site.sagas.bulks())


@pages.get("/bulk/{bulk_id}")
def one(site: Here, caller: Viewer, request: Request, bulk_id: str) -> Response:
    """Show one: how many runs and which, to be confirmed; then how far it has got."""
    return _page(site, caller, request, bulk_id)


def _page(
    site: Site, caller: Caller, request: Request, bulk_id: str, status: int = 200, notice: str = ""
) -> Response:
    found = site.sagas.bulk_named(bulk_id)
    state, first = found.state(), place(request.query_params.get("cursor") or None)
    refused = request.query_params.get("only") == "refused"
    if refused:
        runs = [each for each in found.runs(0, state.matched) if each.outcome == "refused"]
        runs = runs[first : first + _SHOWN + 1]
    else:
        runs = found.runs(first, _SHOWN + 1)
    return page(
        request,
        "bulk.html",
        caller,
        status,
        path_of(request, "bulk", bulk_id),
        bulk=state,
        runs=runs[:_SHOWN],
        first=first,
        cursor=first + _SHOWN if len(runs) > _SHOWN else None,
        refused=refused,
        acts=caller.may(permission_of(state.verb)),
        notice=notice,
    )


@pages.post("/bulk")
async def ask(site: Here, request: Request) -> Response:
    """Look which runs a command would be for, and show them."""
    caller = await run_in_threadpool(allowed, request, Permission.ACT)
    form = await request.form(max_fields=1_000)
    check_token(request, form.get("csrf"))
    verb = str(form.get("verb") or "")
    if verb not in BULK_VERBS:
        raise InputInvalid(f"verb must be one of {', '.join(BULK_VERBS)}, not {verb!r}")
    await run_in_threadpool(allowed, request, permission_of(verb))
    asked = _asked(form)
    found = await run_in_threadpool(_look, site, caller, verb, asked)
    return RedirectResponse(path_of(request, "bulk", found.id), HTTPStatus.SEE_OTHER)


def _asked(form: FormData) -> LookRequest:
    """What a form asks for: the runs that were picked, or all that the page's filter finds."""
    fields: dict[str, Any] = {"reason": str(form.get("reason") or "")}
    if rps := str(form.get("rps") or ""):
        fields["rps"] = rps
    if form.get("which") == "picked":
        fields["runs"] = [str(each) for each in form.getlist("run")]
        if not fields["runs"]:
            raise InputInvalid("no run was picked: tick those that you mean, or take all of them")
    else:
        named = {name.removeprefix("filter.") for name in form if name.startswith("filter.")}
        given = {name: [str(each) for each in form.getlist(f"filter.{name}")] for name in named}
        fields["filter"] = {
            name: values if name in ("status", "tag") else values[0]
            for name, values in given.items()
        }
    try:
        return LookRequest.model_validate(fields)
    except ValueError as error:
        raise InputInvalid(f"this makes no sense: {first_mistake(error)}") from None


def first_mistake(error: Any) -> str:
    """Say what is wrong first in what was filled in."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


@pages.post("/bulk/{bulk_id}/start")
async def confirm(site: Here, request: Request, bulk_id: str) -> Response:
    """Begin it, for as many runs as the page has shown."""
    return await _steer(site, request, bulk_id, "start")


@pages.post("/bulk/{bulk_id}/stop")
async def end(site: Here, request: Request, bulk_id: str) -> Response:
    """Stop it."""
    return await _steer(site, request, bulk_id, "stop")


async def _steer(site: Site, request: Request, bulk_id: str, verb: str) -> Response:
    caller = await run_in_threadpool(allowed, request, Permission.ACT)
    form = await request.form()
    check_token(request, form.get("csrf"))
    expected = str(form.get("expected") or "")
    return await run_in_threadpool(_do, site, caller, request, bulk_id, verb, expected)


def _do(
    site: Site, caller: Caller, request: Request, bulk_id: str, verb: str, expected: str
) -> Response:
    found = _mine(site, request, bulk_id)
    if verb == "stop":
        found.stop(by=caller.name)
    else:
        if not (expected.isascii() and expected.isdecimal() and len(expected) < 10):  # noqa: PLR2004
            raise InputInvalid("a form says how many runs it is for")
        try:
            found.start(int(expected), by=caller.name)
        except CommandRefused as error:
            told = f"Nothing was done: {error}"
            return _page(site, caller, request, bulk_id, HTTPStatus.CONFLICT, told)
    return RedirectResponse(path_of(request, "bulk", bulk_id), HTTPStatus.SEE_OTHER)
