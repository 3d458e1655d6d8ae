"""A step whose attempts are other runs: starting them, telling them, hearing of their end.

Owns: what passes between a run and its children, and in which order it is written.  Refuses to
know: what a child's end means for its step (`machine.children`), and Celery.

Parent and child may be on different shards, so nothing is written to both at once.  Whoever looks
at a child makes it what its parent wants: claimed in the parent first, then there, then on its way
back or terminated if the parent is; so an attempt that may exist is on record before it does.
Whoever looks at a child at rest tells its parent, and only then notes that the parent knows.  Each
of these may be done twice, and by anybody.  Both runs stay in the wake index until it is done, so
what was lost in between is the sweep's business.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from celeriac.engine.sending import Sender
from celeriac.engine.starting import Starter
from celeriac.errors import CommandRefused, RunConflict, RunNotFound, SagaError, StoreError
from celeriac.failure import Failure, class_name
from celeriac.machine import (
    Acknowledge,
    Cancel,
    Claim,
    EventKind,
    Parent,
    Report,
    RetryOwed,
    RunStatus,
    Start,
    Terminate,
    as_visited,
    awaited_children,
    epoch_of,
    id_of_child,
    key_of,
    others,
    transition,
    try_of,
)
from celeriac.observing import log, title
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celeriac.engine.dispatching import Dispatcher
    from celeriac.machine import Command, Dispatch, Node, Phase, Plan, Run, Transition

_BY = "its parent"
_GONE = frozenset({RunStatus.COMPENSATED, RunStatus.TERMINATED})


class ChildWork(Sender, Starter):
    """Seeing to the children of runs, and to their parents."""

    def send(
        self,
        dispatcher: Dispatcher,
        plan: Plan,
        run: Run,
        dispatches: Sequence[Dispatch],
        now: int,
    ) -> None:
        """Send what is due, as `Sender` does; other runs are told in the place of a message."""
        kin = [each for each in dispatches if _is_to_a_run(plan, run, each)]
        super().send(dispatcher, plan, run, [each for each in dispatches if each not in kin], now)
        for each in kin:
            self.go_on_with(dispatcher, plan, run, each)

    def see_to_others(self, dispatcher: Dispatcher, plan: Plan, run: Run) -> bool:
        """Look at the children of a run, and at whether its parent knows; False if that failed."""
        done = [self.go_on_with(dispatcher, plan, run, each) for each in others(run)]
        return all(done)

    def go_on_with(self, dispatcher: Dispatcher, plan: Plan, run: Run, dispatch: Dispatch) -> bool:
        """See to a child, or tell the parent; what fails here, the sweep does again."""
        try:
            if not dispatch.step:
                self.tell_parent(dispatcher, run.id)
            else:
                node = as_visited(plan, run).node(dispatch.step)
                self._see_to_child(dispatcher, run.id, node)
        except (CommandRefused, RunNotFound):
            return True  # paused, or started anew: whoever goes on with it sees to it
        except Exception as error:  # noqa: BLE001 -- it is logged
            what = title(run.id, dispatch.step, dispatch.phase, dispatch.attempt)
            what = f"{what}: its child" if dispatch.step else f"{run.id}: its parent"
            log.warning("%s could not be reached: %s", what, class_name(error))
            return False
        return True

    # --- from the parent to its child ----------------------------------------------------------

    def _see_to_child(self, dispatcher: Dispatcher, run_id: str, node: Node) -> None:
        """Make a child what its parent wants of it now."""
        run = self._claimed(dispatcher, run_id, node)
        awaited = next((each for each in awaited_children(run) if each[0] == node.name), None)
        if awaited is None:
            return
        _, phase, direction = awaited
        child = self._there(dispatcher, run, node, id_of_child(run, node.name, direction.child))
        if child is None:
            return
        if run.status is RunStatus.TERMINATED:
            command = Terminate(run.reason or "its parent was terminated", _BY)
            child = self._commanded(dispatcher, run, node, child, command, phase)
        elif run.status is not RunStatus.RUNNING:
            cancel = Cancel(f"{run.id} is being undone", _BY, of_parent=True)
            child = self._commanded(dispatcher, run, node, child, cancel, phase)
        if child.status.at_rest:
            self.tell_parent(dispatcher, child.id)

    def _there(self, dispatcher: Dispatcher, run: Run, node: Node, child_id: str) -> Run | None:
        """Return the child of a step, started if it is not there; None if that cannot be."""
        child = self.store.read(child_id).run
        if child is None:
            return self._start(dispatcher, run, node, child_id)
        if child.parent == _link(run, node):
            return child
        conflict = RunConflict(child_id, "is there, and is no child of this step")
        self._refuse(dispatcher, _link(run, node), child_id, _failure(conflict))
        return None

    def _claimed(self, dispatcher: Dispatcher, run_id: str, node: Node) -> Run:
        """Return the parent, its step claimed if it is the turn of that."""
        found = self.store.read(run_id)
        if found.run is None:
            raise RunNotFound(run_id)
        run, now = found.run, found.now
        phases: tuple[Phase, ...] = ("do", "undo")
        for phase in phases:
            direction, wanted = run.step(node.name).direction(phase), RunStatus.RUNNING
            if phase == "undo":
                wanted = RunStatus.COMPENSATING
            if not direction.state.claimable or run.status is not wanted or direction.at > now:
                continue
            number = self._number(dispatcher, run, node, phase)
            holder = id_of_child(run, node.name, number)
            attempt, epoch = direction.attempt + 1, epoch_of(run, node.name)
            claim = Claim(node.name, phase, attempt, holder, epoch, number)
            return self.command(run_id, claim).transition.run
        return run

    def _number(self, dispatcher: Dispatcher, run: Run, node: Node, phase: Phase) -> int:
        """Which of its runs the next attempt of a step is: the one there was, while it stands.

        What that owes is tried once more then: somebody has asked for another attempt.
        """
        do = run.step(node.name).do
        before = self.store.read(id_of_child(run, node.name, do.child)).run if do.child else None
        stands = before and before.parent == _link(run, node) and before.status not in _GONE
        if before and stands and before.status is RunStatus.FAILED:
            direction = run.step(node.name).direction(phase)
            if direction.attempts_before_budget:
                self._tell(dispatcher, before.id, RetryOwed(None, "its parent retries it", _BY))
        return do.child if stands or phase == "undo" else do.attempt + 1

    def _start(self, dispatcher: Dispatcher, run: Run, node: Node, child_id: str) -> Run | None:
        """Start a child, whatever its parent wants of it next: nobody else can start it then."""
        assert node.child is not None
        plan = node.child.plan
        found = self.store.read(run.id, payloads.wanted(node, "do", run))
        try:
            texts = payloads.arguments(node, "do", found.fields, run, self.terms.max_collected)
            start = Start(
                run_id=child_id,
                digest=payloads.digest(plan.saga, texts),
                nonce=f"{key_of(run, node.name)}.{node.name}",
                grace=run.grace,
                tags=run.tags,
                parent=_link(run, node),
                limit=node.timeout,
            )
            decided = self.start(plan, start, texts)
        except StoreError:
            raise  # the sweep tries again
        except SagaError as error:
            self._refuse(dispatcher, _link(run, node), child_id, _failure(error))
            return None
        child = decided.transition.run
        if decided.transition.events and run.status is RunStatus.RUNNING:
            self.send(dispatcher, plan, child, decided.transition.dispatches, decided.now)
        return child

    def _commanded(
        self,
        dispatcher: Dispatcher,
        run: Run,
        node: Node,
        child: Run,
        command: Command,
        phase: Phase,
    ) -> Run:
        """Give a child a command of its parent, and return what has become of it."""
        try:
            return self._tell(dispatcher, child.id, command)
        except CommandRefused as refused:
            # Going forward, it will end: then its parent looks what that was.
            if phase == "undo" and refused.reason == "past_pivot":
                self._refuse(dispatcher, _link(run, node), child.id, _failure(refused))
            return child

    def _tell(self, dispatcher: Dispatcher, run_id: str, command: Command) -> Run:
        plan, decided, now = self.command(run_id, command)
        self.send(dispatcher, plan, decided.run, decided.dispatches, now)
        return decided.run

    def _refuse(
        self, dispatcher: Dispatcher, link: Parent, child_id: str, failure: Failure
    ) -> None:
        """Let a step fail whose child is none, or cannot be undone."""
        report = Report(
            link.step,
            link.epoch,
            child_id,
            RunStatus.FAILED,
            turned=True,
            refused=failure.message,
            error=failure.type,
            code=failure.code,
        )
        self._report(dispatcher, link.run, report, None, failure)

    # --- from a child to its parent ------------------------------------------------------------

    def tell_parent(self, dispatcher: Dispatcher, child_id: str) -> None:
        """Let the parent of a run know that it came to rest, and note that it knows."""
        found = self.store.read(child_id)
        child = found.run
        if child is None or child.parent is None or not child.status.at_rest:
            return
        plan = self.store.plan(child_id, child.plan)
        completed = child.status is RunStatus.COMPLETED
        wanted = payloads.result_fields(plan, child) if completed else (payloads.CAUSE,)
        fields = self.store.read(child_id, wanted).fields
        output = failure = None
        refused = ""
        if completed:
            try:
                output = self._result(plan, child, fields)
            except SagaError as error:
                failure, refused = _failure(error), str(error)
        else:
            failure = _failure_of(child, payloads.load_failure(fields.get(payloads.CAUSE)))
        link = child.parent
        report = Report(
            link.step,
            link.epoch,
            child_id,
            child.status,
            turned=child.why != "",
            retryable=child.why != "cancelled",
            refused=refused,
            error=failure.type if failure else "",
            code=failure.code if failure else None,
        )
        # Started anew, or gone: nobody waits for this any more.
        with suppress(CommandRefused, RunNotFound):
            self._report(dispatcher, link.run, report, output, failure)
        if child.untold:
            self.command(child_id, Acknowledge(child.ended_at))

    def _result(self, plan: Plan, child: Run, fields: Mapping[str, str]) -> str:
        reader = payloads.Reader(f"the result of {child.id}", self.terms.max_collected)
        text = payloads.result_of(plan, child, fields, reader)
        return payloads.checked(f"the result of {child.id}", text, self.terms.max_payload)

    def _report(
        self,
        dispatcher: Dispatcher,
        run_id: str,
        report: Report,
        output: str | None,
        failure: Failure | None,
    ) -> None:
        """Have a report decided, with the payload that belongs to what it leads to."""

        def once() -> tuple[Plan, Transition, int]:
            found = self.store.read(run_id)
            if found.run is None:
                raise RunNotFound(run_id)
            plan = self.store.plan(run_id, found.run.plan)
            decided = transition(plan, found.run, report, found.now)
            fields = fields_of_report(decided, report.step, output, failure)
            self._commit(plan, found, report, decided, fields)
            return plan, decided, found.now

        plan, decided, now = self._until_committed(once)
        self.send(dispatcher, plan, decided.run, decided.dispatches, now)


def _is_to_a_run(plan: Plan, run: Run, dispatch: Dispatch) -> bool:
    plan = as_visited(plan, try_of(run, dispatch.step, dispatch.epoch))
    return not dispatch.step or plan.node(dispatch.step).child is not None


def _link(run: Run, node: Node) -> Parent:
    return Parent(run.id, epoch_of(run, node.name), node.name)


def fields_of_report(
    decided: Transition, step: str, output: str | None, failure: Failure | None
) -> dict[str, str]:
    """The payload of a report that belongs on record, given what it has led to."""
    fields: dict[str, str] = {}
    for event in decided.events:
        if event.step != step:
            continue
        if event.kind is EventKind.COMPLETED and event.phase == "do" and output is not None:
            fields[payloads.output_field(step)] = output
        elif event.kind is EventKind.FAILED and failure is not None:
            text = failure.model_dump_json(exclude_none=True)
            fields[payloads.error_field(step, event.phase)] = text
    return fields


def _failure(error: Exception) -> Failure:
    code = getattr(error, "code", None)
    return Failure(
        type=class_name(error),
        message=str(error),
        code=code if isinstance(code, str) else None,
        effect=False,
    )


_ENDED = {
    RunStatus.COMPENSATED: "was undone",
    RunStatus.FAILED: "owes something",
    RunStatus.TERMINATED: "was terminated",
}
_TYPES = {
    RunStatus.COMPENSATED: "RunCompensated",
    RunStatus.FAILED: "RunFailed",
    RunStatus.TERMINATED: "RunTerminated",
}


def _failure_of(child: Run, cause: Failure | None) -> Failure:
    """Why the step of a child failed: what the child failed for, and what became of it."""
    why = f"{cause.type}: {cause.message}" if cause else child.reason or child.why
    owed = f" ({', '.join(child.owed)})" if child.owed else ""
    return Failure(
        type=_TYPES[child.status],
        message=f"run {child.id!r} {_ENDED[child.status]}{owed}: {why}",
        code=cause.code if cause else None,
        effect=False if child.status is RunStatus.COMPENSATED else None,
    )
