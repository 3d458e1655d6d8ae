"""Results from outside that are waited for: which, and answering in place of whoever was asked.

Owns: the route that lists them, and the page.  Refuses to know: tokens: none is kept or shown, and
whoever has one types it in.  Without a token an operator skips the step, with the result that was
wanted.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from celeriac.errors import InputInvalid, TokenRefused, TokenUnknown
from celeriac.views import times
from celeriac.web.access import Permission
from celeriac.web.csrf import check_token
from celeriac.web.forms import OutsideList
from celeriac.web.guesses import TooManyGuesses
from celeriac.web.problems import answers, problem_of
from celeriac.web.rendering import page
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here, Site, Viewer, allowed, path_of, too_many

if TYPE_CHECKING:
    from celeriac.errors import SagaError
    from celeriac.web.access import Caller

router = APIRouter(route_class=SegmentRoute)


@router.get("/api/completions", tags=["results from outside"], responses=answers())
def completions(
    site: Here,
    caller: Viewer,  # noqa: ARG001
    cursor: Annotated[str | None, Query(description="of the page before")] = None,
) -> OutsideList:
    """Return the steps that wait for a result from outside, those of the newest runs first."""
    found = site.sagas.completions(cursor=cursor)
    told = [{**each.model_dump(), "until": times.iso(each.until)} for each in found]
    return OutsideList.model_validate({"completions": told, "cursor": found.cursor})


@router.get("/outside", include_in_schema=False)
def overview(site: Here, caller: Viewer, request: Request) -> Response:
    """Show what is waited for."""
    return _page(site, caller, request)


def _page(
    site: Site, caller: Caller, request: Request, status: int = 200, notice: str = ""
) -> Response:
    found = site.sagas.completions(cursor=request.query_params.get("cursor") or None)
    return page(
        request,
        "outside.html",
        caller,
        status,
        path_of(request, "outside"),
        found=found,
        cursor=found.cursor,
        acts=caller.may(Permission.ACT),
        notice=notice,
        done=request.query_params.get("done") == "true",
    )


@router.post("/outside", include_in_schema=False)
async def bring(site: Here, request: Request) -> Response:
    """Bring a result, or a failure, for whoever has the token."""
    caller = await run_in_threadpool(allowed, request, Permission.ACT)
    form = await request.form()
    check_token(request, form.get("csrf"))
    fields = {name: str(value) for name, value in form.items()}
    return await run_in_threadpool(_bring, site, caller, request, fields)


def _bring(site: Site, caller: Caller, request: Request, fields: dict[str, Any]) -> Response:
    address = request.client.host if request.client else ""
    try:
        site.tokens.refuse(address)
    except TooManyGuesses as error:
        raise too_many(error) from None
    token = fields.get("token", "").strip()
    try:
        if fields.get("how") == "fail":
            told = fields.get("message") or f"as {caller.name} says"
            site.sagas.fail(token, told, by=caller.name)
        else:
            site.sagas.complete(token, _result(fields.get("result", "")), by=caller.name)
    except (InputInvalid, TokenRefused) as error:
        if isinstance(error, TokenUnknown):
            site.tokens.was_wrong(address)
        return _refused(site, caller, request, error)
    return RedirectResponse(f"{path_of(request, 'outside')}?done=true", HTTPStatus.SEE_OTHER)


def _result(text: str) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        raise InputInvalid('result: write JSON, such as {"paid": true}, "text" or null') from None


def _refused(site: Site, caller: Caller, request: Request, error: SagaError) -> Response:
    status = problem_of(error).status
    return _page(site, caller, request, status, f"Nothing was done: {error}")
