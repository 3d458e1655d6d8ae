"""Bundles: one message that brings the attempts of several runs, to be taken up one by one.

Owns: which attempts may share a message, collecting them, and reading what else a message brings.
Refuses to know: how a message is made (`canvas`), and how what it brings is run (`edge`).

When thousands of runs come due in the same second, a message for each would cost more than their
steps.  A bundle is the message of its first attempt, with the others named in a header: each of
these is claimed for itself, as if a message of its own had come, and whoever does not know the
header leaves them to the sweep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.engine import HERD
from celeriac.workers.headers import parse_header

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from celeriac.engine import Delivery
    from celeriac.machine import Dispatch, Plan, Run

#: The header that names what a message brings besides its own attempt.
ALSO = "celeriac_also"
#: Attempts in one message.
MOST = 20
#: Fewer of one kind go each by itself: that way they reach all who are idle.
FEWEST = HERD


class Hint(NamedTuple):
    """An attempt that is to be sent."""

    plan: Plan
    run: Run
    dispatch: Dispatch
    now: int  # ms


class Bundles:
    """What one thread sends together, by its kind: whatever is sent in the same way."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, list[Hint]] = {}

    def begin(self, kind: Hashable) -> None:
        """Keep what follows of a kind: the first could be sent, so the others can."""
        self._kinds.setdefault(kind, [])

    def keep(self, kind: Hashable, hint: Hint) -> bool:
        """Keep a hint for later; False if it is the first of its kind."""
        kept = self._kinds.get(kind)
        if kept is None:
            return False
        kept.append(hint)
        return True

    def take(self) -> Iterator[list[Hint]]:
        """Yield what was kept, message by message, and keep it no longer."""
        kinds, self._kinds = self._kinds, {}
        for hints in kinds.values():
            size = MOST if len(hints) >= FEWEST else 1
            for start in range(0, len(hints), size):
                yield hints[start : start + size]


def take_others(request: dict[str, Any]) -> list[Delivery]:
    """Take out of a request what its message brings besides its own attempt; often nothing.

    Taken out, since what is sent on with the headers of the request brings its own attempt alone.
    Whoever can write to the broker can write anything here.
    """
    found = request.pop(ALSO, None)
    headers = request.get("headers")
    if isinstance(headers, dict) and ALSO in headers:
        request["headers"] = {name: value for name, value in headers.items() if name != ALSO}
        found = found or headers[ALSO]
    if not isinstance(found, list):
        return []
    return [each for each in map(parse_header, found[: MOST - 1]) if each is not None]
