"""What a worker knows beside the kit: `celery -A tests.workers.worker_app worker -I …`.

Owns: adding the tasks of `unmodified` to a worker's app.  Refuses to know: what they do.
"""

from __future__ import annotations

from tests.workers import unmodified
from tests.workers.worker_app import kit

unmodified.extend(kit)
