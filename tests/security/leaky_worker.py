"""The leaky application as processes import it: `celery -A tests.security.leaky_worker …`.

Owns: reading where the test runs from the environment.  Refuses to know: what is tested.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.security.leaky import build

leaky = build(
    os.environ["KIT_BROKER"],
    Path(os.environ["KIT_FOLDER"]),
    int(os.environ["LEAKY_METRICS"]) if "LEAKY_METRICS" in os.environ else None,
    log_json=bool(os.environ.get("LEAKY_JSON")),
)
app = leaky.app
