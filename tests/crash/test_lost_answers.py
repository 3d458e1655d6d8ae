"""A request to Redis is lost, or the answer to it, at each contact of an attempt with the store.

Owns: both faults at every read and commit of a worker, and of the sweep.  Refuses to know:
processes that die, and what a client makes of it (`test_clients`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.crash.environment import Crashed, CrashWorld, everything, now
from tests.workers.histories import claims

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.crash.failpoints import Failpoint

REQUEST, ANSWER = "store.asking", "store.answered"


class Contact(NamedTuple):
    """A request of a worker's: how it is recognised on the wire, and the path it lies on."""

    name: str
    sign: str
    fails: str = ""


#: Each contact of an attempt with the store.  The sign of a commit is the event it writes.
CONTACTS = (
    Contact("read-to-claim", "f:beat:pay"),
    Contact("claim", '"c","pay"'),
    Contact("settle", '"d","pay"'),
    Contact("settle-the-last", '"d","send"'),
    Contact("fail", '"failed","send","d",1', "send"),
    Contact("read-to-undo", "f:ubeat:pay", "send"),
    Contact("claim-an-undo", '"uc","pay"', "send"),
    Contact("settle-an-undo", '"ud","pay"', "send"),
    Contact("settle-the-last-undo", '"ud","book"', "send"),
)
REPRESENTATIVE = ("claim", "settle", "fail", "settle-the-last-undo")


def _contacts() -> list[Contact]:
    return [each for each in CONTACTS if everything() or each.name in REPRESENTATIVE]


def test_each_request_and_each_answer_lost(crash_world: CrashWorld) -> None:
    """What is asked again after a lost answer has happened once, and costs no attempt."""
    hit: list[tuple[Contact, RunHandle[object], Failpoint]] = []
    for contact in _contacts():
        for point in (REQUEST, ANSWER):
            run_id = f"{point}-{contact.name}"
            failpoint = crash_world.failpoint(point, (f"run:{run_id}", contact.sign), "lose")
            hit.append((contact, crash_world.start(run_id, contact.fails), failpoint))
    crash_world.hit(*(failpoint for _, _, failpoint in hit))
    ended = {"": "completed", "send": "compensated"}
    crash_world.judge(
        Crashed(run, failpoint, ended[contact.fails], now()) for contact, run, failpoint in hit
    )
    for contact, run, _ in hit:
        assert claims(run, "pay") == [1], run.id
        assert claims(run, "pay", "undo") == ([1] if contact.fails else []), run.id


@pytest.mark.parametrize("point", [REQUEST, ANSWER])
def test_the_sweep_cut_off(crash_world: CrashWorld, point: str) -> None:
    """A sweep that loses its request or its answer has another one after it."""
    run_id = f"swept-{point}"
    with crash_world.world.fault("drop", only=f"{run_id}:pay:1"):
        run = crash_world.start(run_id)
        crash_world.world.until(
            lambda: crash_world.world.published(f"{run_id}:pay:1", "-"), "it is lost"
        )
        look = crash_world.failpoint(point, ("ZRANGEBYSCORE", ":wake"), "lose")
        send = crash_world.failpoint(point, (f"run:{run_id}", '"dispatched","pay"'), "lose")
    crash_world.hit(look, send)
    crash_world.judge([Crashed(run, send, "completed", now())])
    assert claims(run, "pay") == [1]


@pytest.mark.parametrize("point", [REQUEST, ANSWER])
def test_an_expiry_cut_off(crash_world: CrashWorld, point: str) -> None:
    """An attempt is given up once, also if the sweep that does it is not told so."""
    run_id = f"expired-{point}"
    kill = crash_world.failpoint("step.claimed", f"{run_id}:1:pay:do:1:", "kill")
    lose = crash_world.failpoint(point, (f"run:{run_id}", '"lost","pay","d",1'), "lose")
    run = crash_world.start(run_id)
    crash_world.hit(kill, lose)
    crash_world.judge([Crashed(run, lose, "completed", now())])
    assert claims(run, "pay") == [1, 2]
    assert len(crash_world.events(run, "lost")) == 1
