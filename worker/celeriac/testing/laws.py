"""The laws of compensation, tried on a single step.

Owns: the laws, and the smallest course of events that breaks each.  Refuses to know: what the step
does: *state* tells what there is in the world, and laws are about that being the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.authoring import Planned, Step
from celeriac.errors import InputInvalid
from celeriac.machine import Constant, FromInput, Node, Plan
from celeriac.sagas import Saga
from celeriac.testing.lab import Lab
from celeriac.testing.virtual_tasks import family_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.testing.lab_sagas import LabRun

_POLICY = ("retry", "timeout", "effect", "on_unknown")


class BrokenLaw(AssertionError):
    """A step or its compensation breaks a law of compensation."""


class Law(NamedTuple):
    """A law, and the course of events that shows whether it holds."""

    name: str
    live: Callable[[Lab, str, Callable[[], LabRun[Any]]], None]
    undone: bool = True  # in the end the world is as it was before; False: as after doing it once
    unknown: bool = False  # about outcomes that nobody knows: not for steps an operator looks after
    presumes: str = ""  # another law: without it, this one cannot be tried


def check_compensation(
    step: Step[Any, Any, Any],
    *args: Any,
    state: Callable[[], object],
    fresh: Callable[[], object],
    **kwargs: Any,
) -> None:
    """Hold one step, called with these arguments, to the laws of compensation.

    *state* returns what there is in the world, as something that can be compared: a balance, the
    rows of a table; what a participant notes about keys is no part of it.  *fresh* makes the world
    new.  Raises BrokenLaw, with the name of each law that is broken and the story of how.
    """
    trial = _Trial(*_saga_of(step, args, kwargs), state, fresh)
    broken: dict[str, str] = {}
    for law in LAWS:
        if law.presumes in broken or (law.unknown and trial.node.on_unknown == "operator"):
            continue
        problem = trial.hold_to(law)
        if problem:
            broken[law.name] = problem
    if broken:
        raise BrokenLaw("\n\n".join([f"{step.name} breaks {len(broken)} law(s)", *broken.values()]))


# --- the laws ----------------------------------------------------------------------------------

_RUN = "law"


def _do_twice(lab: Lab, step: str, start: Callable[[], LabRun[Any]]) -> None:
    lab.crash_after(step)
    start()
    lab.run()


def _undo(lab: Lab, _step: str, start: Callable[[], LabRun[Any]]) -> None:
    run = start()
    lab.run()
    run.cancel()
    lab.run()


def _undo_twice(lab: Lab, step: str, start: Callable[[], LabRun[Any]]) -> None:
    lab.crash_after(f"undo {step}")
    _undo(lab, step, start)


def _undo_nothing(lab: Lab, step: str, start: Callable[[], LabRun[Any]]) -> None:
    lab.at(f"{step} before body", lambda: lab.find(_RUN).cancel())
    lab.crash_before(step)
    start()
    lab.run()


def _do_late(lab: Lab, step: str, start: Callable[[], LabRun[Any]]) -> None:
    lab.at(f"{step} before body", lambda: lab.find(_RUN).cancel())
    lab.late(step)
    start()
    lab.run()


_NOTHING_TO_UNDO = "an undo of nothing does nothing, and succeeds"
LAWS: tuple[Law, ...] = (
    Law("a step done twice under one key is done once", _do_twice, undone=False, unknown=True),
    Law("an undo takes back what the step did", _undo),
    Law("an undo done twice is an undo done once", _undo_twice, unknown=True),
    Law(_NOTHING_TO_UNDO, _undo_nothing, unknown=True),
    Law(
        "an effect that arrives after its undo does not stay",
        _do_late,
        unknown=True,
        presumes=_NOTHING_TO_UNDO,
    ),
)


# --- trying them -------------------------------------------------------------------------------


class _Trial:
    """One step, and the world it works on."""

    def __init__(
        self,
        saga: Saga[Any, Any],
        inputs: dict[str, Any],
        state: Callable[[], object],
        fresh: Callable[[], object],
    ) -> None:
        self._saga, self._inputs, self._state, self._fresh = saga, inputs, state, fresh
        self.node = saga.planned.plan.nodes[0]
        self._fresh()
        self._before = state()
        self._once = self._after_doing_it()

    def _after_doing_it(self) -> object:
        """The world after the step was done; raise BrokenLaw if it cannot be done at all."""
        lab = Lab()
        run = lab.start(self._saga, id=_RUN, **self._inputs)
        lab.run()
        if run.status != "completed":
            raise BrokenLaw(f"{self._saga.name} does not succeed with these arguments\n{run.story}")
        return self._state()

    def hold_to(self, law: Law) -> str | None:
        """Return how a law is broken, or None."""
        self._fresh()
        lab = Lab()
        law.live(lab, self.node.name, lambda: lab.start(self._saga, id=_RUN, **self._inputs))
        run, found = lab.find(_RUN), self._state()
        ended = "compensated" if law.undone else "completed"
        wanted = self._before if law.undone else self._once
        if run.status == ended and found == wanted:
            return None
        what = f"the world is {found!r}, and should be {wanted!r}"
        if run.status != ended:
            what = f"the run is {run.status}, and should be {ended}"
        return f"broken: {law.name}\n{what}\n{run.story}"


def _saga_of(
    step: Step[Any, Any, Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Saga[Any, Any], dict[str, Any]]:
    """A saga of this step alone, known to nobody else, and its inputs."""
    if not isinstance(step, Step) or step.undo is None:
        raise InputInvalid(
            f"check_compensation takes a step that has a compensation, not {step!r}; what an "
            "adopted task does in a saga is explored with explore(saga, …)"
        )
    name = step.name.rpartition(".")[2]
    node = Node(
        name=name,
        task=step.name,
        args={key: FromInput(input=key) for key in step.shape.parameters},
        undo=step.undo.undo(),
        **{policy: getattr(step, policy) for policy in _POLICY},
    )
    plan = Plan(
        saga=step.name,
        params=tuple(step.shape.parameters),
        nodes=(node,),
        result=Constant(value=None),
    )
    planned = Planned(plan, step.shape, {name: step}, ())
    return Saga(family_of(step), planned), step.shape.bind(args, kwargs)
