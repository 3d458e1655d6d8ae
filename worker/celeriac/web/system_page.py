"""The page of the system: sweep and queues, workers, the Redis, the doctor, the settings.

Owns: what stands on it, and the doctor's route for programs.  Refuses to know: what is good of it
(`doctor`), and how it looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from celeriac.doctor import finding_document
from celeriac.settings import PREFIX
from celeriac.views import times, wording
from celeriac.web.forms import DoctorReport
from celeriac.web.problems import answers
from celeriac.web.rendering import page
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here, Viewer

if TYPE_CHECKING:
    from celeriac.web.site import Site

router = APIRouter(route_class=SegmentRoute)

_HIDDEN_SETTINGS = ("redis_url",)  # it may hold a password


@router.get("/api/doctor", tags=["looking"], responses=answers())
def doctor(site: Here, caller: Viewer) -> DoctorReport:  # noqa: ARG001
    """Examine the app, the state Redis, the broker and the workers, which takes seconds.

    Nothing is changed.  It is what `saga doctor -o json` tells.
    """
    found = site.examine()
    told = [finding_document(each) for each in found.report.findings]
    return DoctorReport.model_validate(
        {"at": times.iso(found.at), "summary": found.report.summary, "findings": told}
    )


@router.get("/system", include_in_schema=False)
def system(site: Here, caller: Viewer, request: Request) -> Response:
    """Show figures and settings; with `doctor` also what the doctor finds, which takes seconds."""
    stats = site.sagas.stats()
    return page(
        request,
        "system.html",
        caller,
        facts=wording.stats_facts(stats),
        queues=wording.stats_queues(stats),
        workers=site.sagas.workers(),
        servers=site.sagas.servers(),
        settings=_settings(site),
        doctor=site.examine() if "doctor" in request.query_params else site.examined(),
    )


def _settings(site: Site) -> list[tuple[str, object]]:
    return [
        (PREFIX + name, value)
        for name, value in site.sagas.runtime.settings.model_dump().items()
        if name not in _HIDDEN_SETTINGS and not callable(value)
    ]
