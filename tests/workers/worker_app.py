"""The app as worker and beat processes import it: `celery -A tests.workers.worker_app …`.

Owns: reading where the test runs from the environment.  Refuses to know: what is tested.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.workers.kit import build

kit = build(
    os.environ["KIT_BROKER"],
    Path(os.environ["KIT_FOLDER"]),
    tuple(filter(None, os.environ.get("KIT_WITHOUT", "").split(","))),
    os.environ.get("KIT_STATE") or None,
)
app = kit.app
