"""The first page: what needs a human, with the button for it, and how the runs stand.

Owns: what stands on it.  Refuses to know: how it looks (`templates`, `static`), and what a verb
does (`pages`, to which its forms lead).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from celeriac.doctor import Severity
from celeriac.machine import AT_REST, RunStatus
from celeriac.views import times, wording
from celeriac.web.access import Permission
from celeriac.web.offers import options_for
from celeriac.web.rendering import page
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here, Site, Viewer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.doctor import Finding
    from celeriac.views import Durations, Question, RunState, StartedRuns, Stats
    from celeriac.web.site import Examination

router = APIRouter(route_class=SegmentRoute, include_in_schema=False)

_HOURS = 24
_FIRST = 6  # runs that need somebody
_ASKED = 4  # runs that ask people
_ACTIVE = tuple(status for status in RunStatus if status not in AT_REST)


class Tile(NamedTuple):
    """A figure, and the runs that it counts."""

    label: str
    number: int
    tone: str
    search: str
    told: str = ""


@router.get("/")
def overview(site: Here, caller: Viewer, request: Request) -> Response:
    """Show what needs a human, and how the runs stand."""
    stats, needy, asked = site.looks.of(request, "overview", lambda: _look(site))
    hours = site.figures.of("throughput", lambda: site.sagas.throughput(_HOURS))
    durations = site.figures.of("durations", site.sagas.durations)
    return page(
        request,
        "overview.html",
        caller,
        stats=stats,
        tiles=_tiles(stats, hours),
        needy=[(state, options_for(state, caller)) for state in needy],
        asked=asked if caller.may(Permission.ANSWER) else (),
        statuses=list(RunStatus),
        facts=wording.stats_facts(stats),
        queues=wording.stats_queues(stats),
        hours=hours,
        durations={each.saga: each for each in durations},
        slowest=_slowest(durations),
        ages=[
            (each.saga, (stats.at - each.oldest_since).total_seconds())
            for each in stats.sagas
            if each.oldest_since
        ],
        doctor=(doctor := site.examined()),
        findings=_findings(doctor),
    )


def _look(site: Site) -> tuple[Stats, tuple[RunState, ...], tuple[Question, ...]]:
    """How the runs stand, the first of those that need somebody, and the first questions."""
    queues = site.figures.of("queues", site.sagas.queues)
    stats = site.sagas.stats(queues=False).model_copy(update={"queues": queues})
    owing = site.sagas.runs(status="failed", limit=_FIRST).states() if stats.owed else ()
    asking = site.sagas.runs(awaiting=True, limit=_ASKED).questions() if stats.awaiting else ()
    return stats, owing, asking


def _findings(doctor: Examination | None) -> list[Finding]:
    """What the doctor warns of, the worst first."""
    shown = doctor.report.shown() if doctor else ()
    return [each for each in shown if each.severity in (Severity.ERROR, Severity.WARNING)]


def _tiles(stats: Stats, hours: Sequence[StartedRuns]) -> list[Tile]:
    counts: dict[RunStatus, int] = {}
    for saga in stats.sagas:
        for status, count in saga.counts.items():
            counts[status] = counts.get(status, 0) + count
    ended = sum(each.started - each.active for each in hours)
    late, back = stats.past_deadline, counts.get(RunStatus.COMPENSATING, 0)
    since = hours[0].since if hours else None
    first = f"since={times.iso(since)}&" if since else ""
    return [
        Tile("needs attention", stats.owed, "failed" if stats.owed else "", _of("failed")),
        Tile("active", stats.active, "running", _of(*_ACTIVE)),
        Tile("waiting", counts.get(RunStatus.WAITING, 0), "waiting", _of("waiting")),
        Tile("compensating", back, "compensating", _of("compensating")),
        Tile("past deadline", late, "failed" if late else "", "past_deadline=true"),
        Tile(
            "started in 24 h and ended",
            ended,
            "completed",
            first + _of(*sorted(AT_REST)),
            f"of the runs that were started since {since:%Y-%m-%d %H:%M} UTC" if since else "",
        ),
    ]


def _of(*statuses: str) -> str:
    return "&".join(f"status={each}" for each in statuses)


def _slowest(durations: Sequence[Durations]) -> list[tuple[str, float]]:
    """What 95 of 100 runs of each saga take at most, in seconds."""
    return [(each.saga, each.p95) for each in durations if each.p95 is not None]
