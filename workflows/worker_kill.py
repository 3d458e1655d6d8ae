"""A worker process dies in the middle of its work, on purpose.

Owns: finding a process that is in a call to a partner right now, killing it, and how long it took
until somebody else took its work up.  Refuses to know: how recovery works, and every process that
is not a child of the worker it was given.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workflows.services import ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

VERBS = ("hold", "charge")  # the calls that are quick when nobody is killed in them
_SETTLE_SECONDS = 0.005


class Accident(NamedTuple):
    """Who was killed, when, and in the middle of what."""

    call: ledger.Call
    at: int  # ms since the epoch

    @property
    def order(self) -> str:
        """The order it was working for: keys begin with the run's id."""
        return self.call.key.partition(":")[0]

    def __str__(self) -> str:
        return f"process {self.call.pid}, in the middle of the {self.call.verb} of {self.order}"

    def taken_up_after(self) -> float | None:
        """Seconds until the same key was worked on again; None if it never was."""
        later = ledger.calls_after(self.call)
        return (later[0].began - self.at) / 1000 if later else None


def strike(worker: int) -> Accident | None:
    """Kill, with SIGKILL, one child of the process *worker* that is in a call; None if none is.

    A candidate is stopped first: whatever it was in the middle of, it still is when it is killed.
    """
    for call in _in_calls(worker):
        with suppress(ProcessLookupError):
            os.kill(call.pid, signal.SIGSTOP)
            time.sleep(_SETTLE_SECONDS)
            if call in ledger.calls_in_progress([call.pid]):
                os.kill(call.pid, signal.SIGKILL)
                return Accident(call, time.time_ns() // 1_000_000)
            os.kill(call.pid, signal.SIGCONT)
    return None


def busy(worker: int) -> bool:
    """Whether a child of the process *worker* is in a call."""
    return bool(ledger.calls_in_progress(children_of(worker)))


def children_of(parent: int) -> set[int]:
    """Return the ids of the processes whose parent is *parent*."""
    pairs = _from_proc() if Path("/proc/self/stat").exists() else _from_ps()
    return {child for child, its_parent in pairs if its_parent == parent}


def _in_calls(worker: int) -> list[ledger.Call]:
    return [c for c in ledger.calls_in_progress(children_of(worker)) if c.verb in VERBS]


def _from_proc() -> Iterator[tuple[int, int]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            # The second field is the program's name, in parentheses, and may hold anything.
            yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])


def _from_ps() -> Iterator[tuple[int, int]]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="],  # noqa: S607 -- wherever this system keeps it
        capture_output=True,
        text=True,
        check=True,
    )
    for line in listed.stdout.splitlines():
        child, parent = line.split()
        yield int(child), int(parent)
