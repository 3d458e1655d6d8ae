"""`poll`: a request that is repeated until a field of its answer is so.

Owns: what the field has to be, and asking again later when it is not yet.  Refuses to know: how
long that may go on: `give_up_after`, or the deadline of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.actions.filling import filled
from celeriac.actions.http import send
from celeriac.actions.performing import told_without
from celeriac.actions.requests import HttpResult, PollRequest
from celeriac.actions.secrets import Secrets
from celeriac.errors import Abort, NotYet

if TYPE_CHECKING:
    from celeriac.actions.filling import Hole
    from celeriac.actions.requests import Allowance
    from celeriac.context import StepContext

_SHOWN = 100  # characters of a value, in a message


def do_poll(
    ctx: StepContext, asked: dict[str, Any], holes: list[Hole], allowed: Allowance
) -> HttpResult:
    """Ask once; return the answer if it is as it should be, and raise NotYet if not yet."""
    secrets = Secrets(allowed)
    with told_without(secrets):
        request = PollRequest.model_validate(filled(asked, holes, secrets, None), by_alias=True)
        found = send(request, ctx.idempotency_key, allowed)
        if _judged(request, found.body):
            return HttpResult(**secrets.masked(found.model_dump()))
    raise NotYet(request.every, effect=False)


def _judged(request: PollRequest, body: Any) -> bool:
    """True if it is as it should be; raises Abort if it will never be."""
    value = body
    for key in request.field.split("."):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return False  # it may come later
    if any(_same(value, each) for each in request.until):
        return True
    if any(_same(value, each) for each in request.fail):
        shown = str(value)[:_SHOWN]
        raise Abort(f"{request.field} is {shown!r}", code="poll_failed", effect=False)
    return False


def _same(value: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    return value == other and isinstance(value, bool) is isinstance(other, bool)
