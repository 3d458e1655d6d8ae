"""The HTTP API for looking: runs, one run, its history, its picture, what a cancel would undo.

Owns: these routes.  Refuses to know: how runs are found (`celeriac.sagas`) and how they are shown
(`views`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import to_jsonable_python
from starlette.requests import Request
from starlette.responses import Response

from celeriac.errors import InputInvalid
from celeriac.views import draw, event_document, run_document, stats_document
from celeriac.web.etags import is_known
from celeriac.web.forms import (
    DurationsList,
    HistoryPage,
    RunDocument,
    RunFilter,
    RunList,
    RunQuery,
    SagaDocument,
    SagaList,
    SagaStep,
    ServerList,
    StatsDocument,
    Throughput,
    WorkerList,
)
from celeriac.web.problems import Refusal, answers
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Here, Site, Viewer

router = APIRouter(route_class=SegmentRoute, prefix="/api", tags=["looking"])

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# --- runs --------------------------------------------------------------------------------------


@router.get("/runs", responses=answers())
def runs(site: Here, caller: Viewer, query: Annotated[RunQuery, Query()]) -> RunList:  # noqa: ARG001
    """Return a page of runs, newest first; give its cursor to get the next."""
    page = site.sagas.runs(**filters(query), limit=query.limit, cursor=query.cursor)
    found = [run_document(state) for state in page.states()]
    return RunList.model_validate({"runs": found, "cursor": page.cursor})


def filters(query: RunFilter) -> dict[str, Any]:
    """Return the filters of `sagas.runs` that a query means; raise InputInvalid."""
    tags: dict[str, str] = {}
    for tag in query.tag:
        name, colon, value = tag.partition(":")
        if not colon:
            raise InputInvalid(f"tag: give name:value, not {tag!r}")
        if tags.setdefault(name, value) != value:
            raise InputInvalid(f"tag: {name!r} is given twice, and a tag has one value")
    return {
        "status": [status.value for status in query.status],
        "saga": query.saga or None,  # an empty one comes from a form
        "tags": tags,
        "awaiting": query.awaiting,
        "past_deadline": query.past_deadline,
        "idle": query.idle or None,
        "since": max(query.since, _EPOCH) if query.since else None,
        "until": max(query.until, _EPOCH) if query.until else None,
        "owed": query.owed,
        "asking": query.asking,
        "failed_step": query.failed_step or None,
        "code": query.code or None,
    }


@router.get("/runs/{run_id}", responses={304: {"description": "Not Modified"}, **answers(404)})
def run(
    site: Here,
    caller: Viewer,
    request: Request,
    response: Response,
    run_id: str,
    *,
    payloads: bool = False,
) -> RunDocument:
    """Return a run; with *payloads* also what was given to it and what came out."""
    handle = site.sagas.run(run_id)
    state = handle.state()
    etag = f'"{state.run_version}"'
    if is_known(etag, request.headers.get("If-None-Match", "")):
        raise NotModified(etag)
    response.headers["ETag"] = etag
    document = run_document(state)
    if payloads:
        if not caller.sees_payloads(opened=site.opened):
            text = f"{caller.role.value}s see payloads only where saga_web_payloads is set"
            raise Refusal(HTTPStatus.FORBIDDEN, "payloads_hidden", text)
        document["payloads"] = site.payloads_of(handle.export(payloads=True))
    return RunDocument.model_validate(document)


class NotModified(Exception):
    """The caller knows the run as it is."""

    def __init__(self, etag: str) -> None:
        self.etag = etag
        super().__init__(etag)


@router.get("/runs/{run_id}/history", responses=answers(404))
def history(
    site: Here,
    caller: Viewer,  # noqa: ARG001
    run_id: str,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="of the page before")] = None,
) -> HistoryPage:
    """Return a page of what happened to a run, oldest first."""
    first = place(cursor)
    events = site.sagas.run(run_id).history(first, limit + 1)
    page = [
        {"number": number, **event_document(event)}
        for number, event in enumerate(events[:limit], first + 1)
    ]
    more = str(first + limit) if len(events) > limit else None
    return HistoryPage.model_validate({"events": page, "cursor": more})


def place(cursor: str | None) -> int:
    """Return how many events come before a page; raise InputInvalid."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 10):  # noqa: PLR2004
        raise InputInvalid(f"cursor: give the one of the page before, not {cursor!r}")
    return int(cursor)


@router.get(
    "/runs/{run_id}/graph.svg",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}, **answers(404)},
)
def graph(site: Here, caller: Viewer, run_id: str) -> Response:  # noqa: ARG001
    """Return the picture of a run: forward lane above, undo lane below."""
    return Response(draw(site.sagas.run(run_id).graph(), "svg"), media_type="image/svg+xml")


StepAsked = Annotated[str | SkipJsonSchema[None], Query(min_length=1, max_length=400)]


@router.get("/runs/{run_id}/undo-plan", responses=answers(404))
def undo_plan(site: Here, caller: Viewer, run_id: str, to: StepAsked = None) -> dict[str, Any]:
    """Return what a cancel would undo now, in which order, and what it could not undo.

    With `to`: what a rewind to that step would.
    """
    plan = site.sagas.run(run_id).undo_plan(to)
    found: dict[str, Any] = to_jsonable_python(plan)
    inputs = [step.pop("inputs") for step in found["steps"]]
    if caller.sees_payloads(opened=site.opened):
        for step, shown in zip(found["steps"], site.shown(run_id, inputs), strict=True):
            step["inputs"] = shown
    return found


# --- sagas and figures -------------------------------------------------------------------------


@router.get("/sagas", responses=answers())
def sagas(site: Here, caller: Viewer) -> SagaList:  # noqa: ARG001
    """Return the sagas of this application, and how many runs each has."""
    return SagaList(sagas=saga_documents(site))


@router.get("/sagas/{name}", responses=answers(404))
def saga(site: Here, caller: Viewer, name: str) -> SagaDocument:  # noqa: ARG001
    """Return one saga of this application."""
    return saga_document(site, name)


def saga_document(site: Site, name: str) -> SagaDocument:
    """Return one saga of this application; raise Refusal if there is none of the name."""
    found = next((each for each in saga_documents(site) if each.name == name), None)
    if found is None:
        known = ", ".join(sorted(site.sagas.defined)) or "none"
        text = f"no saga {name!r}: this application has {known}"
        raise Refusal(HTTPStatus.NOT_FOUND, "saga_not_found", text)
    return found


def saga_documents(site: Site) -> list[SagaDocument]:
    """Return the sagas of this application by name."""
    counts = site.sagas.counts()
    return [
        SagaDocument(
            name=name,
            version=each.planned.plan.version,
            plan=each.planned.plan.fingerprint,
            about=(each.__doc__ or "").strip().partition("\n")[0],
            parameters=list(each.planned.plan.params),
            steps=[
                SagaStep(
                    name=node.name,
                    task=node.task,
                    undo=node.undo.task if node.undo else None,
                    pivot=node.pivot,
                    after=list(node.after),
                )
                for node in each.planned.plan.nodes
            ],
            runs={status.value: n for (of, status), n in sorted(counts.items()) if of == name},
        )
        for name, each in sorted(site.sagas.defined.items())
    ]


@router.get("/stats", responses=answers())
def stats(site: Here, caller: Viewer) -> StatsDocument:  # noqa: ARG001
    """Return how the runs stand as a whole."""
    return StatsDocument.model_validate(stats_document(site.sagas.stats()))


@router.get("/durations", responses=answers())
def durations(
    site: Here,
    caller: Viewer,  # noqa: ARG001
    saga: Annotated[str | SkipJsonSchema[None], Query(max_length=400)] = None,
    *,
    steps: bool = False,
) -> DurationsList:
    """Return how long runs take and how they end, by saga, seen in the newest runs of each.

    With `steps` also how long the steps take.
    """
    return DurationsList(sagas=list(site.sagas.durations(saga or None, steps=steps)))


@router.get("/workers", responses=answers())
def workers(site: Here, caller: Viewer) -> WorkerList:  # noqa: ARG001
    """Return the workers that live, or were there until a moment ago."""
    return WorkerList(workers=list(site.sagas.workers()))


@router.get("/servers", responses=answers())
def servers(site: Here, caller: Viewer) -> ServerList:  # noqa: ARG001
    """Return what the Redis that holds the runs says of itself."""
    return ServerList(servers=list(site.sagas.servers()))


@router.get("/throughput", responses=answers())
def throughput(
    site: Here,
    caller: Viewer,  # noqa: ARG001
    hours: Annotated[int, Query(ge=1, le=168)] = 24,
) -> Throughput:
    """Return how many runs were started in each hour, and what has become of them."""
    return Throughput(hours=list(site.sagas.throughput(hours)))
