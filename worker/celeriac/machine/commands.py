"""The commands: what can be asked of a run, in the imperative.

Owns: what each command has to say.  Refuses to know: what it leads to (`transitions`), and who
gives it.

The file is long because it is a list: each command has a few lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from celeriac.machine.timing import SHORT_DELAY

if TYPE_CHECKING:
    from celeriac.machine.events import Dispatch
    from celeriac.machine.plans import Phase
    from celeriac.machine.runs import RunStatus
    from celeriac.machine.steps import Parent


@dataclass(frozen=True, slots=True)
class Start:
    """Accept a run."""

    run_id: str
    digest: str
    nonce: str  # of this call; the same again is the same start
    grace: int
    tags: tuple[tuple[str, str], ...] = ()
    if_exists: Literal["join", "fail", "restart"] = "join"
    parent: Parent | None = None  # the step that it is an attempt of, if it is a child
    limit: int | None = None  # ms it may take, whatever its plan says; None: as that says
    # A fork: the run that it was made of, and the steps whose results it takes over, each with what
    # it chose there.
    origin: str = ""
    inherits: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Expand:
    """Record how many elements the list of a map has, whose turn has come.

    `error` is the kind of failure if that cannot be: what should be a list is none, or is too long.
    """

    step: str
    attempt: int
    count: int
    epoch: int = 1
    error: str = ""
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """Record until when (ms) a sleep lasts, whose turn has come; `error` is as of `Expand`."""

    step: str
    attempt: int
    until: int
    epoch: int = 1
    error: str = ""
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Take an attempt: it holds the step from now on, under its number as fencing token.

    `child` is which of the step's runs it is, of one whose attempts are runs.  `gates` are those of
    its step that it has passed, `enters` those of its run, if it is the first of that.
    """

    step: str
    phase: Phase
    attempt: int
    holder: str
    epoch: int = 1
    child: int = 0
    gates: tuple[str, ...] = ()
    enters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """Let a step wait in line before a gate, `since` then (ms), and look again at `until` (ms).

    `sent`: its turn is near, so its message is sent now, to come then.  `of_run`: the gate is one
    of its run, which another step may pass meanwhile.
    """

    step: str
    phase: Phase
    gate: str
    why: str
    since: int
    until: int
    sent: bool = False
    of_run: bool = False
    epoch: int = 0  # as in `Expire`


@dataclass(frozen=True, slots=True)
class Call:
    """It is the turn of a step that waits in line, or will be `at` a time (ms) that is near.

    Since when it waits is not compared: of two messages of one step that come to a gate in the same
    moment, one may be the last to write the line, and the other the run.
    """

    step: str
    phase: Phase
    gate: str
    at: int = 0
    epoch: int = 0  # as in `Expire`


@dataclass(frozen=True, slots=True)
class Complete:
    """Record that an attempt succeeded.

    `choice` is what it answered, of a step whose answer guards others; `skips`: the step said that
    there was nothing to do (`said`: in which words), so it has no result, and of this attempt there
    is nothing to undo;
    `ends`: it said that the run goes no further; `route`: it said that the run leaves its group for
    this one; `outside`: nobody of ours reports, but whoever has
    the token of the attempt (`by`: who that is, if it was said).
    """

    step: str
    phase: Phase
    attempt: int
    holder: str
    epoch: int = 1
    choice: str = ""
    skips: bool = False
    said: str = ""
    ends: bool = False
    outside: bool = False
    route: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Fail:
    """Record that an attempt failed.

    `kind` is `error`, `abort` (give up at once), `timeout` (the outcome is unknown) or `postpone`
    (no failure: to be asked again after `delay`);
    `retryable` is what the policy says of the exception's class; `delay` (ms) overrides the
    policy's delay, as Celery's own `self.retry(countdown=)` does.  `longest_eta` (ms) is how long
    the broker's queues may hold a message back: an attempt that is due later is sent by the sweep.
    `answers`: it comes with an answer for the caller.  `via` is how the task wants the message of
    the next attempt to be sent (JSON): kept, and not understood here.  `final`: the saga is not to
    begin anew; `outside` and `by` as of `Complete`.
    """

    step: str
    phase: Phase
    attempt: int
    holder: str
    epoch: int = 1
    kind: Literal["error", "abort", "timeout", "postpone"] = "error"
    error: str = ""
    code: str | None = None
    effect: bool | None = None
    retryable: bool = True
    delay: int | None = None
    longest_eta: int = SHORT_DELAY
    answers: bool = False
    via: str = ""
    final: bool = False
    outside: bool = False
    by: str = ""

    @property
    def why(self) -> str | None:
        """What the event says of it beside the error: only a time limit is told apart."""
        return "timeout" if self.kind == "timeout" else None


@dataclass(frozen=True, slots=True)
class Defer:
    """Record that a step has asked somebody outside, whose result may take up to `delay` (ms)."""

    step: str
    phase: Phase
    attempt: int
    holder: str
    epoch: int = 1
    delay: int = 0


@dataclass(frozen=True, slots=True)
class CheckAttempt:
    """Ask whether an attempt still counts."""

    step: str
    phase: Phase
    attempt: int
    holder: str
    epoch: int = 1


@dataclass(frozen=True, slots=True)
class Tag:
    """Give the run tags, as an attempt of it that counts."""

    step: str
    phase: Phase
    attempt: int
    holder: str
    epoch: int = 1
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Expire:
    """The lease of an attempt ran out, or its worker died: nobody will report it in time."""

    step: str
    phase: Phase
    attempt: int
    why: Literal["lease", "death"] = "lease"
    epoch: int = 0  # of the earlier try that it is about; 0: the run as it is now


@dataclass(frozen=True, slots=True)
class Wake:
    """Time has passed: see to deadlines, time limits and retries that are due.

    `credit` is how many ms since the start the workers could not reach the store: an outage must
    not turn into mass compensation, so it is added to the deadline.  None: nobody knows yet, since
    they may have been cut off until just now; then only what is due is sent.  `longest_eta` is that
    of `Fail`.  *outages* are the times of that (from, to; ms), for waits that began later: they are
    added to those as well.
    """

    credit: int | None = 0
    longest_eta: int = SHORT_DELAY
    outages: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Redispatch:
    """A message seems lost: send it again.

    `death` is when a worker died (ms; 0: none did): what was sent before it may have died too.
    """

    dispatch: Dispatch
    death: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """A waiting step cannot be run, or its message cannot be sent; `why` is shown to operators."""

    step: str
    why: str
    epoch: int = 0  # as in `Expire`


@dataclass(frozen=True, slots=True)
class Unblock:
    """The message of a step was sent, so what was in the way of sending it is gone."""

    step: str
    epoch: int = 0  # as in `Expire`


@dataclass(frozen=True, slots=True)
class Signal:
    """Accept a signal, whose payload comes with the command; `key` stands for its id.

    With a `step` it is for that wait alone, which must be open: an answer to what somebody saw.
    `asked` is since when it was (ms), so that what a later visit asks is not answered; 0: any.
    """

    name: str
    key: str
    by: str = ""
    step: str = ""
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Say how a run came to rest to the step of another run that it is an attempt of.

    `turned`: it was being undone; `retryable`: it may be worth another run.  `refused` says why it
    is none of that step's, or will not be undone: nothing more is to be expected of it.
    """

    step: str
    epoch: int
    child: str
    outcome: RunStatus
    turned: bool = False
    retryable: bool = True
    refused: str = ""
    error: str = ""
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Note that the parent of a run knows that it came to rest, at `ended_at`."""

    ended_at: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop forward work and undo what was done, also of a run that has completed.

    `of_parent`: the run that it is a child of asks for it.
    """

    reason: str = ""
    by: str = ""
    of_parent: bool = False


@dataclass(frozen=True, slots=True)
class Rewind:
    """Undo what came after a step, and the step, and go forward again from there."""

    to: str
    nonce: str  # of this call; the same again is the same rewind
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Terminate:
    """Abandon a run without undo."""

    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class RetryOwed:
    """Give a failed compensation, or a step that gave up after the pivot, a new budget."""

    step: str | None = None
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Waive:
    """Declare an owed compensation settled."""

    step: str
    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Take up no further attempt until the run is resumed; what is at work may finish."""

    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with a run that was paused."""

    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Skip:
    """Go on as if a step had completed; its result is a payload that comes with the command."""

    step: str
    reason: str
    by: str = ""
    choice: str = ""  # what the result says, of a step whose answer guards others


Command = (
    Start
    | Expand
    | Open
    | Claim
    | Queue
    | Call
    | Complete
    | Fail
    | Defer
    | CheckAttempt
    | Tag
    | Expire
    | Wake
    | Redispatch
    | Block
    | Unblock
    | Signal
    | Report
    | Acknowledge
    | Cancel
    | Rewind
    | Terminate
    | RetryOwed
    | Waive
    | Pause
    | Resume
    | Skip
)

#: Commands whose details are stored although nothing happens to the run.
KEEPS_DETAILS = (CheckAttempt,)
