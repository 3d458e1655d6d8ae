"""For probes: whether the server is alive, and whether it can reach the runs.

Owns: these routes, which need no login and tell nothing of any run.  Refuses to know: the doctor,
who looks further.
"""

from __future__ import annotations

from fastapi import APIRouter

from celeriac.web.forms import Health
from celeriac.web.problems import answers
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here

router = APIRouter(route_class=SegmentRoute, prefix="/health", tags=["health"])


@router.get("/live", responses={500: answers()[500]})
def live() -> Health:
    """Return that the server answers."""
    return Health()


@router.get("/ready", responses={each: answers()[each] for each in (500, 503)})
def ready(site: Here) -> Health:
    """Return whether the run state can be read; 503 if not."""
    site.sagas.runtime.engine.store.last_sweep()
    return Health()
