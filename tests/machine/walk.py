"""A walk through a world: what can happen, what should not, and the clock, one after the other.

Owns: the plans it goes by, and the commands that no honest worker would give.  Refuses to know:
where the choices come from (Hypothesis, or a seeded generator).  The file is long because each
construct of a plan has its few lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from celeriac.errors import CommandRefused, RunConflict, RunExists
from celeriac.machine import (
    Child,
    Choice,
    FromInput,
    Gate,
    Guard,
    Map,
    Node,
    Plan,
    RetryRule,
    Rule,
    Undo,
    Wait,
)
from celeriac.machine.commands import (
    Block,
    Call,
    Cancel,
    CheckAttempt,
    Claim,
    Command,
    Complete,
    Expand,
    Expire,
    Fail,
    Pause,
    Queue,
    Redispatch,
    Resume,
    RetryOwed,
    Rewind,
    Signal,
    Skip,
    Start,
    Tag,
    Terminate,
    Unblock,
    Waive,
    Wake,
)
from celeriac.machine.events import Dispatch
from celeriac.machine.moves import fold
from celeriac.machine.numbering import numbered
from celeriac.machine.plans import PHASES
from celeriac.machine.steps import NOT_SENT
from celeriac.machine.timing import due, overdue, wake_at
from tests.machine.laws import comes_before
from tests.machine.participants import Participant
from tests.machine.story import GRACE
from tests.machine.world import (
    PROGRESS,
    Rules,
    World,
    begin,
    decide,
    granted,
    happen,
    is_zombie,
    possible,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.machine import Phase
    from tests.machine.world import Action

T = TypeVar("T")
#: None of them is ever full: whether one is, a walk decides.
GATES = (
    Gate(name="room", rule=Rule(kind="limit", most=1_000)),
    Gate(name="mail", rule=Rule(kind="rate", most=1_000, per=60_000)),
    Gate(name="bank", rule=Rule(kind="breaker", most=1_000, per=60_000, open_for=1_000)),
)
#: The saga of a step that is a run of its own.
INNER = Plan(saga="label", nodes=(Node(name="print", task="shop.print"),))
REFUSALS = (CommandRefused, RunConflict, RunExists)


class Chooser(Protocol):
    """Whatever makes the choices."""

    def __call__(self, choices: Sequence[T], /) -> T:
        """Return one of *choices*."""


def any_plan(choose: Chooser, kind: Participant = Participant.KEYED) -> Plan:
    """A saga of one to four steps: a sequence or a graph, some with a pivot.

    Its steps say no more of their participants than is true of *kind*.
    """
    names = ["reserve", "charge", "pack", "ship"][: choose([1, 2, 2, 3, 4])]
    graph = choose([False, False, True])
    nodes: list[Node] = []
    for name in names:
        before = [node.name for node in nodes]
        after = [b for b in before if choose([True, False])] if graph else before[-1:]
        node = _any_node(choose, kind, name)
        nodes.append(node.model_copy(update={"after": tuple(after)}))
    nodes = [_perhaps_waits(choose, node) for node in _guarded(choose, nodes)]
    nodes = [_perhaps_maps(choose, kind, node) for node in nodes]
    nodes = [_perhaps_child(choose, node) for node in nodes]
    plan = Plan(
        saga="place_order",
        nodes=tuple(nodes),
        signals={"go": {}} if any(node.wait and node.wait.signal for node in nodes) else {},
        deadline=choose([None, None, 40_000]),
        on_deadline=choose(["compensate", "compensate", "alert"]),
        compensation_order=choose(["reverse", "reverse", "forward", "parallel", "graph"]),
        retries=choose([0, 0, 0, 1, 2]),
        retry_delay=choose([0, 5_000, 30_000]),
    )
    if choose([True, False, False, False]):
        made = _scoped(choose, _in_two_phases(choose, plan))
    else:
        made = _scoped(choose, with_pivot(plan, choose([None, None, *_alone(plan)])))
    return _in_groups(choose, made) if choose([True, False, False, False]) else made


def _in_groups(choose: Chooser, plan: Plan) -> Plan:
    """Let the first steps be one group, and the others another; or let all of them be one."""
    size = choose(range(1, len(plan.nodes) + 1))
    first, others = plan.nodes[:size], plan.nodes[size:]
    names = {node.name for node in first}
    mixed = any(names & {*node.covers, node.confirms} for node in others)
    if mixed or any(set(node.covers) - names for node in first):
        first, others, names = plan.nodes, (), set()
    nodes = [node.model_copy(update={"group": "entry"}) for node in first]
    for node in others:
        own = {
            "group": "manual",
            "after": tuple(name for name in node.after if name not in names),
            "guards": tuple(guard for guard in node.guards if guard.step not in names),
        }
        nodes.append(node.model_copy(update=own))
    return _with_nodes(plan, tuple(nodes))


def _in_two_phases(choose: Chooser, plan: Plan) -> Plan:
    """Let the first steps be prepared, and some of them be confirmed before the others begin."""
    size = choose(range(1, len(plan.nodes) + 1))
    inside, behind = plan.nodes[:size], plan.nodes[size:]
    able = [n.name for n in inside if not (n.choice or n.map or n.wait or n.child)]
    joining = [name for name in able if choose([True, True, False])]
    if not joining:
        return plan
    waited_for = {name for node in inside for name in node.after}
    before = tuple(node.name for node in inside if node.name not in waited_for)
    confirms: list[Node] = []
    for name in joining:
        node = _any_node(choose, Participant.KEYED, f"{name}-confirm")
        update = {"undo": None, "confirms": name, "after": before}
        confirms.append(node.model_copy(update=update))
        before = (confirms[-1].name,)
    behind = tuple(node.model_copy(update={"after": (*node.after, *before)}) for node in behind)
    return _with_nodes(plan, (*inside, *confirms, *behind))


def _scoped(choose: Chooser, plan: Plan) -> Plan:
    """Let steps that follow one another be undone as one, unless one of them is the pivot."""
    size = choose([0, 0, 1, 2, 3])
    first = choose(range(len(plan.nodes)))
    inside = plan.nodes[first : first + size]
    covers = tuple(node.name for node in inside if not (node.choice or node.confirms))
    if not covers or any(node.pivot or node.map or node.child for node in inside):
        return plan
    undo = Undo(task="shop.undo_all", wants=(), retry=_any_rule(choose), timeout=20_000)
    scope = Node(name="undo_all", task=undo.task, undo=undo, covers=covers)
    bare = [
        node.model_copy(update={"undo": None}) if node.name in covers else node
        for node in plan.nodes
    ]
    return _with_nodes(plan, (*bare[:first], scope, *bare[first:]))


def _with_nodes(plan: Plan, nodes: tuple[Node, ...]) -> Plan:
    """Another plan, so that nothing that was worked out for the first is carried over."""
    values = {name: getattr(plan, name) for name in Plan.model_fields}
    return Plan(**{**values, "nodes": nodes})


def _perhaps_waits(choose: Chooser, node: Node) -> Node:
    """Let some steps be waits instead; one that others are guarded by has to answer."""
    kind = choose(["step"] * 4 + ["signal", "sleep"])
    if node.choice is not None or kind == "step":
        return node
    wait = Wait(timeout=choose([1_000, 30_000]), on_timeout="continue")
    if kind == "signal":
        what_then = choose(["abort", "continue"])
        wait = Wait(signal="go", timeout=choose([None, 5_000, 30_000]), on_timeout=what_then)
    return Node(name=node.name, task="", after=node.after, guards=node.guards, wait=wait)


def _perhaps_maps(choose: Chooser, kind: Participant, node: Node) -> Node:
    """Let some steps be done for each element of a list, and some elements be several steps."""
    if node.choice is not None or node.wait is not None or choose([True] * 5 + [False]):
        return node
    several = choose([False, False, True])
    names = [f"{node.name}[].{part}" for part in ("ask", "do")] if several else [f"{node.name}[]"]
    each = _guarded(choose, [_any_node(choose, kind, name) for name in names])
    each[1:] = [one.model_copy(update={"after": (names[0],)}) for one in each[1:]]
    made = Map(items=FromInput(input="items"), nodes=tuple(each), concurrency=choose([1, 2, 2, 10]))
    return Node(name=node.name, task="", after=node.after, guards=node.guards, map=made)


def _perhaps_child(choose: Chooser, node: Node) -> Node:
    """Let some steps be runs of their own, which are undone by being cancelled."""
    if node.choice or node.wait or node.map or choose([True] * 6 + [False]):
        return node
    once = RetryRule(max_attempts=1)
    own = {"retry": choose([once, once, node.retry]), "undo": Undo(task="", wants=(), retry=once)}
    placed = {"after": node.after, "guards": node.guards, "on_unknown": "operator"}
    return Node(name=node.name, task="", child=Child(plan=INNER), **own, **placed)


def _guarded(choose: Chooser, nodes: list[Node]) -> list[Node]:
    """Let some steps choose, and some of those behind them depend on that."""
    if choose([True, True, False]) or len(nodes) == 1:
        return nodes
    plan = Plan(saga="place_order", nodes=tuple(nodes))
    choosers: list[str] = []
    for place, node in enumerate(nodes):
        update: dict[str, object] = {}
        behind = comes_before(plan, node.name)
        known = [name for name in choosers if name in behind]
        depends: bool = choose([True, True, False])
        if known and depends:
            guard = Guard(step=choose(known), among=("yes",), but=choose([True, False]))
            outer = next(each for each in nodes if each.name == guard.step).guards
            update["guards"] = (*outer, guard)
        if place == 0 or choose([True, False, False]):
            update["choice"] = Choice(labels=("yes", "no"), default=choose([True, False]))
            update["undo"] = None
            choosers.append(node.name)
        nodes[place] = node.model_copy(update=update)
    return nodes


def with_pivot(plan: Plan, name: str | None) -> Plan:
    """The same plan with a step as its pivot."""
    nodes = tuple(node.model_copy(update={"pivot": node.name == name}) for node in plan.nodes)
    return _with_nodes(plan, nodes)


def _alone(plan: Plan) -> list[str]:
    """The steps that stand beside no other: only they can be a pivot."""
    names = set(plan.by_name)
    before = {name: comes_before(plan, name) for name in names}
    return [
        node.name
        for node in plan.nodes
        if not (node.wait or node.map or node.child)
        if all(a == node.name or a in before[node.name] or node.name in before[a] for a in names)
    ]


def _any_node(choose: Chooser, kind: Participant, name: str) -> Node:
    closes = kind is Participant.TOMBSTONE
    undo = Undo(task=f"shop.undo_{name}", wants=(), retry=_any_rule(choose), timeout=20_000)
    return Node(
        name=name,
        task=f"shop.{name}",
        retry=_any_rule(choose),
        timeout=choose([None, 20_000]),
        effect=choose(["keyed", "barrier"]) if closes else "keyed",
        on_unknown=choose(["compensate"] * 4 + ["operator"]),
        undo=choose([undo, undo, undo, None]),
        gates=choose([()] * 5 + [(gate,) for gate in GATES]),
        expires=choose([None] * 5 + [30_000]),
    )


def _any_rule(choose: Chooser) -> RetryRule:
    return RetryRule(
        max_attempts=choose([2, 1, 3, None]),
        initial_delay=choose([0, 1_000, 10_000]),
        jitter=choose([False, True]),
        after_loss=choose([True, True, True, False]),
    )


def any_rules(choose: Chooser) -> Rules:
    """A world for a plan, of either kind in which sagas are safe."""
    kind = choose([Participant.TOMBSTONE, Participant.KEYED])
    plan, dies = any_plan(choose, kind), kind is Participant.TOMBSTONE
    return Rules(plan, kind, zombies_die=dies, elements=choose([2, 3, 3, 0]))


@dataclass
class Walk:
    """A world on its way."""

    rules: Rules
    choose: Chooser
    world: World = field(init=False)
    refused: int = 0

    def __post_init__(self) -> None:
        self.world = begin(self.rules)

    def step(self) -> None:
        """Let one thing happen."""
        kind = self.choose(["well"] * 8 + ["badly", "badly", "clock", "noise", "again"])
        actions = self._actions(kind)
        if actions:
            self.world = happen(self.world, self.choose(actions))
        elif kind == "noise":
            self._give(self.choose(self.strays()))
        elif kind == "again":
            self._give(self.choose(self.world.given))
        else:
            self._pass_time()

    def _actions(self, kind: str) -> list[Action]:
        if kind not in ("well", "badly"):
            return []
        # Zombies mostly sleep: what they do is worst when everybody else has gone on.
        asleep = self.choose([True] * 9 + [False])
        return [
            action
            for action in possible(self.world)
            if (action.verb in PROGRESS) is (kind == "well")
            and not (asleep and action.body and is_zombie(self.world.run, action.body))
        ]

    def check_history(self) -> None:
        """Folding the events gives the run, and how many there were (I9)."""
        world = self.world
        assert fold(self.rules.plan, world.run.id, world.history) == world.run

    def _give(self, command: Command) -> None:
        """Give a command that may be refused, and leaves all as it is then."""
        if self.withheld(command):
            return
        before = self.world
        try:
            if isinstance(command, Claim):
                self.world = granted(self.world, command)
            else:
                self.world = decide(self.world, command)[0]
        except REFUSALS:
            self.refused += 1
        else:
            # Who held the attempts of an element that rests is forgotten: nothing comes of it.
            if _is_forged(command):
                assert self.world == before, "a report of somebody who was granted nothing"

    def withheld(self, command: Command) -> bool:
        """True for what may not be given now: it would end what others still report to."""
        return _is_terminal(command) and self._must_not_end()

    def _must_not_end(self) -> bool:
        """Participants that only know keys need the run that its zombies report to."""
        busy = bool(self.world.bodies or self.world.flying)
        return busy and self.rules.participant is Participant.KEYED

    def _pass_time(self) -> None:
        world = self.world
        for key in sorted(world.flying):
            world = happen(world, next(a for a in possible(world) if a.step == key and not a.body))
        jumps = [1, 1_000, GRACE, 20_000, 60_000, -1_000, -3_600_000]
        if (wake := wake_at(world.run)) and wake > world.now:
            jumps += [wake - world.now] * 3
        world = replace(world, now=world.now + self.choose(jumps))
        away = self.choose([(), (), ((world.now - 20_000, world.now - 5_000),)])
        world = decide(world, Wake(self.choose([0, 0, None, 15_000]), outages=away))[0]
        for dispatch in overdue(world.run, world.now):
            world = decide(world, Redispatch(dispatch))[0]
        self.world = world

    def strays(self) -> list[Command]:
        """Commands that nobody gave reason for: of operators, of old messages, and forged."""
        run, choose = self.world.run, self.choose
        name = choose([*self._names(), "nothing"])
        phase, attempt = choose(PHASES), choose([1, 2, 0, 3, 99])
        late, now = overdue(run, self.world.now), self.world.now
        token, gate = (name, phase, attempt), choose(GATES)
        return [
            Claim(
                *token, "stranger", run.epoch + choose([0, 1, -1]), gates=self._gates(name, phase)
            ),
            Tag(*token, "forger", run.epoch, (("region", "eu"),)),
            Queue(name, phase, gate.name, "it is full", now, now + 60_000, epoch=run.epoch),
            Call(name, phase, gate.name, choose([now, now - 1_000]), epoch=run.epoch),
            Rewind(name, choose(["call-1", "call-2"])),
            CheckAttempt(name, phase, attempt, "forger", run.epoch),
            Expire(name, phase, attempt, epoch=choose([0, 0, run.epoch, max(0, run.epoch - 1)])),
            Expand(name, attempt, choose([0, 1, 5]), choose([run.epoch, run.epoch + 1])),
            Expand(name, attempt, 0, run.epoch, "MapFailed", "map"),
            Redispatch(choose([*late, *due(run), Dispatch(name, phase, attempt, 0)])),
            Block(name, choose(["no worker knows it", NOT_SENT + "another reason"])),
            Unblock(name),
            Cancel("noise"),
            Signal(choose(["go", "nothing"]), choose(["a", "b", "c", f"v{run.version}"])),
            RetryOwed(choose([None, name])),
            Waive(name, "noise"),
            Pause("noise"),
            Resume(),
            Skip(name, "noise", choice="yes" if self._chooses(name) else ""),
            Start(run.id, "input", choose(["call-1", "call-2"]), GRACE),
            Start(run.id, "other", "call-3", GRACE),
            Start(run.id, "input", "call-4", GRACE, if_exists="fail"),
            Start(run.id, "input", f"call-{run.version}", GRACE, if_exists="restart"),
            *([Terminate("noise")] if choose([False, False, False, True]) else []),
            *self._forgeries(),
            *self._told_at_work(),
        ]

    def _told_at_work(self) -> list[Command]:
        """What those at work say before they report, be they given up or not."""
        tags = (("region", self.choose(["eu", "us"])), ("a=b", "c:d"))
        tokens = [(b.step, b.phase, b.attempt, b.holder, b.epoch) for b in self.world.bodies]
        return [
            made for token in sorted(tokens) for made in (CheckAttempt(*token), Tag(*token, tags))
        ]

    def _gates(self, name: str, phase: Phase) -> tuple[str, ...]:
        """The gates that a claim has to pass, if there is such a step."""
        if phase == "undo":
            return self.world.run.step(name).gates
        node = self.world.plan.find(name)
        return tuple(gate.name for gate in node.gates) if node else ()

    def _names(self) -> list[str]:
        """The steps, those of the first elements of maps too, whether they are there or not."""
        plan = self.choose([self.world.plan, self.rules.plan])
        each = [numbered(node.name, 0) for node in plan.all_nodes if node.name not in plan.by_name]
        return [*plan.by_name, *each, *(f"{name}[1]" for name in plan.by_name)]

    def _chooses(self, name: str) -> bool:
        node = self.world.plan.find(name)
        return node is not None and node.choice is not None

    def _forgeries(self) -> list[Command]:
        """Reports of attempts by somebody who was not granted them."""
        run = self.world.run
        found: list[Command] = []
        for name, step in run.steps.items():
            for phase in PHASES:
                direction = step.direction(phase)
                numbers = {0, direction.attempt + 1} | (
                    {direction.attempt} if direction.holder else set()
                )
                for number in sorted(numbers):
                    token = (name, phase, number, "forger", run.epoch)
                    found += [Complete(*token), Fail(*token)]
        return found


def _is_forged(command: Command) -> bool:
    return isinstance(command, Complete | Fail | CheckAttempt) and command.holder == "forger"


def _is_terminal(command: Command) -> bool:
    restart = isinstance(command, Start) and command.if_exists == "restart"
    return restart or isinstance(command, Terminate)
