"""Who is at work in the lab, and what can be done to them.

Owns: a process, its death, and the promise of whoever makes trouble.  Refuses to know: how any of
it is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.engine import Delivery
    from celeriac.store import Lease
    from celeriac.testing.broker import Message
    from celeriac.testing.fault_points import Point

#: Who only looks, or sets something going: what it does is not part of what is told.
ASIDE = "aside"


class Killed(BaseException):  # no Exception: no handler of a step's may survive its process
    """The process that is at work has died."""


#: Whose exceptions that are no `Exception` are for the test itself, not for the step in it.
_TEST_TOOLS = frozenset({"_pytest", "hypothesis", "pluggy", "pytest"})


def leaves_lab(error: BaseException) -> bool:
    """Return whether *error* is for the lab or the test, rather than how an attempt ended."""
    if isinstance(error, Exception):
        return False
    if isinstance(error, Killed | SystemExit | KeyboardInterrupt):
        return True
    return str(type(error).__module__).partition(".")[0] in _TEST_TOOLS


class Stuck(AssertionError):
    """Runs do not come to rest, whatever time passes."""


@dataclass(eq=False, slots=True)
class Process:
    """Somebody at work: a client, an operator, a sweep, or a worker with an attempt."""

    who: str
    run_id: str = ""
    title: str = ""  # of the attempt: `charge · #1`
    stage: str = "commit"  # what a commit is, at this stage of its work
    lease: Lease | None = None
    limit: int | None = None  # ms that the attempt may take
    stopped: bool = False  # it gives no sign of life
    request: Callable[[], object] | None = None  # what its body asks of the participants


class Trouble(Protocol):
    """What goes wrong, and where."""

    def at(self, process: Process, point: Point) -> None:
        """A process is at a point: raise what it is to see, or make it wait."""

    def fate(self, who: str, delivery: Delivery) -> Sequence[int]:
        """How many ms later than it should each copy of a message arrives."""

    def body(self, process: Process, call: Callable[[], Any]) -> Any:
        """Run a body, or fail in its place."""

    def pick(self, ready: Sequence[Message]) -> Message:
        """Which of the messages that can be delivered comes next."""
