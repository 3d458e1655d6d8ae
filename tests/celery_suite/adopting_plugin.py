"""A pytest plugin: gives every app of Celery's own tests its `Sagas`, and adopts every task.

Owns: adopting what Celery's tests make, and counting it in the file `ADOPTED_COUNT`.  Refuses to
know: the tests.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from pathlib import Path
from typing import Any

from celery import Celery
from celery.app import base

from celeriac import ConfigurationError, DefinitionError, Sagas
from celeriac.authoring import Shape
from celeriac.workers import SagaTask, adopt

COUNT: Counter[str] = Counter()


def _wired(init: Any) -> Any:
    @functools.wraps(init)
    def wired(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.conf.saga_redis_url = "redis://localhost:1/0"
        try:
            Sagas(self)
        except ConfigurationError:  # an app that is made anew from another has them already
            COUNT["had"] += 1
        COUNT["apps"] += 1

    return wired


def _adopt(task: Any) -> None:
    app = task._app
    sagas = app.__dict__.get("celeriac") if isinstance(app, Celery) else None
    ours = isinstance(task, SagaTask) or str(task.name).startswith(("celeriac.", "celery."))
    if sagas is None or ours or task.name not in app._tasks:
        return
    try:
        adopt(task, Shape.of(task.run, strict=False), sagas.runtime)
        COUNT["adopted"] += 1
    except DefinitionError:  # a mock, say, that has no signature: it could be no step
        COUNT["refused"] += 1


def _registering(register: Any) -> Any:
    @functools.wraps(register)
    def registering(self: Any, *args: Any, **kwargs: Any) -> Any:
        task = register(self, *args, **kwargs)
        _adopt(task)
        return task

    return registering


def _finishing(finish: Any) -> Any:
    """Celery's last act on a task that it makes of a function; some tests look at who called."""

    @functools.wraps(finish)
    def finishing(task: Any, **options: Any) -> None:
        finish(task, **options)
        _adopt(task)

    return finishing


def pytest_configure() -> None:
    """Begin before the tests are imported."""
    Celery.__init__ = _wired(Celery.__init__)
    Celery.register_task = _registering(Celery.register_task)
    base.add_autoretry_behaviour = _finishing(base.add_autoretry_behaviour)


def pytest_unconfigure() -> None:
    """Tell how many there were."""
    Path(os.environ["ADOPTED_COUNT"]).write_text(str(COUNT["adopted"]))
