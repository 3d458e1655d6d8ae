"""The load: runs of four shapes, what each is asked to do, and how it ends if nobody interferes.

Owns: the shapes, in the proportion they are started in, and the ids by which everybody knows
which shape a run has.  Refuses to know: who starts them, and what goes wrong meanwhile.

The scripts are written for what chaos makes of them: a body that is slow is met by a stop at work,
before its effect or after it; an attempt that follows a lost one may prove that *it* had none.
"""

from __future__ import annotations

from typing import NamedTuple

SHAPES = ("ok", "failure", "flaky", "slow")


class Shape(NamedTuple):
    """What a run does: its saga and script, and the status it must come to rest in if spared."""

    name: str  # of SHAPES
    saga: str  # of the kit
    script: dict[str, list[str]]
    status: str
    #: The step to which its client rewinds it once it has completed; none: it does not.
    rewinds_to: str = ""


_DONE, _UNDONE = "completed", "compensated"

_ROUND = {"first.goes": ["manual"], "decide.goes": ["entry"]}

#: Of any that follow one another a third is fine, the others fail, are flaky or slow.
MIXED = (
    Shape("ok", "trip", {}, _DONE),
    # If a first attempt is stopped at work, the second gives up, and the first comes back late.
    Shape("slow", "trip", {"book": ["slow"], "pay": ["slow", "abort-clean"]}, _DONE),
    Shape("ok", "stamped", {}, _DONE),
    Shape("failure", "trip", {"send": ["abort"]}, _UNDONE),
    Shape("flaky", "trip", {"book": ["raise"], "send": ["raise-after"]}, _DONE),
    # A group, the other one, and the first once more.
    Shape("ok", "rounds", _ROUND, _DONE),
    # An attempt that takes effect and is cut off by its time limit, then one that has none.
    Shape("slow", "hasty", {"rush": ["gate-after", "abort-clean"]}, _UNDONE),
    # It opens the breaker, which lets one try after a second.
    Shape("flaky", "guarded", {"inquire": ["raise", "raise-after", "raise"]}, _DONE),
    Shape("ok", "march", {}, _DONE),
    Shape("ok", "trip", {}, _DONE, "pay"),
    # A step that is a run of `trip`, which fails, or is fine (below).
    Shape("failure", "family", {"pay": ["abort-clean"]}, _UNDONE),
    Shape(
        "failure", "stamped", {"left": ["slow"], "middle": ["raise"], "last": ["abort"]}, _UNDONE
    ),
    Shape("slow", "trip", {"pay": ["slow", "abort-clean"], "send": ["slow", "abort"]}, _DONE),
    Shape("ok", "family", {}, _DONE),
    Shape("ok", "tour", {}, _DONE),
    Shape("flaky", "trip", {"pay": ["raise-after", "raise"]}, _DONE),
    # Nobody takes up its second step in time.
    Shape("failure", "lapsed", {}, _UNDONE),
    Shape("slow", "trip", {"book": ["slow", "slow"], "send": ["slow", "abort-clean"]}, _DONE),
    Shape("ok", "trip", {"book": ["report"], "send": ["report"]}, _DONE),
    Shape("failure", "rounds", {**_ROUND, "then~2": ["abort"]}, _UNDONE),
    Shape("failure", "trip", {"send": ["abort-clean"], "pay.undo": ["raise"]}, _UNDONE),
    # Only one of the workers takes up its second step, and not always in time.
    Shape("ok", "timely", {}, _DONE),
    Shape("flaky", "trip", {"pay": ["raise-after"], "pay.undo": ["raise"]}, _DONE, "pay"),
    Shape(
        "slow", "trip", {"send": ["abort"], "pay.undo": ["slow"], "book.undo": ["slow"]}, _UNDONE
    ),
    Shape("failure", "bundle", {"right": ["slow"], "last": ["abort"]}, _UNDONE),
    Shape("ok", "guarded", {}, _DONE),
    Shape("ok", "transfer", {}, _DONE),
    # Its client signals, soon after the start; or brings what it has asked for, if it is in time.
    Shape("ok", "approving", {}, _DONE),
    Shape("ok", "outside", {"later": ["3"]}, _DONE),
    Shape("failure", "outside", {"later": ["3"], "send": ["abort"]}, _UNDONE),
    Shape("slow", "approving", {"book": ["slow", "abort-clean"]}, _DONE),
    Shape("flaky", "trip", {"send": ["raise", "raise-after", "raise"]}, _UNDONE),
    Shape("slow", "asleep", {"book": ["slow", "abort-clean"]}, _DONE),
)


def shape_of(run_id: str) -> Shape:
    """The shape of a run by its id, `<client>-<number>`."""
    return MIXED[int(run_id.rpartition("-")[2]) % len(MIXED)]
