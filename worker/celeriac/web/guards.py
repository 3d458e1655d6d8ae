"""What stands before every route: where a request may come from, how large it may be, and headers.

Owns: checks of Host and Origin, the limit of bodies, the Content-Security-Policy and its sisters.
Refuses to know: who somebody is, and what a route does.

It is an ASGI middleware, so it also holds where another application has mounted ours.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from celeriac.web.login import is_loopback_host
from celeriac.web.problems import Refusal, answer, refusal_problem
from celeriac.web.segments import below_root, by_segments

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from celeriac.web.site import Site

#: Nothing from elsewhere, nothing inline, in no frame.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: a browser then hides the Origin of our own forms too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SAFE = ("GET", "HEAD", "OPTIONS")
_BODY_SPACE = 64 * 1024  # bytes beside the largest payload: tags, reasons, and how JSON is spelled


class Guard:
    """Refuses what must not get through, and puts headers on every answer."""

    def __init__(
        self, app: ASGIApp, site: Callable[[], Site], unforeseen: Callable[[Request], Response]
    ) -> None:
        """*unforeseen* is what a request is told whose error nobody has foreseen."""
        self.app, self._site, self._unforeseen = app, site, unforeseen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        scope["path"] = by_segments(scope)
        dressed = _Dressed(send, below_root(scope))
        limit = 4 * self._site().sagas.runtime.settings.max_payload + _BODY_SPACE
        counted = _Counted(receive, limit)

        async def told(message: Message) -> None:
            # Whoever reads a body takes its break for a client that went away.
            if not counted.over:
                await dressed(message)

        response = None
        try:
            self._check(scope, limit)
            await self.app(scope, counted, told)
        except Refusal as refusal:
            response = answer(refusal_problem(refusal))
        except Exception:
            # Whoever else would answer it stands outside, and knows nothing of our headers.
            if not counted.over:
                if not dressed.begun:
                    await self._unforeseen(Request(scope))(scope, receive, dressed)
                raise  # for the log of the server
        if counted.over:
            response = answer(refusal_problem(_too_large(limit)))
        if response is not None:
            await response(scope, receive, dressed)

    def _check(self, scope: Scope, limit: int) -> None:
        headers, site = Headers(scope=scope), self._site()
        host = headers.get("Host", "")
        probe = below_root(scope).startswith("/health/")
        if not site.login.asks and not probe and not is_loopback_host(_hostname(host)):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "local_only",
                f"without a login no other host than this machine is served, and not {host!r}",
            )
        if scope["method"] not in _SAFE and not _same_origin(headers, host, site.origins):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "other_origin",
                "a page of another site must not act here; if this one is behind a proxy that "
                "changes its name, name its origin (--origin)",
            )
        if "\0" in scope["path"]:  # no id holds it, and no file system takes it
            raise Refusal(HTTPStatus.NOT_FOUND, "not_found", "Not Found")
        length = headers.get("Content-Length", "0")
        if length.isdecimal() and int(length) > limit:
            raise _too_large(limit)


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _same_origin(headers: Headers, host: str, others: frozenset[str]) -> bool:
    """True unless a browser says that the request was made by a page of another site."""
    origin = headers.get("Origin")
    if origin is not None and origin in others:
        return True
    site = headers.get("Sec-Fetch-Site", "none")  # no page can forge it, but not all servers get it
    if site != "none":
        return site == "same-origin"
    try:
        return origin is None or urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # no browser sends what is no address
        return False


def _too_large(limit: int) -> Refusal:
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return Refusal(status, "body_too_large", f"the body is over {limit} bytes")


class _Dressed:
    """Sends an answer with the headers of every answer; *path* is what was asked for."""

    def __init__(self, send: Send, path: str) -> None:
        self._send, self._path = send, path
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            # The name of a static file changes with what is in it.
            kept = "max-age=86400" if self._path.startswith("/static/") else "no-store"
            headers.setdefault("Cache-Control", kept)
            if self._path.startswith("/api/completions"):  # it may hold a token
                headers["Referrer-Policy"] = "no-referrer"
        await self._send(message)


class _Counted:
    """Receives at most so many bytes, however they come; then the client seems to be gone."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left = receive, limit

    @property
    def over(self) -> bool:
        """True if there was more."""
        return self._left < 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.over else message
