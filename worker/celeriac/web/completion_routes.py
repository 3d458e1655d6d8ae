"""The HTTP API for those outside: the result of a step, by the token of its attempt.

Owns: where the token stands in a request, and who is slowed down.  Refuses to know: what a token
is, and what follows from a result.

Nobody needs to log in here: the token is the right.  Who has, is named in the history.  A path
lands in the logs of servers and proxies, so the token may come in a header instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header
from starlette.requests import Request

from celeriac.errors import InputInvalid, TokenUnknown
from celeriac.web.forms import CompletionAnswer, CompletionRequest
from celeriac.web.guesses import TooManyGuesses
from celeriac.web.problems import answers
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here, too_many

if TYPE_CHECKING:
    from celeriac.web.site import Site

router = APIRouter(
    route_class=SegmentRoute, prefix="/api/completions", tags=["results from outside"]
)

SagaToken = Annotated[str, Header(description="what the step got as `ctx.token`", max_length=4_096)]


@router.post("", responses=answers(400, 404, 409, 410))
def complete(
    request: Request, site: Here, body: CompletionRequest, saga_token: SagaToken
) -> CompletionAnswer:
    """Bring the result of a step, or say how it failed; the token stands in a header."""
    return _taken(request, site, saga_token, body)


@router.post("/{token}", responses=answers(400, 404, 409, 410))
def complete_by_path(
    request: Request, site: Here, token: str, body: CompletionRequest
) -> CompletionAnswer:
    """Do the same, with the token in the path: for those who are given nothing but an address."""
    return _taken(request, site, token, body)


def _taken(request: Request, site: Site, token: str, body: CompletionRequest) -> CompletionAnswer:
    if ("result" in body.model_fields_set) is (body.error is not None):
        raise InputInvalid("give either a result or an error")
    address = request.client.host if request.client else ""
    try:
        site.tokens.refuse(address)
    except TooManyGuesses as error:
        raise too_many(error) from None
    by = _known(request, site)
    try:
        if body.error is None:
            site.sagas.complete(token, body.result, by=by)
        else:
            site.sagas.fail(token, **body.error.model_dump(), by=by)
    except TokenUnknown:
        site.tokens.was_wrong(address)
        raise
    return CompletionAnswer()


def _known(request: Request, site: Site) -> str:
    """Who brings a result, if anybody says so who is known here; nobody is refused for it."""
    if not site.login.asks:
        return ""
    try:
        caller = site.login.caller(request)
    except TooManyGuesses:
        return ""
    return caller.name if caller else ""
