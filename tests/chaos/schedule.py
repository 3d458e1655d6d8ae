"""The plan of a run of chaos: which faults there are, and when each strikes, by a seed.

Owns: the table of faults and the drawing of a schedule.  Refuses to know: how a fault is done
(`faults`).  The same seed and length give the same schedule, to the digit; what it meets differs
from time to time, since processes, sockets and clocks are real.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

WORKERS, BEATS, CLIENTS = ("w1", "w2"), ("beat1", "beat2"), ("c1", "c2")
SERVERS = ("broker", "state")
#: Who has connections of its own to each server.
USERS = (*WORKERS, "clients", "beats")
SPACING = 2.0  # seconds between two faults, where there is time
_LEAD = 2.0  # seconds before the first
_CALM = (0.0, 0.0)


class Kind(NamedTuple):
    """A kind of fault."""

    name: str
    what: str  # happens
    where: tuple[str, ...]  # it may strike
    length: tuple[float, float] = _CALM  # seconds, shortest and longest
    share: int = 1  # how often it is in each round
    clocks: bool = False  # it needs clocks that can be set


KINDS = (
    Kind("kill-child", "SIGKILL of a pool child, of one at work if there is one", WORKERS, share=2),
    Kind("kill-worker", "SIGKILL of a worker and all its children", WORKERS),
    Kind("end-worker", "SIGTERM of a worker, as a deploy does", WORKERS),
    # From a little over the lease, so that the zombie meets the attempt that follows, to longer.
    Kind("stop-worker", "SIGSTOP of a worker for longer than the lease", WORKERS, (2.4, 8.0), 2),
    Kind("stop-child", "SIGSTOP of a pool child alone", WORKERS, (1.0, 4.0)),
    Kind("stop-parent", "SIGSTOP of a worker's main process alone", WORKERS, (2.4, 4.0)),
    Kind("kill-beat", "SIGKILL of a beat", BEATS),
    Kind("stop-beat", "SIGSTOP of a beat", BEATS, (1.0, 4.0)),
    Kind("kill-client", "SIGKILL of a client", CLIENTS),
    Kind("kill-redis", "SIGKILL of a Redis, started again with its AOF", SERVERS, (0.0, 5.0)),
    Kind("stop-redis", "SIGSTOP of a Redis", SERVERS, (0.5, 6.0)),
    Kind("fill-redis", "a Redis at maxmemory", SERVERS, (0.5, 2.5)),
    Kind("flush-scripts", "SCRIPT FLUSH, over and over", ("state",), (0.5, 1.5)),
    Kind("kill-connections", "CLIENT KILL of all, a few times", SERVERS, (0.2, 1.0)),
    Kind("cut", "connections end at some byte", USERS, (0.3, 2.0)),
    Kind("reset", "connections are reset at some byte", USERS, (0.3, 2.0)),
    Kind("lose-replies", "requests arrive, replies do not", USERS, (0.3, 1.0)),
    Kind("hold", "a black hole; then all arrives, or connections are reset", USERS, (0.5, 6.5)),
    Kind("swallow", "bytes vanish, connections stay", USERS, (0.3, 1.0)),
    Kind("slow", "each chunk takes its time", USERS, (1.0, 3.0)),
    Kind("refuse", "all connections end, new ones are refused", USERS, (0.5, 2.0)),
    Kind("lose-messages", "messages taken from the queues", ("broker",), (0.5, 2.0)),
    Kind("double-messages", "messages delivered twice, now and later", ("broker",), (0.5, 2.0)),
    Kind("shuffle-messages", "messages delayed, in another order", ("broker",), (0.5, 2.0)),
    Kind(
        "set-state-clock", "the clock of the state's Redis jumps", ("state",), (1.0, 3.0), 1, True
    ),
    Kind("set-worker-clock", "the clock of a worker jumps", ("w2",), (1.0, 3.0), 1, True),
)
BY_NAME = {kind.name: kind for kind in KINDS}


class Planned(NamedTuple):
    """A fault that will strike."""

    at: float  # seconds from the beginning
    kind: str
    where: str
    length: float  # seconds
    luck: int  # what its own choices are drawn from

    def __str__(self) -> str:
        length = f" for {self.length:.1f} s" if self.length else ""
        return f"{self.at:6.1f}  {self.kind} {self.where}{length}"


def schedule(
    seed: int, seconds: float, only: Collection[str] = (), *, clocks: bool = True
) -> tuple[Planned, ...]:
    """Draw the faults of so many seconds: each kind at least once, more while there is time.

    *only* names the kinds that may strike; none: all.  Without *clocks* none is set.
    """
    dice = random.Random(f"{seed}/{seconds:g}")  # noqa: S311 -- to be drawn again
    kinds = [kind for kind in KINDS if (not only or kind.name in only)]
    able = [kind for kind in kinds if clocks or not kind.clocks]
    count = max(sum(kind.share for kind in able), int((seconds - _LEAD) / SPACING))
    step = (seconds - _LEAD) / count
    drawn = [
        _draw(dice, kind, _LEAD + step * (number + dice.uniform(0.0, 0.9)))
        for number, kind in zip(range(count), _rounds(dice, able), strict=False)
    ]
    return tuple(sorted(drawn))


def _rounds(dice: random.Random, kinds: list[Kind]) -> Iterator[Kind]:
    """Every kind in its share, in another order each time."""
    while True:
        deck = [kind for kind in kinds for _ in range(kind.share)]
        dice.shuffle(deck)
        yield from deck


def _draw(dice: random.Random, kind: Kind, at: float) -> Planned:
    where, length = dice.choice(kind.where), dice.uniform(*kind.length)
    return Planned(round(at, 2), kind.name, where, round(length, 2), dice.getrandbits(32))
