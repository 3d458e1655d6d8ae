"""The book of a gate: read as it stands, and written if nobody was faster.

Owns: finding out whether somebody still is in a place that is over, keeping out whoever took one
and was not heard of again, and that nobody is missing in line.  Refuses to know: who may pass
(`gating`), and what follows (`gates`).

The run has the last word on who is inside.  A place that is over, and that its run does not know
of, may be that of a worker that is about to claim with it: the run is changed, so that such a
commit fails, before the place is free.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from celeriac.errors import CommandRefused, RunNotFound, StoreError, StoreUnavailable
from celeriac.gating import Inside, Record, dump, load, look_at, order_in_line
from celeriac.machine import (
    SHORT_DELAY,
    Block,
    epoch_of,
    gate_named,
    lines_of,
    next_attempts,
    places_of,
)
from celeriac.observing import BreakerMoved, log
from celeriac.store import GateChange, line_member, split_line, split_place

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from celeriac.engine.changes import Decided
    from celeriac.machine import Command, Place, Plan, Rule, Run
    from celeriac.observing import Observers
    from celeriac.settings import Terms
    from celeriac.store import GateSnapshot, Store

T = TypeVar("T")
_MOST_TRIES = 1_000


class Commander(Protocol):
    """Who decides commands for runs, and commits them."""

    store: Store
    terms: Terms
    observers: Observers

    def command(self, run_id: str, command: Command) -> Decided:
        """Decide and commit a command."""

    def wait(self, seconds: float) -> None:
        """Let others go on."""

    def clock(self) -> float:
        """Seconds, from some moment on."""

    def retry_while_unavailable(self, once: Callable[[], T], patience: float | None = None) -> T:
        """Return what *once* returns; while the store is away, try again for *patience* seconds."""


class Found(NamedTuple):
    """A gate as it was read, without the places that nobody is in."""

    gate: str
    record: Record
    snapshot: GateSnapshot
    inside: Inside
    stay: Mapping[str, int]  # places that were over, and that somebody is in: with their new ends
    gone: Sequence[str]  # the others that were over
    back: Mapping[str, int]  # the turns of those who were in these, and wait: with their orders

    @property
    def now(self) -> int:
        """When it was read, in ms."""
        return self.snapshot.now


class GateBook:
    """Reads and writes gates."""

    def __init__(self, commander: Commander) -> None:
        self._commander, self._store = commander, commander.store
        self.rules: Mapping[str, Rule] = {}  # as this process has them, newer than any plan's

    @property
    def lease(self) -> int:
        """How long a place lasts before it is looked up, in ms."""
        return self._commander.terms.lease

    def read(
        self,
        gate: str,
        rule: Rule | None,
        place: str = "",
        order: int | None = None,
        first: int = 0,
        turn: str = "",
    ) -> Iterator[Found]:
        """Read a gate, again and again, until whoever asked has written; not if there is none.

        Places that are over are looked up, so that only those count that somebody is in.  Raises
        StoreUnavailable if others were faster each time.
        """
        for tries in range(1, _MOST_TRIES):
            snapshot = self._store.gates.read(gate, place, order, first, turn)
            if snapshot.record:
                record = load(gate, snapshot.record)
                newest = self.rules.get(gate_named(gate), record.rule)
                record = (
                    record if record.rule == newest else record.model_copy(update={"rule": newest})
                )
            elif rule is not None:
                record = Record(version=0, rule=self.rules.get(gate_named(gate), rule))
            else:
                return
            yield self._settled(gate, record, snapshot)
            self._commander.wait(min(0.001 * tries, 0.05))  # somebody else was faster
        # Whoever asked has not written: to return would look as if there were no such gate.
        raise StoreUnavailable(f"gate {gate_named(gate)} is too busy: all others were faster")

    def _settled(self, gate: str, record: Record, snapshot: GateSnapshot) -> Found:
        """What was read, without the places that nobody is in."""
        over = [member for member, end in snapshot.places if end <= snapshot.now]
        stay, back = dict[str, int](), dict[str, int]()
        for member in over if record.rule.kind != "rate" else ():
            if self._is_held(gate, member, snapshot.now, back):
                stay[member] = snapshot.now + self.lease
        gone = [member for member in over if member not in stay]
        ends = sorted(
            stay.get(member, end) for member, end in snapshot.places if member not in gone
        )
        inside = Inside(snapshot.now, ends, snapshot.taken - len(gone), snapshot.waiting)
        return Found(gate, record, snapshot, inside, stay, gone, back)

    def _is_held(self, gate: str, member: str, now: int, back: dict[str, int]) -> bool:
        """Whether somebody is in a place that is over; if not, *back* gets who waits instead."""
        place = split_place(gate, member)
        if place is None:
            return False
        try:
            run = self._store.read(place.run).run
            if run is None:
                return False
            if place not in places_of(run):
                self._keep_out(run, place, now)
                # Whoever came through may have claimed since it was read: then it is too late.
                run = self._store.read(place.run).run
        except StoreUnavailable:
            return True  # nobody knows
        except StoreError as error:
            log.error("%s: nobody knows whether it is in gate %s: %s", place.run, gate, error)
            return True
        held = place in places_of(run)
        if not held:
            back.update(turns_of(run, gate))
        return held

    def _keep_out(self, run: Run, place: Place, now: int) -> None:
        """Let no claim be granted any more that was decided with this place, some time ago."""
        why = f"whoever came through gate {gate_named(place.gate)} was not heard of ({now})"
        for turn, attempt in next_attempts(run):
            own = (turn.epoch or epoch_of(run, turn.step), turn.step, turn.phase, attempt)
            if not place.step or own == (place.epoch, place.step, place.phase, place.attempt):
                with suppress(CommandRefused, RunNotFound):
                    self._commander.command(run.id, Block(turn.step, why, turn.epoch))
                return

    def write(
        self,
        found: Found,
        record: Record | None = None,
        *,
        take: Mapping[str, int] | None = None,
        give: Sequence[str] = (),
        join: Mapping[str, int] | None = None,
        leave: Sequence[str] = (),
        passed: str = "",
        looked: bool = False,
    ) -> bool:
        """Write a gate as it was read, with what has changed; False if somebody was faster.

        *passed* is the turn of whoever is about to claim, *leave* those of steps that wait no more.
        Only whoever has *looked* whose turn it is may put off when somebody looks next: with each
        newcomer, those who could pass would wait longer.
        """
        join = {**found.back, **(join or {})}
        join.pop(passed, None)
        now, waiting = found.now, found.snapshot.waiting
        record = record or found.record
        record = record.model_copy(update={"version": max(record.version + 1, now)})
        gives = {*found.gone, *give}
        before = dict(found.snapshot.places)
        ends = {**before, **found.stay, **(take or {})}
        ends = {member: end for member, end in ends.items() if member not in gives}
        taken = found.snapshot.taken - len(before) + len(ends)
        # Whoever leaves may not have been in line, so nobody is left out of the count.
        inside = Inside(now, sorted(ends.values()), taken, waiting + len(join))
        at = look_at(record, inside, self.lease, SHORT_DELAY)
        left = [*leave, passed] if passed else leave
        if (give or left) and waiting:
            at = now  # whoever writes this calls the next; if not, the sweep
        taken_now = {member: end for member, end in ends.items() if before.get(member) != end}
        own = (found.gate, found.snapshot.record, dump(record), taken_now)
        change = GateChange(*own, sorted(gives), join, left, at, at_the_latest=not looked)
        written = self._store.gates.commit(change)
        if written and record.rule.kind == "breaker":
            self._tell(found, record, tries=bool(take))
        if written and leave:
            turns = [split_line(found.gate, member, 0) for member in leave]
            self.come_back(found.gate, {turn.run for turn in turns if turn})
        return written

    def come_back(self, gate: str, run_ids: Collection[str]) -> None:
        """Let the steps of some runs into line again that wait there, though they are not in it.

        A step is one member of a line, whichever of its messages speaks for it.  The run is written
        between two writes of the line, so another message may have let the step out meanwhile, or
        have passed in vain.  So both look here: whoever has noted in the run that it waits, and
        whoever has let it out.  The later one of the two sees what the other has done.  A sweep
        calls whoever came back.
        """
        for run_id in run_ids:
            try:
                run = self._store.read(run_id).run
                for member, order in turns_of(run, gate).items():
                    rule = rule_of(self._store.plan(run_id, run.plan), gate) if run else None
                    for found in self.read(gate, rule, turn=member):
                        if found.snapshot.queued is not None or self.write(
                            found, join={member: order}
                        ):
                            break
            except StoreUnavailable:
                raise
            except StoreError as error:
                log.error("%s: it cannot wait at gate %s: %s", run_id, gate, error)

    def _tell(self, found: Found, record: Record, *, tries: bool) -> None:
        """Tell how a breaker stands, if that is news; half open it is when somebody tries it."""
        before, state = found.record.state(found.now), record.state(found.now)
        if tries if state == "half_open" else state != before:
            moved = BreakerMoved(gate_named(found.gate), state, record.by)
            self._commander.observers.tell(moved)


def rule_of(plan: Plan, gate: str) -> Rule | None:
    """The numbers of a gate, as a plan has them."""
    gates = (*plan.gates, *(each for node in plan.all_nodes for each in node.gates))
    return next((each.rule for each in gates if each.name == gate_named(gate)), None)


def turns_of(run: Run | None, gate: str) -> dict[str, int]:
    """The turns that a run waits for at a gate, with their orders."""
    turns = [turn for turn in lines_of(run) if turn.gate == gate]
    return {line_member(turn): order_in_line(turn.phase, turn.since) for turn in turns}
