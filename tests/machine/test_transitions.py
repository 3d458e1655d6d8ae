"""The state machine as a whole: its tables, its refusals, and what a transition promises.

Owns: what holds for every command alike.  Refuses to know: what each is good for (the files beside
this one, by theme).

The file is long because what holds for every command is seen in one table of them.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.errors import CommandRefused, RunConflict, RunExists, SagaError
from celeriac.machine import next_steps, run_events, state_changes, tables, undoing
from celeriac.machine.commands import (
    Acknowledge,
    Block,
    Cancel,
    CheckAttempt,
    Claim,
    Command,
    Complete,
    Defer,
    Expand,
    Expire,
    Fail,
    Open,
    Pause,
    Redispatch,
    Report,
    Resume,
    RetryOwed,
    Signal,
    Skip,
    Start,
    Tag,
    Terminate,
    Unblock,
    Waive,
    Wake,
)
from celeriac.machine.events import Dispatch, Event, EventKind
from celeriac.machine.moves import apply, fold
from celeriac.machine.plans import PHASES
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.step_states import Steps
from celeriac.machine.steps import PhaseState, PhaseStatus, StepState
from celeriac.machine.tables import (
    DO_MOVES,
    RUN_MOVES,
    SCHEDULING,
    UNDO_MOVES,
    IllegalMove,
)
from celeriac.machine.transitions import transition
from tests.machine import (
    test_answers,
    test_branches,
    test_children,
    test_choices,
    test_compensation,
    test_effects,
    test_expiring,
    test_forks,
    test_forward,
    test_holding,
    test_late_reports,
    test_maps,
    test_operators,
    test_outside,
    test_polling,
    test_rewinds,
    test_scopes,
    test_skipping,
    test_sleeps,
    test_tagging,
    test_time,
    test_tries,
    test_two_phase,
    test_waits,
)
from tests.machine.story import GRACE, NOON, Story, mapped, refused, saga, started, step
from tests.machine.test_effects import ASKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.machine import Phase

PLAN = saga("reserve", "charge")

EVERY_COMMAND: list[Command] = [
    Start("order-42", "input", "call-9", GRACE),
    Start("order-42", "input", "call-9", GRACE, if_exists="fail"),
    Start("order-42", "input", "call-9", GRACE, if_exists="restart"),
    *[
        command("reserve", phase, number, "me")
        for command in (Claim, Complete, Fail)
        for phase in PHASES
        for number in (0, 1, 2)
    ],
    Fail("reserve", "do", 1, "me", kind="abort", effect=False),
    Fail("reserve", "do", 1, "me", kind="timeout"),
    Complete("reserve", "do", 1, "me", outside=True),
    Fail("reserve", "do", 1, "me", kind="abort", effect=False, outside=True),
    Fail("reserve", "do", 1, "me", outside=True),
    Defer("reserve", "do", 1, "me", delay=1_000),
    Defer("reserve", "undo", 1, "me", delay=1_000),
    Expand("reserve", 1, 3),
    Open("reserve", 1, NOON),
    CheckAttempt("reserve", "do", 1, "me"),
    Tag("reserve", "do", 1, "me", tags=(("region", "eu"),)),
    Expire("reserve", "do", 1),
    Expire("reserve", "undo", 1),
    Wake(),
    Wake(credit=None),
    Redispatch(Dispatch("reserve", "do", 1, NOON)),
    Block("reserve", "nobody can"),
    Unblock("reserve"),
    Signal("approved", "a"),
    Report("reserve", 1, "order-42.reserve", RunStatus.COMPLETED),
    Acknowledge(NOON),
    Cancel(),
    Terminate("enough"),
    RetryOwed(),
    RetryOwed("reserve"),
    Waive("reserve", "by hand"),
    Pause("enough for today"),
    Resume(),
    Skip("reserve", "by hand"),
    Skip("charge", "by hand"),
]


def standing() -> dict[str, Run]:
    """A run in each of the situations that a command may meet."""
    found: dict[str, Run] = {}

    def keep(name: str, story: Story) -> Story:
        found[name] = story.run
        return story

    story = keep("scheduled", started("reserve", "charge"))
    story.claim("reserve", holder="me")
    keep("running", story)
    story.fail("reserve")
    keep("retrying", story)
    story.do("reserve")
    keep("between", story)
    story.cancel()
    keep("turned", story)
    story.claim("reserve", "undo", holder="me")
    keep("undoing", story)
    story.fail("reserve", "undo", kind="abort")
    keep("owed", story)
    story.waive("reserve")
    keep("waived", story)
    keep("lost", started("reserve", "charge").lose("reserve"))
    keep("unknown", started("reserve", "charge").lose("reserve").lose("reserve"))
    keep("completed", started("reserve", "charge").do("reserve", "charge"))
    undone = started("reserve", "charge").do("reserve")
    undone.cancel()
    keep("compensated", undone.undo("reserve"))
    ended = started("reserve", "charge")
    ended.claim("reserve", holder="me")
    ended.terminate()
    keep("terminated", ended)
    held = started("reserve", "charge").do("reserve")
    held.pause()
    keep("held", held)
    held.skip("charge")
    keep("skipped", held)
    turned = started("reserve", "charge").do("reserve")
    turned.cancel()
    turned.pause()
    keep("held while it goes back", turned)
    asked = started("reserve", "charge")
    asked.claim("reserve", holder="me")
    asked.say("reserve")
    keep("said outside", asked)
    asked = started("reserve", "charge")
    asked.claim("reserve", holder="me")
    asked.defer("reserve")
    keep("asks outside", asked)
    asking = started(step("reserve", **ASKS), "charge").lose("reserve")
    keep("asking", asking)
    return found


STANDING = standing()
THEMES = (
    *(test_forward, test_compensation, test_time, test_late_reports, test_operators),
    *(test_effects, test_holding, test_skipping, test_branches, test_choices, test_maps),
    *(
        test_answers,
        test_polling,
        test_waits,
        test_scopes,
        test_two_phase,
        test_children,
        test_tries,
    ),
    test_forks,
    test_outside,
    test_expiring,
    test_sleeps,
    test_tagging,
    test_rewinds,
)

each_command = pytest.mark.parametrize("command", EVERY_COMMAND, ids=str)
each_run = pytest.mark.parametrize("run", STANDING.values(), ids=STANDING)


@each_command
@each_run
def test_every_command_meets_every_run(run: Run, command: Command) -> None:
    """A command is refused with nothing changed, or keeps every law; twice is once (I11)."""
    story = Story(PLAN)
    story.maybe_run, story.now = run, run.changed_at + 10
    story.history = [Event(0, EventKind.STARTED)] * run.version
    try:
        story.give(command)
    except (CommandRefused, RunConflict, RunExists):
        assert story.run is run


@each_command
def test_no_command_but_start_makes_a_run(command: Command) -> None:
    """A run begins with its start, whatever messages arrive before that."""
    story = Story(PLAN)
    if isinstance(command, Start):
        story.give(command)
        assert story.status == "running"
    else:
        with refused("not_started"):
            story.give(command)


@pytest.mark.parametrize(
    "command",
    [
        Claim("nothing", "do", 1, "me"),
        Complete("nothing", "do", 1, "me"),
        Fail("nothing", "undo", 1, "me"),
        CheckAttempt("nothing", "do", 1, "me"),
        Expire("nothing", "do", 1),
        Block("nothing", "why"),
        Unblock("nothing"),
        RetryOwed("nothing"),
        Waive("nothing", "why"),
    ],
    ids=str,
)
def test_a_step_the_plan_does_not_have_is_refused(command: Command) -> None:
    """A message for a step of another plan finds nothing, and does not disturb the run (X1)."""
    story = started("reserve")
    with refused("unknown_step", "no step 'nothing'"):
        story.give(command)


# --- the tables --------------------------------------------------------------------------------

_MOVING = (
    EventKind.DISPATCHED,
    EventKind.CLAIMED,
    EventKind.COMPLETED,
    EventKind.FAILED,
    EventKind.POSTPONED,
    EventKind.LOST,
    EventKind.REOPENED,
    EventKind.RETRIED,
    EventKind.WAIVED,
)
_HOWS: dict[EventKind, list[tuple[str, dict[str, object]]]] = {
    EventKind.CLAIMED: [("", {"holder": "me"})],
    EventKind.COMPLETED: [("", {}), ("late", {"late": True})],
    EventKind.FAILED: [
        ("", {}),
        ("retry", {"retry": NOON}),
        ("unknown", {"why": "timeout"}),
        ("unknown", {"why": "owes"}),
        ("undone", {"why": "undone", "effect": False}),
    ],
    EventKind.LOST: [("", {}), ("retry", {"retry": NOON})],
}
EVERY_MOVE = [
    (phase, state, kind, how, data)
    for phase, state, kind in product(PHASES, PhaseStatus, _MOVING)
    for how, data in _HOWS.get(kind, [("", {})])
]


@pytest.mark.parametrize(("phase", "state", "kind", "how", "data"), EVERY_MOVE)
def test_an_event_moves_a_direction_as_the_table_says(
    phase: Phase, state: PhaseStatus, kind: EventKind, how: str, data: dict[str, object]
) -> None:
    """A legal move leads where the table says; any other raises and changes nothing (I9)."""
    direction = PhaseState(state, attempt=1, holder="me")
    there = (
        StepState(do=direction)
        if phase == "do"
        else StepState(PhaseState(PhaseStatus.DONE, 1), direction)
    )
    # A status in which the event itself may happen, and in which nothing is scheduled after it.
    status = RunStatus.FAILED if kind in (_RETRIED, _WAIVED) else RunStatus.TERMINATED
    if kind is EventKind.REOPENED and state in (PhaseStatus.DONE, PhaseStatus.WAIVED):
        status = RunStatus.COMPENSATED
    run = Run("order-42", "place_order", "f", status, NOON, GRACE, steps=Steps({"reserve": there}))
    event = Event(NOON, kind, "reserve", phase, 2 if kind is EventKind.CLAIMED else 1, dict(data))
    table = DO_MOVES if phase == "do" else UNDO_MOVES
    text = repr(run)
    if (state, kind, how) in table:
        after = apply(PLAN, run.id, run, event).step("reserve").direction(phase).state
        expected = table[state, kind, how]
        # What is to be undone and idle is given its turn by the same event.
        turn = (expected, after) == (PhaseStatus.IDLE, PhaseStatus.SCHEDULED) and phase == "undo"
        assert after is expected or turn
    else:
        with pytest.raises(IllegalMove, match=f"{phase} 'reserve': {kind}"):
            apply(PLAN, run.id, run, event)
    assert repr(run) == text


_RETRIED, _WAIVED = EventKind.RETRIED, EventKind.WAIVED


@pytest.mark.parametrize("status", [None, *RunStatus])
@pytest.mark.parametrize(
    "kind",
    [
        EventKind.STARTED,
        EventKind.COMPENSATION_STARTED,
        EventKind.FINISHED,
        EventKind.TERMINATED,
    ],
)
def test_a_run_moves_as_the_table_says(status: RunStatus | None, kind: EventKind) -> None:
    """The same for the run as a whole: what is not in the table cannot be applied."""
    run = Run("order-42", "place_order", "f", status, NOON, GRACE) if status else None
    data: dict[EventKind, list[dict[str, Any]]] = {
        EventKind.STARTED: [{"saga": "place_order", "plan": "f", "grace": GRACE}],
        EventKind.COMPENSATION_STARTED: [{"why": "cancelled"}],
        EventKind.FINISHED: [{"outcome": outcome.value} for outcome in RunStatus],
    }
    for told in data.get(kind, [{}]):
        event = Event(NOON, kind, data=told)
        allowed = RUN_MOVES.get((status, kind), ())
        if allowed and told.get("outcome", allowed[0]) in allowed:
            assert apply(PLAN, "order-42", run, event).status in allowed
        else:
            with pytest.raises(IllegalMove):
                apply(PLAN, "order-42", run, event)


def test_each_move_is_told_by_a_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables hold nothing that cannot happen: a new row comes with a story of it."""
    tables: dict[str, Iterable[Any]] = {
        "do": DO_MOVES,
        "undo": UNDO_MOVES,
        "run": RUN_MOVES,
        "turn": SCHEDULING,
    }
    legal = {(name, *move) for name, table in tables.items() for move in table}
    made = watched(monkeypatch)
    for theme in THEMES:
        for name, told in vars(theme).items():
            if name.startswith("test_"):
                for case in cases_of(told):
                    told(**case)
    assert legal == made & legal


def watched(patch: pytest.MonkeyPatch) -> set[Any]:
    """A set to which each move is added when it is made."""
    made: set[Any] = set()
    next_state, check_run = state_changes._next, state_changes.check_run
    turn = tables.state_in_turn

    def see_direction(table: Any, state: PhaseStatus, what: Event, how: str) -> PhaseStatus:
        made.add(("do" if table is DO_MOVES else "undo", state, what.kind, how))
        return next_state(table, state, what, how)

    def see_run(status: RunStatus | None, what: Event, to: RunStatus) -> None:
        made.add(("run", status, what.kind))
        check_run(status, what, to)

    def see_turn(phase: Phase, direction: PhaseState, whose: str) -> PhaseStatus | None:
        made.add(("turn", phase, direction.state, whose))
        return turn(phase, direction, whose)

    for module in (next_steps, undoing):
        patch.setattr(module, "state_in_turn", see_turn)
    patch.setattr(state_changes, "_next", see_direction)
    patch.setattr(state_changes, "check_run", see_run)
    patch.setattr(run_events, "check_run", see_run)
    return made


def cases_of(test: Any) -> list[dict[str, Any]]:
    """The arguments of each case of a parametrized test."""
    cases: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        names, values = mark.args
        several = not isinstance(names, str)
        rows = [dict(zip(names, v, strict=True)) if several else {names: v} for v in values]
        cases = [{**case, **row} for case in cases for row in rows]
    return cases


def test_no_move_leads_out_of_a_result() -> None:
    """Whatever happens, a step that has its result keeps it (I15)."""
    assert [move for move in DO_MOVES if move[0] is PhaseStatus.DONE] == []


def test_an_illegal_move_is_never_an_answer() -> None:
    """It is a bug in whoever made the event, so it is no error that users are shown."""
    assert not issubclass(IllegalMove, SagaError)


# --- what a transition promises ----------------------------------------------------------------


def test_a_transition_is_a_value() -> None:
    """The same run, command and time give the same transition, and leave the run as it was."""
    story = started("reserve", "charge")
    command = Claim("reserve", "do", 1, "me")
    before, text = story.run, repr(story.run)
    assert transition(PLAN, before, command, NOON) == transition(PLAN, before, command, NOON)
    assert repr(before) == text


def test_a_history_folds_to_the_run() -> None:
    """A story with everything in it, written down and read again, gives the run (I9)."""
    story = started("reserve", step("charge"), "ship", deadline=600_000)
    story.lose("reserve").do("reserve")
    story.give(Block("charge", "worker a does not know the task"))
    story.postpone("charge", 1_000)
    story.claim("charge")
    story.fail("charge")
    story.pause()
    story.resume()
    story.skip("ship")
    story.complete("reserve", attempt=1)
    story.advance(600_000).wake(credit=1_000)
    story.advance(1_000).wake(credit=1_000)
    story.undo("charge").give_up("reserve", "undo")
    story.retry()
    story.give_up("reserve", "undo").waive("reserve")
    story.start(nonce="call-2", if_exists="restart", tags=(("customer", "7"),))
    story.terminate()
    ship = started(mapped("ship"))
    ship.expand("ship", 1)
    pay = started("pay", "ship")
    pay.claim("pay")
    pay.say("pay", kind="error")
    pay.defer("pay")
    pay.advance(1_000).claim("pay")
    pay.defer("pay")

    anew = started("reserve", retries=1, retry_delay=0).give_up("reserve", effect=False)

    told = (*story.history, *ship.history, *anew.history, *pay.history)
    assert {event.kind for event in told} >= set(EventKind) - {
        EventKind.DISPATCHED,
        EventKind.QUEUED,
        EventKind.REOPENED,
        EventKind.OVERDUE,
        EventKind.OPENED,
        EventKind.REWOUND,
        EventKind.SIGNALLED,
        EventKind.TAGGED,
        EventKind.REPORTED,
        EventKind.INHERITED,
    }
    story.check_history()


def test_a_history_without_a_start_is_no_history() -> None:
    """Nothing can have happened to a run before it was started."""
    with pytest.raises(IllegalMove, match="before the run"):
        fold(PLAN, "order-42", [Event(NOON, EventKind.COMPLETED, "reserve", "do", 1)])
    assert fold(PLAN, "order-42", []) is None
