"""Faults of the network: what happens between a process and its Redis.

Owns: which ways are harmed and how, by luck, and seeing that a fault has met somebody.  Refuses to
know: how bytes are cut or held (`proxy`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.chaos.missed import PATIENCE, Dice, Missed, wait
from tests.chaos.proxy import Fault
from tests.chaos.schedule import SERVERS

if TYPE_CHECKING:
    from tests.chaos.environment import Installation
    from tests.chaos.proxy import Proxy
    from tests.chaos.schedule import Planned

_FAR = 400  # bytes; a connection ends within so many


def _ways(installation: Installation, planned: Planned, dice: Dice) -> list[Proxy]:
    """The proxies of a user: to one server, or to all."""
    names = dice.choice((SERVERS[:1], SERVERS[1:], SERVERS))
    there = [installation.proxies.get((planned.where, name)) for name in names]
    found = [proxy for proxy in there if proxy]
    if planned.where == "beats" or not found:  # beats have no business with the state
        return [installation.proxies[planned.where, SERVERS[0]]]
    return found


def _network(
    installation: Installation, planned: Planned, ways: list[Proxy], fault: Fault, reset: bool
) -> str:
    """Let a fault stand on *ways*, until it has met somebody and its time is over."""
    with installation.disturbed(planned.where), installation.way_locks[planned.where]:
        before = _hits(ways)
        for proxy in ways:
            proxy.begin(fault)
            if fault.kind == "refuse":
                proxy.drop(reset=reset)
        time.sleep(planned.length)
        wait(lambda: _hits(ways) > before, PATIENCE)
        for proxy in ways:
            proxy.heal(reset=reset)
        met = _hits(ways) - before
    if not met:
        raise Missed(f"{planned.where} said nothing to Redis")
    return f"{planned.where}, {met} connections, {fault.toward} after {fault.after} bytes"


def _hits(ways: list[Proxy]) -> int:
    return sum(proxy.hits for proxy in ways)


def break_network(installation: Installation, planned: Planned, dice: Dice) -> str:
    """Connections end, are reset, held up, swallowed, slow, or refused."""
    fault = Fault(
        planned.kind,  # type: ignore[arg-type]  # these kinds have the names of the proxy's
        dice.choice(("server", "client", "both")),
        0 if planned.kind in ("hold", "slow") else dice.choice((0, 1, dice.randrange(_FAR))),
        dice.uniform(0.02, 0.3),
    )
    reset = planned.kind in ("hold", "refuse") and dice.random() < 0.5
    return _network(installation, planned, _ways(installation, planned, dice), fault, reset)


def lose_replies(installation: Installation, planned: Planned, dice: Dice) -> str:
    """Redis does what it is asked, and whoever asked never hears of it."""
    fault = Fault("cut", "client", dice.choice((0, 0, 1, dice.randrange(_FAR))))
    return _network(installation, planned, _ways(installation, planned, dice), fault, False)
