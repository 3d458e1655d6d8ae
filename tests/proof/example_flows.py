"""Runs with all that flows have: gates, groups, several tries, rewinds, scopes, waits, expiring.

Owns: a story for each that keeps every law, and those that were doctored to break one.  Refuses to
know: the laws, and runs that are a plain sequence (`example_runs`, `test_checker`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celeriac.machine import Gate, Node, Rule, Undo, Wait
from celeriac.machine.commands import Claim, Complete, Signal
from celeriac.machine.events import Event, EventKind
from tests.machine.story import GRACE, Story, budget, saga, started, step
from tests.proof.example_runs import record, rows_of
from tests.workers.ledger import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.machine import Plan
    from tests.proof.records import Record

_E = EventKind
_BANK = Gate(name="bank", rule=Rule(kind="limit", most=1))
_ALL = Gate(name="orders", rule=Rule(kind="limit", most=1))


def gated() -> Story:
    """A run that passes the gate of a step, also on its way back, and one of its own."""
    story = Story(saga("reserve", step("charge", gates=(_BANK,)), "ship", gates=(_ALL,)))
    story.start()
    return story.do("reserve", "charge").give_up("ship").undo("ship", "charge", "reserve")


def rewound() -> Story:
    """A run that went back a step and forward again, and was undone in the end."""
    story = started("reserve", "charge", "ship").do("reserve", "charge", "ship")
    story.rewind("charge")
    story.undo("ship", "charge").do("charge", "ship")
    story.cancel()
    return story.undo("ship", "charge", "reserve")


def rewound_and_late() -> Story:
    """A run that was rewound, and in which an attempt from before had its effect after all."""
    story = started("reserve", "charge").do("reserve").lose("charge")
    story.rewind("charge")
    story.advance(GRACE).undo("charge").do("charge")
    story.give(Complete("charge", "do", 1, story._holders[1, "charge", "do", 1], 1))
    story.give(Claim("charge", "undo", 2, "again", 1))
    story.give(Complete("charge", "undo", 2, "again", 1))
    return story


def tried_again() -> Story:
    """A run whose first try was undone, and whose second is done."""
    story = started("reserve", "charge", retries=1, retry_delay=60_000)
    story.do("reserve").give_up("charge", effect=False).undo("reserve")
    story.advance(60_000).wake()
    return story.do("reserve", "charge")


def expired() -> Story:
    """A run one step of which nobody took up in its time."""
    story = started("reserve", step("charge", expires=60_000)).do("reserve").advance(60_000)
    story.wake()
    return story.undo("reserve")


def routed() -> Story:
    """A run that visits a group, another, and the first once more, and is undone."""
    story = Story(_groups())
    story.start()
    for name, group in (("ask", "manual"), ("decide", "entry")):
        story.claim(name)
        story.complete(name, route=group)
    return story.do("ask~2").give_up("pay~2").undo("pay~2", "ask~2", "decide", "ask")


def undone_as_one() -> Story:
    """A run two steps of which are undone by one task."""
    story = _scoped().do("pay", "hotel", "car").give_up("confirm")
    return story.undo("confirm", "call_off", "pay")


def undone_as_one_and_late() -> Story:
    """A step that was undone with another reports when all is undone: both are, once more."""
    story = _scoped().do("pay", "hotel").lose("car").advance(1_000).lose("car").advance(GRACE)
    story.undo("call_off", "pay")
    story.complete("car", attempt=1)
    return story.undo("call_off")


def _scoped() -> Story:
    undo = Undo(task="shop.call_off", wants=(), retry=budget())
    scope = Node(name="call_off", task=undo.task, undo=undo, covers=("hotel", "car"))
    bare = [step("hotel", undo=None, after=("pay",)), step("car", undo=None, after=("hotel",))]
    return started("pay", scope, *bare, step("confirm"))


def asked_in_vain() -> Story:
    """A run one step of which asked somebody outside, who never answered; undone at once."""
    story = started("reserve", step("charge", retry=budget(1))).do("reserve")
    story.claim("charge")
    story.defer("charge", 60_000)
    story.advance(60_000).wake()
    return story.undo("charge", "reserve")


def brought() -> Story:
    """A run two steps of which asked somebody outside: one is told in time, one is cancelled."""
    story = started("reserve", "charge")
    story.claim("reserve")
    story.defer("reserve", 60_000)
    story.say("reserve")
    story.claim("charge")
    story.defer("charge", 60_000)
    story.cancel()
    return story.undo("charge", "reserve")


def waited() -> Story:
    """A run that waited for a signal, which came early, and for one that never came."""
    waits = [
        Node(name=name, task="", after=after, wait=Wait(signal="approved", timeout=60_000))
        for name, after in (("first", ("reserve",)), ("last", ("first",)))
    ]
    plan = saga("reserve", *waits, "ship").model_copy(update={"signals": {"approved": {}}})
    story = Story(plan)
    story.start()
    story.give(Signal("approved", "a"))
    story.do("reserve").advance(60_000).wake()
    return story.undo("reserve")


def slept() -> Story:
    """A run that slept for a minute."""
    nap = Node(name="nap", task="", after=("reserve",), wait=Wait(timeout=60_000))
    story = started("reserve", nap, "ship").do("reserve").advance(60_000)
    story.wake()
    return story.do("ship")


STORIES = (
    asked_in_vain,
    brought,
    waited,
    slept,
    gated,
    rewound,
    rewound_and_late,
    tried_again,
    expired,
    routed,
    undone_as_one,
    undone_as_one_and_late,
)


def _groups() -> Plan:
    nodes = (
        step("ask", group="entry"),
        step("pay", group="entry", after=("ask",)),
        step("decide", group="manual"),
    )
    return saga("x").model_copy(update={"saga": "pay", "nodes": nodes})


# --- doctored ------------------------------------------------------------------------------------


def _without(story: Story, kind: str, key: str) -> Record:
    rows = [row for row in rows_of(story) if (row.kind, row.key) != (kind, key)]
    return record(story, rows=rows)


def _edited(story: Story, kind: EventKind, name: str, **data: Any) -> Record:
    found = next(event for event in story.history if (event.kind, event.step) == (kind, name))
    history = [
        replace(event, data={**event.data, **data}) if event is found else event
        for event in story.history
    ]
    return record(story, history=history)


def _then(story: Story, event: Event) -> Record:
    return record(story, history=[*story.history, event])


def _i1_what_stood_is_gone() -> Record:
    story = started("reserve", "charge").do("reserve", "charge")
    story.rewind("charge")
    story.undo("charge").do("charge")
    gone = Row(story.now / 1000 + 1, "undo", "order-42:reserve", 1, 999)
    return record(story, rows=[*rows_of(story), gone])


def _i1_member_stands() -> Record:
    return _without(undone_as_one(), "undo", "order-42:car")


def _i1_visit_stands() -> Record:
    return _without(routed(), "undo", "order-42:ask")


def _i25_earlier_try_stands() -> Record:
    return _without(tried_again(), "undo", "order-42:reserve")


def _i25_rewound_and_stands() -> Record:
    return _without(rewound(), "undo", "order-42:charge")


def _i4_reopened_by_a_stranger() -> Record:
    story = undone_as_one_and_late()
    late = next(event for event in story.history if event.data.get("late") is True)
    of_pay = [replace(event, step="pay") if event is late else event for event in story.history]
    return record(story, history=of_pay)


def _i6_rewound_and_never_undone() -> Record:
    story = rewound()
    first = next(e for e in story.history if (e.kind, e.step, e.phase) == _UNDO)
    history = [event for event in story.history if event is not first]
    return record(story, history=history)


_UNDO = (_E.CLAIMED, "ship", "undo")


def _i8_what_stands_is_undone() -> Record:
    story = started("reserve", "charge").do("reserve", "charge")
    story.rewind("charge")
    return _then(story, Event(story.now, _E.CLAIMED, "reserve", "undo", 1, {"holder": "w"}))


def _i8_scope_out_of_turn() -> Record:
    story = undone_as_one()
    history = [e for e in story.history if (e.step, e.phase) != ("call_off", "undo")]
    return record(story, history=history)


def _i23_past_a_gate() -> Record:
    return _edited(gated(), _E.CLAIMED, "charge", gates=())


def _i23_past_a_gate_of_its_run() -> Record:
    return _edited(gated(), _E.CLAIMED, "reserve", enters=())


def _i28_taken_up_after_it_expired() -> Record:
    story = expired()
    return _then(story, Event(story.now, _E.CLAIMED, "charge", "do", 1, {"holder": "w"}))


def _i28_expired_at_work() -> Record:
    story = started("reserve", step("charge", expires=60_000)).do("reserve")
    story.claim("charge")
    gone = Event(story.now, _E.FAILED, "charge", "do", 1, {"effect": False, "why": "expired"})
    return _then(story, gone)


DOCTORED: tuple[tuple[str, Callable[[], Record]], ...] = (
    ("I1", _i1_what_stood_is_gone),
    ("I1", _i1_member_stands),
    ("I1", _i1_visit_stands),
    ("I25", _i25_earlier_try_stands),
    ("I25", _i25_rewound_and_stands),
    ("I4", _i4_reopened_by_a_stranger),
    ("I6", _i6_rewound_and_never_undone),
    ("I8", _i8_what_stands_is_undone),
    ("I8", _i8_scope_out_of_turn),
    ("I23", _i23_past_a_gate),
    ("I23", _i23_past_a_gate_of_its_run),
    ("I28", _i28_taken_up_after_it_expired),
    ("I28", _i28_expired_at_work),
)
