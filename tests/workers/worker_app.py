"""The app as worker and beat processes import it: `celery -A tests.workers.worker_app …`.

Owns: reading where the test runs from the environment.  Refuses to know: what is tested.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from celeriac.engine import processes
from tests.workers.kit import build

kit = build(
    os.environ["KIT_BROKER"],
    Path(os.environ["KIT_FOLDER"]),
    tuple(filter(None, os.environ.get("KIT_WITHOUT", "").split(","))),
    os.environ.get("KIT_STATE") or None,
    json.loads(os.environ.get("KIT_CONF", "{}")),
)
app = kit.app
if place := os.environ.get("KIT_PLACE"):
    # As if each worker had a machine of its own: nobody can look at another's process.
    processes._place = lambda: place  # type: ignore[assignment]
