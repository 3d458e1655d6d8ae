"""Which process this is, and whether another one still lives: asked of the system, on one machine.

Owns: where a process id means something, and when a process began.  Refuses to know: whose
processes they are.  Only Linux tells; elsewhere nothing is known of another process.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class Process(NamedTuple):
    """A process, by what no other one shares with it."""

    place: str  # where its id means something; empty: unknown
    pid: int
    born: int  # clock ticks from the start of the machine to its own; 0: unknown


def this_process() -> Process:
    """Return the process that asks."""
    born = _born(os.getpid())
    return Process(_place() if born else "", os.getpid(), born or 0)


def is_gone(process: Process) -> bool:
    """True if *process* is known to have ended; False also where nobody can tell from here."""
    if not process.place or process.place != _place():
        return False
    try:
        os.kill(process.pid, 0)  # where /proc hides the processes of other users, this does not
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it lives, and is somebody else's
    return _born(process.pid) not in (None, process.born)


@functools.cache
def _place() -> str:
    """The machine since it was started, and the space of process ids: a container has its own."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(pid: int) -> int | None:
    """When a process began, in ticks; -1 if it has ended and only its parent has not noticed.

    None: that cannot be read.
    """
    try:
        # The name, in brackets, may hold anything.
        state, *others = (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
        return -1 if state in "ZX" else int(others[18])
    except (OSError, ValueError, IndexError):
        return None
