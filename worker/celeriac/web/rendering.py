"""Pages as HTML: the templates, and what they may call.

Owns: the environment of the templates and the words of the pages' own filters.  Refuses to know:
what is on a page.  Every string is escaped, whatever it holds.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from celeriac.machine import RunStatus, StepStatus
from celeriac.observing import clean
from celeriac.views import draw, times, wording
from celeriac.web import charts
from celeriac.web.csrf import keep_token, token_of
from celeriac.web.site import path_of, site_of

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from celeriac.views import Graph
    from celeriac.web.access import Caller
    from celeriac.web.problems import Problem

STATIC = Path(__file__).parent / "static"
_SHORT = 60  # characters of a value in a list

#: Each status has a shape beside its colour: a page must be readable without either.
_SHAPES: dict[str, str] = {
    RunStatus.RUNNING: "▶",
    RunStatus.WAITING: "…",
    RunStatus.PAUSED: "‖",
    RunStatus.COMPENSATING: "↶",
    RunStatus.COMPLETED: "✓",
    RunStatus.COMPENSATED: "⟲",
    RunStatus.FAILED: "!",
    RunStatus.TERMINATED: "■",
}
_TONES: dict[str, str] = {
    StepStatus.COMPLETED: "good",
    StepStatus.RUNNING: "busy",
    StepStatus.SCHEDULED: "busy",
    StepStatus.RETRYING: "unsure",
    StepStatus.UNKNOWN: "unsure",
    StepStatus.FAILED: "bad",
    StepStatus.COMPENSATION_FAILED: "bad",
    StepStatus.CONFIRMING: "busy",
    StepStatus.CONFIRMED: "good",
    StepStatus.CONFIRM_FAILED: "bad",
    StepStatus.COMPENSATING: "back",
    StepStatus.COMPENSATED: "undone",
    StepStatus.WAIVED: "undone",
    StepStatus.SKIPPED: "none",
    StepStatus.PENDING: "none",
}


def page(
    request: Request,
    template: str,
    caller: Caller | None,
    status: int = HTTPStatus.OK,
    **content: Any,
) -> Response:
    """Return a page of *template*, for *caller*."""
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
        )
    )
    response = HTMLResponse(text, status)
    keep_token(request, response)
    return response


def error_page(request: Request, problem: Problem) -> Response:
    """Return what went wrong as a page."""
    return page(request, "error.html", None, problem.status, problem=problem)


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
        "ago": _ago,
        "exact": lambda time: times.iso(time) or "",
        "clean": lambda text: clean(str(text)),
        "shape": lambda status: _SHAPES.get(status, "•"),
        "tone": lambda status: _TONES.get(status, "none"),
        "sentence": lambda text: str(text)[:1].upper() + str(text)[1:],
        "spoken": lambda text: str(text).replace("_", " "),
        "due": times.due,
        "short": _short,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "drawn": _drawn,
        "need": wording.need,
        "whereabouts": wording.whereabouts,
        "took": _took,
        "hours": charts.hours,
        "ages": charts.ages,
        "timeline": charts.timeline,
    }
    made.globals["asset"] = _asset
    return made


def _ago(time: datetime | None) -> str:
    return f"{times.age(time)} ago" if time else ""


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _took(state: Any) -> str:
    return times.span(((state.ended_at or state.changed_at) - state.started_at).total_seconds())


def _drawn(graph: Graph) -> Markup:
    """A picture to stand in the page: whoever draws it has escaped all names."""
    return Markup(draw(graph, "svg"))  # noqa: S704 -- see above


@cache
def _asset(name: str) -> str:
    """The name of a static file, with what changes when the file does."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"{name}?v={digest}"
