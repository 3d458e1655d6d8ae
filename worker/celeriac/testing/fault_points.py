"""Where something can go wrong in the lab: the names of the places, and what is armed there.

Owns: the grammar of a point (`charge before body`), and the faults that wait for one.  Refuses to
know: what a fault does; that is a callable.

A point is *who*, *when*, and *which contact with the world*:

- who: a step (`charge`), its compensation (`undo charge`), `client`, `operator` or `sweep`;
- when: `before` or `after`;
- contact: `claim`, `body`, `heartbeat`, `report` and `send` of a step's attempt; `commit`, `send`
  and `postpone` of the others; `read` of all, and `gate`, when something is written of one.  A call
  of the store that is cut off before it was done lost its request, after it its reply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from celeriac.errors import InputInvalid
from celeriac.machine import in_any_visit, instance_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

WHEN = ("before", "after")
OF_ATTEMPTS = ("read", "gate", "claim", "body", "heartbeat", "report", "send")
OF_OTHERS = ("read", "gate", "commit", "send", "postpone")
OTHERS = ("client", "operator", "sweep")
#: Who undoes a step is called `undo` and the step.
UNDO = "undo "


class Point(NamedTuple):
    """A place that was reached, for the `nth` time."""

    who: str
    when: str
    contact: str
    nth: int

    @property
    def name(self) -> str:
        """How it is named where something is armed there."""
        return f"{self.who} {self.when} {self.contact}"


@dataclass(slots=True)
class Fault:
    """Something that waits for a point: it happens `times` times, after `skip` other chances."""

    act: Callable[..., object]
    skip: int = 0
    times: int | None = 1  # None: every time
    ends: bool = False  # nothing else happens at the same point after it
    happened: int = 0

    def waits(self) -> bool:
        """True if this chance is not yet its own; it is used up by asking."""
        if not self.skip:
            return False
        self.skip -= 1
        return True

    def strikes(self) -> bool:
        """True if it happens now."""
        if self.times is not None and self.happened >= self.times:
            return False
        self.happened += 1
        return True


@dataclass(slots=True)
class Armed:
    """The faults that wait, by the name of what they wait for; those armed first come first."""

    faults: dict[str, list[Fault]] = field(default_factory=dict)

    def arm(self, name: str, fault: Fault) -> Fault:
        """Let *fault* wait for *name*."""
        self.faults.setdefault(name, []).append(fault)
        return fault

    def disarm(self, name: str) -> None:
        """Forget what waits for *name*."""
        self.faults.pop(name, None)

    def due(self, name: str) -> Iterator[Fault]:
        """Yield the faults that strike now; those that end what they strike come last."""
        ready = [fault for fault in self.faults.get(name, ()) if not fault.waits()]
        for fault in sorted(ready, key=lambda fault: fault.ends):
            if fault.strikes():
                yield fault


def checked_point(name: str, steps: Collection[str]) -> str:
    """Return the name of a point; raise InputInvalid if nobody will ever get there."""
    who, _, rest = name.rpartition(" before ") if " before " in name else name.rpartition(" after ")
    contacts = OF_OTHERS if who in OTHERS else OF_ATTEMPTS
    if not who or rest not in contacts:
        raise InputInvalid(
            f"{name!r} is not a point: write who, before or after, and the contact, such as "
            f"'charge before body'; a step has {', '.join(OF_ATTEMPTS)}; {', '.join(OTHERS)} have "
            f"{', '.join(OF_OTHERS)}"
        )
    if who not in OTHERS:
        checked_who(who, steps)
    return name


def checked_who(who: str, steps: Collection[str]) -> str:
    """Return the name of a step or of its compensation; raise InputInvalid for any other."""
    step = in_any_visit(who.removeprefix(UNDO))
    instance = instance_of(step)
    known = step in steps or who in steps
    if not known and not (instance and instance.node in steps):
        raise InputInvalid(
            f"the lab knows no step {who.removeprefix(UNDO)!r}; it knows "
            f"{', '.join(sorted(steps)) or 'none before a run is started'}; a compensation is "
            "called 'undo' and its step"
        )
    return who
