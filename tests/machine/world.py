"""A run among workers that crash and stall, participants with keys, and requests in the air.

Owns: what can happen next in such a world, and what its books must say when all is quiet (I1, I2).
Refuses to know: in which order things happen: that is chosen by a search (`test_exploration`) or
at random (`test_machine_properties`).

Messages are not in it: the run itself says what may be taken (`due`), and a message that is lost,
doubled or late differs from that only in time.

It shares nothing with the lab of `celeriac.testing`: a state here is a value, which a search
compares and goes on from in every direction; the lab runs the real engine, once, through time.

The file is long because what can happen and what the books say of it are read together.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.errors import CommandRefused
from celeriac.machine.commands import (
    Call,
    Cancel,
    Claim,
    Command,
    Complete,
    Defer,
    Expand,
    Expire,
    Fail,
    Open,
    Pause,
    Queue,
    Redispatch,
    Report,
    Resume,
    RetryOwed,
    Rewind,
    Signal,
    Skip,
    Start,
    Terminate,
    Waive,
    Wake,
)
from celeriac.machine.conditions import may_begin_anew, past_pivot, turned
from celeriac.machine.events import Event, EventKind
from celeriac.machine.places import lines_of
from celeriac.machine.plans import PHASES, Plan
from celeriac.machine.relatives import awaited_children, id_of_child
from celeriac.machine.rewinding import check_rewind
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.shown_status import shown_step
from celeriac.machine.step_chains import leaves_prepared, stands_alone
from celeriac.machine.steps import WAITS, PhaseState, PhaseStatus, StepStatus
from celeriac.machine.timing import SHORT_DELAY, due, overdue, waiting_directions
from celeriac.machine.transitions import Transition, transition
from celeriac.machine.tries import epoch_of, key_of, try_of
from celeriac.machine.visits import as_visited
from celeriac.machine.waits import may_take
from tests.machine.laws import check, comes_before, unit_of
from tests.machine.participants import Account, Participant
from tests.machine.story import GRACE, NOON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.machine import Node, Phase

#: What happens when nothing goes wrong (any more).
PROGRESS = (
    *("land", "act", "report", "notice", "deliver", "count", "open", "signal"),
    *("defer", "answer", "child ends", "call"),
)
START = Start("order-42", "input", "call-1", GRACE)


class Body(NamedTuple):
    """An attempt at work, in a worker that may be cut off without knowing it."""

    epoch: int
    step: str
    phase: Phase
    attempt: int
    holder: str
    generation: int
    key: str
    stage: str = "claimed"  # then: granted or declined, by the participant; or asked outside


class Action(NamedTuple):
    """Something that can happen next."""

    verb: str
    body: Body | None = None
    step: str = ""
    phase: Phase = "do"
    choice: str = ""  # what a report answers
    epoch: int = 0  # of the earlier try that it is about; 0: the newest
    outcome: str = ""  # in which a child came to rest

    def __str__(self) -> str:
        what = self.body or self
        attempt = f" #{self.body.attempt}" if self.body else ""
        return f"{self.verb} {what.phase} {what.step}{attempt}" if what.step else self.verb


@dataclass(frozen=True)
class Rules:
    """What this world is like."""

    plan: Plan
    participant: Participant = Participant.TOMBSTONE
    # Participants that only know keys need every zombie to report in the end (docs/invariants.md).
    zombies_die: bool = True
    budget: Mapping[str, int] = field(default_factory=dict)  # how often a verb; others: freely
    checked: bool = True  # every transition is held to the laws
    elements: int = 2  # how long the list of a map is

    @cached_property
    def may_end(self) -> frozenset[str]:
        """The steps that may end the run."""
        several = ((node, self._group_of(node)) for node in self.plan.steps if node.choice is None)
        return frozenset(node.name for node, plan in several if stands_alone(plan, node.name))

    @cached_property
    def may_leave(self) -> frozenset[str]:
        """The steps that may leave their group."""
        several = ((name, self._group_of(self.plan.node(name))) for name in self.may_end)
        fit = {name for name, plan in several if not leaves_prepared(plan, name)}
        return frozenset(fit) if self.plan.groups else frozenset()

    def _group_of(self, node: Node) -> Plan:
        """The plan of one group, or all of it, if there are none."""
        nodes = tuple(each for each in self.plan.nodes if each.group == node.group)
        return Plan(saga=self.plan.saga, nodes=nodes)


@dataclass(frozen=True)
class World:
    """Everything there is, at one moment."""

    rules: Rules
    run: Run
    now: int = NOON
    bodies: frozenset[Body] = frozenset()
    asked: frozenset[Body] = frozenset()  # those outside who hold the token of an attempt
    flying: frozenset[str] = frozenset()  # keys of requests whose sender was cut off
    books: tuple[tuple[str, Account], ...] = ()
    reports: tuple[Report, ...] = ()  # of children, in the order in which they were first told
    spent: tuple[tuple[str, int], ...] = ()
    history: tuple[Event, ...] = ()
    given: tuple[Command, ...] = (START,)

    @property
    def plan(self) -> Plan:
        """The plan of the run as it is now."""
        return as_visited(self.rules.plan, self.run)

    def node(self, name: str) -> Node:
        """The node of a step, be it one that only an earlier try has visited."""
        runs = (self.run, *self.run.earlier)
        found = (as_visited(self.rules.plan, run).find(name) for run in runs)
        base = re.sub(r"~\d+", "", name)  # or one of a life before this one
        return next(filter(None, found), None) or self.rules.plan.node(base)


def begin(rules: Rules) -> World:
    """The world just after the run was accepted."""
    done = transition(rules.plan, None, START, NOON)
    return World(rules, done.run, history=tuple(done.events))


def decide(world: World, command: Command) -> tuple[World, Transition]:
    """Give a command in this world; CommandRefused passes through."""
    done = transition(world.rules.plan, world.run, command, world.now)
    if world.rules.checked:
        check(world.rules.plan, world.run, command, done, world.now)
    if not done.events:
        return world, done
    after = replace(
        world,
        run=done.run,
        history=(*_kept(world.history, done), *done.events),
        given=(*world.given, command),
    )
    return after, done


def _kept(history: tuple[Event, ...], done: Transition) -> tuple[Event, ...]:
    """The history without the events that are dropped for those that follow."""
    gone = {len(history) - 1 - place for place in done.events[0].replaces}
    return tuple(event for number, event in enumerate(history) if number not in gone)


# --- what can happen ---------------------------------------------------------------------------


def possible(world: World) -> list[Action]:
    """Everything that can happen next, within the budget."""
    spent = dict(world.spent)
    left = {verb: most - spent.get(verb, 0) for verb, most in world.rules.budget.items()}
    return [action for action in _possible(world) if left.get(action.verb, 1) > 0]


def _possible(world: World) -> Iterator[Action]:
    run = world.run
    yield from _of_messages(world)
    for body in sorted(world.bodies):
        yield from _of_body(world, body)
    yield from _said_outside(world)
    yield from _of_children(world)
    for key in sorted(world.flying):
        yield Action("land", None, key)
    yield from _losses(world)
    stuck = run.status is RunStatus.FAILED and not turned(run)
    forward = stuck or run.status in (RunStatus.RUNNING, RunStatus.COMPLETED)
    anew = may_begin_anew(world.plan, run) and not run.status.at_rest
    back = run.rewinds_to and run.status is not RunStatus.TERMINATED
    if anew or back or (forward and not past_pivot(world.plan, run)):
        yield Action("cancel")
    yield from (Action("rewind", None, name) for name in _rewindable(world))
    if not run.status.at_rest:
        yield Action("resume" if run.paused else "pause")
    yield from (Action("skip", None, name) for name in _skippable(world))
    yield from (Action("signal", None, name) for name in _awaited(world))
    yield from (Action("stray", body) for body in _strays(world))
    if run.status.at_rest and run.status is not RunStatus.FAILED:
        yield Action("restart")
    yield from _of_operators(world)
    # What is in the air comes down within the grace, so before time passes.
    if not world.flying and _times(world):
        yield Action("pass time")


def _of_messages(world: World) -> Iterator[Action]:
    """Messages that arrive, and those who wait at a gate."""
    run = world.run
    for dispatch in sorted(due(run), key=lambda d: (d.step, d.phase)):
        about = try_of(run, dispatch.step, dispatch.epoch) or run
        quiet = about.compensate_not_before if dispatch.phase == "undo" else 0
        direction = about.step(dispatch.step).direction(dispatch.phase)
        if not direction.state.claimable:
            continue  # what is due is a word to a child
        if direction.state is PhaseStatus.SCHEDULED and 0 < direction.limit <= world.now:
            continue  # it has expired, and nobody has looked yet
        if world.now >= max(dispatch.at - SHORT_DELAY, quiet):
            node = world.node(dispatch.step)
            verb = "count" if node.map else "open" if node.wait else "deliver"
            yield Action(verb, None, dispatch.step, dispatch.phase, epoch=dispatch.epoch)
            if gates_of(world, about, dispatch.step, dispatch.phase):
                yield Action("block", None, dispatch.step, dispatch.phase, epoch=dispatch.epoch)
    for turn in sorted(lines_of(run)):
        about = try_of(run, turn.step, turn.epoch) or run
        if not about.step(turn.step).direction(turn.phase).sent:
            yield Action("call", None, turn.step, turn.phase, epoch=turn.epoch)


def _of_children(world: World) -> Iterator[Action]:
    """How the runs that are attempts of steps may come to rest; or how it is told once more."""
    for run in (world.run, *world.run.still_undone):
        for name, phase, _ in awaited_children(run):
            epoch = 0 if run is world.run else epoch_of(run, name)
            for outcome in _ENDS[phase]:
                yield Action("child ends", None, name, phase, epoch=epoch, outcome=outcome)
            yield Action("told early", None, name, phase, epoch=epoch)
    yield from (Action("told again", None, str(n)) for n, _ in enumerate(world.reports))


#: In which statuses a child may come to rest that goes forward, and one that is to be undone.
_ENDS = {"do": ("completed", "compensated"), "undo": ("compensated",)}


def _of_operators(world: World) -> Iterator[Action]:
    """What an operator may do about a run that needs one, or that waits to begin anew."""
    status = world.run.status
    if status in (RunStatus.FAILED, RunStatus.WAITING):
        yield Action("retry")
    if status is RunStatus.FAILED:
        yield Action("terminate")
        yield from (Action("waive", None, name) for name in _waivable(world))


def _said_outside(world: World) -> Iterator[Action]:
    verbs = ("answer", "refuse", *(("silence",) if world.rules.zombies_die else ()))
    yield from (Action(verb, asked) for asked in sorted(world.asked) for verb in verbs)


def _strays(world: World) -> Iterator[Body]:
    """Messages that are doubled, old, early or forged: none of them may be granted anything."""
    run = world.run
    for name, step in run.steps.items():
        for phase in PHASES:
            direction = step.direction(phase)
            due_now = (name, phase) in {(d.step, d.phase) for d in due(run)}
            for number in range(1, direction.attempt + 2):
                if number <= direction.attempt or not due_now:
                    key = f"{key_of(run, name)}:{name}"
                    epoch = epoch_of(run, name)
                    yield Body(epoch, name, phase, number, "stray", step.generation, key)


def _rewindable(world: World) -> Iterator[str]:
    for node in world.plan.steps:
        with suppress(CommandRefused):
            check_rewind(world.plan, world.run, node.name)
            yield node.name


def _awaited(world: World) -> Iterator[str]:
    """The waits that a signal could end, now or later, and for which none is there."""
    run = world.run
    left = {each.name for each in run.signals if not each.taken_by}
    for node in world.plan.nodes:
        wanted = node.wait.signal if node.wait else None
        over = run.status.at_rest or turned(run)
        if wanted and wanted not in left and may_take(run, node) and not over:
            yield node.name


def _skippable(world: World) -> Iterator[str]:
    run = world.run
    if turned(run) or (run.status.at_rest and run.status is not RunStatus.FAILED):
        return
    over = (PhaseStatus.RUNNING, PhaseStatus.DONE, PhaseStatus.SKIPPED, PhaseStatus.EXPANDED)
    for name in names_of(world.plan, run):
        if run.step(name).do.state not in over and (not run.status.at_rest or name in run.owed):
            yield name


def names_of(plan: Plan, run: Run) -> list[str]:
    """The steps of a run, with those of the elements of each map that was counted."""
    names = [node.name for node in plan.steps]
    for counted in run.steps.maps.values():
        names += [name for number in range(counted.count) for name in counted.names(number)]
    return names


def _times(world: World) -> list[int]:
    """When something may be taken that may not be taken now."""
    run = world.run
    several = [(each, waiting_directions(each)) for each in (run, *run.still_undone)]
    directions = [each for _, found in several for each in found]
    quiet = [
        each.compensate_not_before
        for each, found in several
        for _, phase, _ in found
        if phase == "undo"
    ]
    quiet += [run.begins_at] if run.begins_at and not run.paused else []
    waits = [
        step.do.limit
        for step in world.run.steps.values()
        if step.do.state in (*WAITS, PhaseStatus.SCHEDULED) and not world.run.paused
    ]
    times = (*quiet, *waits, *(direction.at for _, _, direction in directions))
    return [at for at in times if at > world.now]


def _of_body(world: World, body: Body) -> Iterator[Action]:
    if body.stage == "asked":
        yield Action("defer", body)
    elif body.stage == "claimed":
        if body.phase == "do" and world.node(body.step).choice is None:
            yield Action("ask", body)
        yield Action("act", body)
        yield Action("cut", body)
        yield from _gives_in(world, body)
    else:
        yield from (Action("report", body, choice=each) for each in _answers(world, body))
    if body.phase == "undo" or body.stage in ("granted", "asked"):
        yield Action("fumble", body)
    if (body.phase, body.stage) == ("do", "granted"):
        yield from _ends(world, body)
    if world.rules.zombies_die or body.phase == "undo" or not is_zombie(world.run, body):
        yield Action("crash", body)
        if (body.phase, body.stage) == ("do", "claimed"):
            yield Action("crash in flight", body)


def _gives_in(world: World, body: Body) -> Iterator[Action]:
    """What a body may say before it has had an effect."""
    if body.phase == "undo":
        yield Action("put off", body)
        return
    yield Action("decline", body)
    yield Action("give up", body)
    yield Action("postpone", body)
    if world.node(body.step).choice is None:
        yield Action("find nothing", body)


def _ends(world: World, body: Body) -> Iterator[Action]:
    """What a step may say in place of a result: that the run ends, or leaves its group."""
    if _base(body.step) in world.rules.may_end:
        yield Action("end the run", body)
    if _base(body.step) in world.rules.may_leave:
        yield from (Action("leave", body, choice=group) for group in world.rules.plan.groups)


def _base(name: str) -> str:
    """The name of a step without the number of its visit."""
    return name.partition("~")[0]


def _answers(world: World, body: Body) -> tuple[str, ...]:
    """What an attempt that succeeded may answer."""
    choice = world.node(body.step).choice
    if choice is None or body.phase == "undo":
        return ("",)
    return (*choice.labels, *(("something else",) if choice.default else ()))


def _losses(world: World) -> Iterator[Action]:
    at_work = {(body.epoch, body.step, body.phase, body.attempt) for body in world.bodies}
    for run in (world.run, *world.run.still_undone):
        for name, phase, direction in running(run):
            epoch = 0 if run is world.run else epoch_of(run, name)
            alive = (epoch_of(run, name), name, phase, direction.attempt) in at_work
            yield Action("stall" if alive else "notice", None, name, phase, epoch=epoch)


def running(run: Run) -> Iterator[tuple[str, Phase, PhaseState]]:
    """The directions that an attempt holds."""
    if run.status.at_rest:
        return
    for name, step in run.steps.items():
        for phase in PHASES:
            direction = step.direction(phase)
            if direction.state is PhaseStatus.RUNNING and not direction.child:
                yield name, phase, direction


def is_zombie(run: Run, body: Body) -> bool:
    """True if the attempt was given up, and its worker does not know."""
    about = try_of(run, body.step, body.epoch)
    direction = about.step(body.step).direction(body.phase) if about else None
    if direction is None:
        return True
    return direction.state is not PhaseStatus.RUNNING or direction.holder != body.holder


# --- what it leads to --------------------------------------------------------------------------


def happen(world: World, action: Action) -> World:
    """The world after *action*."""
    after = _VERBS[action.verb](world, action)
    if action.verb in world.rules.budget:
        spent = Counter(dict(world.spent))
        spent[action.verb] += 1
        after = replace(after, spent=tuple(sorted(spent.items())))
    return after


def _deliver(world: World, action: Action) -> World:
    run = try_of(world.run, action.step, action.epoch) or world.run
    number = run.step(action.step).direction(action.phase).attempt + 1
    epoch = epoch_of(run, action.step)
    if world.node(action.step).child:
        return _begin_child(world, run, action, number)
    holder = f"{epoch}/{action.step}/{action.phase}/{number}"
    gates = gates_of(world, run, action.step, action.phase)
    return granted(world, Claim(action.step, action.phase, number, holder, epoch, gates=gates))


def _begin_child(world: World, run: Run, action: Action, number: int) -> World:
    """Claim an attempt that is a run: another one, unless the one there was has something to undo.

    A child that was undone is over, so there is a next one; it is undone as the run that it is.
    """
    do = run.step(action.step).do
    child = do.child if action.phase == "undo" else do.attempt + 1
    holder = id_of_child(run, action.step, child)
    epoch = epoch_of(run, action.step)
    return decide(world, Claim(action.step, action.phase, number, holder, epoch, child))[0]


def _child_ends(world: World, action: Action) -> World:
    """A child came to rest, with its effect or without, and its parent is told."""
    run = try_of(world.run, action.step, action.epoch) or world.run
    key, epoch = f"{key_of(run, action.step)}:{action.step}", epoch_of(run, action.step)
    direction = run.step(action.step).direction(action.phase)
    kind, account = world.rules.participant, account_of(world, key)
    if action.outcome == "completed":
        account = kind.do(account)[0]
    elif action.phase == "undo":
        account = kind.undo(account, run.step(action.step).generation)
    child, outcome = id_of_child(run, action.step, direction.child), RunStatus(action.outcome)
    error = "" if action.outcome == "completed" else "RunCompensated"
    told = Report(action.step, epoch, child, outcome, turned=bool(error), error=error)
    known = world.reports if told in world.reports else (*world.reports, told)
    return decide(replace(_book(world, key, account), reports=known), told)[0]


def _told_early(world: World, action: Action) -> World:
    """A child is said to be where it still is: at work."""
    run = try_of(world.run, action.step, action.epoch) or world.run
    child = id_of_child(run, action.step, run.step(action.step).direction(action.phase).child)
    told = Report(action.step, epoch_of(run, action.step), child, RunStatus.RUNNING)
    with suppress(CommandRefused):
        done = decide(world, told)[1]
        assert not done.events, "a parent is woken before its child is at rest (I22)"
    return world


def _told_again(world: World, action: Action) -> World:
    """A report is doubled, or comes late: it says nothing new, and so does nothing."""
    told = world.reports[int(action.step)]
    with suppress(CommandRefused):
        return decide(world, told)[0]
    return world


def gates_of(world: World, run: Run, name: str, phase: Phase) -> tuple[str, ...]:
    """The gates that an attempt of a step has to pass."""
    if phase == "undo":
        return run.step(name).gates
    return tuple(gate.name for gate in world.node(name).gates)


def _block(world: World, action: Action) -> World:
    """A gate does not let a message of a step through."""
    run = try_of(world.run, action.step, action.epoch) or world.run
    gate = gates_of(world, run, action.step, action.phase)[0]
    until = world.now + 60_000
    about = (action.step, action.phase, gate, "it is full", world.now, until)
    command = Queue(*about, epoch=epoch_of(run, action.step))
    return decide(world, command)[0]


def _call(world: World, action: Action) -> World:
    """A place is free: it is the turn of a step that waits."""
    run = try_of(world.run, action.step, action.epoch) or world.run
    gate, _ = run.step(action.step).line or ("", 0)
    call = Call(action.step, action.phase, gate, epoch=epoch_of(run, action.step))
    return decide(world, call)[0]


def _count(world: World, action: Action) -> World:
    attempt = world.run.step(action.step).do.attempt + 1
    epoch = epoch_of(world.run, action.step)
    command = Expand(action.step, attempt, world.rules.elements, epoch)
    return decide(world, command)[0]


def _open(world: World, action: Action) -> World:
    attempt = world.run.step(action.step).do.attempt + 1
    command = Open(action.step, attempt, world.now + 60_000, world.run.epoch)
    return decide(world, command)[0]


def granted(world: World, claim: Claim) -> World:
    """Claim an attempt; its body is at work then."""
    world, done = decide(world, claim)
    if not done.events or claim.child:
        return world  # a run is no body
    about = try_of(world.run, claim.step, claim.epoch) or world.run
    step = about.step(claim.step)
    body = Body(
        claim.epoch,
        claim.step,
        claim.phase,
        claim.attempt,
        claim.holder,
        step.generation,
        f"{key_of(about, claim.step)}:{claim.step}",
    )
    return replace(world, bodies=world.bodies | {body})


def _act(world: World, action: Action) -> World:
    body = _the(action)
    kind, account = world.rules.participant, account_of(world, body.key)
    if body.phase == "do":
        account, ok = kind.do(account)
    else:
        ok = True
        world = _undone(world, body)
        account = account_of(world, body.key)
    after = body._replace(stage="granted" if ok else "declined")
    return replace(_book(world, body.key, account), bodies=world.bodies - {body} | {after})


def _undone(world: World, body: Body) -> World:
    """The undo of a step, or of all that a scope covers, has arrived."""
    names = world.node(body.step).covers or (body.step,)
    for key in (f"{body.key.removesuffix(body.step)}{name}" for name in names):
        account = world.rules.participant.undo(account_of(world, key), body.generation)
        world = _book(world, key, account)
    return world


def _stray(world: World, action: Action) -> World:
    body = _the(action)
    try:
        run = try_of(world.run, body.step, body.epoch) or world.run
        gates = gates_of(world, run, body.step, body.phase)
        return granted(world, replace(Claim(*_token(body)), gates=gates))
    except CommandRefused:
        return world


def _restart(world: World, _action: Action) -> World:
    again = Start("order-42", "input", f"call-{world.run.version}", GRACE, if_exists="restart")
    return decide(world, again)[0]


def _report(world: World, action: Action) -> World:
    body = _the(action)
    if body.stage == "declined":
        return settled(world, body, _failure(body, kind="abort", effect=False))
    return settled(world, body, Complete(*_token(body), choice=action.choice))


def _find_nothing(world: World, action: Action) -> World:
    body = _the(action)
    return settled(world, body, Complete(*_token(body), skips=True))


def _end_the_run(world: World, action: Action) -> World:
    body = _the(action)
    return settled(world, body, Complete(*_token(body), ends=True))


def _leave(world: World, action: Action) -> World:
    body = _the(action)
    return settled(world, body, Complete(*_token(body), route=action.choice))


def _ask(world: World, action: Action) -> World:
    body = _the(action)
    asks = body._replace(stage="asked")
    without = world.bodies - {body}
    return replace(world, bodies=without | {asks}, asked=world.asked | {asks})


def _defer(world: World, action: Action) -> World:
    body = _the(action)
    return settled(world, body, Defer(*_token(body), delay=60_000))


def _answer(world: World, action: Action) -> World:
    """Somebody outside does what a step has asked for, if the participant lets him, and says so."""
    body = _the(action)
    account, ok = world.rules.participant.do(account_of(world, body.key))
    world = _book(world, body.key, account)
    said = Complete(*_outside(world, body), outside=True)
    return _told(world, body, said if ok else _refusal(world, body))


def _refuse(world: World, action: Action) -> World:
    body = _the(action)
    return _told(world, body, _refusal(world, body))


def _silence(world: World, action: Action) -> World:
    return replace(world, asked=world.asked - {_the(action)})


def _refusal(world: World, body: Body) -> Fail:
    return Fail(*_outside(world, body), kind="abort", error="No", effect=False, outside=True)


def _told(world: World, body: Body, command: Command) -> World:
    return settled(replace(world, asked=world.asked - {body}), body, command, of_body=False)


def _outside(world: World, body: Body) -> tuple[str, Phase, int, str, int]:
    """Who holds the attempt is no business of those outside: their token is known by its number."""
    holder = world.run.step(body.step).do.holder
    return body.step, "do", body.attempt, holder, body.epoch


def _postpone(world: World, action: Action) -> World:
    body = _the(action)
    effect = None if body.stage == "granted" else False
    return settled(world, body, _failure(body, kind="postpone", effect=effect, delay=0))


def _decline(world: World, action: Action) -> World:
    body = _the(action)
    return settled(world, body, _failure(body, effect=False))


def _give_up(world: World, action: Action) -> World:
    body = _the(action)
    return settled(world, body, _failure(body, kind="abort", effect=False))


def _fumble(world: World, action: Action) -> World:
    body = _the(action)
    return settled(world, body, _failure(body))


def _cut(world: World, action: Action) -> World:
    body = _the(action)
    world = settled(world, body, _failure(body, kind="timeout"))
    # An undo in the air would only come down as one more undo.
    return replace(world, flying=world.flying | {body.key}) if body.phase == "do" else world


def settled(world: World, body: Body, command: Command, *, of_body: bool = True) -> World:
    """Report how an attempt ended; its body is gone then."""
    world = replace(world, bodies=world.bodies - {body}) if of_body else world
    try:
        return decide(world, command)[0]
    except CommandRefused:
        assert body.epoch != world.run.epoch, "only a report from before a restart is refused"
        return world


def _crash(world: World, action: Action) -> World:
    return replace(world, bodies=world.bodies - {_the(action)})


def _crash_in_flight(world: World, action: Action) -> World:
    return replace(_crash(world, action), flying=world.flying | {_the(action).key})


def _land(world: World, action: Action) -> World:
    account, _ = world.rules.participant.do(account_of(world, action.step))
    return replace(_book(world, action.step, account), flying=world.flying - {action.step})


def _lose(world: World, action: Action) -> World:
    about = try_of(world.run, action.step, action.epoch) or world.run
    attempt = about.step(action.step).direction(action.phase).attempt
    return decide(
        world, Expire(action.step, action.phase, attempt, epoch=epoch_of(about, action.step))
    )[0]


def _pass_time(world: World, _action: Action) -> World:
    return decide(replace(world, now=max(_times(world))), Wake())[0]


def _signal(world: World, action: Action) -> World:
    wait = world.plan.by_name[action.step].wait
    assert wait is not None
    assert wait.signal is not None
    return decide(world, Signal(wait.signal, f"s{len(world.run.signals)}"))[0]


_VERBS = {
    "deliver": _deliver,
    "count": _count,
    "open": _open,
    "act": _act,
    "report": _report,
    "decline": _decline,
    "find nothing": _find_nothing,
    "end the run": _end_the_run,
    "leave": _leave,
    "postpone": _postpone,
    "put off": _postpone,
    "child ends": _child_ends,
    "told again": _told_again,
    "told early": _told_early,
    "ask": _ask,
    "defer": _defer,
    "answer": _answer,
    "refuse": _refuse,
    "silence": _silence,
    "give up": _give_up,
    "fumble": _fumble,
    "cut": _cut,
    "crash": _crash,
    "crash in flight": _crash_in_flight,
    "land": _land,
    "stall": _lose,
    "notice": _lose,
    "cancel": lambda world, _: decide(world, Cancel())[0],
    "rewind": lambda world, action: decide(world, _rewind(world, action))[0],
    "retry": lambda world, _: decide(world, RetryOwed())[0],
    "waive": lambda world, action: decide(world, Waive(action.step, "by hand"))[0],
    "stray": _stray,
    "restart": _restart,
    "block": _block,
    "call": _call,
    "pause": lambda world, _: decide(world, Pause("hold on"))[0],
    "resume": lambda world, _: decide(world, Resume())[0],
    "skip": lambda world, action: decide(world, _skip(world, action))[0],
    "terminate": lambda world, _: decide(world, Terminate("enough"))[0],
    "pass time": _pass_time,
    "signal": _signal,
}


def _rewind(world: World, action: Action) -> Rewind:
    return Rewind(action.step, f"rewind-{world.run.version}")


def _skip(world: World, action: Action) -> Skip:
    choice = world.node(action.step).choice
    return Skip(action.step, "by hand", choice=choice.labels[0] if choice else "")


def _the(action: Action) -> Body:
    assert action.body is not None
    return action.body


def _token(body: Body) -> tuple[str, Phase, int, str, int]:
    return body.step, body.phase, body.attempt, body.holder, body.epoch


def _failure(
    body: Body, *, kind: str = "error", effect: bool | None = None, delay: int | None = None
) -> Fail:
    told: Any = {"kind": kind, "error": "BankDown", "effect": effect, "delay": delay}
    return Fail(*_token(body), **told)


_BEGINS = (EventKind.STARTED, EventKind.BEGAN_ANEW, EventKind.REWOUND)


# --- the books ---------------------------------------------------------------------------------


def account_of(world: World, key: str) -> Account:
    """What the participant has on record of a key."""
    return dict(world.books).get(key, Account())


def _book(world: World, key: str, account: Account) -> World:
    return replace(world, books=tuple(sorted({**dict(world.books), key: account}.items(), key=str)))


def is_quiet(world: World) -> bool:
    """True when nothing is on its way any more: what the books say now, they say for ever."""
    at_work = world.bodies or world.asked or world.flying
    return world.run.status.at_rest and not at_work


def wrong(world: World) -> str | None:
    """What is wrong with this world; None if all is well."""
    if (name := _over_budget(world)) is not None:
        return f"{name} was tried more often than its policy allows (L3)"
    twice = [key for key, account in world.books if account.made > 1]
    if twice:
        return f"{twice[0]} took effect more than once (I2)"
    if not is_quiet(world):
        return None
    return next(filter(None, _wrongs(world)), None)


def _wrongs(world: World) -> Iterator[str | None]:
    plan = world.plan
    yield from (_wrong_of(world, plan.node(name)) for name in names_of(plan, world.run))


def _wrong_of(world: World, node: Node) -> str | None:
    """What the books say of a step that they should not, now that all is quiet."""
    run = world.run
    if node.map is not None:
        return None
    standing = account_of(world, f"{key_of(run, node.name)}:{node.name}").standing
    shown = shown_step(world.plan, run, node.name)
    skipped = shown in (StepStatus.SKIPPED, StepStatus.WAIVED)
    skipped = skipped or node.wait is not None  # nobody runs it
    if run.status is RunStatus.COMPLETED and standing != 1 and not skipped:
        return f"completed, and {node.name} has {standing} effects standing (I1)"
    undoer = world.plan.undoer_of(node.name)
    undone = run.step(undoer or node.name).undo.state
    owed = undone in (PhaseStatus.FAILED, PhaseStatus.WAIVED)
    back = run.status is RunStatus.COMPENSATED or (run.status is RunStatus.FAILED and run.why)
    if run.rewinds_to:  # an operator has to see to an undo; what comes before that step stands
        back = back and unit_of(node.name) not in comes_before(world.plan, run.rewinds_to)
    before = [
        account_of(world, f"{each}:{node.name}").standing
        for each in _keys_before(run, node.name)
        if undoer and undoer not in run.owed
    ]
    waived = any(event.kind is EventKind.WAIVED for event in world.history)
    if any(before) and not waived and run.status is not RunStatus.TERMINATED:
        return f"{run.status}, and {node.name} of an earlier try stands (I25)"
    if back and standing and (node.confirms or (undoer and not owed)):
        return f"{run.status}, and the effect of {node.name} stands (I1)"
    return None


def _keys_before(run: Run, step: str) -> list[str]:
    """What the keys of a step in the earlier tries begin with."""
    epochs = range(run.epoch - run.tries - run.rewinds + 1, run.epoch)
    others = (epoch for epoch in epochs if epoch != epoch_of(run, step))
    return [run.id if epoch == 1 else f"{run.id}~{epoch}" for epoch in others]


def _confirmed_before(plan: Plan, name: str) -> set[str]:
    """The confirms that a step is one of, or waits for."""
    unit = unit_of(name)
    return {each for each in {unit} | comes_before(plan, unit) if plan.by_name[each].confirms}


def _waivable(world: World) -> list[str]:
    """What is owed and can be waived: an undo or a confirm."""
    run, plan = world.run, world.plan
    return [name for name in run.owed if turned(run) or plan.node(name).confirms]


def _over_budget(world: World) -> str | None:
    """The step whose newest claim was one too many, by what the history tells alone."""
    newest = world.history[-1]
    if newest.kind is not EventKind.CLAIMED:
        return None
    node = world.node(newest.step)
    most, claims, forward_only = node.policy(newest.phase).max_attempts, 0, False
    for event in world.history:
        about = (event.step, event.phase) == (newest.step, newest.phase)
        about = about and event.data.get("try") == newest.data.get("try")
        begins = event.kind in _BEGINS
        if (begins and not newest.data.get("try")) or (about and event.kind in _NEW_BUDGET):
            claims = 0
        claims += about and event.kind is EventKind.CLAIMED
        claims -= about and event.kind is EventKind.POSTPONED
        ended = event.kind in (EventKind.COMPLETED, EventKind.SKIPPED)
        forward_only |= ended and world.node(event.step).pivot if event.step else False
    # Nothing of what is confirmed, and nothing behind that, begins before all is prepared.
    forward_only |= bool(_confirmed_before(world.plan, node.name))
    allowed = most is None or claims <= most or (forward_only and newest.phase == "do")
    return None if allowed else newest.step


_NEW_BUDGET = (EventKind.RETRIED, EventKind.REOPENED)


# --- healing -----------------------------------------------------------------------------------


def heal(world: World, most: int) -> World:
    """From now on every worker answers and every message arrives: return the world at rest (L1)."""
    for _ in range(most):
        if is_quiet(world):
            return world
        world = _healing_step(world)
    raise AssertionError(f"after {most} steps without a fault the run is still {world.run.status}")


def _healing_step(world: World) -> World:
    for action in _possible(world):
        if action.verb in (*PROGRESS, "resume"):
            return happen(world, action)
    # Nobody is at work and no message waits: time passes until somebody has to look.
    wake = transition(world.plan, world.run, Wake(None), world.now).wake_at
    assert wake is not None
    world = decide(replace(world, now=max(world.now, wake)), Wake())[0]
    for dispatch in overdue(world.run, world.now):
        world = decide(world, Redispatch(dispatch))[0]
    return world
