"""Gates: who may pass a limit, a rate or a breaker now, and whose turn it is next.  Pure.

Owns: what is known of a gate, and every rule about passing one.  Refuses to know: clocks, servers,
and runs; it is told what time it is, who is inside, and who waits.

Its files, from the ground up::

    records < judging
"""

from __future__ import annotations

from celeriac.gating.judging import (
    Inside,
    Verdict,
    call_order,
    judge,
    look_at,
    order_in_line,
    place_ends,
    report,
    set_by_operator,
    turns,
)
from celeriac.gating.records import Outcome, Record, State, dump, load

__all__ = [
    "Inside",
    "Outcome",
    "Record",
    "State",
    "Verdict",
    "call_order",
    "dump",
    "judge",
    "load",
    "look_at",
    "order_in_line",
    "place_ends",
    "report",
    "set_by_operator",
    "turns",
]
