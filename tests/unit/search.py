"""Looking at every order in which things can happen, in a small world.

Owns: the search, what makes two worlds the same, and telling how a bad one came about.  Refuses to
know: what is bad (`world.wrong`, `laws`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.models import LaneState
from celeriac.moves import IllegalMove
from tests.unit.world import begin, happen, is_quiet, possible, wrong

if TYPE_CHECKING:
    from celeriac.models import Lane
    from tests.unit.world import Action, Rules, World

_WAITING = (LaneState.SCHEDULED, LaneState.RETRYING)


class Found(NamedTuple):
    """What a search has seen."""

    worlds: int
    endings: set[str]  # statuses of the runs that came to rest
    problem: str | None
    story: list[str]  # the shortest way to the problem


def explore(rules: Rules, most: int = 500_000) -> Found:
    """Look at every world that can come about; stop at the first that is wrong."""
    first = begin(rules)
    came_from: dict[Any, tuple[Any, Action] | None] = {_shape(first): None}
    queue, endings = deque([first]), set[str]()
    while queue:
        world = queue.popleft()
        shape = _shape(world)
        if is_quiet(world):
            endings.add(str(world.run.status))
        for action in _next(world):
            try:
                after = happen(world, action)
                problem = wrong(after)
            except (AssertionError, IllegalMove) as error:
                return Found(len(came_from), endings, str(error), _story(came_from, shape, action))
            if problem:
                return Found(len(came_from), endings, problem, _story(came_from, shape, action))
            key = _shape(after)
            if key not in came_from:
                came_from[key] = shape, action
                queue.append(after)
        assert len(came_from) < most, "this world is not as small as it was meant to be"
    return Found(len(came_from), endings, None, [])


def _next(world: World) -> list[Action]:
    actions = possible(world)
    assert actions or is_quiet(world), f"nothing can happen any more: {world.run}"
    return actions


def _shape(world: World) -> Any:
    """All that makes a difference to what can happen: times count from now."""
    run, now = world.run, world.now
    steps = tuple(
        (name, _lane(s.do, now), _lane(s.undo, now), s.order, s.maybe, s.generation)
        for name, s in run.steps.items()
    )
    quiet = max(0, run.quiet - now)
    return (run.status, run.why, quiet, steps, world.bodies, world.flying, world.books, world.spent)


def _lane(lane: Lane, now: int) -> Any:
    at = max(0, lane.at - now) if lane.state in _WAITING else 0
    return lane.state, lane.attempt, lane.holder, at, lane.sent, lane.base, lane.again, lane.late


def _story(came_from: dict[Any, tuple[Any, Action] | None], shape: Any, last: Action) -> list[str]:
    told = [str(last)]
    while (step := came_from[shape]) is not None:
        shape, action = step
        told.append(str(action))
    return told[::-1]
