"""The application: routes, guards and error answers put together.

Owns: `create_app`, and which answer each error gets.  Refuses to know: what the routes do.
"""

from __future__ import annotations

from http import HTTPStatus
from importlib import metadata
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.staticfiles import StaticFiles

from celeriac.errors import SagaError
from celeriac.web import (
    acting_routes,
    approvals,
    breaker_routes,
    bulk_routes,
    completion_routes,
    health_routes,
    outside,
    overview,
    pages,
    reading_routes,
    saga_pages,
    schedule_routes,
    stream_routes,
    system_page,
)
from celeriac.web.etags import Etags
from celeriac.web.guards import Guard
from celeriac.web.guesses import Guesses
from celeriac.web.live_looks import LiveLooks
from celeriac.web.login import Account, Login, TrustedProxy
from celeriac.web.problems import (
    Problem,
    Refusal,
    answer,
    mistakes_problem,
    problem_of,
    refusal_problem,
    retry_after,
)
from celeriac.web.reading_routes import NotModified
from celeriac.web.rendering import STATIC, error_page
from celeriac.web.run_watch import RunWatch
from celeriac.web.segments import below_root
from celeriac.web.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from celeriac.sagas import Sagas
    from celeriac.web.access import Caller


_WRONG_TOKENS = 30  # of one address that are answered at once, in a minute
_MODULES: Any = (
    *(acting_routes, completion_routes, reading_routes, stream_routes, health_routes),
    *(approvals, outside, saga_pages, overview, pages, system_page),
)


def create_app(
    sagas: Sagas,
    *,
    accounts: Mapping[str, Account] | None = None,
    proxy: TrustedProxy | None = None,
    identify: Callable[[Request], Caller | None] | None = None,
    origins: Collection[str] = (),
) -> FastAPI:
    """Return the HTTP API and the pages of *sagas* as an ASGI application, to serve or mount.

    Who may use it: *accounts* by name with their passwords (`read_accounts`), whoever a *proxy*
    says that it is, or whoever *identify* makes of a request (None: nobody known).  Without any of
    them only requests from this machine to a loopback host are served.  *origins* are further
    origins whose pages may send commands, such as `https://ops.example.org`.
    """
    app = FastAPI(
        title="Celeriac",
        summary="Runs of sagas: start them, look at them, steer them.",
        version=metadata.version("celeriac"),
        openapi_url="/openapi.json",
        docs_url=None,  # a page that loads its script from elsewhere
        redoc_url=None,
    )
    app.state.site = Site(
        sagas=sagas,
        login=Login(accounts, proxy, identify),
        watch=RunWatch(lambda: sagas.runtime.engine.store),
        origins=frozenset(origins),
        tokens=Guesses("tokens", _WRONG_TOKENS),
        looks=LiveLooks(),
        command=f"celery -A {sagas.app.main} saga",
    )
    for module in _MODULES:
        app.include_router(module.router)
    for both in (schedule_routes, bulk_routes, breaker_routes):
        app.include_router(both.router)
        app.include_router(both.pages)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for kind, told in _TOLD.items():
        app.add_exception_handler(kind, told)
    app.add_middleware(Etags)
    app.add_middleware(Guard, site=lambda: app.state.site, unforeseen=_unforeseen)
    return app


def _tell(request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem as a page to whoever asked for one, and as JSON to programs."""
    if below_root(request.scope).startswith(_FOR_PROGRAMS):
        return answer(problem, headers)
    response = error_page(request, problem)
    response.headers.update(headers or {})
    return response


def _error(request: Request, error: Any) -> Response:
    return _tell(request, problem_of(error), retry_after(error))


def _refusal(request: Request, refusal: Any) -> Response:
    return _tell(request, refusal_problem(refusal), refusal.headers)


def _mistakes(request: Request, error: Any) -> Response:
    return _tell(request, mistakes_problem(error.errors()))


def _http(request: Request, error: Any) -> Response:
    code = "_".join(str(error.detail).lower().split())
    if error.status_code == HTTPStatus.BAD_REQUEST:
        code = "unreadable"  # a body that is not JSON
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return _refusal(request, Refusal(error.status_code, code, str(error.detail), headers))


def _methods(request: Request) -> list[str]:
    """Return every method of a path: the router tells only those of the first route there."""
    path = below_root(request.scope)
    paths = request.app.openapi()["paths"]
    meant = [path] if path in paths else [each for each in paths if _leads(each, path)]
    return sorted({method.upper() for each in meant for method in paths[each]})


def _leads(template: str, path: str) -> bool:
    return compile_path(template)[0].match(path) is not None


def _not_modified(_: Request, error: Any) -> Response:
    return Response(status_code=304, headers={"ETag": error.etag})


def _unforeseen(request: Request) -> Response:
    """Tell nothing of an error that nobody foresaw: its text may quote anything."""
    text = "the server's log says what went wrong"
    problem = refusal_problem(Refusal(500, "unforeseen", text))
    try:
        return _tell(request, problem)
    except Exception:  # noqa: BLE001 -- what a page needs is what went wrong; the first is logged
        return answer(problem)


_FOR_PROGRAMS = ("/api/", "/health/", "/openapi.json")

_TOLD: dict[type[Exception], Callable[[Request, Any], Response]] = {
    SagaError: _error,
    Refusal: _refusal,
    RequestValidationError: _mistakes,
    HTTPException: _http,
    NotModified: _not_modified,
}
