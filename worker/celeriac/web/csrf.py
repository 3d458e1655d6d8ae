"""That a form was made by a page of ours, for this browser.

Owns: the token, in a cookie and in each form.  Refuses to know: what the forms do.

The guard has already refused what a browser says comes from elsewhere; this holds for browsers
that do not say.
"""

from __future__ import annotations

import hmac
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

from celeriac.web.problems import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_COOKIE = "celeriac_csrf"
_SHORTEST = 20  # characters


def token_of(request: Request) -> str:
    """Return the token of this browser; a new one if it has none."""
    known = request.cookies.get(_COOKIE, "")
    if len(known) < _SHORTEST:
        known = request.scope.setdefault("celeriac_csrf", secrets.token_urlsafe(24))
    return known


def keep_token(request: Request, response: Response) -> None:
    """Let the browser keep its token."""
    if request.cookies.get(_COOKIE) != token_of(request):
        response.set_cookie(
            _COOKIE,
            token_of(request),
            path=str(request.scope.get("root_path", "")) or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )


def check_token(request: Request, given: object) -> None:
    """Raise Refusal unless a form came with the token of this browser."""
    known = request.cookies.get(_COOKIE, "")
    text = given if isinstance(given, str) else ""
    if len(known) < _SHORTEST or not hmac.compare_digest(known.encode(), text.encode()):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "stale_form",
            "this form is too old, or another site made it: nothing was done; go back, load the "
            "page again, and repeat it if it still is what you want",
        )
