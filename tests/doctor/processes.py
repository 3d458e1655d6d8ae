"""Workers and beats of the clinic, as processes of their own.

Owns: what each is told of its clinic.  Refuses to know: what is wrong with them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests import processes
from tests.doctor.examined_app import VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes import Process


def environment(**clinic: Any) -> dict[str, str]:
    """What a process of the clinic finds in its environment."""
    return processes.environment(**{VARIABLE: json.dumps(clinic)})


class ExaminedProcesses:
    """Starts workers and beats, and ends what it started."""

    def __init__(self, folder: Path) -> None:
        self.processes = processes.Processes(folder, "tests.doctor.examined_app")

    def worker(self, name: str, *args: str, **clinic: Any) -> Process:
        """Start a worker, and wait until it is ready."""
        return self.processes.worker(name, *args, env=environment(**clinic), children=1)

    def beat(self, name: str, **clinic: Any) -> Process:
        """Start a beat, and wait until it has started."""
        return self.processes.beat(name, environment(**clinic))

    def close(self) -> None:
        """End whatever still runs."""
        self.processes.kill()
