"""What Celery's event stream is told of an attempt at work: how far it is, for Flower.

Owns: the event `task-progress`, and that no body waits for the broker.  Refuses to know: what a
body may say, and how often (`engine/context_calls.py`), and how it is shown (`celeriac.flower`).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from celeriac.observing import log, title

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.engine import Attempt

EVENT = "task-progress"
#: What stands between the title of an attempt and how far it is.
JOINT = " · "


class Teller:
    """Tells how far one attempt is, as far as its worker tells anything of tasks.

    It is sent by a thread of its own, which has the newest value only: what comes while the broker
    is slow or away is left out, and the body goes on.
    """

    def __init__(self, task: Any, uuid: str, request: Mapping[str, Any], attempt: Attempt) -> None:
        """*uuid* is the attempt's id in that stream, *request* its message."""
        self._task, self._uuid, self._hostname = task, uuid, request.get("hostname")
        self._attempt = attempt
        self._lock = threading.Lock()
        self._newest = ""
        self._at_work = False

    def __call__(self, told: str) -> None:
        """Tell the newest value, in words."""
        if not self._wanted():
            return
        with self._lock:
            self._newest = told
            if self._at_work:
                return
            self._at_work = True
        threading.Thread(target=self._send_all, name="celeriac-telling", daemon=True).start()

    def _wanted(self) -> bool:
        task = self._task
        if not task.send_events:
            return False
        progress = task.saga_runtime.progress
        if progress is None:  # its worker says nothing to its children
            return bool(task.app.conf.worker_send_task_events)
        return bool(progress.events_wanted)

    def _send_all(self) -> None:
        while True:
            with self._lock:
                told, self._newest = self._newest, ""
                if not told:
                    self._at_work = False
                    return
            try:
                self._send(told)
            except Exception as error:  # noqa: BLE001 -- nobody fails because nobody could look
                log.debug("%s: its progress was not told: %s", self._uuid, type(error).__name__)

    def _send(self, told: str) -> None:
        with self._task.app.events.default_dispatcher(hostname=self._hostname) as dispatcher:
            # In the place of its arguments, since Flower keeps nothing that Celery does not know.
            d, nth = self._attempt.delivery, self._attempt.run.tries
            args = f"{title(d.run_id, d.step, d.phase, d.attempt, nth)}{JOINT}{told}"
            dispatcher.send(EVENT, uuid=self._uuid, args=args, retry=False)
