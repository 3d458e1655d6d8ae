"""What goes wrong at gates: somebody dies between two commits, comes late, or stands in the way.

Owns: that there are never too many inside, and that everybody who waits is called soon, whatever is
killed; each accident is one that once let somebody wait for an hour, or two in at a time.  Refuses
to know: two messages of one step (`test_busy_gates`), and who may pass (`tests/gating`).

The file is long because each accident is a story of its own.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine.sweep import Sweep
from celeriac.errors import CommandRefused, StoreError, StoreUnavailable
from celeriac.gating import Record, dump
from celeriac.machine import Gate, InLine, Queue, Rule, places_of
from celeriac.machine.commands import Pause, Resume
from celeriac.machine.places import lines_of
from celeriac.store import GateChange, line_member
from tests.engine.driver import LEASE, Shop
from tests.machine.story import saga, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.engine.attempts import Attempt, Delivery

LIMIT = Rule(kind="limit", most=1)
RATE = Rule(kind="rate", most=1, per=10_000)
BREAKER = Rule(kind="breaker", most=1, per=60_000, open_for=30_000)
SOON = 3_000  # ms


def at_gate(rule: Rule) -> Shop:
    """Runs of one step, which has to pass the gate `room`."""
    at = Shop(saga(step("charge", gates=(Gate(name="room", rule=rule),))))
    at.engine.gates.send = partial(at.engine.send, at.post)
    return at


def message_of(at: Shop, run_id: str) -> Delivery:
    """Start a run, and take its message off the queue."""
    at.start(run_id)
    return at.post.waiting.pop()


def comes_in(at: Shop, run_id: str) -> Attempt:
    """Start a run that passes the gate; return the attempt that is inside."""
    attempt = at.claim(message_of(at, run_id))
    assert attempt is not None
    return attempt


def waits(at: Shop, run_id: str) -> None:
    """Start a run that has to wait at the gate."""
    assert at.claim(message_of(at, run_id)) is None
    assert lines_of(at.run(run_id))


def called(at: Shop, run_id: str) -> bool:
    """True if a message of the run is on its way."""
    return run_id in [each.run_id for each in at.post.waiting]


def instead(owner: Any, name: str, what: Any) -> None:
    """Put something in the place of a method, until it is put back."""
    setattr(owner, name, what)


class Killed(BaseException):
    """SIGKILL: nothing after it is done."""


def killed(at: Shop, name: str, *, after: bool = False) -> Callable[..., Any]:
    """What to put in the place of something of the gates, to be killed there once."""
    before = getattr(at.engine.gates, name)

    def die(*words: Any) -> Any:
        setattr(at.engine.gates, name, before)
        if after:
            before(*words)
        raise Killed

    return die


def killed_once_it_waits(at: Shop) -> Callable[..., Any]:
    """What to put in the place of `command`, to be killed when a run has noted that it waits."""
    command = at.engine.command

    def dying(run_id: str, what: Any, **more: Any) -> Any:
        decided = command(run_id, what, **more)
        if isinstance(what, Queue):
            raise Killed
        return decided

    return dying


# --- newcomers -----------------------------------------------------------------------------------


def test_newcomers_do_not_keep_a_breaker_from_being_tried() -> None:
    """Each looked at it, and put off when a sweep would look."""
    at = at_gate(BREAKER)
    first = comes_in(at, "order-0")
    at.fail(first, ConnectionError("down"))
    opened, number = at.clock.now, 0
    at.clock.now += 900
    while at.claim() is None:
        assert at.clock.now < opened + BREAKER.open_for + SOON
        at.clock.now += 300
        number += 1
        at.start(f"new-{number}")
        if number % 3 == 0:
            at.show_life()
            at.sweep()


def test_newcomers_do_not_keep_a_rate_from_going_on() -> None:
    """Nor when no sweep came round while the next one was due."""
    at = at_gate(RATE)
    first = comes_in(at, "order-0")
    at.finish(first)
    waits(at, "order-1")
    at.clock.now += RATE.per + 300
    waits(at, "new")
    at.pass_time(SOON)
    assert called(at, "order-1")


def test_who_gives_back_dies_before_it_calls_the_next() -> None:
    """A newcomer comes before the sweep; the sweep calls who was first."""
    at = at_gate(LIMIT)
    first = comes_in(at, "order-0")
    waits(at, "order-1")
    instead(at.engine.gates, "look", killed(at, "look"))
    with pytest.raises(Killed):
        at.finish(first)
    at.clock.now += 300
    waits(at, "new")
    at.pass_time(SOON)
    assert called(at, "order-1")


# --- two inside ----------------------------------------------------------------------------------


def test_who_was_held_up_claims_just_as_the_next_looks() -> None:
    """One place is over and its run has not claimed; it does, before it can be kept out."""
    at = at_gate(LIMIT)
    slow, next_ = message_of(at, "slow"), message_of(at, "next")
    other = at.another_engine()
    read, claimed, told = threading.Event(), threading.Event(), list[Exception]()
    keep_out = other.gates._book._keep_out

    def late(*words: Any) -> None:
        read.set()
        assert claimed.wait(30)
        keep_out(*words)

    def look() -> None:
        try:
            other.claim(next_, "next")
        except CommandRefused as refused:
            told.append(refused)

    instead(other.gates._book, "_keep_out", late)
    looking = threading.Thread(target=look)
    pass_all = at.engine.gates.pass_all

    def held_up(*words: Any) -> Any:
        passed = pass_all(*words)
        at.clock.now += LEASE + 1
        looking.start()
        assert read.wait(30)
        return passed

    instead(at.engine.gates, "pass_all", held_up)
    at.engine.claim(slow, "slow")
    claimed.set()
    looking.join(30)
    assert [str(each) for each in told] == ["limit room: no more than 1 at a time"]
    assert [place.run for name in ("slow", "next") for place in places_of(at.run(name))] == ["slow"]


def test_two_first_steps_take_one_place_for_their_run() -> None:
    """The other one goes back at once: it would be taken for a lease."""
    orders = Gate(name="orders", rule=LIMIT.model_copy(update={"most": 3}))
    plan = saga("x", gates=(orders,)).model_copy(update={"nodes": (step("one"), step("two"))})
    at = Shop(plan)
    at.start("order-1")
    messages = {message.step: message for message in at.post.waiting}
    pass_all = at.engine.gates.pass_all

    def both(*words: Any) -> Any:
        instead(at.engine.gates, "pass_all", pass_all)
        passed = pass_all(*words)
        assert at.claim(messages["two"]) is not None
        return passed

    instead(at.engine.gates, "pass_all", both)
    assert at.claim(messages["one"]) is not None
    assert at.store.gates.read("orders").taken == len(places_of(at.run("order-1"))) == 1


def test_a_claim_of_which_nobody_heard_keeps_the_place_of_its_run() -> None:
    """It was granted and given up since; the run has passed its gate all the same."""
    room = Gate(name="room", rule=LIMIT)
    at = Shop(saga("charge").model_copy(update={"gates": (room,)}))
    at.engine.gates.send = partial(at.engine.send, at.post)
    message, cut_off = message_of(at, "order-1"), at.another_engine()
    commit = cut_off._commit

    def unheard(*words: Any, **more: Any) -> None:
        commit(*words, **more)
        instead(cut_off, "_commit", commit)
        at.pass_time(LEASE + SOON)
        raise StoreUnavailable("the answer is lost")

    instead(cut_off, "_commit", unheard)
    with pytest.raises(CommandRefused, match="is at attempt 2, not 1"):
        cut_off.claim(message, "cut off")
    assert len(places_of(at.run("order-1"))) == at.store.gates.read("room").taken == 1
    waits(at, "order-2")


# --- nobody waits for the patrol -----------------------------------------------------------------


@pytest.mark.parametrize("dies", [False, True])
def test_the_place_comes_back_before_the_run_knows_that_it_waits(dies: bool) -> None:
    """Whoever calls finds that it does not wait; it is about to say so, or dies just then."""
    at = at_gate(LIMIT)
    first = comes_in(at, "order-0")
    message = message_of(at, "order-1")
    gates, command = at.engine.gates, at.engine.command
    wait_in_line = gates.wait_in_line

    def late(*words: Any) -> None:
        at.finish(first)
        if dies:
            instead(at.engine, "command", killed_once_it_waits(at))
        wait_in_line(*words)

    instead(gates, "wait_in_line", late)
    with suppress(Killed):
        at.claim(message)
    instead(at.engine, "command", command)
    instead(gates, "wait_in_line", wait_in_line)
    assert lines_of(at.run("order-1"))
    at.pass_time(LEASE + SOON if dies else SOON)
    assert called(at, "order-1")


def test_who_goes_from_one_line_to_the_next_is_not_let_out() -> None:
    """Its run says that it waits in the first one, until it says that it waits in the second."""
    first, second = (Gate(name=name, rule=LIMIT) for name in ("room", "study"))
    at = Shop(saga(step("charge", gates=(first, second))))
    gates, command = at.engine.gates, at.engine.command
    gates.send = partial(at.engine.send, at.post)
    held = []
    for gate in (first, second):
        plan = saga(step("hold", gates=(gate,))).model_copy(update={"saga": gate.name})
        at.start_with(plan, gate.name)
        held.append(at.claim())
    waits(at, "order-1")
    in_first, in_second = held
    assert in_first is not None
    at.finish(in_first)
    wait_in_line = gates.wait_in_line

    def late(*words: Any) -> None:
        instead(gates, "wait_in_line", wait_in_line)
        assert in_second is not None
        at.finish(in_second)
        instead(at.engine, "command", killed_once_it_waits(at))
        wait_in_line(*words)

    instead(gates, "wait_in_line", late)
    with pytest.raises(Killed):
        at.claim(at.post.waiting.pop())
    instead(at.engine, "command", command)
    assert {turn.gate for turn in lines_of(at.run("order-1"))} == {"study"}
    at.pass_time(LEASE + SOON)
    assert called(at, "order-1")


def test_who_resumes_dies_before_the_step_has_joined_again() -> None:
    """A message takes it to its gate, where it stands as long as it has waited."""
    at = at_gate(LIMIT)
    first = comes_in(at, "order-0")
    waits(at, "order-1")
    since = {turn.since for turn in lines_of(at.run("order-1"))}
    at.command(Pause("hold"), "order-1")
    at.clock.now += 1_000
    follow = at.engine.gates.follow
    instead(at.engine.gates, "follow", lambda *_: None)
    at.command(Resume(), "order-1")
    instead(at.engine.gates, "follow", follow)
    at.pass_time(SOON)
    assert at.claim() is None
    assert {turn.since for turn in lines_of(at.run("order-1"))} == since
    at.finish(first)
    assert called(at, "order-1")


def test_a_copy_passes_a_closed_breaker_and_dies() -> None:
    """It has no place there whose end anybody would see: it is in line until it is granted."""
    at = at_gate(BREAKER)
    gates = at.engine.gates
    gates.know({"room": BREAKER})
    gates.set_breaker("room", "eve", to_open=True)
    for number in range(11):
        waits(at, f"order-{number}")
        at.clock.now += 1
    message, pass_all = message_of(at, "order-x"), gates.pass_all

    def dying(*words: Any) -> None:
        instead(gates, "pass_all", pass_all)
        assert at.claim(message) is None
        gates.set_breaker("room", "eve", to_open=False)
        pass_all(*words)
        raise Killed

    instead(gates, "pass_all", dying)
    with pytest.raises(Killed):
        at.claim(message)
    for _ in range(3):
        at.work()
        at.pass_time(SOON)
    assert at.run("order-x").status == "completed"
    assert at.store.gates.read("room").waiting == 0


def test_a_message_that_comes_a_little_early_is_called_by_the_clock_of_the_store() -> None:
    """The clock of a worker is ahead; its turn is sent for again, at once when it has come."""
    at = at_gate(RATE)
    first = comes_in(at, "order-0")
    at.finish(first)
    waits(at, "order-1")
    while not at.post.waiting:
        at.pass_time(1_000)
    message, turn = at.post.waiting.pop(), at.run("order-1").step("charge").do.at
    at.clock.now = turn - 5
    assert at.claim(message) is None
    assert at.post.waiting == [], "it would come early again, and again"
    at.pass_time(1_500)
    assert at.claim() is not None


# --- one that is broken --------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["in line", "inside"])
def test_a_run_without_its_plan_closes_the_gate_to_nobody_else(where: str) -> None:
    """Who waits is passed over; a place is kept, and asked about again."""
    at = at_gate(LIMIT)
    plan = at.store.plan

    def gone(run_id: str, fingerprint: str) -> Any:
        if run_id == "broken":
            raise StoreError("the plan is not in the store")
        return plan(run_id, fingerprint)

    if where == "in line":
        first = comes_in(at, "order-0")
        waits(at, "broken")
        waits(at, "order-1")
        instead(at.store, "plan", gone)
        at.finish(first)
        at.pass_time(SOON)
        assert called(at, "order-1")
        return
    instead(at.engine.gates, "pass_all", killed(at, "pass_all", after=True))
    with pytest.raises(Killed):
        at.claim(message_of(at, "broken"))
    instead(at.store, "plan", gone)
    at.clock.now += LEASE + 1
    at.start("order-1")
    with pytest.raises(CommandRefused, match="no more than 1 at a time"):
        at.engine.claim(at.post.waiting.pop(), "one")


def test_whom_one_worker_cannot_read_is_called_by_another() -> None:
    """In a deploy: a worker of the older version calls the first in line, who is of the newer."""
    at = at_gate(LIMIT)
    at.start("order-0")
    first, plan = at.claim(), at.store.plan
    assert first is not None
    waits(at, "newer")

    def unknown(run_id: str, fingerprint: str) -> Any:
        if run_id == "newer":
            raise StoreError("written by a newer version: upgrade this process")
        return plan(run_id, fingerprint)

    instead(at.store, "plan", unknown)
    at.finish(first)
    instead(at.store, "plan", plan)
    at.pass_time(LEASE + SOON)
    assert called(at, "newer")


def test_hundreds_who_left_are_let_out_a_few_at_a_time() -> None:
    """Their runs came to rest while the gate was out of reach; whoever gives back lets out few."""
    at = at_gate(LIMIT)
    gone = [InLine("room", f"gone-{number}", 1, "charge", "do", 0) for number in range(700)]
    turns = {line_member(turn): at.clock.now + n for n, turn in enumerate(gone)}
    record = dump(Record(version=1, rule=LIMIT))
    at.store.gates.commit(GateChange("room", "", record, join=turns, look_at=at.clock.now))
    at.engine.gates.look("room")
    assert len(gone) - 100 <= at.store.gates.read("room").waiting < len(gone)
    Sweep(at.engine, at.post).run()
    assert at.store.gates.known() == []
