"""Gates as applications look at them, and breakers as operators set them.

Owns: reading all gates of an app's run state, and refusing a name that is no breaker.  Refuses to
know: what is shown of them (`views`), and who may pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import InputInvalid
from celeriac.gating import load
from celeriac.views import GateState, Seen, gate_states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.workers import Runtime


def look_at_gates(runtime: Runtime) -> list[GateState]:
    """Return how all gates stand that the code or the store knows, by name."""
    return gate_states(runtime.rules, _seen(runtime))


def set_breaker(runtime: Runtime, name: str, by: str, *, to_open: bool) -> None:
    """Open a breaker until somebody closes it, or close it; raise InputInvalid if it is none."""
    breakers = [each.name for each in look_at_gates(runtime) if each.kind == "breaker"]
    if name not in breakers:
        known = ", ".join(breakers) or "none"
        raise InputInvalid(f"there is no breaker {name!r}; there are: {known}")
    runtime.engine.gates.set_breaker(name, by, to_open=to_open)


def _seen(runtime: Runtime) -> Iterator[Seen]:
    gates = runtime.engine.store.gates
    for gate in gates.known():
        found = gates.read(gate)
        if found.record:
            record = load(gate, found.record)
            ended = sum(1 for _, end in found.places if end <= found.now)
            live = found.taken - (ended if record.rule.kind == "rate" else 0)
            yield Seen(gate, record, live, found.waiting, found.now)
