"""Forks: which results a new run takes over, and that it never undoes them.

Owns: the rules of `forking`, and what a run makes of what it inherits.  Refuses to know: payloads.
"""

from __future__ import annotations

import pytest

from celeriac.errors import CommandRefused
from celeriac.machine import (
    Choice,
    Guard,
    Node,
    PhaseStatus,
    Plan,
    Run,
    RunStatus,
    Undo,
    Wait,
    inherited,
    transition,
)
from celeriac.machine.commands import Cancel, Claim, Complete, Fail, Signal, Start
from tests.machine.story import saga

NOW = 1_000_000


def begun(plan: Plan, **options: object) -> Run:
    """A run that was just started."""
    start = Start("r", "digest", "nonce", 1_000, **options)  # type: ignore[arg-type]
    return transition(plan, None, start, NOW).run


def done(plan: Plan, run: Run, *steps: str) -> Run:
    """The run after these steps were done."""
    for n, step in enumerate(steps, 1):
        run = transition(plan, run, Claim(step, "do", 1, f"w{n}"), NOW + n).run
        run = transition(plan, run, Complete(step, "do", 1, f"w{n}"), NOW + n).run
    return run


THREE = saga("reserve", "charge", "ship")


def test_what_comes_before_is_inherited() -> None:
    """The fork begins with the step that was named."""
    origin = done(THREE, begun(THREE), "reserve", "charge", "ship")
    assert origin.status is RunStatus.COMPLETED
    taken = inherited(THREE, origin, "ship")
    assert taken == (("reserve", ""), ("charge", ""))
    start = Start("f", "other", "nonce", 1_000, origin="r", inherits=taken)
    found = transition(THREE, None, start, NOW)
    assert [(d.step, d.attempt) for d in found.dispatches] == [("ship", 1)]
    assert [event.kind.value for event in found.events] == ["started", "inherited", "inherited"]
    assert found.run.origin == "r"
    assert done(THREE, found.run, "ship").status is RunStatus.COMPLETED


def test_what_was_inherited_is_never_undone() -> None:
    """Only what the fork did itself."""
    origin = done(THREE, begun(THREE), "reserve", "charge", "ship")
    taken = inherited(THREE, origin, "charge")
    fork = done(THREE, begun(THREE, origin="r", inherits=taken), "charge")
    turned = transition(THREE, fork, Cancel(), NOW + 9)
    assert [(d.step, d.phase) for d in turned.dispatches] == [("charge", "undo")]
    run = transition(THREE, turned.run, Claim("charge", "undo", 1, "u"), NOW + 10).run
    ended = transition(THREE, run, Complete("charge", "undo", 1, "u"), NOW + 11).run
    assert ended.status is RunStatus.COMPENSATED


def test_a_fork_that_does_nothing_itself_has_nothing_to_undo() -> None:
    """It is compensated at once when it is cancelled."""
    origin = done(THREE, begun(THREE), "reserve", "charge", "ship")
    fork = begun(THREE, origin="r", inherits=inherited(THREE, origin, "ship"))
    assert transition(THREE, fork, Cancel(), NOW + 9).run.status is RunStatus.COMPENSATED


def test_what_undoes_several_is_no_place_to_fork_at() -> None:
    """The first of these is named."""
    undo = Undo(task="shop.call_off", wants=())
    scope = Node(name="call_off", task=undo.task, undo=undo, covers=("hotel",))
    plan = saga("pay", scope, Node(name="hotel", task="shop.hotel", after=("pay",)))
    run = done(plan, begun(plan), "pay", "hotel")
    with pytest.raises(CommandRefused, match="fork at 'hotel'") as caught:
        inherited(plan, run, "call_off")
    assert caught.value.reason == "inside"


def test_only_a_run_at_rest_is_forked() -> None:
    """What is still to come could change what was before."""
    with pytest.raises(CommandRefused) as caught:
        inherited(THREE, done(THREE, begun(THREE), "reserve"), "charge")
    assert caught.value.reason == "not_at_rest"


def test_results_that_were_undone_are_void() -> None:
    """A hold that was released is none; the step itself can be the first that is done anew."""
    run = done(THREE, begun(THREE), "reserve")
    run = transition(THREE, run, Claim("charge", "do", 1, "w"), NOW + 5).run
    run = transition(
        THREE, run, Fail("charge", "do", 1, "w", kind="abort", effect=False), NOW + 6
    ).run
    run = transition(THREE, run, Claim("reserve", "undo", 1, "u"), NOW + 7).run
    run = transition(THREE, run, Complete("reserve", "undo", 1, "u"), NOW + 8).run
    assert run.status is RunStatus.COMPENSATED
    with pytest.raises(CommandRefused, match="fork at it or before") as caught:
        inherited(THREE, run, "charge")
    assert caught.value.reason == "undone"
    assert inherited(THREE, run, "reserve") == ()
    with pytest.raises(CommandRefused) as caught:
        inherited(THREE, run, "pack")
    assert caught.value.reason == "unknown_step"


def test_waits_and_answers_are_inherited() -> None:
    """What was sent is a result like any other, and what was not chosen is not chosen again."""
    sizes = Choice(labels=("small", "large"))
    plan = Plan(
        saga="asking",
        nodes=(
            Node(name="approved", task="", wait=Wait(signal="approved")),
            Node(
                name="size",
                task="size",
                after=("approved",),
                choice=sizes,
            ),
            _guarded("pack", "small"),
            _guarded("crate", "large"),
            Node(name="ship", task="ship", after=("pack", "crate")),
        ),
    )
    run = transition(plan, begun(plan), Signal("approved", "key"), NOW + 1).run
    run = transition(plan, run, Claim("size", "do", 1, "w"), NOW + 2).run
    run = transition(plan, run, Complete("size", "do", 1, "w", choice="small"), NOW + 3).run
    run = done(plan, run, "pack", "ship")
    assert run.status is RunStatus.COMPLETED
    taken = inherited(plan, run, "ship")
    assert taken == (("approved", ""), ("size", "small"), ("pack", ""))
    start = Start("f", "other", "nonce", 1_000, origin="r", inherits=taken)
    fork = transition(plan, None, start, NOW)
    assert [d.step for d in fork.dispatches] == ["ship"]
    assert fork.run.step("crate").do.state is PhaseStatus.SKIPPED


def _guarded(name: str, choice: str) -> Node:
    guards = (Guard(step="size", among=(choice,)),)
    return Node(name=name, task=name, after=("size",), guards=guards)
