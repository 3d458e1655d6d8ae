"""Two that must never differ: the pure state machine, and the real engines on a real Redis.

Owns: giving both the same commands at the same moment, and comparing all that is stored with all
that should be.  Refuses to know: which commands (a walk of `tests/machine` chooses them), and what
the pure side ought to decide (`laws`).

The file is long because each command is given to both sides in one place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.engine.attempts import Attempt, Delivery
from celeriac.engine.changes import LeaseGuard
from celeriac.engine.sweep import Sweep
from celeriac.engine.tokens import fields_of_result
from celeriac.errors import CommandRefused, RunNotFound, StoreUnavailable
from celeriac.machine.commands import (
    CheckAttempt,
    Claim,
    Command,
    Complete,
    Defer,
    Expire,
    Fail,
    Pause,
    Report,
    Resume,
    Skip,
    Start,
    Tag,
)
from celeriac.machine.places import places_of
from celeriac.machine.transitions import Transition, transition
from celeriac.store import Lease, Query, place_member
from celeriac.store.keys import lease_member
from tests.engine.driver import GRACE, LEASE, QUEUE, Post
from tests.machine.laws import check
from tests.machine.walk import REFUSALS, Chooser, any_rules
from tests.machine.world import World
from tests.model.command_payloads import INPUT, fields_left, fields_told, heard, report, said, token
from tests.model.expected import Expected, leases, stored, united
from tests.model.faulty_connection import (
    ExactClock,
    Journal,
    LineEngine,
    LineStore,
    Moves,
    Removed,
    Written,
)
from tests.model.recorded_walk import HeardWalk

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.machine.runs import Run
    from celeriac.store import Change
    from celeriac.store.scripts import Script
    from tests.redis_server import RedisServer

RUN, BYSTANDER = "order-42", "order-43"
TAGS = (("tenant", "acme"), ("a=b", "c:d"))


class Given(NamedTuple):
    """A command that an engine was given, and what became of it."""

    command: Command
    refused: bool
    number: int  # its payload's


class ModelAndStore:
    """A run, a bystander, two engines that share a Redis, and what should be stored of them."""

    def __init__(
        self,
        server: RedisServer,
        choose: Chooser,
        spoil: Callable[[Script, str], str] | None = None,
    ) -> None:
        self.server = server
        self.client = server.client()
        self.client.flushall()
        self.clock = ExactClock()
        self.journal: Journal = []
        options = () if spoil is None else (spoil,)
        self.stores = [LineStore(server, self.clock, self.journal, *options) for _ in range(2)]
        self.engines = [LineEngine(store, self.clock) for store in self.stores]
        self.plan = any_rules(choose).plan
        self.walk = HeardWalk(replace(any_rules(choose), plan=self.plan), choose)
        keys = self.stores[0]._keys
        self.expected = {
            name: Expected(self.plan, name, keys.of(name)) for name in (RUN, BYSTANDER)
        }
        self.seen: dict[str, int] = {}  # arrivals by queue
        self.attempts: dict[tuple[Any, ...], Attempt] = {}
        self.texts = 0
        self.by_itself = 0  # commands that an engine gave on the way to one that it was given
        self.told: list[str] = []
        self._begin()

    def _begin(self) -> None:
        """Start those runs that are not there; two processes start the one at the same time."""
        start = Start(RUN, "input", "call-1", GRACE, tags=TAGS)
        self._give_both(start, replace(start, nonce="call-2"))
        self.give(replace(start, run_id=BYSTANDER), run_id=BYSTANDER)
        each = self.expected[RUN]
        assert each.run is not None
        history = tuple(each.history)
        self.walk.world = World(
            self.walk.rules, each.run, now=self.clock.now, history=history, given=(start,)
        )

    def close(self) -> None:
        """Give back connections."""
        self.client.close()
        for store in self.stores:
            store.close()

    # --- what may happen -----------------------------------------------------------------------

    def step(self, choose: Chooser) -> None:
        """Let one thing happen in the world, and the same to the engine."""
        self.walk.choose = choose
        commands = self.walk.steps_commands()
        self.clock.now = self.walk.world.now
        self.by_itself = 0
        for command in commands:
            self.give(command)
        run = self.expected[RUN].run
        if self.by_itself:
            self._catch_up()
        else:
            assert run == self.walk.world.run, "the engine was asked for something else"

    def race(self, choose: Chooser) -> None:
        """Two engines are given a command each; the second has decided and not yet committed."""
        self.walk.choose = choose
        first, second = (choose([*self.walk.strays(), *self.walk.world.given]) for _ in range(2))
        self._give_both(first, second)
        self._catch_up()

    def operate(self, choose: Chooser) -> None:
        """An operator holds a run, lets it go on, or skips one of its steps."""
        name = choose([node.name for node in self.plan.nodes])
        operators: list[Command] = [Pause("look"), Resume("go on"), Skip(name, "by hand")]
        self.give(choose(operators))
        self._catch_up()

    def renew(self, choose: Chooser) -> None:
        """Workers show that they live, or are known to be dead; some are mistaken."""
        held = sorted(leases(self.expected[RUN].run))
        strange = Lease(RUN, self.plan.nodes[0].name, "do", 99)
        asked = choose([held, [*held, strange], held[:1]])
        if choose([True, True, False]):
            lost = self._insist(lambda: self.stores[0].renew(asked, LEASE))
            assert set(lost) == {each for each in asked if each not in held}
        else:
            self._insist(lambda: self.stores[0].lapse(asked))
        self._read_journal()

    def sweep(self, choose: Chooser, *, twice: bool = False) -> None:
        """A sweep comes by, or another one in the middle of it; time has passed."""
        wakes = [at for each in self.expected.values() for at in each.wake.values()]
        self.clock.now += choose([0, 1_000, max(0, min(wakes, default=0) - self.clock.now)])
        if choose([True, False]):
            self._insist(lambda: self.stores[0].pulse(LEASE * 2 // 3))
        posts = Post(), Post()
        if twice:
            self.stores[0].between = Sweep(self.engines[1], posts[1]).run
        self.told.append(f"{self.clock.now}: a sweep{' in the middle of another' if twice else ''}")
        self._insist(lambda: Sweep(self.engines[0], posts[0]).run())
        self.stores[0].between = None
        self._read_journal()
        self._catch_up()

    def expire_in_vain(self, choose: Chooser) -> None:
        """Somebody takes a lease for lapsed that was renewed since: nothing may happen."""
        held = sorted(leases(self.expected[RUN].run))
        if not held:
            return
        lease = choose(held)
        at = self.expected[RUN].wake[lease_member(lease)]
        wrong = LeaseGuard(lease, at - choose([1, 1_000]))
        command = Expire(lease.step, lease.phase, lease.attempt, epoch=lease.epoch)
        refused = False
        try:
            self.engines[0].command(RUN, command, guard=wrong)
        except CommandRefused:
            refused = True
        assert refused, "a lease that was renewed is taken for lapsed"
        assert not self.journal

    def come_to_an_end(self) -> None:
        """What has ended is removed when its time has come, not before, and leaves no trace."""
        self.check()
        ends = {
            name: each.holds()[each.shard.expire][name]
            for name, each in self.expected.items()
            if each.shard.expire in each.holds()
        }
        for moment in sorted(set(ends.values())):
            self.clock.now = moment - 1
            assert self._remove() == 0
            self.clock.now = moment
            assert self._remove() == sum(at == moment for at in ends.values())
            self._read_journal()
            self.check()

    def _remove(self) -> int:
        store = self.stores[0]
        found = [run for shard in range(store.shards) for run in store.expired(shard, 10)]
        return store.remove(found)

    # --- giving one command to both ------------------------------------------------------------

    def give(self, command: Command, run_id: str = RUN) -> Transition | None:
        """Give *command* to both; return what it led to, None if it was refused."""
        self.told.append(f"{self.clock.now}: {command}")
        return self._settle([self._ask(0, run_id, command)])

    def _give_both(self, first: Command, second: Command) -> None:
        """Give a command to each engine; the first comes just before the second commits."""
        self.told.append(f"{self.clock.now}: two at once: {first} before {second}")
        given: list[Given] = []
        self.stores[1].between = lambda: given.append(self._ask(0, RUN, first))
        given.append(self._ask(1, RUN, second))
        if self.stores[1].between is not None:
            self.stores[1].between = None  # it had nothing to commit: nobody came between
            given.append(self._ask(0, RUN, first))
        self._settle(given)

    def _settle(self, given: list[Given]) -> Transition | None:
        """Let the pure side decide the same commands, in this order; return its last decision."""
        written = [entry for entry in self.journal if isinstance(entry, Written)]
        done = None
        commands = [each.command for each in given]
        for each in given:
            while written and (asked := written[0].asked) and asked.command not in commands:
                self._follow(written.pop(0))
                self.by_itself += 1
            done = self._decide(each, written)
        assert written == [], "the engine has written more than the state machine says"
        self._read_journal(done=True)
        return done

    def _decide(self, given: Given, written: list[Written]) -> Transition | None:
        command, refused, number = given
        run_id = command.run_id if isinstance(command, Start) else RUN
        each, now = self.expected[run_id], self.clock.now
        try:
            done = transition(self.plan, each.run, command, now)
        except REFUSALS:
            done = None
        # Whoever takes a lease for lapsed is refused too where that was just done, be it by his own
        # commit that was sent twice: he leaves it to the next sweep.
        excused = refused and isinstance(command, Expire)
        assert excused or refused == (done is None), "they do not agree whether it is refused"
        if done is None:
            return None
        check(self.plan, each.run, command, done, now)
        known = token(command) in self.attempts
        fields = fields_left(command, number, done.events, granted=known)
        fields = heard(command, number, done) if isinstance(command, Report) else fields
        if not done.events and not fields:
            return done
        assert written, "the engine wrote nothing"
        change = written.pop(0).change
        assert (change.run, tuple(change.events)) == (done.run, tuple(done.events))
        if isinstance(command, Claim) and not command.child:
            assert each.run is not None
            sent = each.run.step(command.step).direction(command.phase).at
            self.seen[QUEUE] = max(sent, self.seen.get(QUEUE, 0))
        each.record(done, now, fields)
        return done

    def _ask(self, engine: int, run_id: str, command: Command) -> Given:
        """Give a command to an engine, with a payload that no other command brings."""
        self.texts = number = self.texts + 1
        self.stores[engine].asked = None
        try:
            self._ask_as_callers_do(self.engines[engine], run_id, command, number)
        except (*REFUSALS, RunNotFound):
            return Given(command, True, number)
        return Given(command, False, number)

    def _ask_as_callers_do(
        self, engine: LineEngine, run_id: str, command: Command, number: int
    ) -> None:
        if isinstance(command, Start):
            engine.start(self.plan, command, INPUT)
        elif isinstance(command, Claim) and not command.child:
            self._claim(engine, run_id, command)
        elif isinstance(command, Report):
            self._hear(engine, run_id, command, number)
        elif isinstance(command, Complete | Fail) and command.outside:
            self._bring(engine, run_id, command, number)
        elif (
            isinstance(command, Complete | Fail | Defer | CheckAttempt | Tag)
            and token(command) in self.attempts
        ):
            report(engine, self.attempts[token(command)], command, number)
        else:
            told, guard = fields_told(command, number), self._guard(command)
            engine.command(run_id, command, fields=told, guard=guard)

    def _bring(
        self, engine: LineEngine, run_id: str, command: Complete | Fail, number: int
    ) -> None:
        """Do what the engine does with a result, once it knows its token."""

        def once() -> None:
            found = engine.store.read(run_id)
            if found.run is None:
                raise RunNotFound(run_id)
            decided = transition(self.plan, found.run, command, found.now)
            fields = fields_of_result(decided.events, command.step, said(command, number))
            engine._commit(self.plan, found, command, decided, fields)

        engine._until_committed(once)

    def _hear(self, engine: LineEngine, run_id: str, command: Report, number: int) -> None:
        """Do what the engine does with the report of a child, but for what it sends then."""

        def once() -> None:
            found = engine.store.read(run_id)
            if found.run is None:
                raise RunNotFound(run_id)
            decided = transition(self.plan, found.run, command, found.now)
            engine._commit(self.plan, found, command, decided, heard(command, number, decided))

        engine._until_committed(once)

    def _claim(self, engine: LineEngine, run_id: str, command: Claim) -> None:
        place = (command.epoch, command.step, command.phase, command.attempt)
        delivery = Delivery(run_id, *place, self.plan.fingerprint)
        attempt = engine.claim(delivery, command.holder, QUEUE)
        self.attempts[token(command)] = attempt

    def _guard(self, command: Command) -> LeaseGuard | None:
        if not isinstance(command, Expire):
            return None
        run = self.expected[RUN].run
        epoch = command.epoch or (run.epoch if run else 1)
        lease = Lease(RUN, command.step, command.phase, command.attempt, epoch)
        at = self.expected[RUN].wake.get(lease_member(lease))
        return None if at is None else LeaseGuard(lease, at)

    # --- what was done without being told to ---------------------------------------------------

    def _read_journal(self, *, done: bool = False) -> None:
        """Follow what engines did by themselves, in the order in which Redis saw it."""
        for entry in self.journal:
            if isinstance(entry, Moves):
                self._move(entry)
            elif isinstance(entry, Removed):
                self._remove_from_books(entry)
            elif not done:
                self._follow(entry)
        self.journal.clear()

    def _follow(self, entry: Written) -> None:
        assert entry.asked is not None
        each = self._of(entry.change)
        lapsed = entry.asked.lapsed
        if lapsed is not None:
            assert each.wake[lease_member(lapsed[0])] == lapsed[1], "the lease had been renewed"
        transitioned = transition(each.plan, each.run, entry.asked.command, self.clock.now)
        check(each.plan, each.run, entry.asked.command, transitioned, self.clock.now)
        assert transitioned.run == entry.change.run
        each.record(transitioned, self.clock.now, entry.asked.fields)

    def _of(self, change: Change) -> Expected:
        """The run that a change is of: one that is new is a child, which the engine has started."""
        run_id = change.run.id
        if run_id not in self.expected:
            assert change.plan is not None
            assert change.run.parent is not None, "nobody has started this run"
            keys = self.stores[0]._keys.of(run_id)
            self.expected[run_id] = Expected(change.plan, run_id, keys)
        return self.expected[run_id]

    def _remove_from_books(self, entry: Removed) -> None:
        [each] = [e for e in self.expected.values() if e.shard.run(e.run_id) == entry.key]
        assert each.holds()[each.shard.expire][each.run_id] <= self.clock.now
        each.forget()

    def _move(self, moves: Moves) -> None:
        answers = []
        for at in range(0, len(moves.args), 3):
            entry, found, to = moves.args[at : at + 3]
            name = max(filter(str(entry).startswith, self.expected), key=len)  # or its parent's
            each = self.expected[name]
            held = each.wake.get(str(entry))
            moved = held is not None and found in ("", held)
            if moved:
                ahead = isinstance(to, str)
                each.wake[str(entry)] = self.clock.now + int(to) if ahead else int(to)
            answers.append(int(moved))
        assert list(moves.answer) == answers

    def _catch_up(self) -> None:
        """Let the world of the walk know what happened outside it."""
        each, world = self.expected[RUN], self.walk.world
        if each.run is None:  # its time was over
            self.attempts.clear()
            self._begin()
            return
        bodies = frozenset(b for b in world.bodies if _granted(b, each.run))
        self.walk.world = replace(
            world, run=each.run, history=tuple(each.history), now=self.clock.now, bodies=bodies
        )

    # --- comparing -----------------------------------------------------------------------------

    def check(self) -> None:
        """Every key in Redis is what the pure side says, and so is what the store tells of it."""
        for store in self.stores:
            store.line.fault = None  # one that did not come to pass
        for each in self.expected.values():
            each.check()
        wanted = united([each.holds() for each in self.expected.values()])
        if self.seen:
            wanted[self.expected[RUN].shard.seen] = self.seen
        held = stored(self.client, self.stores[0]._keys)
        assert held == wanted, f"not as the state machine says: {_difference(held, wanted)}"
        self._check_places()
        if self.texts % 8 == 0:
            self._check_reading()

    def _check_places(self) -> None:
        """Whoever is at work behind a limit has a place there; others may still have theirs."""
        gates = {gate for node in self.plan.all_nodes for gate in node.gates}
        for name in {gate.name for gate in gates if gate.rule.kind == "limit"}:
            kept = {place for place, _ in self.stores[0].gates.read(name).places}
            places = [place for each in self.expected.values() for place in places_of(each.run)]
            wanted = {place_member(place) for place in places if place.gate == name}
            assert wanted <= kept, f"no place at {name}: {wanted - kept} (I23)"

    def _check_reading(self) -> None:
        store = self.stores[0]
        runs = [each.run for each in self.expected.values() if each.run is not None]
        for run in runs:
            assert store.read(run.id).run == run
            told = [event.dump() for event in store.history(run.id)]
            assert told == [event.dump() for event in self.expected[run.id].history]
        newest = sorted(runs, key=lambda run: (run.started_at, run.id), reverse=True)
        assert store.find(Query()).runs == newest
        assert sum(store.counts().values()) == len(runs)

    # --- with patience -------------------------------------------------------------------------

    def _insist(self, ask: Callable[[], Any]) -> Any:
        """Ask again if the line broke: what is not a command may be repeated."""
        for _ in range(10):
            try:
                return ask()
            except StoreUnavailable:
                continue
        raise AssertionError("one fault has broken the line ten times")


def _granted(body: Any, run: Run) -> bool:
    """False for a body whose claim the run does not know: there is none."""
    claimed = run.step(body.step).direction(body.phase).attempt
    return bool(claimed >= body.attempt or run.epoch != body.epoch)


def _difference(held: dict[str, Any], wanted: dict[str, Any]) -> str:
    keys = sorted(held.keys() | wanted.keys())
    return "\n".join(
        f"{key}\n  is     {held.get(key)}\n  should {wanted.get(key)}"
        for key in keys
        if held.get(key) != wanted.get(key)
    )
