"""A saga, planned: its steps, where their arguments come from, and how each is undone.

Owns: what a plan consists of, and its fingerprint.  Refuses to know: how it is made (`authoring`),
where arguments come from (`expressions`), and what may happen to a run of it (`transitions`).

Plans are Pydantic models: they are stored, checked and shown.  Durations are whole milliseconds.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from celeriac.machine.awaited import Wait
from celeriac.machine.expressions import Constant, Expression, Frozen, bound
from celeriac.machine.gates import Gate
from celeriac.machine.guards import Choice, Guard
from celeriac.machine.numbering import Routes, instance_of, map_of, numbered
from celeriac.machine.policy import RetryRule

#: How many steps a run may start, unless its saga says otherwise.
MAX_STEPS = 1_024

Phase = Literal["do", "undo"]
PHASES: tuple[Phase, ...] = ("do", "undo")
CompensationOrder = Literal["reverse", "forward", "parallel", "graph"]
OnDeadline = Literal["compensate", "alert"]
Effect = Literal["keyed", "barrier", "none"]
OnUnknown = Literal["retry", "compensate", "operator"]

_MOST_MADE = 256  # instances that a plan remembers as nodes


_AHEAD = "the worker that settled what comes before it may take it up at once, without a message"


class Undo(Frozen):
    """The compensation of a node."""

    task: str = Field(description="name of the Celery task")
    wants: tuple[str, ...] = Field(description="the parameters it asks for, by name")
    retry: RetryRule = RetryRule()
    timeout: int | None = Field(default=None, description="milliseconds one attempt may take")
    ahead: bool = Field(default=True, description=_AHEAD)
    give_up_after: int | None = Field(
        default=None, description="milliseconds from its first claim for all attempts together"
    )


class Map(Frozen):
    """A node that is made again for each element of a list, when its turn comes.

    The node itself is run by no worker: it waits until all of its elements have ended.
    """

    items: Expression = Field(description="the list")
    nodes: tuple[Node, ...] = Field(description="the steps of an element: `ship[]`")
    concurrency: int = Field(default=10, description="elements at work at the same time, at most")


class Child(Frozen):
    """A node whose attempt is another run: no worker runs it; to undo it is to undo that run."""

    plan: Plan


class Node(Frozen):
    """A step of a plan: a Celery task, its arguments, its policy and how it is undone.

    One that waits, or whose attempt is another run, has no task: no worker runs it.
    """

    name: str = Field(description="unique in the plan; operators and history use it")
    task: str = Field(description="name of the Celery task; empty if no worker runs it")
    after: tuple[str, ...] = Field(default=(), description="steps that must have completed")
    args: dict[str, Expression] = Field(default_factory=dict, description="by parameter name")
    keywords: tuple[str, ...] = Field(default=(), description="which of them are given by name")
    retry: RetryRule = RetryRule()
    timeout: int | None = Field(default=None, description="milliseconds one attempt may take")
    effect: Effect = "keyed"
    on_unknown: Literal["compensate", "operator"] = Field(
        default="compensate",
        description="what follows an attempt whose outcome is unknown and that is not tried again",
    )
    pivot: bool = Field(default=False, description="once it completed, the run only goes forward")
    ahead: bool = Field(default=True, description=_AHEAD)
    undo: Undo | None = None
    guards: tuple[Guard, ...] = Field(default=(), description="all must hold, or it is skipped")
    confirms: str | None = Field(
        default=None, description="the step, prepared before, that it confirms, if that joined"
    )
    covers: tuple[str, ...] = Field(
        default=(), description="steps that its undo undoes in one; it is never done itself"
    )
    choice: Choice | None = Field(default=None, description="what its answer decides, if anything")
    give_up_after: int | None = Field(
        default=None, description="milliseconds from its first claim for all attempts together"
    )
    expires: int | None = Field(default=None, description="milliseconds it may wait for a claim")
    wait: Wait | None = Field(default=None, description="what it waits for, in place of a task")
    queue: str | None = Field(default=None, description="where it is sent; None: as its task says")
    priority: int | None = Field(default=None, description="of its messages; None: the task's")
    map: Map | None = Field(default=None, description="it is made once for each element of a list")
    child: Child | None = Field(default=None, description="the run that is an attempt of it")
    group: str = Field(default="", description="it is made anew whenever this group is visited")
    routes: tuple[str, ...] = Field(default=(), description="groups that it may go on with")
    gates: tuple[Gate, ...] = Field(default=(), description="what each attempt has to pass")

    def instance(self, number: int) -> Node:
        """The node of a map as it is for one element."""
        of = map_of(self.name)
        return self.model_copy(
            update={
                "name": numbered(self.name, number),
                "after": tuple(numbered(each, number) for each in self.after),
                "args": {key: bound(each, of, number) for key, each in self.args.items()},
                "guards": tuple(
                    each.model_copy(update={"step": numbered(each.step, number)})
                    for each in self.guards
                ),
                "gates": tuple(each.bound(of, number) for each in self.gates),
            }
        )

    @property
    def reads_first(self) -> bool:
        """True if its turn begins with a value: the list of a map, or until when it sleeps."""
        return self.map is not None or (self.wait is not None and self.wait.reads)

    def expires_at(self, turn: int) -> int:
        """When it is too late to take it up, in ms, if its turn came at *turn*; 0: never."""
        return turn + self.expires if self.expires else 0

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The directions that workers run: of most the first alone, or both; of a wait none."""
        runs = not (self.covers or self.wait or self.child)
        found: dict[Phase, bool] = {"do": runs, "undo": bool(self.undo and not self.child)}
        return tuple(phase for phase, there in found.items() if there)

    def policy(self, phase: Phase) -> RetryRule:
        """The retry rule of one direction."""
        return self.undo.retry if phase == "undo" and self.undo else self.retry

    def task_of(self, phase: Phase) -> str:
        """The Celery task of one direction."""
        return self.undo.task if phase == "undo" and self.undo else self.task

    def given_by_name(self, phase: Phase) -> tuple[str, ...]:
        """The arguments that its task gets by name although they have a position."""
        return self.keywords if phase == "do" else ()

    def queue_of(self, phase: Phase) -> str | None:
        """The queue that the saga names for one direction; None: wherever its task goes."""
        return self.queue if phase == "do" else None

    def limit(self, phase: Phase) -> int | None:
        """Milliseconds an attempt may take in one direction; a run that is one has a deadline."""
        if self.child:
            return None
        return self.undo.timeout if phase == "undo" and self.undo else self.timeout

    def gives_up_after(self, phase: Phase) -> int | None:
        """Milliseconds for all attempts of one direction together; None: no limit was named."""
        if phase == "undo":
            return self.undo.give_up_after if self.undo else None
        return self.give_up_after

    def runs_ahead(self, phase: Phase) -> bool:
        """Whether an attempt in one direction may be taken up without a message of its own.

        A step with gates, or for which the saga names a queue or a priority, has its own message.
        """
        if self.gates:
            return False
        if phase == "undo" and self.undo:
            return self.undo.ahead
        return self.ahead and self.queue is None and self.priority is None


class Plan(Frozen):
    """A saga, planned: a static graph.  Stored with its runs, so a deploy breaks none of them."""

    saga: str
    version: int = 1
    params: tuple[str, ...] = ()
    nodes: tuple[Node, ...]
    result: Expression = Constant(value=None)
    deadline: int | None = Field(default=None, description="milliseconds from the start")
    on_deadline: OnDeadline = "compensate"
    compensation_order: CompensationOrder = "reverse"
    max_steps: int | None = Field(
        default=None,
        description="a run that starts more fails; None: 1,024, or as many as there are",
    )
    retries: int = Field(
        default=0, description="how often it begins anew once all was undone since a step failed"
    )
    retry_delay: int = Field(default=5_000, description="milliseconds before it begins anew")
    retention: int | None = Field(
        default=None, description="milliseconds after the end; None: the setting"
    )
    signals: dict[str, Any] = Field(
        default_factory=dict, description="JSON schema of the payload of each signal it waits for"
    )
    gates: tuple[Gate, ...] = Field(default=(), description="what each of its runs has to pass")

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change whenever the plan does."""
        # Without what has its default: a field that a newer version adds must not make every plan
        # another one.
        dumped = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(dumped, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def steps(self) -> tuple[Node, ...]:
        """The nodes that are done: all but those that only undo others."""
        return tuple(node for node in self.nodes if not node.covers)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups of its steps, if it has any: a run begins with the first (see `visits`)."""
        return tuple(dict.fromkeys(node.group for node in self.nodes if node.group))

    @cached_property
    def whole(self) -> Plan:
        """The plan itself; of one that was made of the visits of a run, the plan of that run."""
        return self

    @cached_property
    def visited(self) -> dict[Routes, Plan]:
        """What was made of it for the visits of some runs, to be found again."""
        return {}

    @cached_property
    def confirmed_by(self) -> dict[str, str]:
        """For each step of two phases, the node that confirms it."""
        return {node.confirms: node.name for node in self.nodes if node.confirms}

    @cached_property
    def scope_of(self) -> dict[str, str]:
        """For each step that is undone together with others, the node that undoes them."""
        return {name: node.name for node in self.nodes for name in node.covers}

    @cached_property
    def undoers(self) -> dict[str, str]:
        """For each step that can be undone, the node whose undo does it: mostly its own."""
        own = {node.name: node.name for node in self.steps if node.undo}
        return own | {name: scope for name, scope in self.scope_of.items() if self._acts(name)}

    def _acts(self, name: str) -> bool:
        """False for what asks or waits: it has no effect, so it is no reason to undo anything."""
        node = self.by_name[name]
        return node.wait is None and node.choice is None

    def undoer_of(self, name: str) -> str | None:
        """What undoes a step, be it that of an element; None if nothing does."""
        found = self.undoers.get(name)
        node = None if found or name in self.by_name else self.find(name)
        return name if node and node.undo else found

    @cached_property
    def by_pattern(self) -> dict[str, Node]:
        """The nodes of maps, as they are before an element is known: `ship[]`."""
        maps = (node.map for node in self.nodes if node.map)
        return {each.name: each for made in maps for each in made.nodes}

    @cached_property
    def _made(self) -> dict[str, Node]:
        return {}

    def find(self, name: str) -> Node | None:
        """The node of a name, be it that of an instance; None if there is none."""
        found = self.by_name.get(name) or self._made.get(name)
        if found is not None:
            return found
        instance = instance_of(name)
        pattern = self.by_pattern.get(instance.node) if instance else None
        if instance is None or pattern is None:
            return None
        if len(self._made) >= _MOST_MADE:
            self._made.clear()
        made = self._made[name] = pattern.instance(instance.number)
        return made

    def node(self, name: str) -> Node:
        """The node of a name, be it that of an instance; KeyError if there is none."""
        found = self.find(name)
        if found is None:
            raise KeyError(name)
        return found

    def following(self, name: str) -> tuple[Node, ...]:
        """The steps that wait for a step; of one that is an instance, those of the same element."""
        instance = None if name in self.followers else instance_of(name)
        if instance is None:
            return self.followers[name]
        nodes = self.followers[instance.node]
        return tuple(self.node(numbered(each.name, instance.number)) for each in nodes)

    @cached_property
    def followers(self) -> dict[str, tuple[Node, ...]]:
        """For each node, also of maps, the nodes that wait for it."""
        found: dict[str, list[Node]] = {node.name: [] for node in self.all_nodes}
        for node in self.all_nodes:
            for name in node.after:
                found[name].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @property
    def most_steps(self) -> int:
        """How many steps a run may start."""
        # A plan of an earlier version knows no limit, and runs on.
        return self.max_steps or max(MAX_STEPS, len(self.steps))

    @cached_property
    def all_nodes(self) -> tuple[Node, ...]:
        """The nodes, each map followed by those that it is made of."""
        return tuple(
            each for node in self.nodes for each in (node, *(node.map.nodes if node.map else ()))
        )

    @cached_property
    def run_by_workers(self) -> tuple[Node, ...]:
        """The nodes whose tasks are sent to workers; those of maps as they are in each element."""
        return tuple(node for node in self.all_nodes if node.map is None and node.child is None)

    @cached_property
    def addresses(self) -> frozenset[tuple[str, str | None]]:
        """The tasks that its messages name, each with the queue that the saga names for it."""
        return frozenset(
            (node.task_of(phase), node.queue_of(phase))
            for node in self.run_by_workers
            for phase in node.phases
        )

    @cached_property
    def pivot(self) -> str | None:
        """The step after which the run only goes forward, if there is one."""
        return next((node.name for node in self.nodes if node.pivot), None)

    @cached_property
    def decides(self) -> Node | None:
        """The first confirm, if there are any: with its turn, the run begins to confirm.

        That decision is the pivot of a saga with two phases, if there is anything to confirm.
        """
        return next((node for node in self.nodes if node.confirms), None)

    @cached_property
    def turning_points(self) -> tuple[Node, ...]:
        """The pivot, or the confirms, of each visit."""
        return tuple(node for node in self.nodes if node.pivot or node.confirms)
