"""The app whose real workers do what a file says: `celery -A tests.workflows.deploying_app …`.

Owns: what it allows, and the secret.  Refuses to know: what the file says: workers have none.
"""

from __future__ import annotations

import os

from celery import Celery

from celeriac import Sagas

TOKEN = "t0p/s3cret&t0ken"  # what a URL spells otherwise  # noqa: S105


def secret(name: str) -> str:
    """The only one there is."""
    return {"CI_TOKEN": TOKEN}[name]


def build(url: str) -> Sagas:
    """Make the app."""
    app = Celery("deploying", broker=url, set_as_current=False)
    app.conf.update(
        saga_lease=2.0,
        saga_sweep_interval=0.2,
        saga_grace=0.7,
        saga_actions=("http", "poll", "shell"),
        saga_http_allow=("127.0.0.1",),
        saga_secrets="tests.workflows.deploying_app.secret",
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        task_send_sent_event=True,
        broker_connection_retry_on_startup=True,
    )
    return Sagas(app)


if "DEPLOYING_URL" in os.environ:
    app = build(os.environ["DEPLOYING_URL"]).app
