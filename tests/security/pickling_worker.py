"""The app of a worker whose application pickles: `celery -A tests.security.pickling_worker …`.

Owns: changing the kit's app.  Refuses to know: how (`pickling`).
"""

from __future__ import annotations

from tests.security.pickling import make_it_pickle
from tests.workers.worker_app import app

__all__ = ["app"]

make_it_pickle(app)
