"""An application that sends its other tasks as pickle.

Owns: the configuration, and a task that takes what it is given.  Refuses to know: sagas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

PLAIN = f"{__name__}.plain"


def make_it_pickle(app: Celery) -> None:
    """Let *app* send and accept pickle, and nothing else."""
    app.conf.update(task_serializer="pickle", accept_content=["pickle"])

    @app.task(name=PLAIN, shared=False, ignore_result=True)  # type: ignore[untyped-decorator]
    def plain(anything: Any) -> None:
        """Take what was decoded."""
