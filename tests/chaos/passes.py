"""Who has passed a rate, and when: noted by workers, read when all is over.

Owns: a file of lines, one write for each, and what they come to.  Refuses to know: how many may
pass (`tests.proof.places`).

A place is noted once it is taken, and given back before it is: a worker that dies in between leaves
out somebody who has passed, and never tells of one who has not.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

from celeriac.engine.gates import GateWork
from celeriac.gating import load
from celeriac.store import place_member
from celeriac.store.redis_gates import RedisGates
from tests.proof.places import Passed

if TYPE_CHECKING:
    from pathlib import Path

    from celeriac.engine.gates import Passing
    from celeriac.store import GateChange, GateSnapshot

_NOTES = "rate-places"  # a file in the folder of the kit


def note_in(folder: Path) -> None:
    """Let this process note which places it takes at rates, and which it gives back unused."""
    read, commit, give_back = RedisGates.read, RedisGates.commit, GateWork.give_back
    newest = threading.local()  # when a gate was read last, by the clock of the Redis, in ms

    def noting_read(self: RedisGates, gate: str, *rest: Any, **more: Any) -> GateSnapshot:
        found = read(self, gate, *rest, **more)
        newest.at = found.now
        return found

    def noting_commit(self: RedisGates, change: GateChange) -> bool:
        written = commit(self, change)
        record = load(change.gate, change.record)
        if written and record.rule.kind == "rate":
            for member in change.take:
                about = [record.rule.most, record.rule.per, newest.at, record.version]
                _note(folder, [change.gate, member, about])
        return written

    def noting_give_back(self: GateWork, passing: Passing) -> None:
        for place in passing.taken:
            _note(folder, [place.gate, place_member(place), None])
        give_back(self, passing)

    patched: Any = RedisGates
    patched.read, patched.commit = noting_read, noting_commit
    patched = GateWork
    patched.give_back = noting_give_back


def passed(folder: Path) -> list[Passed]:
    """Who has passed a rate, and did not give the place back before the attempt began."""
    notes = folder / _NOTES
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    told = [json.loads(line) for line in lines]
    unused = {(gate, member) for gate, member, about in told if about is None}
    return [
        Passed(gate, *about)
        for gate, member, about in told
        if about is not None and (gate, member) not in unused
    ]


def _note(folder: Path, what: list[Any]) -> None:
    handle = os.open(folder / _NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, f"{json.dumps(what)}\n".encode())
    finally:
        os.close(handle)
