"""Every order of things in a small world: two steps, two attempts, a cancel, and a few faults.

Owns: which worlds are looked at, and the bad variants of the state machine that the search must
find, so that it is known to be able to (docs/invariants.md).  Refuses to know: how the search goes.
The file is long because each construct has a world of its own, and bad variants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.machine import (
    Choice,
    Gate,
    Guard,
    Node,
    Plan,
    Rule,
    Undo,
    Wait,
    attempt_events,
    attempts,
    late_reports,
    moves,
    next_steps,
    undoing,
)
from celeriac.machine.events import EventKind
from celeriac.machine.steps import PhaseStatus, changed
from tests.machine.participants import Participant
from tests.machine.search import WORLDS, Found, explore, small_world
from tests.machine.story import budget, saga, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.machine.commands import Fail
    from celeriac.machine.draft import Draft
    from celeriac.machine.events import Event
    from celeriac.machine.runs import Run
    from celeriac.machine.steps import PhaseState

SAFE = [(Participant.TOMBSTONE, True), (Participant.KEYED, False)]


def told(found: Found) -> str:
    """A problem with the way to it."""
    return "\n".join([str(found.problem), *found.story])


@pytest.mark.parametrize(("participant", "zombies_die"), SAFE)
@pytest.mark.parametrize("faults", WORLDS.values(), ids=WORLDS)
def test_nothing_is_left_over_or_done_twice(
    faults: dict[str, int], participant: Participant, zombies_die: bool
) -> None:
    """Whatever comes when, every law holds, and the participants' books are right at the end."""
    found = explore(small_world(faults, participant, zombies_die=zombies_die))
    assert found.problem is None, told(found)
    assert {"completed", "compensated"} <= found.endings
    assert found.worlds > 250, "a dead system must not pass"


@pytest.mark.parametrize("order", ["forward", "parallel"])
def test_the_order_of_the_undo_makes_no_difference(order: Any) -> None:
    """All of it holds for sagas that are undone in another order."""
    faults = {"cancel": 1, "stall": 1, "fumble": 1}
    plan = saga("reserve", "charge", compensation_order=order)
    found = explore(small_world(faults, Participant.KEYED, plan=plan))
    assert found.problem is None, told(found)


@pytest.mark.parametrize("order", ["reverse", "graph"])
@pytest.mark.parametrize(
    "faults",
    [{"cancel": 1, "stall": 1}, {"give up": 1, "fumble": 1}, {"crash in flight": 1}],
    ids=str,
)
def test_all_of_it_holds_for_branches(faults: dict[str, int], order: Any) -> None:
    """Two steps side by side, one of two attempts, and one that waits for both (I17)."""
    found = explore(small_world(faults, Participant.TOMBSTONE, plan=_fork(order)))
    assert found.problem is None, told(found)
    assert "completed" in found.endings
    assert found.worlds > 100, "a dead system must not pass"


@pytest.mark.parametrize(
    ("delay", "faults"),
    [
        (0, {"stall": 1, "fumble": 1}),
        (0, {"give up": 2, "cancel": 1}),
        (30_000, {"stall": 1, "cancel": 1}),
        (30_000, {"give up": 1, "pause": 1, "resume": 1, "retry": 1}),
    ],
    ids=str,
)
def test_all_of_it_holds_for_several_tries(faults: dict[str, int], delay: int) -> None:
    """A run that begins anew once, and what the first try still reports (I25)."""
    steps = [step("reserve", retry=budget(1)), step("charge", retry=budget(1))]
    plan = saga(*steps, retries=1, retry_delay=delay)
    found = explore(small_world(faults, Participant.KEYED, plan=plan))
    assert found.problem is None, told(found)
    assert "completed" in found.endings
    assert found.worlds > 50, "a dead system must not pass"


@pytest.mark.parametrize(
    "faults",
    [
        {"signal": 2, "cancel": 1, "stall": 1},
        {"signal": 1, "pause": 1, "resume": 1, "cancel": 1, "fumble": 1},
        {"signal": 2, "skip": 1, "restart": 1, "cancel": 1},
    ],
    ids=str,
)
def test_all_of_it_holds_for_waits(faults: dict[str, int]) -> None:
    """A wait for a signal, with a time, between two steps (I20)."""
    wait = Node(name="approved", task="", wait=Wait(signal="approved", timeout=60_000))
    plan = saga("reserve", wait, "charge", signals={"approved": {}})
    found = explore(small_world(faults, Participant.TOMBSTONE, plan=plan))
    assert found.problem is None, told(found)
    assert {"completed", "compensated"} <= found.endings
    assert found.worlds > 100, "a dead system must not pass"


@pytest.mark.parametrize(
    "faults",
    [
        {"cancel": 1, "stall": 1, "pass time": 3},
        {"fumble": 1, "pause": 1, "resume": 1, "pass time": 3},
        {"skip": 1, "stray": 1, "pass time": 3},
    ],
    ids=str,
)
def test_all_of_it_holds_for_what_expires(faults: dict[str, int]) -> None:
    """A sleep whose end is read, beside a step that is to be taken up in its time (I28)."""
    rule = budget(2, delay=0)
    sleep = Node(name="sleep", task="", wait=Wait(reads=True), after=("reserve",))
    timely = step("charge", retry=rule, expires=60_000, after=("reserve",))
    last = step("ship", retry=rule, after=("sleep", "charge"))
    plan = saga(step("reserve", retry=budget(1)), sleep, timely, last)
    found = explore(small_world(faults, Participant.TOMBSTONE, plan=plan))
    assert found.problem is None, told(found)
    assert {"completed", "compensated"} <= found.endings
    assert found.worlds > 100, "a dead system must not pass"


@pytest.mark.parametrize(
    "faults",
    [
        {"cancel": 1, "stall": 1},
        {"fumble": 2, "find nothing": 1, "cancel": 1},
        {"skip": 1, "cancel": 1},
    ],
    ids=str,
)
def test_all_of_it_holds_for_conditions(faults: dict[str, int]) -> None:
    """A step that chooses, one that depends on it, one inside of that, and one behind (I16)."""
    found = explore(small_world(faults, Participant.TOMBSTONE, plan=_conditions()))
    assert found.problem is None, told(found)
    assert {"completed"} <= found.endings
    assert found.worlds > 100, "a dead system must not pass"


@pytest.mark.parametrize(
    "faults",
    [
        {"block": 2, "cancel": 1, "stall": 1},
        {"block": 1, "pause": 1, "resume": 1, "fumble": 1},
        {"block": 2, "skip": 1, "give up": 1, "stray": 1},
    ],
    ids=str,
)
def test_all_of_it_holds_at_gates(faults: dict[str, int]) -> None:
    """Two steps that have to pass a gate, forward and back, and one that has not (I23)."""
    gates = (Gate(name="bank", rule=Rule(kind="limit", most=1)),)
    plan = saga(step("reserve", gates=gates), "pack", step("charge", gates=gates))
    found = explore(small_world(faults, Participant.KEYED, plan=plan))
    assert found.problem is None, told(found)
    assert {"completed", "compensated"} & found.endings
    assert found.worlds > 100, "a dead system must not pass"


@pytest.mark.parametrize("order", ["reverse", "graph"])
@pytest.mark.parametrize(
    "faults",
    [
        {"leave": 2, "cancel": 1},
        {"leave": 1, "stall": 1, "fumble": 1},
        {"leave": 1, "crash in flight": 1, "cancel": 1},
        {"leave": 1, "give up": 1, "pause": 1, "resume": 1},
        {"leave": 1, "skip": 1, "restart": 1},
    ],
    ids=str,
)
def test_all_of_it_holds_for_groups(faults: dict[str, int], order: Any) -> None:
    """Two groups, each of which may be left for either, the second one of two steps (I27)."""
    found = explore(small_world(faults, Participant.KEYED, plan=_groups(order)))
    assert found.problem is None, told(found)
    assert "completed" in found.endings
    assert found.worlds > 50, "a dead system must not pass"


@pytest.mark.parametrize("order", ["reverse", "graph"])
@pytest.mark.parametrize(
    "faults",
    [{"cancel": 1, "stall": 1}, {"give up": 1, "fumble": 1}, {"crash in flight": 1}],
    ids=str,
)
def test_all_of_it_holds_for_a_scope(faults: dict[str, int], order: Any) -> None:
    """Two steps side by side that are undone as one, and one behind both (I19)."""
    found = explore(small_world(faults, Participant.KEYED, plan=_scope(order)))
    assert found.problem is None, told(found)
    assert {"completed", "compensated"} <= found.endings
    assert found.worlds > 100, "a dead system must not pass"


@pytest.mark.parametrize(
    "faults",
    [
        {"cancel": 1, "stall": 1},
        {"give up": 2, "fumble": 2, "waive": 1, "crash": 1},
        {"crash in flight": 1, "find nothing": 1},
        {"crash": 2},
    ],
    ids=str,
)
def test_all_of_it_holds_for_two_phases(faults: dict[str, int]) -> None:
    """Two steps that are prepared, each confirmed, or both cancelled."""
    found = explore(small_world(faults, Participant.KEYED, plan=_two_phases()))
    assert found.problem is None, told(found)
    assert "completed" in found.endings
    assert found.worlds > 60, "a dead system must not pass"


def _two_phases() -> Plan:
    rule = budget(1, delay=0)
    nodes = [step("debit", retry=rule), step("credit", retry=rule, after=("debit",))]
    before = "credit"
    for name in ("debit", "credit"):
        made = step(f"{name}.confirm", undo=None, confirms=name, after=(before,), retry=rule)
        nodes.append(made)
        before = made.name
    return Plan(saga="transfer", nodes=tuple(nodes))


def _groups(order: Any) -> Plan:
    """A group of two steps, and one of one; what is asked for first in each may leave it."""
    rule = budget(2, delay=0)
    nodes = [
        step("ask", retry=rule, group="entry"),
        step("pay", retry=rule, group="entry", after=("ask",)),
        step("decide", retry=rule, group="manual"),
    ]
    return Plan(saga="pay", nodes=tuple(nodes), compensation_order=order)


def _scope(order: Any) -> Plan:
    undo = Undo(task="shop.call_off", wants=(), retry=budget(2, delay=0))
    inside = _fork(order).nodes
    scope = Node(name="call_off", task=undo.task, undo=undo, covers=("hotel", "car"))
    bare = [node.model_copy(update={"undo": None}) for node in inside[:2]]
    return Plan(saga="trip", nodes=(scope, *bare, inside[2]), compensation_order=order)


def _conditions() -> Plan:
    choice, rule = Choice(labels=("yes", "no")), budget(1)
    yes = Guard(step="ask", among=("yes",))
    ask = step("ask", undo=None, choice=choice, retry=budget(2, delay=0))
    inner = step("inner", undo=None, choice=choice, retry=rule, guards=(yes,), after=("ask",))
    both = (yes, Guard(step="inner", among=("yes",), but=True))
    deep = step("deep", retry=rule, guards=both, after=("inner",))
    last = step("last", retry=rule, after=("deep",))
    return Plan(saga="trip", nodes=(ask, inner, deep, last))


def _fork(order: Any) -> Plan:
    rules = {"hotel": budget(2, delay=0), "car": budget(1), "confirm": budget(1)}
    nodes = [step(name, retry=rule) for name, rule in rules.items()]
    nodes[2] = nodes[2].model_copy(update={"after": ("hotel", "car")})
    return Plan(saga="trip", nodes=tuple(nodes), compensation_order=order)


@pytest.mark.parametrize("name", ["two zombies", "crashes", "failures"])
def test_behind_a_barrier_no_effect_lands_after_its_undo(name: str) -> None:
    """Where a tombstone comes with the undo, nobody has to wait before it."""
    plan = _plan(effect="barrier")
    found = explore(small_world(WORLDS[name], Participant.TOMBSTONE, plan=plan))
    assert found.problem is None, told(found)
    assert {"completed", "compensated"} <= found.endings


NO_KEYS: dict[str, Any] = {
    "effect": "none",
    "on_unknown": "operator",
    "retry": budget(delay=0, after_loss=False),
}


@pytest.mark.parametrize(
    "faults",
    [
        {"stall": 2, "crash": 1},
        {"crash in flight": 2},
        {"cut": 1, "cancel": 1},
        {"crash": 2, "decline": 1},
    ],
    ids=str,
)
def test_a_step_without_keys_is_never_done_twice_unasked(faults: dict[str, int]) -> None:
    """Whatever gets lost: what nobody knows of is left to an operator (I2)."""
    rules = small_world(faults, Participant.FORGETFUL, plan=_plan(**NO_KEYS), zombies_die=True)
    found = explore(rules)
    assert found.problem is None, told(found)
    assert "failed" in found.endings


def _plan(**values: Any) -> Plan:
    return saga(
        *(step(name, **{"retry": budget(delay=0), **values}) for name in ("reserve", "charge"))
    )


# --- the search can fail -----------------------------------------------------------------------

Patch = pytest.MonkeyPatch
_Apply = "Callable[[Plan, Run, Event], Run]"


def instead(patch: Patch, kind: EventKind, spoil: Callable[[Run, Run, Event], Run]) -> None:
    """Let *spoil* have the last word on what an event of one kind does."""
    apply = moves._APPLY[kind]

    def spoiled(plan: Plan, before: Run, event: Event) -> Run:
        return spoil(before, apply(plan, before, event), event)

    patch.setitem(moves._APPLY, kind, spoiled)


def _with_step(run: Run, name: str, **changes: Any) -> Run:
    return changed(run, steps=run.steps.put({name: changed(run.steps[name], **changes)}))


def timed_out_is_not_done(patch: Patch) -> None:
    """A lost attempt is taken for one without effect."""

    def spoil(before: Run, after: Run, event: Event) -> Run:
        return _with_step(
            after, event.step, may_have_effect=before.step(event.step).may_have_effect
        )

    instead(patch, EventKind.LOST, spoil)


def late_success_is_ignored(patch: Patch) -> None:
    """What comes after the attempt was given up is noted, and nothing follows."""
    patch.setattr(
        late_reports,
        "_late_success",
        lambda draft, _direction, command: late_reports._note(draft, command, "completed"),
    )


def late_failure_is_ignored(patch: Patch) -> None:
    """A late report of an attempt that may have had its effect is only noted."""

    def noted(draft: Draft, direction: PhaseState, command: Fail) -> None:
        if late_reports._is_news(draft, direction, command):
            late_reports._note(draft, command, "failed")

    patch.setattr(attempts, "late_failure", noted)


def undo_key_is_reused(patch: Patch) -> None:
    """A late effect is undone again under the key that the participant has seen."""

    def spoil(before: Run, after: Run, event: Event) -> Run:
        return _with_step(after, event.step, generation=before.step(event.step).generation)

    instead(patch, EventKind.REOPENED, spoil)


def last_word_is_trusted(patch: Patch) -> None:
    """A definite failure of the last attempt clears what is not known of the ones before."""

    def spoil(_before: Run, after: Run, event: Event) -> Run:
        sure = event.phase == "do" and event.data.get("effect") is False
        return _with_step(after, event.step, may_have_effect=False) if sure else after

    instead(patch, EventKind.FAILED, spoil)


def no_grace(patch: Patch) -> None:
    """A step is undone as soon as its attempt is given up."""
    patch.setattr(attempt_events, "_delay_compensation", lambda _plan, run, _event: run)


def undo_beside_a_live_attempt(patch: Patch) -> None:
    """Nobody waits for the attempt that is at work when the run turns round."""
    for module in (undoing, next_steps):
        patch.setattr(module, "live_forward", lambda _run: False)


def no_token(patch: Patch) -> None:
    """Whoever reports, settles the attempt that is at work."""
    patch.setattr(
        attempts,
        "settles",
        lambda _draft, direction, _command: direction.state is PhaseStatus.RUNNING,
    )


def old_undo_settles(patch: Patch) -> None:
    """An undo from before the effect came back counts as one of the new generation."""

    def spoil(before: Run, after: Run, event: Event) -> Run:
        old, new = before.step(event.step).undo, after.steps[event.step].undo
        return _with_step(
            after, event.step, undo=changed(new, attempts_before_budget=old.attempts_before_budget)
        )

    instead(patch, EventKind.REOPENED, spoil)


def nothing(_patch: Patch) -> None:
    """The state machine as it is, among participants that are not good enough for any."""


KEYED, FORGETFUL = Participant.KEYED, Participant.FORGETFUL
VARIANTS = [
    (timed_out_is_not_done, Participant.TOMBSTONE, {"crash in flight": 2}),
    (late_success_is_ignored, KEYED, {"cancel": 1, "stall": 1}),
    (late_failure_is_ignored, KEYED, {"cancel": 1, "stall": 1, "fumble": 1}),
    (undo_key_is_reused, KEYED, {"cancel": 1, "stall": 1}),
    (last_word_is_trusted, Participant.TOMBSTONE, {"crash in flight": 1, "decline": 1}),
    (no_grace, KEYED, {"cancel": 1, "crash in flight": 1}),
    (no_grace, KEYED, {"cancel": 1, "cut": 1}),
    (undo_beside_a_live_attempt, KEYED, {"cancel": 1}),
    (no_token, KEYED, {"cancel": 1, "stall": 1, "decline": 1}),
    (old_undo_settles, KEYED, {"cancel": 1, "stall": 2}),
    (nothing, FORGETFUL, {"crash in flight": 1}),
]


@pytest.mark.parametrize(
    ("spoil", "participant", "faults"), VARIANTS, ids=lambda each: getattr(each, "__name__", "")
)
def test_a_bad_variant_is_found(
    spoil: Callable[[Patch], None],
    participant: Participant,
    faults: dict[str, int],
    monkeypatch: Patch,
) -> None:
    """What docs/invariants.md says to leak does leak, in the participants' books, and is found."""
    # Laws that look at the run alone would find some of them before anything is wrong.
    rules = small_world(faults, participant, checked=False)
    assert spoil is nothing or explore(rules).problem is None
    spoil(monkeypatch)
    found = explore(rules)
    assert found.problem is not None
    assert "(I1)" in found.problem or "(I2)" in found.problem, told(found)


def test_a_barrier_that_is_none_leaks() -> None:
    """A step that promises a tombstone and only has keys is undone too early, and that is found."""
    rules = small_world({"cancel": 1, "cut": 1}, Participant.KEYED, plan=_plan(effect="barrier"))
    found = explore(rules)
    assert found.problem is not None
    assert "the effect of" in found.problem


def test_a_zombie_that_dies_unheard_needs_a_tombstone() -> None:
    """Keys alone leak when a zombie's effect lands and nobody tells: the limit that is stated."""
    faults = {"cancel": 1, "stall": 1, "crash": 1}
    leak = explore(small_world(faults, Participant.KEYED, zombies_die=True))
    assert leak.problem is not None
    assert "the effect of reserve stands" in leak.problem
    assert explore(small_world(faults, Participant.TOMBSTONE, zombies_die=True)).problem is None
