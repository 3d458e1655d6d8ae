"""What somebody has told the lab to let go wrong.

Owns: the faults that were armed, by what they wait for: a point, a message, the body of a step.
Refuses to know: how a fault is carried out (`world`), and who armed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.testing.fault_points import Armed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.engine import Delivery
    from celeriac.testing.broker import Message
    from celeriac.testing.fault_points import Point
    from celeriac.testing.process import Process
    from celeriac.testing.simulation import World

_CONTACTS = {
    "read": "a read",
    "gate": "it writes of a gate",
    "claim": "its claim",
    "body": "the body",
    "heartbeat": "a heartbeat",
    "report": "its report",
    "send": "sending what follows",
    "commit": "its commit",
    "postpone": "it puts something off",
}


class LabFailure(Exception):
    """A step failed because the lab was told so."""


class Script:
    """Lets go wrong what was armed, and nothing else."""

    def __init__(self) -> None:
        self.points, self.fates, self.bodies = Armed(), Armed(), Armed()
        self.world: World | None = None

    def at(self, process: Process, point: Point) -> None:
        """Let happen what waits for a point."""
        for fault in self.points.due(point.name):
            fault.act(process, where(point))

    def fate(self, who: str, delivery: Delivery) -> Sequence[int]:
        """Let happen to a message what waits for it; the last word counts."""
        copies: Sequence[int] = (0,)
        for fault in self.fates.due(who):
            copies = fault.act(delivery)  # type: ignore[assignment]  # what waits for messages says
        return copies

    def body(self, process: Process, call: Callable[[], Any]) -> Any:
        """Run a body; let it fail before or after, if it was told to."""
        assert self.world is not None
        self.world.contact("body", "before")
        self._fail(f"{process.who} before")
        result = call()
        self.world.contact("body", "after")
        self._fail(f"{process.who} after")
        return result

    def _fail(self, name: str) -> None:
        for fault in self.bodies.due(name):
            fault.act()

    def pick(self, ready: Sequence[Message]) -> Message:
        """The oldest comes first."""
        return ready[0]


def where(point: Point) -> str:
    """Tell people of a point: `before its claim`."""
    return f"{point.when} {_CONTACTS[point.contact]}"


def failing(error: BaseException | type[BaseException] | None) -> Callable[[], None]:
    """Return what raises *error*; the same one again has the traceback of this time only."""

    def act() -> None:
        if error is None:
            raise LabFailure("the lab was told to let this fail")
        raise error if isinstance(error, type) else error.with_traceback(None)

    return act
