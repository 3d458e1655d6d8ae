"""Errors as answers: `application/problem+json` with the code of the error tree (RFC 9457).

Owns: which status each error is, and the form of the answer.  Refuses to know: where it is raised,
and how a page shows it.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from celeriac.errors import (
    BulkNotFound,
    CommandRefused,
    GateNotFound,
    InputInvalid,
    PayloadTooLarge,
    RunConflict,
    RunExists,
    RunNotFound,
    SagaError,
    ScheduleNotFound,
    StoreFull,
    StoreUnavailable,
    TokenSettled,
    TokenUnknown,
    TokenVoid,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEDIA_TYPE = "application/problem+json"

_OF_ERRORS: dict[type[SagaError], HTTPStatus] = {
    InputInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    PayloadTooLarge: HTTPStatus.UNPROCESSABLE_ENTITY,
    RunNotFound: HTTPStatus.NOT_FOUND,
    ScheduleNotFound: HTTPStatus.NOT_FOUND,
    GateNotFound: HTTPStatus.NOT_FOUND,
    BulkNotFound: HTTPStatus.NOT_FOUND,
    RunExists: HTTPStatus.CONFLICT,
    RunConflict: HTTPStatus.CONFLICT,
    CommandRefused: HTTPStatus.CONFLICT,
    TokenUnknown: HTTPStatus.NOT_FOUND,
    TokenSettled: HTTPStatus.CONFLICT,
    TokenVoid: HTTPStatus.GONE,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreFull: HTTPStatus.SERVICE_UNAVAILABLE,
}
_RETRY_AFTER = {StoreUnavailable: 2, StoreFull: 30}  # seconds
_SHOWN = 5  # mistakes in one request that are told


class Problem(BaseModel):
    """What went wrong, for people and for programs."""

    type: str = Field(default="about:blank", description="nothing: `code` says what it is")
    title: str = Field(description="the words of the status")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what was wrong, and what to do")
    code: str = Field(description="stable, for programs: that of the error tree")
    reason: str | None = Field(default=None, description="why a command was refused, in one word")
    run: dict[str, Any] | None = Field(
        default=None, description="`changed_since`: the run as it is now"
    )


class Refusal(Exception):
    """An answer other than success that no error of the tree stands for."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.code, self.detail, self.headers = status, code, detail, headers
        super().__init__(detail)


def problem_of(error: SagaError) -> Problem:
    """Return what an error of the tree is told as."""
    status = next((each for kind, each in _OF_ERRORS.items() if isinstance(error, kind)), None)
    status = status or HTTPStatus.INTERNAL_SERVER_ERROR
    return Problem(
        title=status.phrase,
        status=status,
        detail=str(error),
        code=error.code,
        reason=error.reason if isinstance(error, CommandRefused) else None,
    )


def refusal_problem(refusal: Refusal) -> Problem:
    """Return what a refusal is told as."""
    return Problem(
        title=HTTPStatus(refusal.status).phrase,
        status=refusal.status,
        detail=refusal.detail,
        code=refusal.code,
    )


def mistakes_problem(errors: Sequence[Any]) -> Problem:
    """Return what a request is told whose parts do not validate.  Repeats none of its values."""
    told = "; ".join(_mistake(each) for each in errors[:_SHOWN])
    more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return Problem(title=status.phrase, status=status, detail=told + more, code=InputInvalid.code)


def _mistake(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden" and error["loc"][0] == "query":
        return f"{where}: there is no such parameter; runs are found by what has an index"
    return f"{where}: {error['msg']}"


def retry_after(error: SagaError) -> dict[str, str]:
    """Return the header that says when to try again, where that may help."""
    seconds = next((s for kind, s in _RETRY_AFTER.items() if isinstance(error, kind)), None)
    return {"Retry-After": str(seconds)} if seconds else {}


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem as an answer."""
    content = json.dumps(problem.model_dump(mode="json", exclude_none=True))
    return Response(content, problem.status, dict(headers or {}), MEDIA_TYPE)


_SCHEMA = Problem.model_json_schema()


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how a route's problems are described: *statuses*, and those of every route."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": _SCHEMA}},
        }
        for status in sorted({*statuses, 401, 403, 413, 422, 429, 500, 503})
    }
