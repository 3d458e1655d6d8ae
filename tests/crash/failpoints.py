"""Failpoints: what a test wants to happen at a point, and proof that it did.

Owns: both sides.  A test sets a failpoint in a folder; the first process that reaches its point
with its text leaves a mark and does what the failpoint says.  Refuses to know: what a run should
make of it.

A failpoint is taken by renaming its file, so that of several processes one takes it.  What it can
do:

- `kill` the process, `kill-group` or `stop-group` of a worker: all its children with it,
- `hold` it until the test says `go`, which is when the test restarts or stops something,
- `lose`: raise as if the connection to Redis were gone; `fail` raises what our own store raises.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Literal

import redis

from celeriac import StoreUnavailable, points

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Act = Literal["kill", "kill-group", "stop-group", "hold", "lose", "fail", "pass"]

_FOLDER = "failpoints"
_LONGEST_HOLD = 60.0  # seconds
_numbers = itertools.count(1)


class Failpoint:
    """A failpoint, as the test that has set it sees it."""

    def __init__(
        self,
        folder: Path,
        point: str,
        text: str | tuple[str, ...],
        act: Act,
        *,
        again: bool = False,
    ) -> None:
        """Set it; with *again* it acts each time, until it is taken away.

        *text* must be in what the point is about; of several, all.
        """
        self.point, self.act = point, act
        self.texts = (text,) if isinstance(text, str) else text
        place = folder / _FOLDER
        place.mkdir(exist_ok=True)
        self._path = place / f"{next(_numbers):04}-{os.getpid()}.failpoint"
        order = {"point": point, "texts": self.texts, "act": act, "again": again}
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(order))
        new.rename(self._path)

    def __repr__(self) -> str:
        return f"<{self.act} at {self.point}, {self.texts!r}>"

    @property
    def hits(self) -> list[dict[str, Any]]:
        """Who has reached it: pid, pgid and time of each."""
        mark = self._path.with_suffix(".hit")
        return [json.loads(line) for line in mark.read_text().splitlines()] if mark.exists() else []

    @property
    def hit(self) -> bool:
        """True once it was reached."""
        return bool(self.hits)

    def go(self) -> None:
        """Let a process go on that is held."""
        self._path.with_suffix(".go").touch()

    def take_away(self) -> None:
        """Let it spring no more."""
        self._path.unlink(missing_ok=True)


def arm(folder: Path) -> Callable[[str, object], None]:
    """Let the failpoints in *folder* act in this process; return what tells of further points."""
    place = folder / _FOLDER
    place.mkdir(exist_ok=True)

    def reached(point: str, about: object = None) -> None:
        for path in sorted(place.glob("*.failpoint")):
            _look(path, point, about)

    points.arm(reached)
    return reached


def _look(path: Path, point: str, about: object) -> None:
    try:
        order = json.loads(path.read_text())
    except FileNotFoundError:
        return  # somebody else has stepped into it
    if order["point"] != point or any(text not in told(about) for text in order["texts"]):
        return
    if not order["again"]:
        try:
            path.rename(path.with_suffix(".reached"))
        except FileNotFoundError:
            return
    mark = {"pid": os.getpid(), "group": os.getpgrp(), "at": time.time()}
    with path.with_suffix(".hit").open("a") as marks:
        marks.write(json.dumps(mark) + "\n")
    _ACTS[order["act"]](path)


def told(about: object) -> str:
    """What a point is about, as text: its parts, with colons between."""
    if isinstance(about, bytes):
        return about.decode("utf-8", "replace")
    if isinstance(about, Sequence | AbstractSet) and not isinstance(about, str):
        return ":".join(told(part) for part in about)
    return str(about)


def _hold(path: Path) -> None:
    give_up = time.monotonic() + _LONGEST_HOLD
    while not path.with_suffix(".go").exists() and time.monotonic() < give_up:
        time.sleep(0.01)  # a condition is awaited: that the test says go


def _lose(_: Path) -> None:
    raise redis.ConnectionError("the connection was lost, says a test")


def _fail(_: Path) -> None:
    raise StoreUnavailable("the store is out of reach, says a test")


_ACTS: dict[Act, Callable[[Path], object]] = {
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "kill-group": lambda _: os.killpg(os.getpgrp(), signal.SIGKILL),
    "stop-group": lambda _: os.killpg(os.getpgrp(), signal.SIGSTOP),
    "hold": _hold,
    "lose": _lose,
    "fail": _fail,
    "pass": lambda _: None,
}
