"""Running ahead: the attempt that a worker takes up in the commit in which it settles another.

Owns: what may follow one by one, the payloads that it needs, and deciding both as one change.
Refuses to know: whether it may be run here (`Ahead` is asked), and how a change is committed.

*Settle this, claim the next* is one decision and one commit, so a crash leaves what a crash between
two messages leaves: the next attempt is claimed, or it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from celeriac.errors import CommandRefused
from celeriac.machine import Claim, as_visited, epoch_of, followed, steps_one_by_one
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from celeriac.engine.attempts import Attempt, Delivery
    from celeriac.machine import Dispatch, Node, Phase, Plan, Run, Transition

_READ_AT_ONCE = 10  # attempts whose payloads are read along: it may come to no more


class Ahead(Protocol):
    """Who runs attempts ahead: says what may follow on the message that it is at."""

    @property
    def left(self) -> int:
        """How many more attempts may follow at most."""

    def suits(self, node: Node, phase: Phase) -> bool:
        """Whether an attempt of a step could be run here, as far as that is known beforehand."""

    def take(self, run: Run, node: Node, dispatch: Dispatch) -> str:
        """Return the nonce under which the attempt is to be claimed, now; empty: not here."""


class Ended(NamedTuple):
    """An attempt that was settled, and the one that its worker took up along with that."""

    done: Transition
    following: Attempt | None = None


def fields_ahead(plan: Plan, node: Node, phase: Phase, ahead: Ahead) -> Iterator[str]:
    """The payloads that may be needed by what follows *node*, as far as they are there already."""
    made = {payloads.output_field(node.name)}
    left = min(ahead.left, _READ_AT_ONCE)
    for each in _likely(plan, node, phase):
        if left <= 0 or not (each.runs_ahead(phase) and ahead.suits(each, phase)):
            return
        left -= 1
        for name in needed(each, phase):
            if phase == "undo" or name not in made:
                yield name
        made.add(payloads.output_field(each.name))


def _likely(plan: Plan, node: Node, phase: Phase) -> Iterator[Node]:
    """The nodes that follow one by one, if all goes as usual."""
    if phase == "undo":
        if node.name not in plan.by_name:
            return  # which element comes next, is known when this one has ended
        nodes = plan.nodes if plan.compensation_order == "forward" else plan.nodes[::-1]
        yield from (each for each in nodes[nodes.index(node) + 1 :] if each.undo)
        return
    yield from (plan.node(name) for name in steps_one_by_one(plan, node.name))


def needed(node: Node, phase: Phase, run: Run | None = None) -> tuple[str, ...]:
    """The payloads that a first attempt needs: no attempt before it has left anything."""
    left = payloads.beat_field(node.name, phase)
    return tuple(name for name in payloads.wanted(node, phase, run) if name != left)


@dataclass(slots=True)
class Onward:
    """What follows one attempt on the same message, however often its report is decided."""

    attempt: Attempt
    ahead: Ahead
    claim: Claim | None = None  # once it was asked for: a report decided anew asks for the same

    def follows(self, first: Transition, now: int) -> Transition | None:
        """Return *first* and the claim of what follows it as one; None if nothing does."""
        if self.claim is None:
            self.claim = self._wish(first, now)
        if self.claim is None:
            return None
        try:
            return followed(self.attempt.plan, first, self.claim, now)
        except CommandRefused:
            return None  # somebody else was faster, paused the run, or turned it round

    def _wish(self, first: Transition, now: int) -> Claim | None:
        if len(first.dispatches) != 1 or self.ahead.left <= 0:
            return None
        (next_,) = first.dispatches
        of_another_try = next_.epoch or first.run.epoch != self.attempt.run.epoch
        node = as_visited(self.attempt.plan, first.run).find(next_.step)
        if node is None or node.reads_first or node.child is not None or of_another_try:
            return None  # no worker runs it; or what was read here is of another try
        # An attempt before it may have left a word for it, and those are not read here.
        if next_.attempt != 1 or next_.at > now or not node.runs_ahead(next_.phase):
            return None
        if not self.ahead.suits(node, next_.phase):
            return None
        holder = self.ahead.take(first.run, node, next_)
        if not holder:
            return None
        epoch = epoch_of(first.run, next_.step)
        return Claim(next_.step, next_.phase, next_.attempt, holder, epoch)

    def read_anew(self) -> None:
        """Somebody else may have committed: what was read before says nothing any more.

        A result that was not there may be on record now, from a report that came late.
        """
        self.attempt = self.attempt._replace(fields={}, known=frozenset())

    def lacks(self, run: Run, known: Collection[str], wanted: Collection[str]) -> tuple[str, ...]:
        """The payloads of what follows, and those *wanted* by observers, that were not read yet."""
        assert self.claim is not None
        plan = as_visited(self.attempt.plan, run)
        node = plan.node(self.claim.step)
        names = (*needed(node, self.claim.phase, run), *wanted)
        if all(name in known for name in names):
            return ()
        # It is asked for them anyway, so for those of the next ones as well.
        more = fields_ahead(plan, node, self.claim.phase, self.ahead)
        return tuple({name: None for name in (*names, *more) if name not in known})

    def attempt_of(
        self, run: Run, fields: Mapping[str, str], known: frozenset[str], now: int, read_at: float
    ) -> Attempt:
        """The attempt that was taken up, as the commit has left its run."""
        assert self.claim is not None
        step, phase = self.claim.step, self.claim.phase
        plan = as_visited(self.attempt.plan, run)
        delivery: Delivery = self.attempt.delivery._replace(
            step=step, phase=phase, attempt=self.claim.attempt, epoch=self.claim.epoch
        )
        return self.attempt._replace(
            delivery=delivery,
            holder=self.claim.holder,
            plan=plan,
            node=plan.node(step),
            run=run,
            fields=fields,
            known=known,
            now=now,
            read_at=read_at,
        )
