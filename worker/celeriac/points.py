"""The points at which a process may die, by name: where a test can make it happen.

Owns: the table of points, and telling whoever has armed them that one was reached.  Refuses to
know: what happens there (a kill, a stop, a lost reply), and who wants it to.

Unarmed, a point is a call that looks at one name.  They can be armed in a source checkout only,
by a program that calls `arm`; nothing in the environment and no setting does it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Point(NamedTuple):
    """A place in the code, `module:function`, and what is so when it is reached."""

    where: str
    what: str


#: Every point there is.  A house test sees that each is called there, once, and nowhere else.
POINTS = {
    "start.asked": Point("app.starting:start_run", "a client is about to have its run accepted"),
    "start.accepted": Point("app.starting:start_run", "the run is committed, nothing is published"),
    "start.published": Point("app.starting:start_run", "all is done, the caller has no answer yet"),
    "message.publishing": Point(
        "workers.tasks:SagaTask.apply_async", "a message is about to be sent"
    ),
    "message.published": Point("workers.tasks:SagaTask.apply_async", "the broker has the message"),
    "step.arrived": Point("workers.edge:attempt", "a message has arrived, nothing is claimed"),
    "step.claimed": Point(
        "workers.claiming:granted", "the attempt is claimed, its body has not begun"
    ),
    "gate.passed": Point(
        "engine.gates:GateWork.pass_all", "a claim has passed its gates, nothing is granted"
    ),
    "ahead.told": Point(
        "workers.ahead:RunAhead.take", "an attempt is to be taken up, nothing is recorded of it"
    ),
    "ahead.claimed": Point(
        "workers.edge:_what_follows", "the next attempt is claimed, its body has not begun"
    ),
    "step.performed": Point(
        "workers.passage:Passage.body", "the body is over, nothing is recorded of it"
    ),
    "step.settled": Point(
        "workers.passage:Passage._complete", "the success is recorded, nothing is sent"
    ),
    "failure.settled": Point(
        "workers.passage:Passage._fail", "the failure is recorded, Celery was told nothing"
    ),
    "errback.called": Point("app.wiring:_compensate", "a step has failed, nobody has looked yet"),
    "sweep.taken": Point("engine.sweep:Sweep._batch", "due entries were found, none was seen to"),
    "sweep.looking": Point("engine.sweep:Sweep._look", "one entry is about to be seen to"),
    "tick.decided": Point("engine.ticks:Ticks._follow", "a tick was judged, nothing was started"),
    "tick.started": Point(
        "engine.ticks:Ticks._carry_out", "the run of a tick is accepted, its schedule does not know"
    ),
    "lease.renewing": Point("workers.leases:LeaseKeeper._renew", "leases are about to be renewed"),
    "store.asking": Point("store.connection:_exchanged", "nothing is sent to Redis yet"),
    "store.answered": Point("store.connection:_exchanged", "Redis has done it"),
    "store.forgotten": Point("store.scripts:Scripts.try_all", "Redis has forgotten a script"),
}

_ROOT = Path(__file__).resolve().parents[2]
_listener: Callable[[str, object], object] | None = None


def reached(name: str, about: object = None) -> None:
    """Say that a point was reached; *about* is what it is about, for whoever listens."""
    if _listener is not None:
        _listener(name, about)


def arm(listener: Callable[[str, object], object]) -> None:
    """Call *listener* with name and subject whenever a point is reached in this process.

    It may end or stop the process, wait, or raise.  Raises RuntimeError in an installed package.
    """
    if not _in_checkout():
        raise RuntimeError("points can be armed in a source checkout only, never once installed")
    global _listener  # noqa: PLW0603 -- one name to look at is what makes a point free
    _listener = listener


def disarm() -> None:
    """Make all points free again."""
    global _listener  # noqa: PLW0603 -- see above
    _listener = None


def _in_checkout() -> bool:
    project = _ROOT / "pyproject.toml"
    here = _ROOT / "worker" / "celeriac" / "points.py"
    return here == Path(__file__).resolve() and project.is_file() and (_ROOT / "tests").is_dir()
