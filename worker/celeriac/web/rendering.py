"""Pages as HTML: the templates, and what they may call.

Owns: the environment of the templates and the words of the pages' own filters.  Refuses to know:
what is on a page.  Every string is escaped, whatever it holds.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from celeriac.observing import clean
from celeriac.views import draw, times, wording
from celeriac.web import charts, marks
from celeriac.web.csrf import keep_token, token_of
from celeriac.web.problems import Refusal
from celeriac.web.site import caller_of, path_of, site_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from celeriac.views import Graph
    from celeriac.web.access import Caller
    from celeriac.web.problems import Problem

_SMALL = 2_000  # bytes that are not worth it
STATIC = Path(__file__).parent / "static"


def page(
    request: Request,
    template: str,
    caller: Caller | None,
    status: int = HTTPStatus.OK,
    own: str = "",
    **content: Any,
) -> Response:
    """Return a page of *template*, for *caller*.

    *own* is where the page itself is, for one that may also be the answer to a form: the address
    of that takes no look, and loading it again would send the form again.
    """
    text = (
        _templates()
        .get_template(template)
        .render(
            **content,
            caller=caller,
            site=site_of(request),
            csrf=token_of(request),
            at=lambda *parts: path_of(request, *parts),
            here=request.url.path,
            own=own if request.method == "POST" else "",
        )
    )
    response = HTMLResponse(text, status)
    pack(request, response)
    keep_token(request, response)
    return response


def pack(request: Request, response: Response) -> None:
    """Compress an answer that one of our own pages, or somebody at the keyboard, has asked for.

    The size of what is compressed tells something of what is in it.  Whoever could make a browser
    ask us, and see how much comes back, is a page of another site: it gets nothing compressed.
    """
    body = bytes(response.body)
    accepts = "gzip" in request.headers.get("Accept-Encoding", "")
    ours = request.headers.get("Sec-Fetch-Site") in ("same-origin", "none")
    response.headers["Vary"] = "Accept-Encoding, Sec-Fetch-Site"
    if accepts and ours and len(body) > _SMALL:
        response.body = gzip.compress(body, 1, mtime=0)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(response.body))


def error_page(request: Request, problem: Problem) -> Response:
    """Return what went wrong as a page; it leads to what whoever asks may see, if that is known."""
    try:
        caller = caller_of(request)
    except Refusal:
        caller = None
    return page(request, "error.html", caller, problem.status, problem=problem)


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("celeriac.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ago": marks.ago,
        "exact": lambda time: times.iso(time) or "",
        "clean": lambda text: clean(str(text)),
        "shape": lambda status: marks.SHAPES.get(status, "•"),
        "tone": lambda status: marks.TONES.get(status, "none"),
        "sentence": lambda text: str(text)[:1].upper() + str(text)[1:],
        "spoken": lambda text: str(text).replace("_", " "),
        "due": times.due,
        "short": marks.short,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "drawn": _drawn,
        "need": wording.need,
        "awaited": wording.awaited,
        "counts": wording.counts,
        "took": marks.took,
        "hours": charts.hours,
        "ages": charts.ages,
        "slowest": charts.slowest,
        "lasted": marks.lasted,
        "timeline": charts.timeline,
    }
    for name in ("chip", "progress", "moment", "until", "coming", "run_rows"):
        made.globals[name] = getattr(marks, name)
    made.globals["asset"] = _asset
    return made


def _drawn(graph: Graph) -> Markup:
    """A picture to stand in the page: whoever draws it has escaped all names."""
    return Markup(draw(graph, "svg"))  # noqa: S704 -- see above


@cache
def _asset(name: str) -> str:
    """The name of a static file, with what changes when the file does."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"{name}?v={digest}"
