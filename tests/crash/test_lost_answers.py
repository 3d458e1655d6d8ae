"""A request to Redis is lost, or the answer to it, at each contact of an attempt with the store.

Owns: both faults at every read and commit of a worker, and of the sweep.  Refuses to know:
processes that die, and what a client makes of it (`test_clients`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.crash.environment import Arena, Crashed, everything, now
from tests.workers.histories import claims

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.crash.failpoints import Trap

REQUEST, ANSWER = "store.asking", "store.answered"


class Contact(NamedTuple):
    """A request of a worker's: how it is recognised on the wire, and the path it lies on."""

    name: str
    sign: str
    fails: str = ""


#: Each contact of an attempt with the store.  The sign of a commit is the event it writes.
CONTACTS = (
    Contact("read-to-claim", "f:beat:pay"),
    Contact("claim", '"claimed","pay","d",1'),
    Contact("settle", '"completed","pay","d",1'),
    Contact("settle-the-last", '"completed","send","d",1'),
    Contact("fail", '"failed","send","d",1', "send"),
    Contact("read-to-undo", "f:ubeat:pay", "send"),
    Contact("claim-an-undo", '"claimed","pay","u",1', "send"),
    Contact("settle-an-undo", '"completed","pay","u",1', "send"),
    Contact("settle-the-last-undo", '"completed","book","u",1', "send"),
)
REPRESENTATIVE = ("claim", "settle", "fail", "settle-the-last-undo")


def _contacts() -> list[Contact]:
    return [each for each in CONTACTS if everything() or each.name in REPRESENTATIVE]


def test_each_request_and_each_answer_lost(arena: Arena) -> None:
    """What is asked again after a lost answer has happened once, and costs no attempt."""
    hit: list[tuple[Contact, RunHandle[object], Trap]] = []
    for contact in _contacts():
        for point in (REQUEST, ANSWER):
            run_id = f"{point}-{contact.name}"
            trap = arena.trap(point, (f"run:{run_id}", contact.sign), "lose")
            hit.append((contact, arena.start(run_id, contact.fails), trap))
    arena.hit(*(trap for _, _, trap in hit))
    ended = {"": "completed", "send": "compensated"}
    arena.judge(Crashed(run, trap, ended[contact.fails], now()) for contact, run, trap in hit)
    for contact, run, _ in hit:
        assert claims(run, "pay") == [1], run.id
        assert claims(run, "pay", "undo") == ([1] if contact.fails else []), run.id


@pytest.mark.parametrize("point", [REQUEST, ANSWER])
def test_the_sweep_cut_off(arena: Arena, point: str) -> None:
    """A sweep that loses its request or its answer has another one after it."""
    run_id = f"swept-{point}"
    with arena.world.fault("drop", only=f"{run_id}:pay:1"):
        run = arena.start(run_id)
        arena.world.until(lambda: arena.world.published(f"{run_id}:pay:1", "-"), "it is lost")
        look = arena.trap(point, ("ZRANGEBYSCORE", ":wake"), "lose")
        send = arena.trap(point, (f"run:{run_id}", '"dispatched","pay"'), "lose")
    arena.hit(look, send)
    arena.judge([Crashed(run, send, "completed", now())])
    assert claims(run, "pay") == [1]


@pytest.mark.parametrize("point", [REQUEST, ANSWER])
def test_an_expiry_cut_off(arena: Arena, point: str) -> None:
    """An attempt is given up once, also if the sweep that does it is not told so."""
    run_id = f"expired-{point}"
    kill = arena.trap("step.claimed", f"{run_id}:1:pay:do:1:", "kill")
    lose = arena.trap(point, (f"run:{run_id}", '"lost","pay","d",1'), "lose")
    run = arena.start(run_id)
    arena.hit(kill, lose)
    arena.judge([Crashed(run, lose, "completed", now())])
    assert claims(run, "pay") == [1, 2]
    assert len(arena.events(run, "lost")) == 1
