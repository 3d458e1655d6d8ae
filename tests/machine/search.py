"""Looking at every order in which things can happen, in a small world.

Owns: the worlds, the search, what makes two of them the same, and telling how a bad one came
about.  Refuses to know: what is bad (`world.wrong`, `laws`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.machine.steps import WAITS, PhaseStatus
from celeriac.machine.tables import IllegalMove
from tests.machine.story import budget, saga, step
from tests.machine.world import Rules, begin, happen, is_quiet, possible, wrong

if TYPE_CHECKING:
    from celeriac.machine.runs import Run
    from celeriac.machine.steps import PhaseState
    from tests.machine.participants import Participant
    from tests.machine.world import Action, World

FAULTS = (
    *("cancel", "stall", "crash", "crash in flight", "cut"),
    *("decline", "give up", "fumble", "retry", "waive", "terminate"),
    *("pause", "resume", "skip", "stray", "restart", "find nothing", "end the run", "postpone"),
    "put off",
    *("signal", "ask", "refuse", "rewind", "told again", "told early", "leave", "block"),
)
#: What may go wrong in one world, and how often.  `stall` makes a zombie; `cut` is a step that
#: reports its own timeout while its request is in the air; `fumble` fails after the effect.
WORLDS: dict[str, dict[str, int]] = {
    "two zombies": {"cancel": 1, "stall": 2},
    "requests in the air": {"cancel": 1, "stall": 1, "cut": 1, "crash in flight": 1},
    "failures": {"cancel": 1, "stall": 1, "decline": 1, "fumble": 1},
    "an abort": {"cancel": 1, "stall": 1, "give up": 1, "crash": 1},
    "crashes": {"cancel": 1, "crash": 2, "crash in flight": 1},
    "an operator": {"cancel": 1, "stall": 1, "fumble": 2, "retry": 1},
    "a pause": {"cancel": 1, "fumble": 1, "pause": 1, "resume": 1},
    "doubled and forged messages": {"stray": 2, "cancel": 1, "fumble": 1, "pause": 1, "resume": 1},
    "a start anew": {"restart": 1, "stall": 2, "cancel": 1},
    "a step that cannot say yet": {"cancel": 1, "stall": 1, "postpone": 2, "fumble": 1},
    "an undo that cannot say yet": {"cancel": 1, "stall": 1, "put off": 1},
    "a result from outside": {"cancel": 1, "ask": 2, "fumble": 1, "refuse": 1},
    "a result for a worker that is lost": {"cancel": 1, "ask": 1, "stall": 1, "refuse": 1},
    "a step that ends the run": {"cancel": 1, "stall": 1, "end the run": 1, "fumble": 1},
    "a step that is skipped": {"cancel": 1, "stall": 1, "crash in flight": 1, "skip": 1},
}

_WAITING = (PhaseStatus.SCHEDULED, PhaseStatus.RETRYING, PhaseStatus.POSTPONED)


def small_world(faults: dict[str, int], participant: Participant, **values: Any) -> Rules:
    """Two steps of two attempts each, and no faults but those given."""
    steps = [step(name, retry=budget(delay=0)) for name in ("reserve", "charge")]
    known: dict[str, Any] = {"plan": saga(*steps), "zombies_die": False}
    most = {**dict.fromkeys(FAULTS, 0), **faults}
    return Rules(participant=participant, budget=most, **{**known, **values})


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
    earlier = tuple((_whole(each, now), _steps(each, now)) for each in run.earlier)
    steps = _steps(run, now)
    maps = tuple((name, m.count, m.begun, m.order) for name, m in run.steps.maps.items())
    rest = (maps, run.signals, world.bodies, world.flying, world.books, world.reports, world.spent)
    return (_whole(run, now), steps, earlier, *rest)


def _whole(run: Run, now: int) -> Any:
    quiet, begins = max(0, run.compensate_not_before - now), max(0, run.begins_at - now)
    held = (run.epoch, run.status, run.why, run.failed_step, run.ended_by, bool(run.paused), quiet)
    return (*held, begins, run.final, run.rewinds_to, run.stands, run.rewinds, run.routes)


def _steps(run: Run, now: int) -> Any:
    return tuple(
        (
            name,
            _direction(s.do, now),
            _direction(s.undo, now),
            s.order,
            s.may_have_effect,
            s.generation,
            s.gates,
            bool(s.line),
        )
        for name, s in run.steps.items()
    )


def _direction(direction: PhaseState, now: int) -> Any:
    at = max(0, direction.at - now) if direction.state in _WAITING else 0
    if direction.state in WAITS:
        at = direction.limit - now
    left = direction.limit - now if direction.state is PhaseStatus.SCHEDULED else 0
    return (
        left if direction.limit else 0,
        direction.state,
        direction.attempt,
        direction.holder,
        at,
        direction.sent,
        direction.attempts_before_budget,
        direction.recompensate,
        direction.late,
        direction.given_back,
        direction.kept,
        direction.child,
    )


def _story(came_from: dict[Any, tuple[Any, Action] | None], shape: Any, last: Action) -> list[str]:
    told = [str(last)]
    while (step := came_from[shape]) is not None:
        shape, action = step
        told.append(str(action))
    return told[::-1]
