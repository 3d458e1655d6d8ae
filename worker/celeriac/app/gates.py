"""Gates as applications look at them, and breakers as operators set them.

Owns: reading the gates of an app's run state, and refusing a name that is none, or no breaker.
Refuses to know: what is shown of them (`views`), and who may pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import GateNotFound, InputInvalid
from celeriac.gating import call_order, load
from celeriac.machine import gate_named
from celeriac.store import split_line, split_place
from celeriac.views import MOST_THERE, GateDetails, GateState, Seen, gate_details, gate_states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.workers import Runtime


def look_at_gates(runtime: Runtime) -> list[GateState]:
    """Return how all gates stand that the code or the store knows, by name."""
    return gate_states(runtime.rules, _seen(runtime))


def look_at_gate(runtime: Runtime, name: str) -> GateDetails:
    """Return how one gate stands and who is there; raise GateNotFound if there is none."""
    seen = list(_seen(runtime, name, MOST_THERE))
    if name not in runtime.rules and not seen:
        raise GateNotFound(name, [each.name for each in look_at_gates(runtime)])
    rules = {name: runtime.rules[name]} if name in runtime.rules else {}
    return gate_details(rules, seen)


def set_breaker(runtime: Runtime, name: str, by: str, *, to_open: bool) -> None:
    """Open a breaker until somebody closes it, or close it; raise InputInvalid if it is none."""
    breakers = [each.name for each in look_at_gates(runtime) if each.kind == "breaker"]
    if name not in breakers:
        known = ", ".join(breakers) or "none"
        raise InputInvalid(f"there is no breaker {name!r}; there are: {known}")
    runtime.engine.gates.set_breaker(name, by, to_open=to_open)


def _seen(runtime: Runtime, name: str | None = None, first: int = 0) -> Iterator[Seen]:
    """All gates, or those of one name with the *first* who are there."""
    gates = runtime.engine.store.gates
    for gate in gates.known():
        if name is not None and gate_named(gate) != name:
            continue
        found = gates.read(gate, first=first)
        if not found.record:
            continue
        record = load(gate, found.record)
        over = found.now if record.rule.kind == "rate" else 0  # others are looked up before
        live = [(member, end) for member, end in found.places if end > over]
        places = ((split_place(gate, member), end) for member, end in live[:first])
        line = (split_line(gate, each, call_order(order)[1]) for each, order in found.line)
        yield Seen(
            *(gate, record, found.taken - (len(found.places) - len(live))),
            *(found.waiting, found.now),
            [(place, end) for place, end in places if place is not None],
            [turn for turn in line if turn is not None],
        )
