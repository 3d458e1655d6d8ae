"""The HTTP API for hearing what happens to a run: a stream of server-sent events.

Owns: the route, and its signs of life.  Refuses to know: how the store is watched (`run_watch`).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from celeriac.web.problems import answers
from celeriac.web.reading_routes import place
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here, Viewer

router = APIRouter(route_class=SegmentRoute, prefix="/api/runs", tags=["looking"])

HEARTBEAT = 15  # seconds between two signs of life of a stream


@router.get(
    "/{run_id}/events",
    response_class=EventSourceResponse,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **answers(404),
    },
)
async def events(
    site: Here,
    caller: Viewer,  # noqa: ARG001
    run_id: str,
    after: Annotated[
        str | None, Query(description="begin after so many events; left out: at the end")
    ] = None,
    last_event_id: Annotated[str | None, Header(description="of the event seen last")] = None,
) -> Any:
    """Tell what happens to a run, as server-sent events: `event`, and `reload`, `watching`, `gone`.

    `event` has the number of the event as its id, and as data what `/history` tells of it.
    """
    seen = after if last_event_id is None else last_event_id
    first = None if seen is None else place(seen)
    await run_in_threadpool(site.sagas.run, run_id)
    stream = site.watch.events(run_id, first)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventSourceResponse(stream, ping=HEARTBEAT, headers=headers)
