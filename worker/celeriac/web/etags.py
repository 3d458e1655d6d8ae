"""Answers that somebody polls: what has not changed is not sent again.

Owns: an ETag for each JSON answer to a GET, and 304 for whoever has it.  Refuses to know: what is
answered.  A stream and a page are passed on as they come.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Etags:
    """Compares what is answered with what the caller has."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        known = Headers(scope=scope).get("If-None-Match", "")
        kept = _Kept(send, known)
        await self.app(scope, receive, kept.send)


class _Kept:
    """Keeps an answer back until it is whole."""

    def __init__(self, send: Send, known: str) -> None:
        self._send, self._known = send, known
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        if message["type"] == "http.response.start" and _is_json(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._answer(self._start)

    async def _answer(self, start: Message) -> None:
        headers = MutableHeaders(scope=start)
        digest = hashlib.blake2b(self._body, digest_size=12).hexdigest()
        etag = headers.setdefault("ETag", f'"{digest}"')
        body = bytes(self._body)
        if is_known(etag, self._known):
            start["status"], body = HTTPStatus.NOT_MODIFIED.value, b""
            del headers["Content-Length"]
            del headers["Content-Type"]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def is_known(etag: str, known: str) -> bool:
    """Whether a caller has what is answered; *known* is their If-None-Match."""
    return known.strip() == "*" or etag in [
        each.strip().removeprefix("W/") for each in known.split(",")
    ]


def _is_json(message: Message) -> bool:
    headers = Headers(scope=message)
    plain = headers.get("Content-Type", "").partition(";")[0] == "application/json"
    return message["status"] == HTTPStatus.OK and plain
