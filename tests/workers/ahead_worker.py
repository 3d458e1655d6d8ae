"""What a worker knows beside the kit: `celery -A tests.workers.worker_app worker -I …`.

Owns: adding the sagas of `ahead_steps` and `edge_case_steps` to a worker's app.  Refuses to know:
what they do.
"""

from __future__ import annotations

from tests.workers import ahead_steps, edge_case_steps
from tests.workers.worker_app import kit

ahead_steps.extend(kit)
edge_case_steps.extend(kit)
