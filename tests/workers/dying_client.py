"""A client that is killed while it starts a run: `python -m tests.workers.dying_client …`.

Owns: dying at one of three points of `start`.  Refuses to know: what must come of it.

Arguments: the broker's URL, the test's folder, the point, and the id of the run.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.workers.kit import Kit, Trip, build


def main(url: str, folder: str, point: str, run_id: str) -> None:
    """Start a run, and do not survive it."""
    kit = build(url, Path(folder))
    _arm(kit, point)
    kit.trip.start(Trip(), id=run_id)


def _arm(kit: Kit, point: str) -> None:
    runtime: Any = kit.sagas.runtime
    send = runtime.dispatcher.send
    if point == "before-commit":
        runtime.engine.store.commit = _die
    elif point == "before-publish":
        runtime.dispatcher.send = _die
    elif point == "after-publish":
        runtime.dispatcher.send = lambda *what: _die(send(*what))


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
