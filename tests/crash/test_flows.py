"""Crashes in what flows have: visits of groups, gates, rewinds, children, waits, what expires.

Owns: a process that dies at each point where one of these has an instant of its own, all at once,
and that nobody is left in a gate.  Refuses to know: what else may be crashed (`test_matrix`), and
the rules of each of them (`tests/machine`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.crash.environment import Crashed, CrashWorld, everything, now
from tests.proof.places import left_behind
from tests.workers.histories import claims
from tests.workers.kit import LEASE, Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.crash.failpoints import Act, Failpoint

ROUND = {"first.goes": ["manual"], "decide.goes": ["entry"]}
ANSWERED, UNDONE = "store.answered", "compensated"


class Case(NamedTuple):
    """A point, what it is about (`{}`: the id of the run), and the claims that follow from it."""

    name: str
    saga: str
    point: str
    text: str | tuple[str, ...]
    claims: dict[str, list[int]]  # by step; an undo is `step.undo`
    script: dict[str, list[str]] = {}  # noqa: RUF012 -- never changed
    status: str = "completed"


def _undone(
    name: str, saga: str, point: str, text: str | tuple[str, ...], step: str, numbers: list[int]
) -> Case:
    """A case on the way back, where steps are undone one after the other."""
    script = {**ROUND, "then~2": ["abort"], "last": ["abort"]}
    return Case(name, saga, point, text, {f"{step}.undo": numbers}, script, UNDONE)


GROUPS = (
    Case("leaving", "rounds", "step.performed", "{}:1:first:do:1:", {"first": [1, 2]}, ROUND),
    Case("left", "rounds", "step.settled", "{}:1:first:do:1:", {"decide": [1]}, ROUND),
    Case("sending", "rounds", "message.publishing", "{}:1:decide:do:1:", {"decide": [1]}, ROUND),
    Case(
        "second-visit", "rounds", "step.claimed", "{}:1:first~2:do:1:", {"first~2": [1, 2]}, ROUND
    ),
    _undone("undoing", "rounds", "step.performed", "{}:1:decide:undo:1:", "decide", [1, 2]),
)
GATES = (
    # Its place is taken, and no attempt of it was granted.
    Case("passed", "stamped", "gate.passed", ("{}", "step='left'"), {"left": [1]}),
    # The whole run has its place.
    Case("entered", "stamped", "gate.passed", ("{}", "step='first'"), {"first": [1]}),
    Case("inside", "stamped", "step.performed", "{}:1:middle:do:1:", {"middle": [1, 2]}),
    # It is claimed, and nobody has been told.
    _undone("granted", "stamped", ANSWERED, ("run:{}", '"uc","left"'), "left", [1, 2]),
    # It has ended, and has not given its place back.
    _undone("leaves", "stamped", ANSWERED, ("run:{}", '"ud","right"'), "right", [1]),
    # The run has ended, and has not given its own place back.
    Case("ends", "stamped", ANSWERED, ("run:{}", '"d","last"'), {"last": [1]}),
    _undone("undoes", "stamped", "gate.passed", ("{}", "step='left', phase='undo'"), "left", [1]),
)
EXPIRING = (
    # It has expired on record, and nothing is sent of what is to be undone.
    Case("expired", "timely", ANSWERED, ("run:{}", '"why":"expired"'), {"send": []}, {}, UNDONE),
    Case("expires", "timely", "sweep.looking", "{}", {"send": []}, {}, UNDONE),
)
REWINDS = (
    Case("undone", "trip", "step.performed", "{}:1:send:undo:1:", {"send.undo": [1, 2]}),
    # It is there, on record, and nothing is sent.
    Case("turned", "trip", "step.settled", "{}:1:pay:undo:1:", {"pay": [1, 1]}),
    Case("goes-on", "trip", "message.publishing", "{}:2:pay:do:1:", {"pay": [1, 1]}),
    Case("again", "trip", "step.performed", "{}:2:send:do:1:", {"send": [1, 1, 2]}),
)
_PARENT, _CHILD = "run:{}\r\n", "run:{}.trip\r\n"  # whose commit it is
FAMILIES = (
    # It is on record that there is a child, and there is none yet.
    Case("has-child", "family", ANSWERED, (_PARENT, '"claimed","trip","d"'), {"trip": [1]}),
    # It is there, and nobody has been told.
    Case("child", "family", ANSWERED, (_CHILD, '"started"'), {"trip": [1]}),
    # It is at rest, and its parent does not know.
    Case("child-ends", "family", ANSWERED, (_CHILD, '"d","send"'), {"trip": [1], "last": [1]}),
    # Its parent knows, and has not gone on; nor does the child know that it knows.
    Case("knows", "family", ANSWERED, (_PARENT, '"d","trip"'), {"trip": [1], "last": [1]}),
    Case("reported", "family", ANSWERED, (_CHILD, '"reported"'), {"trip": [1], "last": [1]}),
    _undone("wants", "family", ANSWERED, (_PARENT, '"claimed","trip","u"'), "trip", [1]),
    _undone("turned", "family", ANSWERED, (_CHILD, '"compensation_started"'), "trip", [1]),
    _undone("gone", "family", ANSWERED, (_CHILD, '"ud","book"'), "trip", [1]),
)
ONCE = {"later": ["1"]}  # seconds, after which nobody has brought the result
WAITS = (
    # It is to sleep; it has slept, and nobody has been told.
    Case("sleeps", "asleep", ANSWERED, (_PARENT, '"d","book"'), {"send": [1]}),
    Case("slept", "asleep", ANSWERED, (_PARENT, '"completed","sleep"'), {"send": [1]}),
    # Its result is to come from outside; it has not come.
    Case(
        *("asked", "outside", ANSWERED, (_PARENT, '"deferred","ask"')),
        *({"ask": [1, 2, 3]}, ONCE, UNDONE),
    ),
    Case(
        *("in-vain", "outside", ANSWERED, (_PARENT, '"lost","ask"')),
        *({"ask": [1, 2, 3]}, ONCE, UNDONE),
    ),
)
_FEW = (
    *("leaving", "left", "undoing", "passed", "granted", "leaves", "ends", "expired", "turned"),
    *("has-child", "child-ends", "wants", "slept", "asked"),
)


#: How much longer a run may stand still: those before it in line are dead, and hold a place each.
IN_LINE = 3 * LEASE


#: How much longer a parent may stand still: its child takes three steps meanwhile.
OF_A_CHILD = 3 * LEASE


def _set(crash_world: CrashWorld, case: Case, act: Act) -> Failpoint:
    texts = (case.text,) if isinstance(case.text, str) else case.text
    name = _id(case, act)
    return crash_world.failpoint(case.point, tuple(text.format(name) for text in texts), act)


def _id(case: Case, act: Act) -> str:
    return f"{act}-{case.saga}-{case.name}"


def _start(crash_world: CrashWorld, case: Case, act: Act) -> RunHandle[object]:
    saga = getattr(crash_world.world.kit, case.saga)
    found: RunHandle[object] = saga.start(Trip(script=case.script), id=_id(case, act))
    return found


def _cases(cases: tuple[Case, ...]) -> list[Case]:
    return [case for case in cases if everything() or case.name in _FEW]


def _judge(
    crash_world: CrashWorld, hit: list[tuple[Case, RunHandle[object], Failpoint]], more: float
) -> None:
    crash_world.judge(
        (Crashed(run, failpoint, case.status, now()) for case, run, failpoint in hit), more
    )
    for case, run, _ in hit:
        for name, numbers in case.claims.items():
            step, _, phase = name.partition(".")
            found = claims(run, step, "undo" if phase else "do")
            assert found == numbers, (run.id, name)


def test_children_killed(crash_world: CrashWorld) -> None:
    """Each run ends as it must, no attempt is used up by a gate, and all places come back."""
    rewound = [(case, _start(crash_world, case, "kill")) for case in _cases(REWINDS)]
    hit = []
    for case in _cases((*GROUPS, *GATES, *EXPIRING)):
        failpoint = _set(crash_world, case, "kill")
        hit.append((case, _start(crash_world, case, "kill"), failpoint))
    for case, run in rewound:
        crash_world.world.until(lambda run=run: run.status == "completed", f"{run.id} is done")  # type: ignore[misc]
        hit.append((case, run, _set(crash_world, case, "kill")))
        assert run.rewind(to="pay", reason="the wrong card")
    _judge(crash_world, hit, IN_LINE)
    for _, run in rewound:
        assert run.state().rewinds == 1
    _nobody_is_left(crash_world)


def test_children_killed_where_runs_wait(crash_world: CrashWorld) -> None:
    """For their child, for their parent, for a time or for somebody outside: nobody waits on."""
    hit = []
    for case in _cases((*FAMILIES, *WAITS)):
        failpoint = _set(crash_world, case, "kill")
        hit.append((case, _start(crash_world, case, "kill"), failpoint))
    _judge(crash_world, hit, OF_A_CHILD)


@pytest.mark.parametrize("case", [GATES[3]] if not everything() else GATES, ids=lambda c: c.name)
def test_a_worker_killed_at_a_gate(crash_world: CrashWorld, case: Case) -> None:
    """With all that its children have: who waits goes on when the lease is over."""
    failpoint = _set(crash_world, case, "kill-group")
    run = _start(crash_world, case, "kill-group")
    crash_world.hit(failpoint)
    crash_world.of(failpoint).kill()  # buries it
    crash_world.judge([Crashed(run, failpoint, case.status, failpoint.hits[0]["at"])])
    _nobody_is_left(crash_world)


def _nobody_is_left(crash_world: CrashWorld) -> None:
    """Nobody is inside of a gate or in its line once the leases of the dead are over."""
    store = crash_world.world.kit.sagas.runtime.engine.store
    crash_world.world.until(lambda: not list(left_behind(store)), "all places came back")
