"""The runs that one version leaves to the next, in every state a run can be left in.

Owns: what they are called and given, how each is shown when it is handed over, and how it ends.
Refuses to know: how they are brought there (`make_dump`) and what ends them (`test_upgrade`).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.upgrade.shop import Order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac import RunHandle
    from tests.upgrade.shop import Shop


class Left(NamedTuple):
    """A run: what it is given, and its status when it is handed over and in the end."""

    id: str
    saga: str
    script: dict[str, str]
    status: str
    ends: str
    tags: Mapping[str, str] = MappingProxyType({})
    urgent: bool = False

    def start(self, shop: Shop, **options: Any) -> RunHandle[Any]:
        """Start it, or join it."""
        named: dict[str, Any] = {"urgent": True} if self.urgent else {}
        order = Order(script=self.script)
        return shop.by_name(self.saga).start(order, id=self.id, tags=self.tags, **named, **options)


VIP = {"customer": "Žofie = 1", "kind": "v/100%"}
AT_WORK = {"charge": "hold"}
CHARGE_AWAY, RELEASE_AWAY = {"charge": "away"}, {"reserve.undo": "away"}

LEFT = (
    Left("never-sent", "order", {}, "running", "completed"),  # its message is lost
    Left("queued", "order", {}, "running", "completed"),  # its message waits
    Left("sent-again", "order", {}, "running", "completed"),  # its message is lost once more
    Left("blocked", "abroad", {}, "running", "completed"),  # no worker knows its task
    Left("at-work", "order", AT_WORK, "running", "completed", VIP, urgent=True),
    Left("lost-once", "order", AT_WORK, "running", "completed"),  # twice at work
    Left("retrying", "order", CHARGE_AWAY, "running", "completed"),
    Left("again", "order", AT_WORK, "running", "completed"),  # started anew
    Left("late", "hurry", {"wait": "away"}, "running", "compensated"),  # its deadline passes
    Left("overdue", "alarm", {"wait": "away"}, "running", "completed"),
    Left("undo-at-work", "order", {"charge.undo": "hold"}, "compensating", "compensated"),
    Left("undo-retrying", "order", RELEASE_AWAY, "compensating", "compensated"),
    Left("cut-off", "order", AT_WORK, "compensating", "compensated"),  # cancelled while at work
    Left("in-grace", "delivery", {"weigh": "slow"}, "compensating", "compensated"),
    Left("owing", "order", {"reserve.undo": "refuse"}, "failed", "compensated"),
    Left("owing-too", "order", {"pack.undo": "away"}, "failed", "compensated"),
    Left("past-pivot", "handover", {"ship": "refuse"}, "failed", "completed"),
    Left("asking", "delivery", {"mail": "slow"}, "failed", "completed"),
    Left("asking-too", "delivery", {"mail": "slow"}, "failed", "completed"),
    Left("asking-back", "delivery", {"mail": "slow"}, "failed", "compensated"),
    Left("paused", "order", CHARGE_AWAY, "paused", "completed"),
    Left("paused-back", "order", RELEASE_AWAY, "paused", "compensated"),
    Left("completed", "order", {}, "completed", "completed", VIP, urgent=True),
    Left("compensated", "order", {}, "compensated", "compensated"),
    Left("steered", "order", CHARGE_AWAY, "completed", "completed"),  # paused, resumed, skipped
    Left("waived", "order", {"pack.undo": "away"}, "compensated", "compensated"),
    Left("terminated", "order", CHARGE_AWAY, "terminated", "terminated", {"kind": "odd"}),
)
BY_ID = {left.id: left for left in LEFT}
#: What nothing happens to any more.
AT_REST = tuple(left for left in LEFT if left.status in ("completed", "compensated", "terminated"))
#: Kept for a second only: it is there when it is handed over, and nobody needs it.
BRIEF = Left("brief", "brief", {}, "completed", "")
EVERY = (*LEFT, BRIEF)
