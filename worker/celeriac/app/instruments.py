"""What is set up to watch a worker: its log handlers, and the endpoint of its metrics.

Owns: when each of them begins and ends in the life of a worker and its pool children, by Celery's
signals.  Refuses to know: what they tell.  What is not asked for in the settings costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billiard import get_start_method
from celery import signals

from celeriac.errors import ConfigurationError
from celeriac.observing import dress, log
from celeriac.observing.metrics.counting import Counting
from celeriac.observing.metrics.defined import definitions
from celeriac.observing.metrics.exporter import Collector, Endpoint, Exporter
from celeriac.observing.metrics.gauges import Gauges, StoreGauges, late_ticks
from celeriac.observing.metrics.server import Condition
from celeriac.observing.metrics.tally import Tally
from celeriac.store.connecting import connection_to
from celeriac.workers import own_queue, redis_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from logging import Logger

    from celery import Celery

    from celeriac.observing.metrics.gauges import Sample
    from celeriac.workers import Runtime


class Instruments:
    """The instruments of one app's workers."""

    def __init__(self, app: Celery, runtime: Runtime) -> None:
        self._app, self._runtime = app, runtime
        self._exporter: Exporter | None = None

    def connect(self) -> None:
        """Begin and end with the workers of the app, for as long as somebody keeps this object."""
        signals.after_setup_logger.connect(self._dress)
        signals.after_setup_task_logger.connect(self._dress)
        signals.celeryd_after_setup.connect(self._prepare)
        signals.worker_ready.connect(self._serve)
        signals.worker_process_init.connect(self._leave)
        signals.worker_process_shutdown.connect(self._flush)
        signals.worker_shutdown.connect(self._stop)

    def _dress(self, logger: Logger, **_: Any) -> None:
        dress(logger, as_json=self._runtime.settings.log_json)

    def _prepare(self, instance: Any = None, **_: Any) -> None:
        """Before the pool forks: its children inherit the way to the main process."""
        if getattr(instance, "app", None) is self._app and self._runtime.settings.metrics_port:
            self._exporter = Exporter()
            self._runtime.count(self._exporter.observer)

    def _serve(self, sender: Any = None, **_: Any) -> None:
        """After the pool has forked: its first children do not even inherit the port."""
        worker = getattr(sender, "controller", None)
        settings = self._runtime.settings
        if worker is None or worker.app is not self._app or self._exporter is None:
            return
        assert settings.metrics_port is not None  # or there would be no exporter
        if get_start_method() != "fork" and "prefork" in worker.pool_cls.__module__:
            log.warning(
                "what pool children count is not served: they are started by %s, and only forked "
                "ones inherit the way to the main process",
                get_start_method(),
            )
        gauges = _gauges(self._runtime)
        self._exporter.serve(settings.metrics_host, settings.metrics_port, *gauges)

    def _leave(self, **_: Any) -> None:
        if self._exporter is not None:
            self._exporter.leave()

    def _flush(self, **_: Any) -> None:
        if self._exporter is not None:
            self._exporter.flush()

    def _stop(self, **_: Any) -> None:
        if self._exporter is not None:
            self._exporter.stop()
            self._exporter = None


def _gauges(runtime: Runtime) -> tuple[Gauges, ...]:
    """The gauges of the store, of its Redis, and of the app; each answers by itself."""
    app = runtime.app
    redis = Condition(connection_to(redis_url(app, runtime.settings)))

    def defined() -> Iterator[Sample]:
        plans = [saga.planned.plan for saga in app.celeriac.defined.values()]
        return definitions(app, plans, own_queue(app), runtime.dispatcher.queue_of)

    store = runtime.new_store()
    return (
        StoreGauges(store),
        Gauges(redis.samples),
        Gauges(defined),
        Gauges(lambda: late_ticks(store, list(app.celeriac.scheduled))),
    )


def serve_store(runtime: Runtime, host: str, port: int) -> Endpoint:
    """Serve what the store says of all runs, in a process that is no worker.

    Raises ConfigurationError, also for a port that cannot be had.
    """
    tally = Tally()
    runtime.count(Counting(tally.note))
    try:
        return Endpoint(host, port, Collector(tally, *_gauges(runtime)))
    except OSError as error:
        raise ConfigurationError(f"{host}:{port} cannot be had: {error.strerror}") from None


def count_into(registry: Any, runtime: Runtime) -> None:
    """Count what this process does into a `prometheus_client` registry that it serves by itself.

    For a web process, which starts runs: `count_into(prometheus_client.REGISTRY, sagas.runtime)`,
    once, before it starts any.  It needs no port, and says nothing of the store.
    """
    tally = Tally()
    runtime.count(Counting(tally.note))
    registry.register(Collector(tally))
    log.debug("this process counts into the registry of its application")
