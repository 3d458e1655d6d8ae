"""The handle of a run: look at it, wait for it, steer it.

Owns: what application code and the command line do with a run.  Refuses to know: Celery tasks and
how a saga is defined; it needs an engine and something that sends.  The file is long because all of
it is one class, as users see it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from celeriac.app.forking import fork
from celeriac.app.inputs import asked_ms, check_words, checked_step, checked_text, uuid7
from celeriac.app.offload import offload
from celeriac.authoring import ANYTHING, Signal
from celeriac.engine import Archivist
from celeriac.errors import (
    ChangedSince,
    CommandRefused,
    InputInvalid,
    RunCompensated,
    RunFailed,
    RunNotFound,
    RunTerminated,
)
from celeriac.machine import Run, RunStatus, as_visited, commands
from celeriac.store import await_rest, payloads, wait_for_rest
from celeriac.views import (
    RunState,
    answer_fields,
    answer_of,
    failure_fields,
    graph_of,
    hold_of,
    progress_fields,
    progress_of,
    question_fields,
    questions_of,
    shown_steps,
    state_of,
    undo_fields,
    undo_plan_of,
    words_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from celeriac.authoring import Answer
    from celeriac.engine import Decided, Dispatcher, Engine
    from celeriac.failure import Failure
    from celeriac.machine import Command, Event, Node, Plan
    from celeriac.store import Snapshot
    from celeriac.views import Graph, Progress, Question, UndoPlan

R = TypeVar("R")
T = TypeVar("T")


def dump_plain(_task: str, result: Any) -> str:
    """Return as JSON the result of a task that this process does not know; raise InputInvalid."""
    return ANYTHING.dump(result, "the result", InputInvalid)


class RunHandle(Generic[R]):
    """One run, by its id.  Holds no state of its own: every call asks the store."""

    #: True if `start` returned this handle and another start had accepted the run.
    joined = False

    def __init__(
        self,
        run_id: str,
        engine: Engine,
        dispatcher: Dispatcher,
        decode: Callable[[str], R] = json.loads,
        dump: Callable[[str, Any], str] = dump_plain,
        answer: Callable[[str], Any] = json.loads,
        signals: Mapping[str, Signal[Any]] | None = None,
    ) -> None:
        """*decode* makes the saga's result of JSON text, *dump* JSON text of a task's result.

        *answer* makes of JSON text what a step had to say to the caller; *signals* are those that
        this process knows, by name.
        """
        self.id, self._answer, self._signals = run_id, answer, signals or {}
        self._engine, self._dispatcher, self._decode, self._dump = engine, dispatcher, decode, dump

    def __repr__(self) -> str:
        return f"<run {self.id}>"

    # --- looking -------------------------------------------------------------------------------

    @property
    def status(self) -> RunStatus:
        """Where the run stands; compares equal to plain text, such as `"completed"`."""
        return self._read()[0].shown

    def state(self) -> RunState:
        """Return a snapshot: the run, its steps, and what is owed.  Raises RunNotFound."""
        run, plan = self._planned()
        steps = tuple(shown_steps(plan, run))
        wanted = (*failure_fields(steps), *words_fields(run, steps), *answer_fields(run))
        run, fields = self._read((*wanted, *progress_fields(run)))
        hold = hold_of(self.history()) if run.paused else None
        return state_of(plan, run, fields, hold, self._answer)

    def history(self, first: int = 0, limit: int | None = None) -> list[Event]:
        """Return what happened to the run, oldest first.  Raises RunNotFound.

        Events before *first* are left out, and those after *limit* more; a negative *first* means
        so many of the newest.
        """
        if limit is not None and limit < 1:
            raise InputInvalid(f"limit must be 1 at least, not {limit!r}")
        store = self._engine.store
        events = self._engine.retry_while_unavailable(lambda: store.history(self.id, first, limit))
        if not events and (first <= 0 or not store.history(self.id, 0, 1)):
            raise RunNotFound(self.id)
        return events

    def result(self, timeout: float | None = None) -> R:
        """Wait until the run has ended and return its result.

        *timeout* is seconds: 0 looks once, None waits for ever.  Raises ResultTimeout, and
        RunCompensated, RunFailed or RunTerminated when the run ended in that way.  All waits of a
        process share one connection.
        """
        reading = _Reading(self._engine)
        return self._outcome(self._rest(timeout, reading), reading)

    async def aresult(self, timeout: float | None = None) -> R:  # noqa: ASYNC109 -- as `result`
        """Do what `result` does in a coroutine, without blocking a thread."""
        if timeout is not None and timeout <= 0:
            return await offload(self.result, timeout)
        reading = _Reading(self._engine)
        found = await await_rest(self._engine.store, self.id, timeout, reading)
        return self._outcome(found, reading)

    def wait(self, timeout: float | None = None) -> Run:
        """Wait until the run is at rest; raise ResultTimeout after *timeout* seconds."""
        found = self._rest(timeout, _nothing)
        if found.run is None:
            raise RunNotFound(self.id)
        return found.run

    def _rest(self, timeout: float | None, wanted: Callable[[Run], tuple[str, ...]]) -> Snapshot:
        engine = self._engine
        if timeout is not None and timeout <= 0:  # one look: nobody else tries again
            return engine.retry_while_unavailable(
                lambda: wait_for_rest(engine.store, self.id, timeout, wanted)
            )
        return wait_for_rest(engine.store, self.id, timeout, wanted)

    def _outcome(self, found: Snapshot, reading: _Reading) -> R:
        """Make the result, or the error, of a run as it was found at rest."""
        if found.run is None:
            raise RunNotFound(self.id)
        if found.run.status is RunStatus.COMPLETED:
            plan, reader = reading.plan_of(found.run), f"the result of {found.run.id}"
            most = payloads.Reader(reader, self._engine.terms.max_collected)
            return self._decode(payloads.result_of(plan, found.run, found.fields, most))
        failure = payloads.load_failure(found.fields.get(payloads.CAUSE))
        raise _unsuccessful(found.run, failure, answer_of(found.run, found.fields, self._answer))

    def undo_plan(self, to: str | None = None) -> UndoPlan:
        """Return what `cancel` would undo now, in which order, and what it could not undo.

        With the step *to*: what `rewind` would, and what would be done twice.

        Changes nothing.  Raises RunNotFound.
        """
        run, plan = self._planned()
        fields = undo_fields(plan, run)
        found = self._engine.retry_while_unavailable(
            lambda: self._engine.store.read(self.id, fields)
        )
        if found.run is None:
            raise RunNotFound(self.id)
        return undo_plan_of(plan, found.run, found.fields, found.now, to)

    def export(self, *, payloads: bool = False) -> dict[str, Any]:
        """Return everything known of the run, as one document for programs.

        State, history and plan; with *payloads* also input, outputs and failures in full, which
        may hold secrets.  Raises RunNotFound.
        """
        plan, run, _ = self.look()
        archivist = Archivist(self._engine.store, _keep_nothing, payloads=payloads)
        records = self._engine.retry_while_unavailable(lambda: archivist.records([run], {}))
        if self.id not in records:
            raise RunNotFound(self.id)
        document = records[self.id].document()
        del document["removed"]
        return {**document, "plan": plan.whole.model_dump(mode="json")}

    def questions(self) -> tuple[Question, ...]:
        """Return what the run asks people now: its open waits for signals, the oldest first.

        `signal(question.signal, payload, step=question.step)` answers one.  Raises RunNotFound.
        """
        run, plan = self._planned()
        run, fields = self._read(question_fields(plan, run))
        return questions_of(plan, run, fields)

    def graph(self) -> Graph:
        """Return the run as a picture to draw (`celeriac.drawing.draw`).  Raises RunNotFound."""
        run, plan = self._planned()
        return graph_of(plan, run)

    def look(self) -> tuple[Plan, Run, int]:
        """Return the plan, the run, and the store's time in milliseconds.  Raises RunNotFound."""
        found = self._engine.retry_while_unavailable(lambda: self._engine.store.read(self.id))
        if found.run is None:
            raise RunNotFound(self.id)
        plan = as_visited(self._engine.store.plan(self.id, found.run.plan), found.run)
        return plan, found.run, found.now

    def progress(self) -> dict[str, Progress]:
        """Return how far the attempts are that are at work and say so, by step.

        As in the state, but nothing else is read.  Raises RunNotFound.
        """
        run, _ = self._read()
        fields = progress_fields(run)
        run, found = self._read(fields) if fields else (run, {})
        told = {name: progress_of(run, name, found) for name in run.steps.open}
        return {name: each for name, each in told.items() if each is not None}

    # --- steering ------------------------------------------------------------------------------

    def cancel(self, reason: str = "", *, by: str = "", if_version: int | None = None) -> bool:
        """Stop forward work and undo what was done, even if the run has completed.

        Returns True if this changed anything, as the other commands do.  A run that is being
        undone, or was, stays as it is.  Raises CommandRefused if the run was terminated or is past
        its pivot.  Each command takes *if_version*, the `run_version` of a state: it raises
        ChangedSince if the run has moved on since then.
        """
        return self._do(commands.Cancel(reason, by), if_version=if_version)

    def rewind(
        self, to: str, reason: str = "", *, by: str = "", if_version: int | None = None
    ) -> bool:
        """Undo what came after the step *to*, and that step, then go forward again from there.

        What comes before *to* stands; the rest is done again, under effect keys of its own, also by
        a run that has completed.  `undo_plan(to)` says what would be undone.  Raises CommandRefused
        past the pivot, in a run that is undone, for a step that was not reached yet, and inside of
        a block, naming the step to use instead.
        """
        command = commands.Rewind(checked_step(to), os.urandom(4).hex(), reason, by)
        return self._do(command, if_version=if_version)

    def terminate(self, reason: str, *, by: str = "", if_version: int | None = None) -> bool:
        """Abandon the run without undo.  Raises CommandRefused if it has ended."""
        command = commands.Terminate(_checked_reason("terminate", reason), by)
        return self._do(command, if_version=if_version)

    def retry(
        self,
        step: str | None = None,
        reason: str = "",
        *,
        by: str = "",
        if_version: int | None = None,
    ) -> bool:
        """Retry what is owed: one step, or all of them.

        A failed compensation gets a new budget of attempts; so does a step that gave up after the
        pivot.  Raises CommandRefused if there is nothing to retry.
        """
        return self._do(commands.RetryOwed(step, reason, by), if_version=if_version)

    def waive(self, step: str, reason: str, *, by: str = "", if_version: int | None = None) -> bool:
        """Declare an owed compensation settled.  Raises CommandRefused if it is not owed."""
        command = commands.Waive(checked_step(step), _checked_reason("waive", reason), by)
        return self._do(command, if_version=if_version)

    def pause(self, reason: str = "", *, by: str = "", if_version: int | None = None) -> bool:
        """Start no further attempt, forward or back, until the run is resumed.

        A running attempt may finish.  Paused time does not count towards the deadline.  Raises
        CommandRefused if the run has ended.
        """
        return self._do(commands.Pause(reason, by), if_version=if_version)

    def resume(self, reason: str = "", *, by: str = "", if_version: int | None = None) -> bool:
        """Continue a run that was paused.  Raises CommandRefused if the run has ended."""
        return self._do(commands.Resume(reason, by), if_version=if_version)

    def skip(
        self,
        step: str,
        result: Any = None,
        reason: str = "",
        *,
        by: str = "",
        if_version: int | None = None,
    ) -> bool:
        """Go on as if *step* had completed with *result*, because an operator took care of it.

        Works for a step that has not run yet, waits for its next attempt, or gave up while the run
        still goes forward.  If the run compensates later, the step is undone too, provided that it
        was ever tried.  Raises InputInvalid for a result that the step could not return, and
        CommandRefused if the step has a result, is running, or is being undone.
        """
        _, plan = self._planned()
        node = plan.find(checked_step(step))
        fields, choice = {}, ""
        if node is not None:  # if it is none, the state machine says so best
            text = self._dumped(node, result)
            limit = self._engine.terms.max_payload
            fields[payloads.output_field(step)] = payloads.checked(f"result of {step}", text, limit)
            choice = payloads.choice_of(node, text, InputInvalid)
        return self._do(commands.Skip(step, reason, by, choice), fields, if_version)

    def _dumped(self, node: Node, result: Any) -> str:
        """Return what a step might have returned, or a wait have waited for, as JSON."""
        name = node.wait.signal if node.wait else None
        if name is not None and name in self._signals and result is not None:
            return self._signals[name].dump(result)
        if node.map is None:
            return self._dump(node.task, result) if node.task else dump_plain("", result)
        if not isinstance(result, list | tuple):
            raise InputInvalid(
                f"{node.name} is a map: its result is a list, with what each element gives, not "
                f"{result!r}"
            )
        each = node.model_copy(update={"map": None})
        return f"[{','.join(self._dumped(each, one) for one in result)}]"

    def fork(
        self,
        at: str,
        id: str | None = None,  # noqa: A002 -- the word of the interface
        reason: str = "",
        *,
        by: str = "",
        if_version: int | None = None,
    ) -> Self:
        """Start a new run that takes over what this one did before the step *at*.

        The recorded results are copied, and the fork never undoes what led to them; *at* and all
        that is not before it is done anew, under effect keys of its own.  The same *id* again is
        the same fork.  Raises CommandRefused for a run that is not at rest or is past its pivot,
        and where a result is missing or its effect was undone.
        """
        asked = (at, id, reason, by, if_version)
        run_id, made = fork(self._engine, self._dispatcher, self.id, *asked)
        run = self._namesake(run_id)
        run.joined = not made
        return run

    def _namesake(self, run_id: str) -> Self:
        """The handle of another run of the same saga."""
        known = (self._decode, self._dump, self._answer, self._signals)
        return type(self)(run_id, self._engine, self._dispatcher, *known)

    @overload
    def signal(
        self,
        signal: Signal[T],
        payload: T,
        *,
        id: str | None = None,
        step: str | None = None,
        asked: datetime | None = None,
        by: str = "",
    ) -> Answer: ...

    @overload
    def signal(
        self,
        signal: str,
        payload: Any = None,
        *,
        id: str | None = None,
        step: str | None = None,
        asked: datetime | None = None,
        by: str = "",
    ) -> Answer: ...

    def signal(
        self,
        signal: Signal[Any] | str,
        payload: Any = None,
        *,
        id: str | None = None,  # noqa: A002
        step: str | None = None,
        asked: datetime | None = None,
        by: str = "",
    ) -> Answer:
        """Send a signal to the run; return `taken` if a wait took it, `kept` if one has to come.

        The same *id* counts once, whatever the run has done since; left out, each call is a signal
        of its own.  With a *step* it is the answer to that wait, which must be open, and with
        *asked* too, a question's `since`, to that question and none that the wait asks later.
        Raises InputInvalid or PayloadTooLarge with nothing written, RunNotFound, and CommandRefused
        if the run has no wait that can still take it.
        """
        name = signal.name if isinstance(signal, Signal) else signal
        if not isinstance(name, str):
            raise InputInvalid(f"signal: give a Signal, or the name of one, not {name!r}")
        if step == "":  # it would be kept for any wait
            raise InputInvalid("step: give the name of the wait that this answers, or leave it out")
        seen = asked_ms(asked, step)
        # The one that its saga waits for, where this process knows that: a namesake checks nothing.
        known = self._signals.get(name, signal if isinstance(signal, Signal) else None)
        fields: dict[str, str] = {}
        given = uuid7() if id is None else checked_text("id", id)
        key = payloads.signal_key(name, given)
        if known is not None:
            text = known.dump(payload)
            limit = self._engine.terms.max_payload
            what = f"the payload of signal {name!r}"
            fields[payloads.signal_field(key)] = payloads.checked(what, text, limit)
        elif name in self._planned()[1].signals:
            raise InputInvalid(
                f"signal {name!r}: this process does not know the type of its payload, so it "
                "cannot check it: import the module that defines the signal and its saga"
            )
        decided = self._decide(commands.Signal(name, key, by, step or "", seen), fields)
        received = () if decided is None else decided.transition.run.signals
        return "taken" if any(s.taken_by for s in received if s.key == key) else "kept"

    def _do(
        self,
        command: Command,
        fields: Mapping[str, str] | None = None,
        if_version: int | None = None,
    ) -> bool:
        decided = self._decide(command, fields, if_version)
        return decided is not None and bool(decided.transition.events)

    def _decide(
        self,
        command: Command,
        fields: Mapping[str, str] | None = None,
        if_version: int | None = None,
    ) -> Decided | None:
        """Have a command decided, and send what follows; None: whoever did it has died."""
        check_words(command)

        def of(run: Run) -> Command:
            if if_version not in (None, run.version):
                raise ChangedSince(self.id, if_version, run.version)
            return command

        found = self._engine.command(self.id, of, fields=fields)
        plan, decided, now = found
        self._engine.send(self._dispatcher, plan, decided.run, decided.dispatches, now)
        return found

    # --- reading -------------------------------------------------------------------------------

    def _read(self, fields: tuple[str, ...] = ()) -> tuple[Run, Any]:
        found = self._engine.retry_while_unavailable(
            lambda: self._engine.store.read(self.id, fields)
        )
        if found.run is None:
            raise RunNotFound(self.id)
        return found.run, found.fields

    def _planned(self) -> tuple[Run, Plan]:
        run, _ = self._read()
        return run, as_visited(self._engine.store.plan(self.id, run.plan), run)


class _Reading:
    """What the result of a run is made of, once it is at rest; knows the plan from then on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._plans: dict[str, Plan] = {}

    def plan_of(self, run: Run) -> Plan:
        """Return the plan of a run; whoever has asked once need not be kept waiting again."""
        if run.plan not in self._plans:
            self._plans[run.plan] = self._engine.store.plan(run.id, run.plan)
        return self._plans[run.plan]

    def __call__(self, run: Run) -> tuple[str, ...]:
        """Name the payload fields to be read."""
        if run.status is not RunStatus.COMPLETED:
            return (payloads.CAUSE, *answer_fields(run))
        return payloads.result_fields(self.plan_of(run), run)


def _nothing(_: Run) -> tuple[str, ...]:
    return ()


def _unsuccessful(run: Run, failure: Failure | None, answer: Any) -> Exception:
    why = _why(run, failure)
    if run.status is RunStatus.COMPENSATED:
        return RunCompensated(run.id, f"run {run.id!r} was undone: {why}", failure, answer)
    if run.status is RunStatus.TERMINATED:
        return RunTerminated(run.id, f"run {run.id!r} was terminated: {why}", failure)
    owed = ", ".join(run.owed)
    return RunFailed(
        run.id,
        f"run {run.id!r} failed: {why}; still owed: {owed} (retry or waive)",
        failure,
        run.owed,
    )


def _keep_nothing(_: object) -> None:
    """An export is read like an archive's record, and kept by whoever asked."""


def _checked_reason(verb: str, reason: str) -> str:
    if isinstance(reason, str) and not reason.strip():
        raise CommandRefused("no_reason", f"{verb} needs a reason: it stays in the run's history")
    return reason


def _why(run: Run, failure: Failure | None) -> str:
    if run.status is RunStatus.TERMINATED or not (run.why or failure):
        return run.reason or "no reason was given"
    told = f"{run.failed_step} failed" if run.why == "failed" else run.reason or run.why
    return f"{told} ({failure.type}: {failure.message})" if failure else told
