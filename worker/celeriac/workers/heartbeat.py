"""A file that says a worker is alive, for whoever starts workers again: Kubernetes, systemd.

Owns: touching the file while a worker's main loop turns and its consumer is in touch with the
broker, and reading its age.  Refuses to know: what is done about a worker that is not alive.

`celery inspect ping` starts a whole Celery for each probe, and needs a broker that answers at
that moment; the age of a file costs nothing.  The file is touched *by* the worker's main loop, and
not by a thread beside it, so a loop that hangs shows.  A solo pool works in the main loop: there,
a step looks like a hang.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import click
from celery.bootsteps import RUN, StartStopStep
from celery.utils.nodenames import node_format

from celeriac.observing import log

#: Seconds between two touches.
INTERVAL = 2.0
#: What `celery worker` takes; it wins over the setting.
OPTION = click.Option(
    ["--saga-heartbeat-file"],
    metavar="FILE",
    help="Touch FILE every 2 seconds while alive and in touch with the broker, for probes; %n in "
    "it is the worker's name, %h its host.",
)


class HeartbeatFileStep(StartStopStep):  # type: ignore[misc]  # Celery has no types
    """The part of a worker's consumer that touches the file.

    Celery starts it anew with each connection to the broker, and stops it when one is lost.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(
        self, consumer: Any, saga_heartbeat_file: str | None = None, **options: Any
    ) -> None:
        super().__init__(consumer, **options)
        name = saga_heartbeat_file or consumer.app.celeriac.runtime.settings.heartbeat_file
        self.enabled = bool(name)
        self._file = Path(node_format(name or "", consumer.hostname))
        self._timer: Any = None
        self._troubled = False
        if self.enabled:
            self._remove()  # what another worker left here says nothing of this one

    def start(self, consumer: Any) -> None:
        """In touch with the broker: touch the file now and then, from the main loop."""
        self._timer = consumer.timer.call_repeatedly(INTERVAL, self._ask, (consumer,))
        self._ask(consumer)

    def stop(self, _consumer: Any) -> None:
        """The broker is gone, or the worker ends: the file grows old."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def shutdown(self, consumer: Any) -> None:
        """The worker has ended."""
        self.stop(consumer)
        self._remove()

    def _ask(self, consumer: Any) -> None:
        # With some brokers, timers have a thread of their own: what counts is the main loop.
        consumer.call_soon(self._touch, consumer)

    def _touch(self, consumer: Any) -> None:
        if not (consumer.blueprint.state == RUN and consumer.connection):
            return
        try:
            self._file.touch()
            self._troubled = False
        except OSError as error:
            if not self._troubled:  # once; a probe will say it often enough
                log.error("saga_heartbeat_file cannot be written: %s", error)
            self._troubled = True

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)


def age(file: Path) -> float | None:
    """Seconds since *file* was touched; None if it is not there."""
    try:
        return max(0.0, time.time() - file.stat().st_mtime)
    except OSError:
        return None
