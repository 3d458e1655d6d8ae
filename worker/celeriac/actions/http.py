"""`http`: one request, in one attempt.

Owns: sending it once, within a time and up to a size, and what an answer means: done, not done, or
nobody knows.  Refuses to know: whether it is tried again.

No redirects, no proxies of the environment, no retries of the library, no compressed bodies.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from celeriac.actions.addresses import check_host
from celeriac.actions.connecting import Transport, http_library, unlogged
from celeriac.actions.filling import filled
from celeriac.actions.performing import key_of, told_without
from celeriac.actions.requests import SAFE, HttpRequest, HttpResult
from celeriac.actions.secrets import Secrets
from celeriac.errors import Abort, ActionFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.actions.filling import Hole
    from celeriac.actions.requests import Allowance
    from celeriac.context import StepContext

_AGAIN = {408, 409, 425, 429}  # of the answers that say it is the client's fault
_KEPT = ("content-type", "etag", "location", "last-modified")  # headers of a result
_LARGEST_HEADERS = 2_000  # characters of one


def do_http(
    ctx: StepContext,
    asked: dict[str, Any],
    holes: list[Hole],
    allowed: Allowance,
    *,
    undo: Any = None,
) -> HttpResult:
    """Send the request, and return its answer; *undo* is what the step gave that is undone."""
    secrets = Secrets(allowed)
    with told_without(secrets):
        request = HttpRequest.model_validate(filled(asked, holes, secrets, undo), by_alias=True)
        found = secrets.masked(send(request, key_of(ctx, undo), allowed).model_dump())
        # Cut when it is masked: half a secret is not found.
        short = {name: text[:_LARGEST_HEADERS] for name, text in found["headers"].items()}
        return HttpResult(**found | {"headers": short})


def undo_http(
    ctx: StepContext, asked: dict[str, Any], holes: list[Hole], allowed: Allowance, result: Any
) -> None:
    """Send the request that undoes another one."""
    do_http(ctx, asked, holes, allowed, undo={} if result is None else result)


def send(request: HttpRequest, key: str, allowed: Allowance) -> HttpResult:
    """Send a request once, and return its answer.

    Raises Abort for an answer that another attempt would get as well, and ActionFailed for all that
    is worth another one, or of which nobody knows whether it was done.
    """
    httpx, httpcore = http_library()
    safe = request.method in SAFE
    transport = Transport(httpx, httpcore, allowed)
    headers = {"Accept-Encoding": "identity", **request.headers}
    if not safe and request.key_header:
        headers.setdefault(request.key_header, key)
    check_url(request.url, allowed)
    made = transport.made(request.seconds)
    content = None if request.text is None else request.text.encode()
    try:
        # As the library reads it, which connects: two readers may find two hosts in one text.
        check_host(httpx.URL(request.url).host, allowed.hosts)
        with (
            unlogged(),
            httpx.Client(
                transport=made,
                trust_env=False,
                follow_redirects=False,
                timeout=request.seconds,
            ) as client,
            client.stream(
                request.method,
                request.url,
                headers=headers,
                params=request.params or None,
                json=request.json_,
                content=content,
            ) as response,
        ):
            return _answer(request, response)
    except httpcore.LocalProtocolError:  # its text holds the header
        problem = "a header holds what no header can, such as a line break"
        raise Abort(problem, code="value_refused", effect=False) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpcore.UnsupportedProtocol) as error:
        raise Abort(f"the URL is refused: {error}", code="host_refused", effect=False) from None
    except (httpx.HTTPError, httpcore.TimeoutException, httpcore.NetworkError, OSError,
            httpcore.ProtocolError, ValueError) as error:  # fmt: skip
        raise _failed(error, sent=transport.sent, safe=safe) from None


def check_url(url: str, allowed: Allowance) -> None:
    """Raise Abort, without effect, unless a URL may be asked."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise Abort(f"the URL is refused: {error}", code="host_refused", effect=False) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Abort(
            "a URL begins with https:// or http:// and a host", code="host_refused", effect=False
        )
    if parts.username is not None or parts.password is not None:
        raise Abort("a URL holds no user: send a header", code="host_refused", effect=False)
    check_host(parts.hostname, allowed.hosts)


def _failed(error: Exception, *, sent: bool, safe: bool) -> ActionFailed:
    kind = type(error).__name__
    if not sent:
        return ActionFailed(f"nothing was sent ({kind}: {error})", code="unreached", effect=False)
    if safe:
        return ActionFailed(f"no answer came ({kind})", code="no_answer", effect=False)
    return ActionFailed(
        f"it was sent, and no answer came ({kind}): nobody knows whether it was done",
        code="no_answer",
        unknown=True,
    )


def _answer(request: HttpRequest, response: Any) -> HttpResult:
    status = response.status_code
    if 300 <= status < 400:  # noqa: PLR2004 -- redirects
        raise Abort(
            f"the answer is {status}, which leads elsewhere: redirects are not followed, write the "
            "URL that is meant",
            code=f"http_{status}",
            effect=False if request.method in SAFE else None,
        )
    body = b"".join(_bounded(request, response))
    if status >= 500 or status in _AGAIN:  # noqa: PLR2004 -- the server's fault
        none = request.method in SAFE or status in _AGAIN
        raise ActionFailed(
            f"the answer is {status}", code=f"http_{status}", effect=False if none else None
        )
    if status >= 400:  # noqa: PLR2004 -- the client's fault
        raise Abort(f"the answer is {status}", code=f"http_{status}", effect=False)
    headers = {name: response.headers[name] for name in _KEPT if name in response.headers}
    return HttpResult(
        status=status, headers=headers, body=_read(body, headers.get("content-type", ""))
    )


def _bounded(request: HttpRequest, response: Any) -> Iterator[bytes]:
    size = 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > request.max_bytes:
            raise Abort(
                f"the answer has more than {request.max_bytes} bytes: ask for less, or raise "
                "max_bytes",
                code="too_large",
                effect=False if request.method in SAFE else None,
            )
        yield chunk


def _read(body: bytes, kind: str) -> Any:
    if not body:
        return None
    text = body.decode(errors="replace")
    if "json" in kind:
        try:
            return json.loads(text, parse_constant=str)
        except (ValueError, RecursionError):
            return text
    return text
