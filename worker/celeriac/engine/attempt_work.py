"""One attempt: claimed, kept alive by heartbeats, settled, and what is taken up along with that.

Owns: what is read and written at each stage of an attempt.  Refuses to know: Celery, who runs the
step, and how a command is committed (`committing`).
The file is long because it is one attempt, from its claim to what follows it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from celeriac.engine.answers import Deferred, Ends, Goes, Output, Skips
from celeriac.engine.attempts import Attempt, Delivery
from celeriac.engine.changes import Arrival, Conflict, change_of
from celeriac.engine.committing import Committer
from celeriac.engine.gates import HasToWait, Passing
from celeriac.engine.onward import Ahead, Ended, Onward, fields_ahead
from celeriac.errors import (
    CommandRefused,
    OutputInvalid,
    RunNotFound,
    StoreError,
    StoreUnavailable,
)
from celeriac.machine import (
    CheckAttempt,
    Claim,
    Complete,
    Defer,
    Event,
    EventKind,
    Fail,
    Node,
    Plan,
    Run,
    Tag,
    Transition,
    as_visited,
    in_any_visit,
    overdue,
    transition,
    try_of,
)
from celeriac.observing import Claiming, Committed, Refused, Settled
from celeriac.store import Snapshot, laid_aside, payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.failure import Failure
    from celeriac.machine import Phase


class Glance(NamedTuple):
    """A run as it was read for several claims at once."""

    found: Snapshot
    at: float  # s, our clock

    def now(self, clock: float) -> Snapshot:
        """The same at a later time of our clock: what it holds is compared by the commit."""
        return self.found._replace(now=self.found.now + int((clock - self.at) * 1000))


class AttemptWork(Committer):
    """The stages of an attempt."""

    #: Seconds between two writes of how far an attempt is: often enough to be seen within one.
    progress_pace = 0.3

    def claim(
        self,
        delivery: Delivery,
        holder: str,
        queue: str | None = None,
        task: str | None = None,
        ahead: Ahead | None = None,
        glance: Glance | None = None,
    ) -> Attempt:
        """Take the attempt that a message hints at; raise CommandRefused if it is not to be had.

        *queue* is where the message came from: noted, so that the sweep can tell a message that
        waits from one that is lost.  *task* is what the message would run: refused if the plan has
        another one for the step, since whoever can write to the broker can edit a message.  *ahead*
        says what may follow: the payloads for that are read along.  *glance* is the run as it was
        read for several claims at once, a moment ago.
        Copies of a message are common (F2, F16): a live lease refuses them.
        """
        command = Claim(delivery.step, delivery.phase, delivery.attempt, holder, delivery.epoch)
        unheard: list[StoreUnavailable] = []  # commits of which nobody knows whether they happened
        passing = Passing()
        read = [glance] if glance else []  # once: decided anew, it is read anew

        def once() -> Attempt:
            known = read.pop() if read else None
            try:
                return self._claim(passing, delivery, command, queue, task, ahead, unheard, known)
            except HasToWait as waits:
                self.gates.wait_in_line(passing, waits)
                raise Conflict from None  # the run may go on after all: it is decided anew
            except (CommandRefused, RunNotFound):
                if known is None:
                    raise
                raise Conflict from None  # it may have moved on since

        try:
            try:
                attempt = self._until_committed(once, self.terms.lease / 1000)
            except StoreUnavailable:
                if not unheard:
                    raise
                # It may be on record as ours: left alone, it would count as lost while it ran.
                attempt = self._until_committed(once, self._insistence)
        except (CommandRefused, RunNotFound) as refused:
            self.gates.give_back(passing)
            self.observers.tell(self._refused(refused, delivery))
            raise
        if passing.taken or passing.still_in:
            self.gates.granted(passing, attempt.whole or attempt.run)
        return attempt

    @property
    def _insistence(self) -> float:
        """For how many seconds to try to have on record what has happened, or may have."""
        return max(60.0, 4 * self.terms.lease / 1000)

    def _claim(
        self,
        passing: Passing,
        delivery: Delivery,
        command: Claim,
        queue: str | None,
        task: str | None,
        ahead: Ahead | None,
        unheard: list[StoreUnavailable],
        known: Glance | None = None,
    ) -> Attempt:
        plan = self.store.plan(delivery.run_id, delivery.plan)
        node = plan.find(delivery.step)
        fields = self._fields_of(plan, node, delivery, ahead)
        found = known.now(self.clock()) if known else self.store.read(delivery.run_id, fields)
        read_at = self.clock()
        if found.run is None:
            raise RunNotFound(delivery.run_id)
        if plan.groups and found.run.plan == delivery.plan:
            plan = as_visited(plan, try_of(found.run, delivery.step, delivery.epoch) or found.run)
            node = plan.find(delivery.step)
        if found.run.plan != delivery.plan or node is None:
            raise CommandRefused("stale", f"run {delivery.run_id!r} follows another plan")
        if task is not None and task != node.task_of(delivery.phase):
            raise CommandRefused("stale", f"{task} is not the task of {node.name!r}")
        whole, (command, decided) = found.run, self._at_gates(passing, plan, found, node, command)
        run = try_of(whole, delivery.step, delivery.epoch) or whole
        found, fields = self._read_rest(found, run, node, delivery, fields)
        marks = self._marks(run, command, found.fields) if decided.events else {}
        sent_at = run.step(node.name).direction(delivery.phase).at
        arrival = Arrival(queue, sent_at) if queue else None
        try:
            self._commit(plan, found, command, decided, marks, arrival=arrival)
        except StoreUnavailable as error:
            unheard.append(error)
            raise
        return Attempt(
            delivery,
            command.holder,
            plan,
            node,
            try_of(decided.run, delivery.step, delivery.epoch) or decided.run,
            found.fields,
            found.now,
            read_at,
            frozenset(fields),
            None if run is whole else decided.run,
        )

    def glance_at(self, deliveries: Sequence[Delivery], ahead: Ahead) -> dict[str, Glance]:
        """Read the runs of several attempts, by id, in one round trip: each is claimed soon."""
        wanted: dict[str, tuple[str, ...]] = {}
        for each in deliveries:
            plan = self.store.plan(each.run_id, each.plan)
            fields = self._fields_of(plan, plan.find(each.step), each, ahead)
            wanted[each.run_id] = (*wanted.get(each.run_id, ()), *fields)
        found = self.store.read_all(wanted)
        read_at = self.clock()
        return {run_id: Glance(each, read_at) for run_id, each in found.items()}

    def _fields_of(
        self, plan: Plan, node: Node | None, delivery: Delivery, ahead: Ahead | None
    ) -> tuple[str, ...]:
        """The payloads that are read for a claim, and for what may follow it."""
        fields = payloads.wanted(node, delivery.phase) if node else ()
        if delivery.attempt > 1:
            fields += (payloads.again_field(delivery.step, delivery.phase),)
        fields += self.observers.wants(delivery.step, delivery.phase)
        if ahead is not None and node is not None:
            fields = tuple({*fields, *fields_ahead(plan, node, delivery.phase, ahead)})
        return fields

    def _read_rest(
        self, found: Snapshot, run: Run, node: Node, delivery: Delivery, fields: tuple[str, ...]
    ) -> tuple[Snapshot, tuple[str, ...]]:
        """Read what a claim needs besides, which only the run could tell; and say what was read."""
        if run is not found.run:
            own = {*fields, *payloads.wanted(node, delivery.phase)}
            there = {payloads.field_of(run, name): name for name in own}
            texts = self.store.read(delivery.run_id, tuple(there)).fields
            told = {there[name]: text for name, text in texts.items()}
            return found._replace(fields=told), fields
        # How many results a map has is known only now, and which visits there were before this one;
        # that never changes any more.
        names = payloads.wanted(node, delivery.phase, run) if run.steps.maps or node.group else ()
        more = [name for name in names if name not in fields]
        if not more:
            return found, fields
        results = self.store.read(delivery.run_id, more).fields
        return found._replace(fields={**found.fields, **results}), (*fields, *more)

    def _at_gates(
        self, passing: Passing, plan: Plan, found: Snapshot, node: Node, claim: Claim
    ) -> tuple[Claim, Transition]:
        """Decide a claim, with the gates that it has passed if it has to pass any."""
        run, now = found.run, found.now
        assert run is not None
        try:
            return claim, _decided_claim(plan, run, claim, now)
        except CommandRefused as refused:
            if refused.reason != "gated":
                raise
        lacking = [name for name in payloads.gate_fields(plan, node) if name not in found.fields]
        more = self.store.read(run.id, lacking).fields if lacking else {}
        known = {**found.fields, **more}
        claim = self.gates.pass_all(passing, claim, plan, run, node, known, now)
        return claim, _decided_claim(plan, run, claim, now)

    def _marks(self, run: Run, claim: Claim, fields: Mapping[str, str]) -> dict[str, str]:
        """Tell observers that an attempt is about to be granted; what they want kept with it."""
        marks: dict[str, str] = {}
        what = (claim.step, claim.phase, claim.attempt, claim.holder)
        self.observers.tell(Claiming(run, *what, fields, marks))
        return marks

    def _refused(self, error: CommandRefused | RunNotFound, delivery: Delivery) -> Refused:
        """What observers are told: a message may say anything, so its words count only if ours."""
        reason = error.reason if isinstance(error, CommandRefused) else "no_run"
        try:
            plan = self.store.plan(delivery.run_id, delivery.plan)
        except StoreError:
            plan = None
        if plan is None or plan.find(in_any_visit(delivery.step)) is None:
            return Refused(reason, "", "", delivery.phase)
        return Refused(reason, plan.saga, delivery.step, delivery.phase)

    def complete(self, attempt: Attempt, output: Output, ahead: Ahead | None = None) -> Ended:
        """Record a success, and with it the step's result, JSON text; it may have skipped itself.

        If it ends the run, the result is the run's, and the step has none.  If it leaves its group,
        nobody has a result.  If the result is to come from outside, the attempt is let go.
        *ahead* may take up what follows, in the same commit.
        """
        d = attempt.delivery
        token = (d.step, d.phase, d.attempt, attempt.holder, d.epoch)
        if isinstance(output, Goes):
            return self._settle(attempt, Complete(*token, route=output.route), {}, ahead)
        if isinstance(output, Skips):
            command = Complete(*token, skips=True, said=output.said)
            said = {payloads.words_field(d.step): json.dumps(output.said)}
            fields = said if output.said else {}
            return self._settle(attempt, command, fields, ahead)
        if isinstance(output, Deferred):
            return self._settle(attempt, Defer(*token, delay=output.delay), {}, ahead)
        if isinstance(output, Ends):
            fields = {payloads.RESULT: output.result}
            return self._settle(attempt, Complete(*token, ends=True), fields, ahead)
        fields = {payloads.output_field(d.step): output} if d.phase == "do" else {}
        choice = ""
        if d.phase == "do":
            choice = payloads.choice_of(attempt.node, output, OutputInvalid)
        command = Complete(*token, choice=choice)
        return self._settle(attempt, command, fields, ahead)

    def fail(
        self,
        attempt: Attempt,
        command: Fail,
        failure: Failure,
        again: str | None = None,
        answer: str | None = None,
        ahead: Ahead | None = None,
    ) -> Ended:
        """Record a failed attempt, how it failed, and the arguments to try again with (JSON).

        *answer* (JSON) is what it has to say to the caller, should the run be undone because of it.
        *ahead* may take up what follows, in the same commit.
        """
        d = attempt.delivery
        fields = {payloads.error_field(d.step, d.phase): failure.model_dump_json(exclude_none=True)}
        if again is not None:
            fields[payloads.again_field(d.step, d.phase)] = again
        if answer is not None:
            fields[payloads.answer_field(d.step)] = answer
        elif attempt.run.step(d.step).do.attempts_before_budget:  # one before may have answered
            fields[payloads.answer_field(d.step)] = payloads.NULL
        return self._settle(attempt, command, fields, ahead)

    def heartbeat(self, attempt: Attempt, details: str | None) -> None:
        """Ask whether the attempt still counts, and keep *details* (JSON text) for the next one."""
        self._say(attempt, payloads.beat_field, details)

    def note_progress(self, attempt: Attempt, told: str) -> None:
        """Keep how far an attempt is (JSON text), if it still counts; the store is tried once."""
        self._say(attempt, payloads.progress_field, told, patience=0.0)

    def tag(self, attempt: Attempt, tags: tuple[tuple[str, str], ...]) -> None:
        """Give the run tags, if the attempt still counts."""
        d = attempt.delivery
        self.command(d.run_id, Tag(d.step, d.phase, d.attempt, attempt.holder, d.epoch, tags))

    def _say(
        self,
        attempt: Attempt,
        field: Callable[[str, Phase], str],
        text: str | None,
        patience: float | None = None,
    ) -> None:
        """Ask whether an attempt still counts, and keep a text of it if there is one."""
        d = attempt.delivery
        command = CheckAttempt(d.step, d.phase, d.attempt, attempt.holder, d.epoch)
        name = field(d.step, d.phase)
        name = payloads.in_try(name, d.epoch) if attempt.whole else name
        fields = {} if text is None else {name: text}
        self.command(d.run_id, command, fields=fields, patience=patience)

    def _settle(
        self,
        attempt: Attempt,
        command: Complete | Fail | Defer,
        fields: Mapping[str, str],
        ahead: Ahead | None,
    ) -> Ended:
        """Record a report: one round trip if nobody committed since the claim, else read anew."""
        onward = None if ahead is None or attempt.whole else Onward(attempt, ahead)

        def settle(found: Snapshot) -> Ended:
            decided = transition(attempt.plan, found.run, command, found.now)
            stored = fields if _uses(decided.events, command) else {}
            both = onward.follows(decided, found.now) if onward else None
            if onward is None or both is None:
                self._commit(attempt.plan, found, command, decided, stored)
                return Ended(decided)
            return self._settle_and_claim(onward, found, command, decided, both, stored)

        def read_and_settle() -> Ended:
            found = self.store.read(attempt.run.id)
            if found.run is None:
                raise RunNotFound(attempt.run.id)
            if onward is not None:
                onward.read_anew()
            return settle(found)

        now = attempt.now + int((self.clock() - attempt.read_at) * 1000)
        try:
            return settle(Snapshot(attempt.whole or attempt.run, now, {}))
        except (Conflict, StoreUnavailable):
            # The effect has happened: it is worth much patience to have it on record.
            return self._until_committed(read_and_settle, self._insistence)
        finally:
            self.observers.tell(Settled(attempt.run.id, attempt.holder))

    def _settle_and_claim(
        self,
        onward: Onward,
        found: Snapshot,
        command: Complete | Fail | Defer,
        settled: Transition,
        both: Transition,
        fields: Mapping[str, str],
    ) -> Ended:
        """Commit a report, and the claim of what follows it, as one change; see `onward`."""
        attempt, claim, read_at = onward.attempt, onward.claim, self.clock()
        assert claim is not None  # or nothing would follow
        fields = self._with_results(found.run, both.events, fields)
        both = both._replace(run=laid_aside(both.run))
        change = change_of(attempt.plan, found, both, fields, self.terms)
        fields_there = {**attempt.fields, **change.fields}
        known = attempt.known | change.fields.keys()
        lacking = onward.lacks(settled.run, known, self.observers.wants(claim.step, claim.phase))
        if lacking:
            fields_there |= self.store.read(attempt.run.id, lacking).fields
        granted = both.events[len(settled.events) :]
        marks = self._marks(settled.run, claim, fields_there) if granted else {}
        if marks:
            change = change._replace(fields={**change.fields, **marks})
        if both.events and not self.store.commit(change):
            raise Conflict
        if settled.events:
            self.observers.tell_committed(
                Committed(command, found.run, settled.run, settled.events, attempt.fields)
            )
        if granted:
            self.observers.tell_committed(
                Committed(claim, settled.run, both.run, granted, fields_there)
            )
        self.gates.follow(attempt.plan, command, found.run, both.run, both.events)
        known |= {*lacking}
        following = onward.attempt_of(both.run, fields_there, known, found.now, read_at)
        return Ended(both, following)


def _decided_claim(plan: Plan, run: Run, command: Claim, now: int) -> Transition:
    try:
        return transition(plan, run, command, now)
    except CommandRefused as refused:
        if refused.reason == "completed" and not overdue(run, now):
            # A doubled message must not double all that follow it: it heals a chain only where
            # the next link should have arrived long ago.
            raise CommandRefused("superseded", str(refused)) from None
        raise


def _uses(events: Sequence[Event], command: Complete | Fail | Defer) -> bool:
    """True if the payload of a report belongs on record: a late one's mostly does not."""
    kind = EventKind.COMPLETED if isinstance(command, Complete) else EventKind.FAILED
    if isinstance(command, Complete) and command.skips:
        kind = EventKind.SKIPPED
    return any(event.kind is kind and "kept" not in event.data for event in events)
