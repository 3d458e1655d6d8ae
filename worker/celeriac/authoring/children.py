"""Children: a step of a saga that is a run of another saga.

Owns: what can be a child, what may be said of one, and where one with a pivot may stand.  Refuses
to know: how steps are added (`building`), and what passes between the two runs (`engine`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from celeriac.authoring.annotations import UNSAID
from celeriac.authoring.placeholders import Placeholder, express
from celeriac.authoring.planned import Planned
from celeriac.authoring.waits import Waiter
from celeriac.errors import DefinitionError
from celeriac.machine import Child, FromStep, Node, RetryRule, Undo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.authoring.options import StepOptions
    from celeriac.authoring.signatures import Shape
    from celeriac.machine import Expression

I_contra = TypeVar("I_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

#: A child that failed is not tried again, unless the saga says so; what it owes, never by itself.
_ONCE = RetryRule(max_attempts=1)


class Started(Protocol[R_co]):
    """A run that was started: what it promises."""

    def result(self, timeout: float | None = None) -> R_co:
        """Return its result."""


class Startable(Protocol[I_contra, R_co]):
    """A saga, as another one sees it: what it takes, and what it gives."""

    def start(self, *inputs: I_contra, **named: Any) -> Started[R_co]:
        """Start a run of it."""


class ChildAdder(Waiter):
    """A plan in the making, in which some steps are runs of other sagas."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._children: dict[str, Planned] = {}  # by the node

    def child(
        self,
        saga: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        given: StepOptions,
        exactly: str | None = None,
    ) -> Placeholder:
        """Add a step that is a run of *saga*, *exactly* of this name; return its placeholder."""
        self._check_open()
        planned = self._planned(saga)
        name = exactly or self.name_of(planned.name, given)
        self._check_place(name, given)
        values = self._inputs(name, planned.shape, args, kwargs)
        policy = {"retry": _ONCE, **given.policy(name, after_loss=True)}
        self._children[name] = planned
        self.nodes.append(
            Node(
                name=name,
                task="",
                after=self.placed(name, values, given.after),
                args=values,
                on_unknown="operator",
                pivot=self._is_pivot(planned),
                undo=Undo(task="", wants=(), retry=_ONCE),
                guards=self.blocks.guards,
                child=Child(plan=planned.draft),
                **policy,
            )
        )
        self.steps[name] = None
        returns = planned.shape.returns
        return Placeholder(FromStep(step=name), returns, self, as_json=returns is UNSAID)

    def _planned(self, saga: Any) -> Planned:
        planned = getattr(saga, "planned", None)
        if not isinstance(planned, Planned):
            raise DefinitionError(
                f"flow.child takes a saga and its inputs, not {saga!r}: decorate a function of a "
                "flow with @sagas.saga; a single task is a flow.step",
                saga=self.saga,
            )
        return planned

    def _check_place(self, name: str, given: StepOptions) -> None:
        problem = None
        said = [
            each for each in ("queue", "priority", "expires") if getattr(given, each) is not None
        ]
        if said:
            problem = f"is a run of its own, and no message: say {said[0]} of the steps of its saga"
        elif self.blocks.within:
            problem = (
                f"is a run, which undoes itself: write flow.child outside of "
                f"flow.{self.blocks.within}"
            )
        if problem:
            raise DefinitionError(problem, saga=self.saga, step=name)

    def _inputs(
        self, name: str, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> dict[str, Expression]:
        """The inputs of the child, those left out with their defaults."""
        values = self._express(name, shape, args, kwargs, as_json=False)
        for key, each in shape.parameters.items():
            if key not in values:
                values[key] = express(each.default, each.said, self, as_json=False)
        return values

    def _is_pivot(self, child: Planned) -> bool:
        """True if nothing is undone behind it: it has a point of no return, and none is before."""
        has = child.draft.pivot is not None or child.draft.decides is not None
        return has and not any(node.pivot or node.confirms for node in self.nodes)

    def _check_pivot(self) -> None:
        pivots = [node for node in self.nodes if node.pivot]
        first = next((node for node in pivots if node.child), None)
        if first is not None and (len(pivots) > 1 or self._two_phase_behind(first)):
            raise DefinitionError(
                "is a run that has a pivot itself, behind which it cannot be undone: it has to be "
                "the pivot of this saga, or come after that; move it behind, or give its saga none",
                saga=self.saga,
                step=first.name,
            )
        super()._check_pivot()

    def _two_phase_behind(self, first: Node) -> bool:
        """True if steps are confirmed that come behind a step."""
        return any(node.confirms for node in self.nodes[self.nodes.index(first) :])

    def close(self, plan: Mapping[str, Any], shape: Shape, returned: Any) -> Planned:
        """Take no more steps, and put the plan together."""
        made = replace(super().close(plan, shape, returned), children=dict(self._children))
        known = set[str]()
        for each in made.descendants:
            if each in known:
                raise DefinitionError(
                    f"has two runs that would both be called <its id>.{each}, of a step of its own "
                    "and one of its child's: give one another name, flow.options(name=…)",
                    saga=self.saga,
                )
            known.add(each)
        return made
