"""What messages are published with: a producer of the app, and one round trip for many of them.

Owns: acquiring it, and that a broker which is away is not waited for.  Refuses to know: what is
sent (`canvas`), and what becomes of a message that was not.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from kombu.exceptions import BatchPublishError

from celeriac.observing import log
from celeriac.workers.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery


class Publisher(Routes):
    """The producers of an app."""

    def __init__(self, app: Celery) -> None:
        """*app* is asked anew each time; nothing is kept but what `together` is at."""
        super().__init__(app)
        self._here = threading.local()

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
            self._here.producer = producer
            try:
                with producer.batch() as batch:
                    try:
                        yield
                    except BaseException:
                        with suppress(Exception):
                            batch.flush()  # or what was sent so far would not be
                        raise
            except BatchPublishError as error:
                log.warning("messages may not have been sent (%s); the sweep will send them", error)
            finally:
                self._here.producer = None
