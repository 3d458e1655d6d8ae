"""The header of a saga's message: which attempt of which step of which run it hints at.

Owns: writing the header, and reading it from whatever a message holds.  Refuses to know: how
messages are made (`canvas`), and whether the attempt may be claimed (`transitions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celeriac.engine import Delivery
from celeriac.machine import epoch_of

if TYPE_CHECKING:
    from celeriac.machine import Dispatch, Run

#: The header that makes a task message a saga's.
HEADER = "celeriac"
# More than any run id, step or number of ours; what is longer is not worth looking at.
_LONGEST_WORD = 1_000
_ENDLESS = 2**53


def words_of(run: Run, dispatch: Dispatch) -> list[Any]:
    """What the message of an attempt says of it; see `Delivery`."""
    step, phase, attempt = dispatch.step, dispatch.phase, dispatch.attempt
    return [run.id, epoch_of(run, step), step, phase, attempt, run.plan]


def header_of(request: Any) -> Any:
    """The saga header of a task request, whatever it holds; None if it has none."""
    found = getattr(request, HEADER, None)
    headers = request.headers
    return headers.get(HEADER) if not found and isinstance(headers, Mapping) else found


def header_in(request: Any) -> Any:
    """The saga header of a request that is no more than a dictionary; None if it has none."""
    if not request:
        return None
    found, headers = request.get(HEADER), request.get("headers")
    return headers.get(HEADER) if not found and isinstance(headers, Mapping) else found


def delivery_of(request: Any) -> Delivery | None:
    """What the message of a task request hints at; None if it is not a saga's."""
    header = header_of(request)
    return parse_header(header) if header else None


def parse_header(header: Any) -> Delivery | None:
    """Read the saga header of a message; None if it makes no sense.

    Whoever can write to the broker can write anything here, and some of it ends up in logs.
    """
    if not isinstance(header, list | tuple) or len(header) != len(Delivery._fields):
        return None
    run_id, epoch, step, phase, attempt, plan = header
    words, numbers = (run_id, step, plan), (epoch, attempt)
    fits = (
        phase in ("do", "undo")
        and all(isinstance(word, str) and _is_word(word) for word in words)
        and all(type(number) is int and abs(number) < _ENDLESS for number in numbers)
    )
    return Delivery(run_id, epoch, step, phase, attempt, plan) if fits else None


def _is_word(text: str) -> bool:
    return len(text) <= _LONGEST_WORD and text.isprintable()
