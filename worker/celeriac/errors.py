"""Every error Celeriac raises, in one tree.

Owns: the classes, their codes and the wording of what to do next.  Refuses to know: when they
are raised.  This file is long because it is one tree, to be read at a glance.

::

    SagaError
    ├── DefinitionError          a saga, step or compensation is defined wrongly (at import)
    │   └── FileInvalid          … in a file; `problems` are all there are, each with its place
    ├── ConfigurationError       a setting is missing or impossible
    ├── InputInvalid             the input of a run does not validate; nothing was written
    ├── PayloadTooLarge          an input or output is over `saga_max_payload`
    ├── RunNotFound              no run has this id
    ├── ScheduleNotFound         no schedule has this name
    ├── GateNotFound             no limit, rate or breaker has this name
    ├── BulkNotFound             no command for many runs has this id
    ├── RunExists                the id is taken (`if_exists="fail"`)
    ├── RunConflict              the id is taken by a run with another input, or not yet ended
    ├── CommandRefused           the run is not in a state in which this can be done
    │   └── ChangedSince         … and has moved on since the caller looked (`if_version=`)
    ├── DefinitionNotFound       no definition of this name, or version, is kept
    ├── DefinitionConflict       this version of a saga is kept already, with another content
    ├── TokenRefused             a result from outside was not taken
    │   ├── TokenUnknown         … since no attempt has this token
    │   ├── TokenVoid            … since the attempt it was made for no longer counts
    │   └── TokenSettled         … since the attempt has ended in another way
    ├── RunNotSuccessful         what `result()` raises when a run ended in another way
    │   ├── RunCompensated       everything that happened was undone
    │   ├── RunFailed            something is still owed; an operator has to act
    │   └── RunTerminated        it was abandoned without undo
    ├── ResultTimeout            `result(timeout=)` gave up waiting; the run goes on
    ├── StoreError               the state Redis …
    │   ├── StoreUnavailable     … cannot be reached
    │   └── StoreFull            … is out of memory; no new run was accepted
    ├── Abort                    raised *by a step*: give up at once, do not retry
    ├── Skip                     raised *by a step*: there is nothing to do, and nothing to undo
    ├── Done                     raised *by a step*: the run goes no further, and has its result
    ├── Route                    raised *by a step*: the run goes on with another group
    ├── NotYet                   raised *by a step*: ask again later; no failure, no attempt used up
    ├── ActionFailed             raised *by an action* of a file: this attempt failed, or is unknown
    ├── LeaseLost                raised *in a step* by `heartbeat`: this attempt no longer counts
    ├── Stopping                 raised *in a step* by `heartbeat`: the step will be undone
    ├── OutputInvalid            a step returned something that cannot be recorded
    └── StepFailed               what Celery is told of a failed attempt; holds no payload
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from celeriac.failure import Failure


class SagaError(Exception):
    """The root of all errors of Celeriac; `code` is stable and meant for programs."""

    code: str = "saga_error"


class DefinitionError(SagaError):
    """A definition is wrong; the message names the saga, the step and the parameter."""

    code = "definition"

    def __init__(
        self,
        problem: str,
        *,
        saga: str | None = None,
        step: str | None = None,
        parameter: str | None = None,
    ) -> None:
        self.problem, self.saga, self.step, self.parameter = problem, saga, step, parameter
        named = (("saga", saga), ("step", step), ("parameter", parameter))
        where = ", ".join(f"{what} {name!r}" for what, name in named if name)
        super().__init__(f"{where}: {problem}" if where else problem)


class Problem(NamedTuple):
    """Something that is wrong in a file; line and column count from 1."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


class FileInvalid(DefinitionError):
    """A definition in a file is wrong; `problems` are all there are, in the order of the file."""

    code = "file_invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class ConfigurationError(SagaError):
    """A setting is missing or impossible; the message names it."""

    code = "configuration"


class InputInvalid(SagaError):
    """The input does not validate against the saga's signature; nothing was written."""

    code = "input_invalid"


class PayloadTooLarge(SagaError):
    """A payload is over the limit.  `size` and `limit` are bytes."""

    code = "payload_too_large"

    def __init__(self, what: str, size: int, limit: int, setting: str = "saga_max_payload") -> None:
        self.what, self.size, self.limit = what, size, limit
        super().__init__(
            f"{what} is {size} bytes as JSON, over the limit of {limit}: store it elsewhere and "
            f"pass a reference, or raise {setting}"
        )


class RunNotFound(SagaError):
    """No run has this id: it was never started, or it ended and its retention has passed."""

    code = "run_not_found"

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"no run {run_id!r}: never started here, or removed after its retention; "
            "check the id, saga_redis_url and saga_namespace"
        )


class ScheduleNotFound(SagaError):
    """No schedule has this name, neither in the code of this process nor in the store."""

    code = "schedule_not_found"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"no schedule {name!r} is defined here: write sagas.schedule({name!r}, …), or look for "
            "its name with `saga schedule list`"
        )


class GateNotFound(SagaError):
    """No limit, rate or breaker has this name, neither in the code here nor in the store."""

    code = "gate_not_found"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        super().__init__(f"there is no gate {name!r}; there are: {', '.join(known) or 'none'}")


class BulkNotFound(SagaError):
    """No command for many runs has this id, or it was looked at more than a week ago."""

    code = "bulk_not_found"

    def __init__(self, bulk_id: str) -> None:
        self.bulk_id = bulk_id
        super().__init__(
            f"no command for many runs {bulk_id!r}: check the id, or look again which runs it "
            "would be for; one is kept for a week"
        )


class RunExists(SagaError):
    """The id is taken, and the caller asked for `if_exists="fail"`."""

    code = "run_exists"

    def __init__(self, run_id: str, status: str) -> None:
        self.run_id, self.status = run_id, status
        super().__init__(
            f"run {run_id!r} exists already ({status}): use another id, or if_exists='join' "
            "to get its handle"
        )


class RunConflict(SagaError):
    """The id is taken by a run that this start must not touch."""

    code = "run_conflict"

    def __init__(self, run_id: str, problem: str) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id!r} {problem}")


class CommandRefused(SagaError):
    """The run's present state does not allow this command; nothing changed.

    `reason` is one word for programs.

    Asked by an operator: `at_rest` (the run has ended), `past_pivot` (it only goes forward),
    `turned` (it compensates, so no step is skipped), `at_work` (an attempt of the step is running),
    `completed` (the step has its result), `nothing_to_retry`, `not_owed` (nothing to waive),
    `no_reason` (the command needs one), `unknown_step`, `not_started` (there is no such run),
    `a_child` (its parent has its result: cancel that one).

    Asked by whoever sends a signal: `unknown_signal` (the saga never waits for it), `no_wait` (no
    wait can take it any more), `not_waiting` (the wait that it answers is not open),
    `asked_anew` (it was closed and opened again since the question that it answers),
    `by_starter` (it must come from somebody else than started the run), `too_many_signals` (so
    many have not been taken), `at_rest`, `turned`, `paused`.

    Asked by a worker: `stale` (the attempt, the plan or the task is another one by now),
    `not_due` (it is not its turn yet, or no longer), `expired` (it is too late to take it up),
    `paused`, `cancelled` (stop: the run was terminated), `stopping` (stop: the step will be
    undone), `completed`, `superseded` (a doubled message of a step that has its result), `renewed`
    (the attempt is alive after all), `unknown_group` (the saga has no group that the step could go
    on with), `gated` (it has not passed its gates), `blocked` (one of them does not let it through:
    it waits in line), `not_in_line` (it does not wait there), `entered` (its run has passed that
    gate meanwhile).

    Asked by code in a step: `too_many_tags` (the run has as many as it may have), `no_context` (no
    step is running here), `wrong_direction` (`do` of a
    barrier in a compensation, or `undo` in a step; a token or a later result where there can be
    none), `executed` (an effect behind a Redis barrier
    sent its own pipeline).

    Asked for a fork: `not_at_rest` (the run goes on), `inside` (the step stands in a block that is
    done as a whole, or is an element), `undone` (a result that it needs is void), `no_result`,
    `past_pivot`, `unknown_step`.

    Asked for a rewind, beside these: `not_reached` (it has not come to that step), `inherited` (a
    fork has taken over what would be done again), `turned`, `at_rest`, `a_child`.

    Asked of a schedule: `overlap` (its last run is not at rest), `queue_full` (another run waits
    for that), `deleted` (an operator has deleted it).

    Asked to start a command for many runs: `other_count` (it is for another number of runs), `over`
    (it was stopped, or is done).
    """

    code = "refused"

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class ChangedSince(CommandRefused):
    """The run has moved on since its state was looked at; nothing changed.

    `expected` is the version that the caller gave, `version` that of the run; `reason` is
    `changed_since` too.
    """

    code = "changed_since"

    def __init__(self, run_id: str, expected: int | None, version: int) -> None:
        self.run_id, self.expected, self.version = run_id, expected, version
        super().__init__(
            "changed_since",
            f"run {run_id!r} has changed since you looked (version {expected}, now {version}): "
            "look again, and repeat the command if it still is what you want",
        )


class DefinitionNotFound(SagaError):
    """No definition of this name is kept, or not in this version: `saga define FILE` keeps one."""

    code = "definition_not_found"

    def __init__(self, name: str, version: int | None, known: Sequence[int]) -> None:
        self.name, self.version = name, version
        there = f"there are {', '.join(map(str, known))}" if known else "there is none of that name"
        what = name if version is None else f"{name}, version {version}"
        super().__init__(
            f"no definition of {what} is kept ({there}): celery -A app saga define FILE keeps one"
        )


class DefinitionConflict(SagaError):
    """A definition never changes: this version of the saga is kept already, as another one."""

    code = "definition_conflict"

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version = name, version
        super().__init__(
            f"version {version} of {name} is kept already, and it is another one: write "
            f"version: {version + 1} into the file"
        )


class TokenRefused(SagaError):
    """A result from outside was not taken: `sagas.complete`, `sagas.fail`."""

    code = "token_refused"


class TokenUnknown(TokenRefused):
    """No attempt has this token: it was never given out, or its run is gone."""

    code = "token_unknown"

    def __init__(self) -> None:
        super().__init__("no attempt has this token: it was never given out, or its run is gone")


class TokenVoid(TokenRefused):
    """The attempt that the token was made for no longer counts.

    Its time was over, its step was tried again, or its run turned round.  A success that comes late
    is on record all the same, and undone once more if its step was undone already.
    """

    code = "token_void"

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"this token no longer counts: {why}")


class TokenSettled(TokenRefused):
    """The attempt has ended in another way; the same result once more is accepted."""

    code = "token_settled"

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"this token has served: {why}")


class RunNotSuccessful(SagaError):
    """The run came to rest without completing."""

    code = "run_not_successful"

    def __init__(self, run_id: str, message: str, failure: Failure | None = None) -> None:
        self.run_id, self.failure = run_id, failure
        super().__init__(message)


class RunCompensated(RunNotSuccessful):
    """Everything the run had done was undone; `failure` tells why, if a step failed.

    `answer` is what the step that failed has to say to the caller (`Abort(answer=)`), in the type
    that the saga declares; None if it said nothing.
    """

    code = "run_compensated"

    def __init__(
        self, run_id: str, message: str, failure: Failure | None = None, answer: Any = None
    ) -> None:
        self.answer = answer
        super().__init__(run_id, message, failure)


class RunFailed(RunNotSuccessful):
    """Something is still owed: `owed` lists the steps whose effect still has to be undone."""

    code = "run_failed"

    def __init__(
        self,
        run_id: str,
        message: str,
        failure: Failure | None = None,
        owed: Sequence[str] = (),
    ) -> None:
        self.owed = tuple(owed)
        super().__init__(run_id, message, failure)


class RunTerminated(RunNotSuccessful):
    """The run was abandoned without undo, on purpose."""

    code = "run_terminated"


class ResultTimeout(SagaError, TimeoutError):
    """The run had not ended within *timeout* seconds; it goes on by itself."""

    code = "result_timeout"


class StoreError(SagaError):
    """The state Redis could not carry out a command."""

    code = "store"


class StoreUnavailable(StoreError):
    """The state Redis cannot be reached, or is loading, failing over or read-only.

    In a cluster that may concern some shards only: then `shards` says which.
    """

    code = "store_unavailable"
    shards: frozenset[int] | None = None


class StoreFull(StoreError):
    """The state Redis is at `maxmemory`; new runs are refused, those in flight go on."""

    code = "store_full"


class Abort(SagaError):
    """Raised by a step that knows retrying is useless: it fails at once.

    `effect=False` promises that this attempt had no effect, so the step's own compensation need
    not run (unless an earlier attempt may have had an effect).  *answer* is for whoever waits for
    the run, now and later: what `RunCompensated.answer` and `run.state().answer` are.
    `final=True` says that a saga with `retries` is not to begin anew; with an answer that is so
    unless it says `final=False`.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "aborted",
        effect: bool | None = None,
        answer: Any = None,
        final: bool | None = None,
    ) -> None:
        self.message, self.code, self.effect, self.answer = message, code, effect, answer
        self.final = answer is not None if final is None else final
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        # Prefork pickles exceptions; keyword arguments need help to travel.  The answer does not:
        # it is a payload, and was recorded before.
        return (_abort, (self.message, self.code, self.effect, self.final))


def _abort(message: str, code: str, effect: bool | None, final: bool = False) -> Abort:
    return Abort(message, code=code, effect=effect, final=final)


class Skip(SagaError):
    """Raised by a step that finds nothing to do: it is skipped, and the run goes on.

    What it says, up to 200 characters, is shown to whoever may look at the run.

    Its result is None, so its annotation must allow that; there is nothing to undo, unless an
    attempt before this one may have had an effect.
    """

    code = "skip"


class Done(SagaError):
    """Raised by a step that knows the result of the whole run: it goes no further.

    *result* must be what the saga may return.  What was done stands, the rest is skipped, and the
    step itself counts as done: should the run be cancelled later, it is undone with the others, and
    its compensation finds None for its own result.  No step beside others may raise it, nor may a
    condition or a compensation.
    """

    code = "done"

    def __init__(self, result: object = None) -> None:
        self.result = result
        super().__init__()  # the result is a payload: it must not show where errors do


class Route(SagaError):
    """Raised by a step that says with which group its run goes on: `raise Route("manual")`.

    The rest of the group that it is in is skipped, and the run goes on with the group of that name,
    also one that it has visited before: the steps of a second visit are called `ask~2`.  The step
    itself counts as done, without a result: should the run be undone, so is the step.  No step
    beside others may raise it, nor may one that is prepared and not confirmed yet, a condition, a
    confirm or a compensation.
    """

    code = "route"

    def __init__(self, group: str) -> None:
        self.group = group
        super().__init__(f"the run goes on with group {group!r}")

    def __reduce__(self) -> tuple[object, ...]:
        return (Route, (self.group,))


class NotYet(SagaError):
    """Raised by a step that cannot say yet: it is asked again, *after* seconds or text like "30s".

    That is no failure, and uses no attempt up.  It goes on until the step has a result, gives up
    (`give_up_after`) or the run's deadline passes.  `effect=False` promises that this attempt had
    no effect, as it does for `Abort`.  A compensation may raise it, too: it is owed when its own
    `give_up_after` is over, a day if it names none.
    """

    code = "not_yet"

    def __init__(self, after: float | str | timedelta, *, effect: bool | None = None) -> None:
        self.after, self.effect = after, effect
        super().__init__("it could not say yet")

    def __reduce__(self) -> tuple[object, ...]:
        return (_not_yet, (self.after, self.effect))


def _not_yet(after: float | str | timedelta, effect: bool | None) -> NotYet:
    return NotYet(after, effect=effect)


class ActionFailed(SagaError):
    """Raised by an action (`http`, `poll`, `shell`): this attempt failed, and another may do.

    `effect=False` promises that it had none; *unknown* says that nobody knows whether it had.
    """

    code = "action_failed"

    def __init__(
        self, message: str, *, code: str, effect: bool | None = None, unknown: bool = False
    ) -> None:
        self.message, self.code, self.effect, self.unknown = message, code, effect, unknown
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return (_action_failed, (self.message, self.code, self.effect, self.unknown))


def _action_failed(message: str, code: str, effect: bool | None, unknown: bool) -> ActionFailed:
    return ActionFailed(message, code=code, effect=effect, unknown=unknown)


class LeaseLost(SagaError):
    """This attempt no longer holds its step: stop, its result is kept only as a late report.

    `reason` says why: another attempt took over (`stale`), or the run was terminated (`cancelled`).
    """

    code = "lease_lost"

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return (LeaseLost, (self.reason, str(self)))


class Stopping(SagaError):
    """The run has turned round, perhaps because of another branch: end soon, however that is.

    This attempt still counts.  Whatever it reports is recorded, and its step is undone, once it has
    ended: let this error out, or return a result if the work is done anyway.
    """

    code = "stopping"


class OutputInvalid(SagaError):
    """A step returned a value that does not fit its annotation, or is not valid JSON."""

    code = "output_invalid"


class StepFailed(SagaError):
    """What Celery sees of a failed attempt.

    It names the kind of the error but never its message, which may hold a payload; the whole
    error is in the run's state: `celery -A app saga show ID`.
    """

    code = "step_failed"
