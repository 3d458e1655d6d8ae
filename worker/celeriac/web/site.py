"""What all routes share: the sagas, the login, what is hidden; and how a route says who may use it.

Owns: `Site`, and the dependencies that give a route its site and its caller.  Refuses to know: the
routes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import quote

from fastapi import Depends
from starlette.requests import Request

from celeriac.doctor import examine
from celeriac.views import Redaction
from celeriac.web.access import Caller, Permission
from celeriac.web.guesses import Guesses, TooManyGuesses
from celeriac.web.kept_figures import KeptFigures
from celeriac.web.login import Login
from celeriac.web.problems import Refusal

if TYPE_CHECKING:
    from celeriac.doctor import Report
    from celeriac.sagas import Sagas
    from celeriac.web.live_looks import LiveLooks
    from celeriac.web.run_watch import RunWatch


DOCTOR_SECONDS = 300.0  # between two examinations that nobody has asked for


class Examination(NamedTuple):
    """What the doctor found, and when."""

    at: datetime
    report: Report


@dataclass(slots=True)
class Site:
    """One application that serves runs."""

    sagas: Sagas
    login: Login
    watch: RunWatch
    origins: frozenset[str]  # further origins that may send forms here
    tokens: Guesses  # wrong ones, of those who bring results from outside
    looks: LiveLooks  # what open pages have just read
    command: str  # how its command line is called: `celery -A shop saga`
    figures: KeptFigures = field(default_factory=KeptFigures)

    def examined(self) -> Examination | None:
        """What the doctor found a while ago; none yet for whoever is the first to look."""
        return self.figures.seen("doctor", self._examine, DOCTOR_SECONDS)

    def examine(self) -> Examination:
        """What the doctor finds now, which takes seconds."""
        return self.figures.anew("doctor", self._examine, DOCTOR_SECONDS)

    def _examine(self) -> Examination:
        return Examination(datetime.now(UTC), examine(self.sagas.runtime))

    @property
    def redaction(self) -> Redaction:
        """What nobody is shown."""
        return Redaction(self.sagas.runtime.settings.redact)

    @property
    def opened(self) -> bool:
        """True if viewers see payloads, and people see tracebacks."""
        return self.sagas.runtime.settings.web_payloads

    def shown(self, run_id: str, part: Any) -> Any:
        """Return a part of a run's payloads as it may be shown; raise RunNotFound.

        A label, a parameter or a result may well have another name than the field that it shows.
        """
        redaction = self.redaction
        if not redaction:
            return part
        return redaction.of(part, self.sagas.run(run_id).export(payloads=True)["payloads"])

    def payloads_of(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the payloads of an exported run as they may be shown."""
        found: dict[str, Any] = self.redaction.of(document["payloads"])
        if self.opened:
            return found
        return {
            name: {key: each for key, each in value.items() if key != "traceback"}
            if _is_failure(name) and isinstance(value, dict)
            else value
            for name, value in found.items()
        }


def _is_failure(field: str) -> bool:
    """True if a payload tells how something failed, in this try or (`~1:err:…`) in one before."""
    plain = field.partition(":")[2] if field.startswith("~") else field
    return plain.partition(":")[0] in ("err", "uerr", "cause")


def site_of(request: Request) -> Site:
    """Return the site that a request came to."""
    found: Site = request.app.state.site
    return found


Here = Annotated[Site, Depends(site_of)]


class Needs:
    """Lets those through who have a permission."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    def __call__(self, request: Request) -> Caller:
        """Return who asks; raise Refusal if nobody known does, or somebody who may not."""
        return allowed(request, self.permission)


def allowed(request: Request, permission: Permission) -> Caller:
    """Return who asks, if they have *permission*; raise Refusal."""
    caller = caller_of(request)
    if not caller.may(permission):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "forbidden",
            f"{caller.name} is {caller.role.value} here, and may not {permission.value}",
        )
    return caller


def caller_of(request: Request) -> Caller:
    """Return who asks; raise Refusal if it is nobody known."""
    login = site_of(request).login
    try:
        caller = login.caller(request)
    except TooManyGuesses as error:
        raise too_many(error) from None
    if caller is not None:
        return caller
    if not login.asks:
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "local_only",
            "without a login only this machine itself is let in: open http://127.0.0.1, or set up "
            "a login (docs/dashboard.md)",
        )
    headers = {"WWW-Authenticate": 'Basic realm="sagas", charset="UTF-8"'}
    raise Refusal(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        "log in first",
        headers if login.takes_passwords else {},
    )


def too_many(error: TooManyGuesses) -> Refusal:
    """Return what somebody is told who was wrong too often."""
    headers = {"Retry-After": str(error.seconds)}
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too_many_guesses", str(error), headers)


Viewer = Annotated[Caller, Depends(Needs(Permission.LOOK))]
Operator = Annotated[Caller, Depends(Needs(Permission.ACT))]
Approver = Annotated[Caller, Depends(Needs(Permission.ANSWER))]
Admin = Annotated[Caller, Depends(Needs(Permission.ADMINISTER))]


def path_of(request: Request, *parts: str) -> str:
    """Return the path of a page or route of ours, wherever we are mounted."""
    root = str(request.scope.get("root_path", "")).rstrip("/")
    return root + "".join(f"/{quote(part, safe='')}" for part in parts)
