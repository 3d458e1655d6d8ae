"""What some workers know beside the kit: `celery -A tests.workers.worker_app worker -I …`.

Owns: adding the odd steps and the adopted tasks to a worker's app, as an include of Celery's.
Refuses to know: what they do.
"""

from __future__ import annotations

from tests.workers import adopted, edge_case_steps, value_steps
from tests.workers.worker_app import kit

edge_case_steps.extend(kit)
adopted.extend(kit)
value_steps.extend(kit)
