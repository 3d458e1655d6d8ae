"""What messages are published with: a producer of the app, and one round trip for many of them.

Owns: acquiring it, that a broker which is away is not waited for, and sending in the end what was
kept for bundles.  Refuses to know: what is sent (`canvas`), and what becomes of a message that was
not.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from kombu.exceptions import BatchPublishError

from celeriac.observing import log
from celeriac.workers.bundles import Bundles
from celeriac.workers.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celery import Celery
    from celery.canvas import Signature

    from celeriac.workers.bundles import Hint


class Publisher(Routes):
    """The producers of an app."""

    def __init__(self, app: Celery) -> None:
        """*app* is asked anew each time; nothing is kept but what `together` is at."""
        super().__init__(app)
        self._here = threading.local()

    def publish(self, hint: Hint, others: Sequence[Hint] = ()) -> None:
        """Publish the message of an attempt, which brings *others* of its kind as well."""
        raise NotImplementedError

    @property
    def bundles(self) -> Bundles | None:
        """Where this thread collects what may share a message; None while it sends nothing else."""
        return getattr(self._here, "bundles", None)

    def run_here(self, link: Signature, countdown: float) -> None:
        """Run an attempt in this process, after those that were to be run before."""
        waiting: deque[tuple[Signature, float]] | None = getattr(self._here, "waiting", None)
        if waiting is not None:
            waiting.append((link, countdown))  # whoever is at it below us goes on with this one
            return
        self._here.waiting = waiting = deque([(link, countdown)])
        try:
            while waiting:
                each, seconds = waiting.popleft()
                time.sleep(seconds)  # claims are refused before
                each.apply()
        finally:
            del self._here.waiting

    @contextmanager
    def producer(self) -> Iterator[Any]:
        """A producer whose broker is within reach.  Raises what connecting to that raises."""
        shared = getattr(self._here, "producer", None)
        if shared is not None:
            yield shared
            return
        with self._app.producer_or_acquire() as producer:
            # Celery would try for six seconds (F15), in a web handler, what the sweep does anyway.
            producer.connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
            yield producer

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread sends meanwhile may be sent at the end, in one round trip.

        Should that fail, nobody knows which of the messages arrived: the sweep looks after them.
        """
        with ExitStack() as stack:
            try:
                producer = stack.enter_context(self.producer())
            except Exception as error:  # noqa: BLE001 -- whoever sends hears of it, and says so
                log.debug("messages go one by one: %s", type(error).__name__)
                producer = None
            if producer is None:
                yield
                return
            self._here.producer, self._here.bundles = producer, Bundles()
            try:
                with producer.batch() as batch:
                    try:
                        yield
                        self._send_bundles()
                    except BaseException:
                        with suppress(Exception):
                            self._send_bundles()
                            batch.flush()  # or what was sent so far would not be
                        raise
            except BatchPublishError as error:
                log.warning("messages may not have been sent (%s); the sweep will send them", error)
            finally:
                self._here.producer = self._here.bundles = None

    def _send_bundles(self) -> None:
        """Send what was kept; others of its kind could be sent, so nothing should be in the way."""
        bundles = self.bundles
        for first, *others in bundles.take() if bundles else ():
            try:
                self.publish(first, others)
            except Exception as error:  # noqa: BLE001 -- it is logged
                log.warning(
                    "%s and %d more not sent (%s); the sweep will send them",
                    *(first.run.id, len(others), type(error).__name__),
                )
