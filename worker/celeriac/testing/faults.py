"""What the explorer lets go wrong: each as a value that can be armed, told, and written as a test.

Owns: the catalogue: which faults a course of events offers, one for each point and each message.
Refuses to know: which of them are tried together, and what follows.

A read changes nothing, so to die around one is to die at the write before or after it; to die
after a write and before the next is the same; so every death is tried at the `before` of a write.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.errors import Abort, CommandRefused
from celeriac.machine import in_visit, visit_of
from celeriac.testing.fault_points import OTHERS, UNDO
from celeriac.testing.simulation import FOR_EVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celeriac.machine import Node, Plan
    from celeriac.testing.fault_points import Fault, Point
    from celeriac.testing.lab import Lab
    from celeriac.testing.lab_sagas import LabRun
    from celeriac.testing.simulation import World

#: Longer than any patience of the sweep, so that a message was sent anew; and than any run here.
_DELAY, _MUCH_LATER = "2m", "1h"
_STOPPABLE = ("claim", "body", "heartbeat", "report", "commit")
_CANCELLED = "by the explorer"
_MANY = 100  # attempts; what is tried more often is not made to fail each time


@dataclass(frozen=True, slots=True)
class PossibleFault:
    """One thing that goes wrong: a method of the lab, and what it is given."""

    verb: str
    at: str  # a point, or a step
    given: Mapping[str, Any] = field(default_factory=dict)
    place: int = -1  # how many points were reached before; -1: it is there from the start

    def arm(self, lab: Lab, run_id: str) -> Fault | None:
        """Let it happen in *lab*; what only comes afterwards waits for nothing."""
        if self.verb == "cancel":
            return lab.at(self.at, lambda: _cancel(lab.find(run_id)), **self.given)
        if self.verb == "cancel in the end":
            return None
        found: Fault = getattr(lab, self.verb)(self.at, **self.given)
        return found

    def afterwards(self, lab: Lab, run: LabRun[Any]) -> None:
        """Do what is done when all is at rest."""
        if self.verb == "cancel in the end":
            _cancel(run)
            lab.run()

    def lines(self, run_id: str) -> tuple[list[str], list[str]]:
        """The lines of a test: before the start, and after the run."""
        given = [f"{name}={_written(value)}" for name, value in self.given.items()]
        if self.verb == "cancel in the end":
            return [], [f'run.cancel("{_CANCELLED}")', "lab.run()"]
        if self.verb == "cancel":
            act = f'lambda: lab.find("{run_id}").cancel("{_CANCELLED}")'
            return [f"lab.at({', '.join([_written(self.at), act, *given])})"], []
        return [f"lab.{self.verb}({', '.join([_written(self.at), *given])})"], []


class Course(NamedTuple):
    """How a schedule went, as far as others can begin from it."""

    points: Sequence[Point]
    mail: Sequence[tuple[str, int, int]]  # (who, the nth of theirs, points reached before)
    lease: int  # ms


def course_of(world: World) -> Course:
    """The course of a lab that has come to rest."""
    return Course(
        tuple(world.observed.reached), tuple(world.observed.mail), world.settings.lease_ms
    )


def paths_of(plan: Plan) -> list[tuple[PossibleFault, ...]]:
    """Every path that one step can force: all is well, or it fails for good, or all is undone."""
    paths: list[tuple[PossibleFault, ...]] = [()]
    if plan.pivot is None:
        paths.append((PossibleFault("cancel in the end", ""),))
    only_forward = set[str]()  # what comes after the pivot
    for node in _explored(plan):
        if only_forward & set(node.after) or node.confirms or _may_come_behind(plan, node):
            # It is tried until it succeeds, or an operator acts.
            only_forward.add(node.name)
            continue
        if node.wait or node.child:
            continue  # nobody runs it, so nobody can fail
        refused, tried = Abort("forced by the explorer"), {"after": True}
        paths.append((PossibleFault("fail", node.name, {"error": refused}),))
        paths.append((PossibleFault("fail", node.name, {"error": refused, **tried}),))
        if (node.retry.max_attempts or FOR_EVER) < _MANY:
            paths.append((PossibleFault("fail", node.name, tried),))
        if node.pivot:
            only_forward.add(node.name)
    return paths


def _may_come_behind(plan: Plan, node: Node) -> bool:
    """True if a pivot may have passed before, in a group that was visited before."""
    homes = {each.group for each in plan.turning_points}
    if not (homes and plan.groups):
        return False
    return visit_of(node.name) > 1 or node.group not in {*homes, plan.groups[0]}


def _explored(plan: Plan) -> Iterator[Node]:
    """The steps that a path may force; of a map, those of its first two elements."""
    for node in plan.steps:
        if node.map is None:
            yield node
            if node.group:
                yield node.model_copy(update={"name": in_visit(node.name, 2)})
        for number in range(2) if node.map else ():
            # What comes after the pivot, does so with all of its steps.
            for each in node.map.nodes if node.map else ():
                made = each.instance(number)
                yield made.model_copy(update={"after": (*node.after, *made.after)})


def possible_faults(course: Course, after: int) -> Iterator[PossibleFault]:
    """Everything that can go wrong in a course of events, beginning after a place in it."""
    for place, point in enumerate(course.points):
        if place > after:
            yield from _at_point(point, place, course.lease)
    for who, nth, place in course.mail:
        if place > after:
            for verb, given in _OF_MESSAGES:
                yield PossibleFault(verb, who, {**given, **_nth(nth)}, place)


_OF_MESSAGES: tuple[tuple[str, dict[str, str]], ...] = (
    ("lose", {}),
    ("double", {}),
    ("double", {"later": _MUCH_LATER}),
    ("delay", {"duration": _DELAY}),
)


def _at_point(point: Point, place: int, lease: int) -> Iterator[PossibleFault]:
    if point.when != "before" or point.who == "operator":
        return
    nth, of_step = _nth(point.nth), point.who not in OTHERS
    if of_step or point.who == "client":
        yield from _cancels(point, place, nth)
    if point.contact == "read":
        return
    yield PossibleFault("crash", point.name, nth, place)
    zombie = f"{2 * lease / 1000:g}s"
    if point.contact in _STOPPABLE:
        yield PossibleFault("stop", point.name, {"duration": zombie, **nth}, place)
    if point.contact in _STOPPABLE and of_step:
        yield PossibleFault("stop", point.name, nth, place)
    if point.contact == "body":
        yield PossibleFault("late", point.who, nth, place)
        if not point.who.startswith(UNDO):
            yield PossibleFault("late", point.who, {"duration": zombie, **nth}, place)


def _cancels(point: Point, place: int, nth: dict[str, int]) -> Iterator[PossibleFault]:
    if not point.who.startswith(UNDO) and not (point.who == "client" and point.contact != "send"):
        yield PossibleFault("cancel", point.name, nth, place)


def _cancel(run: LabRun[Any]) -> None:
    """Cancel a run; one that is past its pivot refuses, and goes on as if nobody had asked."""
    with suppress(CommandRefused):
        run.cancel(_CANCELLED)


def _nth(number: int) -> dict[str, int]:
    return {"nth": number} if number > 1 else {}


def _written(value: object) -> str:
    if isinstance(value, Abort):
        return f'Abort("{value}")'
    return f'"{value}"' if isinstance(value, str) else repr(value)
