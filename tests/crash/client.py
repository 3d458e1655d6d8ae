"""A client that starts a run and may not live to see it: `python -m tests.crash.client …`.

Owns: starting one run in a process of its own, whose points are armed.  Refuses to know: what
happens to it there.

Arguments: the broker's URL, the test's folder, the id of the run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from celeriac import SagaError
from tests.crash import failpoints
from tests.crash.crash_saga import CrashInput, extend
from tests.workers.kit import build


def main(url: str, folder: str, run_id: str) -> None:
    """Start the run and say what came of it."""
    kit = build(url, Path(folder))
    saga = extend(kit, failpoints.arm(kit.folder))
    try:
        saga.start(CrashInput(), id=run_id)
    except SagaError as error:
        print(f"refused: {error.code}", flush=True)  # noqa: T201 -- the test reads it
    else:
        print("accepted", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
