"""What some workers know beside the kit: `celery -A tests.workers.worker_app worker -I …`.

Owns: adding the odd steps and the adopted tasks to a worker's app, as an include of Celery's.
Refuses to know: what they do.
"""

from __future__ import annotations

from tests.workers import adopted, odd
from tests.workers.worker_app import kit

odd.extend(kit)
adopted.extend(kit)
