"""Which fault happens at which point: the table of crash points, as cases.

Owns: the paths a run can be on, the points of each, the faults, and which combinations make no
sense, each with its reason.  Refuses to know: how a fault is made (`failpoints`) and
judged (`environment`).

Not here: clients (`test_clients`), sweeps and leases (`test_sweeps`, `test_leases`), and the
states of Redis (`test_redis_states`), each of which has faults of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from tests.crash.crash_saga import SENT

if TYPE_CHECKING:
    from celeriac.machine import Phase

Fault = Literal["kill", "kill-group", "stop-group", "restart"]
FAULTS: tuple[Fault, ...] = ("kill", "kill-group", "stop-group", "restart")


class Path(NamedTuple):
    """A way that a run takes, and the attempt on it that is hit."""

    name: str
    fails: str  # the step that gives up; none: the run completes
    step: str  # whose attempt is hit
    phase: Phase
    next: tuple[str, Phase] | None  # what is sent once that attempt is over
    points: tuple[str, ...]

    @property
    def status(self) -> str:
        """How the run must end all the same."""
        return "compensated" if self.fails else "completed"


_ATTEMPT = ("step.arrived", "step.claimed", SENT, "step.performed", "step.settled")
_LINK = ("message.publishing", "message.published")
_LAST = ("step.performed", "step.settled")
_FAILURE = ("step.performed", "failure.settled", "errback.called", *_LINK)

PATHS = {
    path.name: path
    for path in (
        Path("forward", "", "pay", "do", ("send", "do"), (*_ATTEMPT, *_LINK)),
        Path("failing", "send", "send", "do", ("send", "undo"), _FAILURE),
        Path("backward", "send", "pay", "undo", ("book", "undo"), (*_ATTEMPT, *_LINK)),
        Path("ending", "", "send", "do", None, _LAST),
        Path("undone", "send", "book", "undo", None, _LAST),
    )
}

#: The points at which an attempt holds its step.
AT_WORK = ("step.claimed", SENT, "step.performed")

#: Cases that are left out: (path or *, point or *, fault or *) and why.
EXCLUDED = {
    ("failing", "step.arrived", "*"): "the same code and state as on the way forward",
    ("failing", "step.claimed", "*"): "the same code and state as on the way forward",
    ("failing", SENT, "*"): "the same code and state as on the way forward",
    ("failing", "step.settled", "*"): "it is where a success is recorded; see failure.settled",
    ("forward", "failure.settled", "*"): "nothing fails on this path",
    ("backward", "failure.settled", "*"): "an undo that raises is a case of its own below",
    ("forward", "errback.called", "*"): "nothing fails on this path",
    ("backward", "errback.called", "*"): "the errback has done its work before the first undo",
    ("ending", "*", "*"): "up to the body, the same as in the middle; nothing is sent after it",
    ("undone", "*", "*"): "up to the body, the same as in the middle; nothing is sent after it",
    ("*", "body.applied", "*"): "step.performed is the next instruction: nothing lies between",
    ("*", "*", "stop-child"): "its parent renews its lease: only its own timeout may end that step",
    ("*", "store.asking", "kill"): "a request that was not sent is one that was not asked for",
    ("*", "store.answered", "kill"): "the next instruction is a point: step.claimed, step.settled",
}

#: What is tried where not everything is to be: one point for each fault, the hardest.
REPRESENTATIVE: dict[Fault, tuple[tuple[str, str], ...]] = {
    "kill": (
        ("forward", "step.performed"),
        ("failing", "failure.settled"),
        ("backward", "step.claimed"),
    ),
    "kill-group": (("forward", "step.settled"), ("backward", "step.performed")),
    "stop-group": (("forward", SENT),),
    "restart": (("failing", "step.performed"),),
}


class Case(NamedTuple):
    """A fault at a point of a path."""

    fault: Fault
    path: Path
    point: str

    @property
    def name(self) -> str:
        """What the case is called: also the id of its run."""
        return f"{self.fault}-{self.path.name}-{self.point}"

    @property
    def claims(self) -> list[int]:
        """The attempts that are claimed of the step that is hit.

        What dies before its claim has used up none; what dies after its report is not done again.
        """
        return [1, 2] if self.point in AT_WORK and self.fault != "restart" else [1]

    def text(self, run_id: str) -> str:
        """What the point is about when it is reached by the attempt that is to be hit."""
        if self.point == "errback.called":
            return run_id
        step, phase = self.path.step, self.path.phase
        if self.point.startswith("message."):
            assert self.path.next is not None
            step, phase = self.path.next
        return f"{run_id}:1:{step}:{phase}:1:"


def cases(fault: Fault, *, everything: bool) -> list[Case]:
    """The cases of a fault: all of them, or the representative ones."""
    found = [Case(fault, path, point) for path in PATHS.values() for point in path.points]
    chosen = REPRESENTATIVE[fault]
    return [c for c in found if everything or (c.path.name, c.point) in chosen]
