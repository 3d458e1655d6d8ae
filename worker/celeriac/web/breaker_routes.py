"""Gates over HTTP: how limits, rates and breakers stand, and setting a breaker.

Owns: these routes.  Refuses to know: when a breaker opens by itself (`gating`).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from celeriac.views import GateState
from celeriac.web.problems import answers
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Admin, Here, Site, Viewer

router = APIRouter(route_class=SegmentRoute, tags=["breakers"])


class GateList(BaseModel):
    """All gates that the code or the store knows."""

    gates: list[GateState]


class Circuits(BaseModel):
    """How all breakers stand, for probes."""

    status: Literal["ok", "open"] = Field(description="`open` if one of them lets nothing through")
    circuits: dict[str, Literal["closed", "open", "half_open"]]


_OPEN: dict[int | str, dict[str, Any]] = {
    503: {**answers()[503], "model": Circuits},
    500: answers()[500],
}


@router.get("/health/circuits", responses=_OPEN)
def circuits(site: Here, response: Response) -> Circuits:
    """Return how the breakers stand; 503 while one lets nothing through."""
    found = {each.name: each.state for each in site.sagas.gates() if each.state}
    if "open" not in found.values():
        return Circuits(status="ok", circuits=found)
    response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Circuits(status="open", circuits=found)


@router.get("/api/breakers", responses=answers())
def breakers(site: Here, caller: Viewer) -> GateList:  # noqa: ARG001
    """Return all limits, rates and breakers, by name."""
    return _all(site)


@router.post("/api/breakers/{name}/open", responses=answers())
def open_breaker(site: Here, caller: Admin, name: str) -> GateList:
    """Let nothing through a breaker until somebody closes it."""
    site.sagas.open_breaker(name, by=caller.name)
    return _all(site)


@router.post("/api/breakers/{name}/close", responses=answers())
def close_breaker(site: Here, caller: Admin, name: str) -> GateList:
    """Let everything through a breaker again, those who wait first."""
    site.sagas.close_breaker(name, by=caller.name)
    return _all(site)


def _all(site: Site) -> GateList:
    return GateList(gates=site.sagas.gates())
