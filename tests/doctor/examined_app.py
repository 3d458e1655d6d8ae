"""An application for the doctor to examine: `celery -A tests.doctor.examined_app …`.

Owns: two sagas, one of them with an adopted task, and what a test wants to be wrong with them.
Refuses to know: what the doctor says.

The environment variable CLINIC holds JSON: `broker` and `state` (URLs), `conf`, `without` (tasks a
process does not know), `ahead` (seconds its clock is ahead), `routes` and `stranger` (no Sagas).
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from celery import Celery

from celeriac import Flow, Sagas
from celeriac.workers import report

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "CLINIC"
#: What a production application sets, and the doctor has nothing to say about.
SOUND: dict[str, Any] = {
    "worker_prefetch_multiplier": 1,
    "broker_connection_retry_on_startup": True,
}


def build(
    broker: str,
    state: str | None = None,
    *,
    conf: dict[str, Any] | None = None,
    without: Sequence[str] = (),
    late: dict[str, Any] | None = None,
) -> Celery:
    """Make the application; *late* are the options of the adopted task."""
    app = Celery("clinic", broker=broker, set_as_current=False)
    app.conf.update(SOUND | {"saga_redis_url": state} | (conf or {}))
    sagas = Sagas(app)

    @app.task(name="clinic.scan", shared=False, **(late or {}))  # type: ignore[untyped-decorator]  # Celery has no types
    def scan(patient: str) -> str:
        return patient

    @sagas.step(name="clinic.operate", timeout="50s")
    def operate(patient: str) -> str:
        return patient

    @operate.compensation(name="clinic.apologise", timeout="20s")
    def apologise(patient: str) -> None:
        pass

    @sagas.saga
    def treatment(flow: Flow, patient: str) -> str:
        return flow.step(operate, flow.step(scan, patient))

    assert treatment.name == "treatment"
    app.finalize()
    for name in without:
        app.tasks.unregister(name)
    return app


def _of_environment() -> Celery:
    given = json.loads(os.environ[VARIABLE])
    ahead = given.pop("ahead", 0)
    if ahead:
        report.clock = lambda: time.time() + ahead
    if given.pop("stranger", False):
        return Celery("clinic", broker=given["broker"], set_as_current=False)
    return build(**given)


if VARIABLE in os.environ:
    app = _of_environment()
