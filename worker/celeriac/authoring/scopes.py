"""Scopes: steps that are undone as a whole, or confirmed as a whole.

Owns: `undone_by` and `two_phase`, and what may stand inside.  Refuses to know: which step waits for
which (`blocks`), conditions, and the words of an author (`flow`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.authoring.grouping import Grouper
from celeriac.authoring.placeholders import steps_used
from celeriac.authoring.signatures import Shape
from celeriac.authoring.step_checks import policy_of
from celeriac.authoring.steps import Step
from celeriac.errors import DefinitionError
from celeriac.machine import FromStep, Node, Undo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.authoring.blocks import Region
    from celeriac.authoring.compensations import Confirm
    from celeriac.machine import Expression


class Scoper(Grouper):
    """A plan in the making, in which some steps are undone as a whole."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._scopes: dict[str, Region] = {}  # by the node that undoes what is inside
        self._two_phase = False

    def undone_by(
        self, task: Any, args: Any, kwargs: Mapping[str, Any], exactly: str | None = None
    ) -> Region:
        """Add what undoes several steps, and return the block of those; *exactly* is its name."""
        task = self.look(task)
        self._check_usable(task, "flow.undone_by")
        name = exactly or self._free_name(task.name)
        self._check_undoes(name, task)
        own = isinstance(task, Step)
        shape = task.shape if own else Shape.of(task.run, strict=False)
        self._check_shapes(name, shape, None, as_json=not own)
        values = self._express(name, shape, args, kwargs, as_json=not own)
        before = self._before_scope(name, values)
        policy = {key: each for key, each in policy_of(task).items() if key in Undo.model_fields}
        undo = Undo(task=task.name, wants=tuple(values), **policy)
        guards = self.blocks.guards
        self.nodes.append(Node(name=name, task=task.name, args=values, undo=undo, guards=guards))
        self.steps[name] = task
        self._scopes[name] = region = self.blocks.scope("undone_by", before)
        return region

    def two_phase(self) -> Region:
        """Return the block of steps that are prepared, and then all confirmed or all cancelled."""
        pivot = next((node.name for node in self.nodes if node.pivot), None)
        problem = None
        if self._two_phase:
            problem = "stands in the saga twice: what is decided together belongs into one block"
        elif self.blocks.within:
            problem = f"stands inside of flow.{self.blocks.within}: scopes do not nest"
        elif self.blocks.is_branch:
            problem = (
                "stands beside other steps, which its decision to confirm would cut off from "
                "their undo: write it before or behind the parallel block or the graph"
            )
        elif pivot:
            problem = _second_pivot(pivot)
        if problem:
            raise DefinitionError(f"flow.two_phase {problem}", saga=self.saga)
        self._two_phase = True
        return self.blocks.scope("two_phase", behind=self._add_confirms)

    def _add_confirms(self, region: Region) -> None:
        """Behind the block, confirm in order whatever has joined."""
        prepared = {node.name: node for node in self.nodes if node.name in region.members}
        for name, node in prepared.items():
            task = self.steps[name]
            if isinstance(task, Step) and task.confirmation:
                self._add_confirm(node, task.confirmation, region.members)
        if not any(node.confirms for node in self.nodes):
            raise DefinitionError(
                "flow.two_phase has no step with a confirm inside, so there is nothing to decide: "
                "write @step.confirm, or leave the block out",
                saga=self.saga,
            )

    def _add_confirm(
        self, node: Node, confirm: Confirm[..., Any], prepared: tuple[str, ...]
    ) -> None:
        name = self._free_name(f"{node.name}.confirm", whole=True)
        try:
            confirm.shape.prepare()
        except DefinitionError as error:
            raise self.at(node.name, error.parameter, error) from error.__cause__
        given = {**node.args, "result": FromStep(step=node.name)}
        guards = self.blocks.guards
        before = [each.name for each in self.nodes if each.confirms]
        self.nodes.append(
            Node(
                name=name,
                task=confirm.name,
                after=self.blocks.add(name, (*prepared, *before)),
                args={key: node.args.get(key, given[key]) for key in confirm.wants},
                retry=confirm.retry,
                timeout=confirm.timeout,
                ahead=confirm.ahead,
                guards=guards,
                confirms=node.name,
            )
        )
        self.steps[name] = confirm

    def _check_pivot(self) -> None:
        super()._check_pivot()
        pivot = next((node.name for node in self.nodes if node.pivot), None)
        self._check_decision()
        if self._two_phase and pivot:
            problem = f"flow.two_phase {_second_pivot(pivot)}"
            raise DefinitionError(problem, saga=self.saga)

    def _check_decision(self) -> None:
        """Raise DefinitionError if something may be at work beside what decides for all."""
        together = [node.name for node in self.nodes if node.confirms]
        for name in together:
            beside = [each for each in self.blocks.beside(name) if each not in together]
            if beside:
                raise DefinitionError(
                    f"is decided for the whole saga, and {', '.join(beside)} may still be at work "
                    f"then: let it come before the block, or behind {together[-1]}",
                    saga=self.saga,
                    step=name,
                )

    def _check_undoes(self, name: str, task: Any) -> None:
        problem = None
        if self.blocks.within:
            problem = f"covers steps inside of flow.{self.blocks.within}: scopes do not nest"
        elif isinstance(task, Step) and (task.undo or task.confirmation or task.pivot):
            problem = (
                "undoes other steps, so it has no compensation and no confirm of its own, and is "
                "no pivot"
            )
        if problem:
            raise DefinitionError(problem, saga=self.saga, step=name)

    def _before_scope(self, name: str, values: Mapping[str, Expression]) -> list[str]:
        """The steps that all inside have to wait for, since the arguments come from them."""
        found: list[str] = []
        for key, value in values.items():
            try:
                self.check_there(value, self.blocks.guards)
                found += self.blocks.check(steps_used(value))
            except DefinitionError as error:
                raise self.at(name, key, error) from None
        return found

    def _final_nodes(self) -> tuple[Node, ...]:
        return tuple(self._with_covers(super()._final_nodes()))

    def _with_covers(self, nodes: tuple[Node, ...]) -> Iterator[Node]:
        aside = {*self.choices, *(node.name for node in nodes if node.wait)}
        for node in nodes:
            if node.name not in self._scopes:
                yield node
                continue
            inside = self._scopes[node.name].members
            # A condition only looks, and nobody runs a wait: there is nothing to undo.
            covers = tuple(name for name in inside if name not in aside)
            if not covers:
                raise DefinitionError(
                    "undoes the steps inside of its block, and there is none: write them there",
                    saga=self.saga,
                    step=node.name,
                )
            yield node.model_copy(update={"covers": covers})


def _second_pivot(pivot: str) -> str:
    """Why the block cannot stand beside a pivot: the decision to confirm is one too."""
    return (
        f"decides past what nothing is undone any more, and so does the pivot {pivot}; there is "
        "one such point in a saga"
    )
