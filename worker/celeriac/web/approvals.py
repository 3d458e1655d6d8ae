"""Approvals: what runs ask people, on a page of its own that a link in a mail may lead to.

Owns: the list of open questions, the page of one, and its form.  Refuses to know: how a form's
fields come from a type (`answers`), and what an answer leads to.  Looking at a page never answers:
mail scanners follow links.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from celeriac.errors import CommandRefused, InputInvalid, RunNotFound
from celeriac.machine import EventKind
from celeriac.views import times
from celeriac.web.access import Permission
from celeriac.web.answers import payload, sheet
from celeriac.web.csrf import check_token
from celeriac.web.forms import QuestionDocument, QuestionList
from celeriac.web.problems import Refusal, answers
from celeriac.web.rendering import page
from celeriac.web.segments import SegmentRoute
from celeriac.web.site import Approver, Here, Site, allowed, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from celeriac.views import Question
    from celeriac.web.access import Caller

router = APIRouter(route_class=SegmentRoute)


# --- looking -----------------------------------------------------------------------------------


@router.get("/api/approvals", tags=["looking"], responses=answers())
def approvals(
    site: Here,
    caller: Approver,  # noqa: ARG001
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200, description="runs whose questions to return")] = 50,
    cursor: Annotated[str | None, Query(description="of the page before")] = None,
) -> QuestionList:
    """Return what runs ask people now; answer with `POST /api/runs/{run_id}/signal`."""
    found = site.sagas.runs(awaiting=True, limit=limit, cursor=cursor)
    shown = _with_about(site, found.questions())
    documents = [_document(request, question, about) for question, about in shown]
    return QuestionList(approvals=documents, cursor=found.cursor)


def _with_about(
    site: Site, questions: Iterable[Question]
) -> Iterator[tuple[Question, dict[str, Any]]]:
    """Each question, with what is shown beside it; without those of runs that are gone by now."""
    for question in questions:
        with suppress(RunNotFound):
            yield question, site.shown(question.run_id, question.about)


def _document(request: Request, question: Question, about: dict[str, Any]) -> QuestionDocument:
    return QuestionDocument.model_validate(
        {
            **question.model_dump(),
            "about": about,
            "since": times.iso(question.since),
            "until": times.iso(question.until),
            "page": path_of(request, "approvals", question.run_id, question.step)
            + f"?asked={times.iso(question.since)}",
        }
    )


@router.get("/approvals", include_in_schema=False)
def all_questions(
    site: Here, caller: Approver, request: Request, cursor: str | None = None
) -> Response:
    """Show what runs ask people now."""
    found = site.sagas.runs(awaiting=True, limit=50, cursor=cursor)
    return page(
        request,
        "approvals.html",
        caller,
        questions=list(_with_about(site, found.questions())),
        cursor=found.cursor,
        done=request.query_params.get("done", ""),
    )


@router.get("/approvals/{run_id}/{step}", include_in_schema=False)
def one_question(
    site: Here, caller: Approver, request: Request, run_id: str, step: str, asked: str | None = None
) -> Response:
    """Show one question, to be answered; 410 once it has its answer, or its time is over.

    With `asked`, since when it is, also once the step asks anew: a mail is about what it was for.
    """
    found = _question(site, run_id, step)
    if found is None or asked not in (None, times.iso(found.since)):
        return _gone(site, caller, request, run_id, step)
    return _form(site, caller, request, found)


def _question(site: Site, run_id: str, step: str) -> Question | None:
    questions = site.sagas.run(run_id).questions()
    return next((each for each in questions if each.step == step), None)


def _form(
    site: Site,
    caller: Caller,
    request: Request,
    question: Question,
    notice: str = "",
    filled_in: dict[str, str] | None = None,
) -> Response:
    status = HTTPStatus.UNPROCESSABLE_ENTITY if notice else HTTPStatus.OK
    return page(
        request,
        "approval.html",
        caller,
        status,
        question=question,
        about=site.shown(question.run_id, question.about),
        sheet=sheet(question.payload, caller.name),
        filled_in=filled_in or {},
        notice=notice,
    )


def _gone(site: Site, caller: Caller, request: Request, run_id: str, step: str) -> Response:
    """Say that there is nothing to answer any more, and how it ended."""
    run = site.sagas.run(run_id)
    state = run.state()
    if all(each.name != step for each in state.steps):
        text = f"run {run_id!r} has no step {step!r}"
        raise Refusal(HTTPStatus.NOT_FOUND, "step_not_found", text)
    history = run.history()
    key = next((each.data.get("key") for each in reversed(history) if each.step == step), None)
    signals = (each for each in history if each.kind is EventKind.SIGNALLED)
    answered = next((each for each in signals if key and each.data["key"] == key), None)
    return page(
        request,
        "approval_gone.html",
        caller,
        HTTPStatus.GONE,
        state=state,
        step=state.step(step),
        answered=answered,
    )


# --- answering ---------------------------------------------------------------------------------


@router.post("/approvals/{run_id}/{step}", include_in_schema=False)
async def give_answer(site: Here, request: Request, run_id: str, step: str) -> Response:
    """Answer a question as its form was filled in; 410 if it was answered, or asked anew."""
    caller = await run_in_threadpool(allowed, request, Permission.ANSWER)
    form = await request.form()
    check_token(request, form.get("csrf"))
    filled_in = {name: str(value) for name, value in form.items() if name != "csrf"}
    return await run_in_threadpool(_give_answer, site, caller, request, run_id, step, filled_in)


def _give_answer(
    site: Site,
    caller: Caller,
    request: Request,
    run_id: str,
    step: str,
    filled_in: dict[str, Any],
) -> Response:
    question = _question(site, run_id, step)
    # A page that has stood open may be about a visit before this one.
    if question is None or filled_in.get("since") != times.iso(question.since):
        return _gone(site, caller, request, run_id, step)
    try:
        given = payload(question.payload, filled_in)
        options: Any = {"step": step, "asked": question.since, "by": caller.name}
        site.sagas.run(run_id).signal(question.signal, given, **options)
    except InputInvalid as error:
        return _form(site, caller, request, question, str(error), filled_in)
    except CommandRefused as refused:
        if refused.reason == "by_starter":
            told = "Nothing was sent: somebody else than started the run has to answer."
            return _form(site, caller, request, question, told, filled_in)
        if refused.reason == "paused":
            told = "The run is paused: answer once somebody has resumed it."
            return _form(site, caller, request, question, told, filled_in)
        return _gone(site, caller, request, run_id, step)
    done = f"{path_of(request, 'approvals')}?done={question.signal}"
    return RedirectResponse(done, HTTPStatus.SEE_OTHER)
