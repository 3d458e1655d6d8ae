"""Gates at the claim: a place is taken before an attempt is granted, and given back when it ends.

Owns: passing all gates of a claim or none, giving back, calling those whose turn it is, and finding
out about places of which nobody has said anything since.  Refuses to know: who may pass (`gating`),
and what happens to a run (`machine`).

A gate and a run are in two slots, so passing is two commits: a place with an end, then the claim.
The run has the last word on who is inside: a place that is over is looked up there.  Whoever took
one and was not heard of again is kept from claiming with it first (`_keep_out`), by a change of the
run that makes its commit fail; then the place is free.  So there are never too many inside.

The file is long because all of it is one protocol: who takes, gives back or calls has to know what
the others leave behind when they die.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from celeriac.engine.gate_book import GateBook, rule_of, turns_of
from celeriac.errors import (
    CommandRefused,
    RunNotFound,
    SagaError,
    StoreError,
    StoreUnavailable,
)
from celeriac.gating import (
    Outcome,
    call_order,
    judge,
    order_in_line,
    place_ends,
    report,
    set_by_operator,
    turns,
)
from celeriac.machine import (
    APART,
    PATROL,
    SHORT_DELAY,
    Call,
    Defer,
    EventKind,
    Fail,
    InLine,
    Place,
    Queue,
    epoch_of,
    first_epoch,
    gate_named,
    lines_of,
    may_join,
    places_of,
    try_of,
)
from celeriac.observing import log
from celeriac.points import reached
from celeriac.store import (
    line_member,
    payloads,
    place_member,
    split_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from celeriac.engine.gate_book import Commander
    from celeriac.machine import Claim, Command, Dispatch, Event, Gate, Node, Plan, Rule, Run

    Send = Callable[[Plan, Run, Sequence[Dispatch], int], None]

# How many are called at a time: by whoever gives a place back, and by a sweep.
_CALLED, CALLED_BY_SWEEP = 10, 500
# So often whoever looks goes on to the next, when those who were called were there no more.
_ROUNDS = 10


class HasToWait(Exception):
    """A gate does not let a claim through: its step waits in line there."""

    def __init__(self, way: _Way, why: str, until: int, *, near: bool) -> None:
        super().__init__(why)
        self.turn, self.rule, self.of_run = way.turn, way.rule, way.of_run
        self.why, self.until, self.near = why, until, near


@dataclass(slots=True)
class Passing:
    """One claim at its gates: the places it has taken, and the turns that brought it there.

    Where a place is taken that its run is asked about once it is over, the step leaves the line
    along with that; elsewhere nobody would miss it if its worker died, so it leaves when the claim
    is granted.
    """

    taken: list[Place] = field(default_factory=list)
    left: list[InLine] = field(default_factory=list)
    still_in: list[InLine] = field(default_factory=list)


class _Way(NamedTuple):
    """One gate on the way of a claim."""

    gate: str
    rule: Rule
    place: Place
    turn: InLine
    of_run: bool
    looks: bool = False  # nobody has a place there: it may be open for all values


class GateWork:
    """What is done at gates."""

    def __init__(self, commander: Commander) -> None:
        self._commander, self._store = commander, commander.store
        self._book = GateBook(commander)
        self._known: dict[str, bool] = {}  # by fingerprint of a plan: whether it has gates
        self.send: Send | None = None  # sends what is due of a run; None: the sweep has to

    def know(self, rules: Mapping[str, Rule]) -> None:
        """Go by the numbers of this process, by the names of gates: newer than those of plans."""
        self._book.rules = rules

    # --- at the claim --------------------------------------------------------------------------

    def pass_all(
        self,
        passing: Passing,
        claim: Claim,
        plan: Plan,
        whole: Run,
        node: Node,
        fields: Mapping[str, str],
        now: int,
    ) -> Claim:
        """Return the claim with the gates that it has passed: all of them; raise HasToWait."""
        ways = sorted(self._ways(claim, plan, whole, node, fields, now))
        for way in ways:
            self._pass(passing, way)
        reached("gate.passed", (whole.id, claim))
        own = tuple(way.gate for way in ways if not (way.of_run or way.looks))
        return replace(claim, gates=own, enters=tuple(way.gate for way in ways if way.of_run))

    def _ways(
        self,
        claim: Claim,
        plan: Plan,
        whole: Run,
        node: Node,
        fields: Mapping[str, str],
        now: int,
    ) -> Iterator[_Way]:
        run = try_of(whole, claim.step, claim.epoch) or whole
        epoch = epoch_of(run, claim.step)
        step, token = run.step(node.name), (node.name, claim.phase)
        since = step.line[1] if step.line else now
        if run is whole and not whole.entered:
            for gate in plan.gates:
                name = self._name(gate, fields, run)
                place = Place(name, run.id, first_epoch(whole), "", "do", 0, claim.holder)
                turn = InLine(name, run.id, epoch, *token, since)
                yield _Way(name, gate.rule, place, turn, of_run=True)
        known = {gate.name: gate.rule for gate in node.gates}
        passed = step.gates if claim.phase == "undo" else None
        names = passed or [self._name(gate, fields, run) for gate in node.gates]
        for name in names if passed is None or passed else ():
            place = Place(name, run.id, epoch, *token, claim.attempt, claim.holder)
            turn = InLine(name, run.id, epoch, *token, since)
            rule, whole_gate = known[gate_named(name)], gate_named(name)
            yield _Way(name, rule, place, turn, of_run=False)
            if whole_gate != name and rule.kind == "breaker":
                at = place._replace(gate=whole_gate), turn._replace(gate=whole_gate)
                yield _Way(whole_gate, rule, *at, of_run=False, looks=True)

    def _name(self, gate: Gate, fields: Mapping[str, str], run: Run) -> str:
        """The gate for the value that it is counted apart for; the value itself is in no name."""
        if gate.key is None:
            return gate.name
        try:
            text = payloads.resolve(gate.key, fields, run)
        except SagaError:
            text = payloads.NULL  # its body says what is wrong with its arguments
        value = json.dumps(json.loads(text), sort_keys=True).encode()
        salt = self._store.gates.salt().encode()
        return f"{gate.name}{APART}{hashlib.blake2b(value, key=salt, digest_size=8).hexdigest()}"

    def _pass(self, passing: Passing, way: _Way) -> None:
        """Take a place, or one in line."""
        member, turn = place_member(way.place), line_member(way.turn)
        order = order_in_line(way.turn.phase, way.turn.since)
        for found in self._book.read(way.gate, way.rule, member, order, turn=turn):
            now, record = found.now, found.record
            mine = None if member in found.gone else found.snapshot.mine
            if mine is not None and mine > now + (
                0 if record.rule.kind == "rate" else self._book.lease // 2
            ):
                if not found.gone or self._book.write(found):
                    return
                continue
            if record.rule.kind == "rate":
                mine = None  # it is over, though there were too many to read it among them
            name = gate_named(way.gate)
            verdict = judge(name, record, found.inside, found.snapshot.before)
            free = way.looks and not record.set_open  # nobody has opened it for all values
            if mine is not None or verdict.passes or free:
                end = None if way.looks else place_ends(record, now, self._book.lease)
                take = {} if end is None else {member: end}
                at_once = bool(take) and record.rule.kind != "rate"
                if not take or self._book.write(found, take=take, passed=turn if at_once else ""):
                    passing.taken += [way.place] if take else []
                    if found.snapshot.queued is not None:
                        (passing.left if at_once else passing.still_in).append(way.turn)
                    return
            elif self._book.write(found, join={turn: order}):
                near = verdict.turn is not None and verdict.turn <= now + SHORT_DELAY
                until = verdict.turn if near and verdict.turn else now + PATROL
                raise HasToWait(way, verdict.why, until, near=near)

    def wait_in_line(self, passing: Passing, waits: HasToWait) -> None:
        """Note in the run that its step waits; whoever waits holds nothing.

        Raises CommandRefused, with `blocked`; returns if the run may go on after all.
        """
        self.give_back(passing)
        turn = waits.turn
        queue = Queue(
            *(turn.step, turn.phase, turn.gate, waits.why, turn.since, waits.until),
            sent=waits.near,
            of_run=waits.of_run,
            epoch=turn.epoch,
        )
        try:
            plan, decided, now = self._commander.command(turn.run, queue)
            if waits.near and not decided.events:
                # The message for its turn came a little early: the clock of a worker is ahead, and
                # another message would be early, too.  It is called by the clock of the store.
                later = replace(queue, sent=False, until=now + PATROL)
                plan, decided, now = self._commander.command(turn.run, later)
        except (CommandRefused, RunNotFound) as refused:
            self._change(turn.gate, leave=[line_member(turn)])
            if getattr(refused, "reason", "") == "entered":
                return
            raise
        if decided.dispatches and self.send:
            self.send(plan, decided.run, decided.dispatches, now)
        lease = self._commander.terms.lease / 1000
        self._commander.retry_while_unavailable(lambda: self._look_once_more(waits), lease)
        raise CommandRefused("blocked", waits.why)

    def _look_once_more(self, waits: HasToWait) -> None:
        """A place may have been given back before the run knew that it waits, or its turn lost."""
        turn, member = waits.turn, line_member(waits.turn)
        order = order_in_line(turn.phase, turn.since)
        for found in self._book.read(turn.gate, waits.rule, "", order, turn=member):
            if found.snapshot.queued is None:
                self._book.come_back(turn.gate, [turn.run])
            if judge("", found.record, found.inside, found.snapshot.before).passes:
                self.look(turn.gate)
            return

    def granted(self, passing: Passing, run: Run) -> None:
        """A claim was granted: what it has taken too much goes back, and its step leaves the line.

        Raises nothing: what fails here, others find out.
        """
        try:
            there = places_of(run)
            passing.taken = [place for place in passing.taken if place not in there]
            self._give(passing, {})
            while passing.still_in:
                turn = passing.still_in.pop()
                for found in self._book.read(turn.gate, None):
                    if self._book.write(found, passed=line_member(turn)):
                        break
        except Exception as error:  # noqa: BLE001 -- the claim is committed: it is logged
            log.warning("%s: its gates were not told (%s); a sweep will", run.id, error)

    def give_back(self, passing: Passing) -> None:
        """Give back what was taken for a claim that was not granted, also the turns in line."""
        left = {(turn.gate, turn.run): line_member(turn) for turn in passing.left}
        passing.left.clear()
        passing.still_in.clear()
        self._give(passing, left)

    def _give(self, passing: Passing, left: Mapping[tuple[str, str], str]) -> None:
        while passing.taken:
            place = passing.taken.pop()
            run = self._store.read(place.run).run
            if place in places_of(run):
                continue  # a claim that was not heard of has been granted, and the run goes on
            back = left.get((place.gate, place.run))
            waiting = turns_of(run, place.gate) if back else {}
            join = {member: order for member, order in waiting.items() if member == back}
            self._change(place.gate, give=[place_member(place)], join=join)

    # --- when a run has changed ----------------------------------------------------------------

    def follow(
        self, plan: Plan, command: Command, before: Run | None, run: Run, events: Sequence[Event]
    ) -> None:
        """Give back the places of what has ended, and call those who are next; raises nothing.

        What fails here is found by the sweep, when the places are over.
        """
        if not (events and before and self._gated(plan)):
            return
        try:
            self._follow(plan, command, before, run, events)
        except Exception as error:  # noqa: BLE001 -- the run is committed: it is logged
            log.warning("%s: its gates were not told (%s); the sweep will", run.id, error)

    def _gated(self, plan: Plan) -> bool:
        """Whether anything of a plan has to pass a gate."""
        found = self._known.get(plan.fingerprint)
        if found is None:
            found = bool(plan.gates) or any(node.gates for node in plan.all_nodes)
            self._known[plan.fingerprint] = found
        return found

    def _follow(
        self, plan: Plan, command: Command, before: Run, run: Run, events: Sequence[Event]
    ) -> None:
        moved: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        ended: dict[str, Outcome] = {}
        for place in places_of(before) - places_of(run):
            moved[place.gate]["give"].append(place_member(place))
            ended[place_member(place)] = _outcome(place, command, events)
        if isinstance(command, Defer):
            asked = (command.step, command.attempt)
            for place in places_of(run):
                if (place.step, place.attempt) == asked:
                    moved[place.gate]["asked"].append(place_member(place))
        claimed = {(each.step, each.phase) for each in events if each.kind is EventKind.CLAIMED}
        # Two messages of a step may say that it waits since different moments: it is one turn.
        were = {(turn.gate, line_member(turn)): turn for turn in lines_of(before)}
        are = {(turn.gate, line_member(turn)): turn for turn in lines_of(run)}
        for gate, member in were.keys() - are.keys():
            turn = were[gate, member]
            if (turn.step, turn.phase) not in claimed:
                moved[gate]["leave"].append(member)
        joined = {}
        # Whoever queues has joined before; whoever was held or at rest joins again.
        for gate, member in are.keys() - were.keys() if not isinstance(command, Queue) else ():
            turn = are[gate, member]
            joined[member] = order_in_line(turn.phase, turn.since)
            moved[gate]["join"].append(member)
        for gate, what in moved.items():
            join = {member: joined[member] for member in what["join"]}
            outcomes = {member: ended[member] for member in what["give"]}
            outcomes |= dict.fromkeys(what["asked"], "answer")
            self._change(gate, what["give"], what["leave"], join, outcomes, rule_of(plan, gate))

    def _change(
        self,
        gate: str,
        give: Sequence[str] = (),
        leave: Sequence[str] = (),
        join: Mapping[str, int] | None = None,
        outcomes: Mapping[str, Outcome] | None = None,
        rule: Rule | None = None,
    ) -> None:
        """Write what has moved at a gate, and call whose turn it is."""
        for found in self._book.read(gate, rule):
            inside = {member for member, _ in found.snapshot.places}
            record, gives = found.record, list(give)
            if record.rule.kind == "rate" and outcomes is not None:
                gives = []  # what has begun has begun
            elif record.rule.kind == "breaker":
                for member, outcome in (outcomes or {}).items():
                    record = report(record, outcome, found.now, tried=member in inside)
                gives = [
                    member
                    for member in dict.fromkeys((*(outcomes or {}), *give))
                    if member in inside
                ]
            if not (gives or leave or join or record != found.record):
                return
            if self._book.write(found, record, give=gives, leave=leave, join=join):
                break
        else:
            return
        if self.send and (found.snapshot.waiting or join):
            self.look(gate)

    # --- whose turn it is ----------------------------------------------------------------------

    def look(self, gate: str, most: int = _CALLED) -> None:
        """Give back what nobody is in any more, and call those whose turn it is."""
        for _ in range(_ROUNDS):
            if not self._call_some(gate, most if self.send else 0):
                return
        # Whoever is let out makes the gate due at once: a sweep goes on.

    def _call_some(self, gate: str, most: int) -> bool:
        """Call those whose turn it is; True if some of them were there no more."""
        for found in self._book.read(gate, None, first=most):
            if not self._book.write(found, looked=True):
                continue
            free = turns(found.record, found.inside, found.now + SHORT_DELAY, most)
            gone = dict[str, int]()
            for member, order in found.snapshot.line if free else ():
                was_called = self._call(gate, member, order, free[0], found.now)
                if was_called:
                    del free[0]
                elif was_called is False:
                    gone[member] = order
                if not free:
                    break
            if gone:
                self._let_out(gate, gone, most)
            return bool(gone)
        return False

    def _let_out(self, gate: str, gone: Mapping[str, int], most: int) -> None:
        """Let those out of the line who wait no more, unless they have joined it anew since."""
        for found in self._book.read(gate, None, first=most):
            line = dict(found.snapshot.line)
            leave = [member for member, order in gone.items() if line.get(member) == order]
            if not leave or self._book.write(found, leave=leave):
                return

    def _call(self, gate: str, member: str, order: int, at: int, now: int) -> bool | None:
        """Let a step come to its gate; False if it does not wait there, None if nobody can tell."""
        turn = split_line(gate, member, call_order(order)[1])
        if turn is None:
            return False
        call = Call(turn.step, turn.phase, gate, at, turn.epoch)
        try:
            plan, decided, now = self._commander.command(turn.run, call)
        except (CommandRefused, RunNotFound):
            return self._may_join(turn, now)
        except StoreUnavailable:
            return True  # the shard of its run is out of reach: later
        except StoreError as error:
            log.error("%s: it cannot be called to gate %s: %s", turn.run, gate_named(gate), error)
            return None  # another worker may be able to read it: the next one is called instead
        if decided.dispatches and self.send:
            self.send(plan, decided.run, decided.dispatches, now)
        return True

    def _may_join(self, turn: InLine, now: int) -> bool | None:
        """Whether a step that has joined is about to note that it waits; its worker may be slow."""
        try:
            return may_join(self._store.read(turn.run).run, turn, now)
        except StoreUnavailable:
            return True
        except StoreError:
            return None

    def set_breaker(self, name: str, by: str, *, to_open: bool) -> None:
        """Open a breaker until somebody closes it, or close it, and call those who wait.

        One that counts values apart is open for all of them, and closed for each.
        """
        gates = [] if to_open else self._store.gates.known()
        for gate in (name, *(each for each in gates if gate_named(each) == name and each != name)):
            for found in self._book.read(gate, self._book.rules.get(name)):
                record = set_by_operator(found.record, by, found.now, to_open=to_open)
                if self._book.write(found, record):
                    break
            self.look(gate)

    def sweep(self, shard: int, until: float = inf) -> int:
        """Look at the gates of a shard that have to be looked at; return how many there were.

        Ends at *until*, by the clock of the engine.  What is wrong with one gate does not keep the
        others from being looked at.
        """
        gates = self._store.gates.due(shard, self._commander.terms.batch)
        for number, gate in enumerate(gates):
            if number and self._commander.clock() >= until:
                return number
            try:
                self.look(gate, CALLED_BY_SWEEP)
            except StoreUnavailable:
                raise
            except StoreError as error:
                log.error("gate %s cannot be looked at: %s", gate_named(gate), error)
        return len(gates)


def _outcome(place: Place, command: Command, events: Sequence[Event]) -> Outcome:
    """How an attempt ended, as a breaker sees it; an Abort is an answer too."""
    for event in events:
        if (event.step, event.phase, event.attempt) != (place.step, place.phase, place.attempt):
            continue
        if event.kind is EventKind.COMPLETED:
            return "answer"
        if event.kind is EventKind.LOST:
            return "failure" if event.data.get("why") == "timeout" else "none"
        if event.kind is EventKind.FAILED:
            if not isinstance(command, Fail) or command.kind == "abort":
                return "answer"
            return "failure"
    return "none"
