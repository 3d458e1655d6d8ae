"""How figures get to Prometheus: one endpoint for a worker and all its children.

Owns: `prometheus_client` (the extra `[prometheus]`), the endpoint, and what becomes of it when its
port is taken or the extra is missing: a line in the log, and the worker goes on.  Refuses to know:
what is counted, and when.

Nothing of `prometheus_client` keeps a figure: `Tally` does, and is read when somebody looks.  So it
needs neither its multi-process mode nor a folder for it, and an application that uses either is
left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError
from celeriac.observing.metrics import METRICS
from celeriac.observing.metrics.counting import Counting
from celeriac.observing.metrics.feed import Feed, reporting
from celeriac.observing.metrics.gauges import all_samples
from celeriac.observing.metrics.tally import Tally
from celeriac.observing.observers import log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.observing.metrics import Metric
    from celeriac.observing.metrics.gauges import Gauges
    from celeriac.observing.metrics.tally import Histogram
    from celeriac.observing.observers import Observer


class Collector:
    """What a `prometheus_client` registry asks for all metrics of the table."""

    def __init__(self, tally: Tally | None, *gauges: Gauges) -> None:
        """*tally* has the figures of this process, *gauges* those of everybody else."""
        self._tally, self._gauges = tally, gauges

    def collect(self) -> Iterator[Any]:
        """Yield each metric with its present values."""
        # First: what asking for them cost, and led to, counts too.
        yield from _gauge_families(self._gauges)
        if self._tally is not None:
            for metric in METRICS:
                if metric.source == "process":
                    yield _family(metric, self._tally)

    def describe(self) -> list[Any]:
        """Nothing: whoever registers this must not have to wait for the store."""
        return []


def _family(metric: Metric, tally: Tally) -> Any:
    from prometheus_client import metrics_core as known  # noqa: PLC0415 -- an extra

    if metric.kind == "counter":
        counter = known.CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for labels, value in sorted(tally.counters(metric.name).items()):
            counter.add_metric(labels, value)
        return counter
    family = known.HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, found in sorted(tally.histograms(metric.name).items()):
        family.add_metric(labels, _cumulative(metric, found), found.total)
    return family


def _cumulative(metric: Metric, found: Histogram) -> list[tuple[str, float]]:
    bounds = [*(str(float(bound)) for bound in metric.buckets), "+Inf"]
    total, buckets = 0, []
    for bound, count in zip(bounds, found.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


def _gauge_families(gauges: Sequence[Gauges]) -> Iterator[Any]:
    from prometheus_client import metrics_core as known  # noqa: PLC0415 -- an extra

    samples = all_samples(gauges)
    for metric in METRICS if gauges else ():
        if metric.source != "process":
            family = known.GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for sample in samples:
                if sample.name == metric.name:
                    family.add_metric(sample.labels, sample.value)
            yield family


class Endpoint:
    """A small HTTP server that answers every path with the figures."""

    def __init__(self, host: str, port: int, collector: Collector) -> None:
        """Begin to serve; raise ConfigurationError without the extra, OSError for a taken port."""
        try:
            from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError(
                "metrics need prometheus-client: pip install 'celeriac[prometheus]'"
            ) from None
        registry = CollectorRegistry()
        registry.register(collector)
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        self.port: int = self._server.server_port

    def leave(self) -> None:
        """In a forked child: do not keep the port when the main process is gone."""
        self._server.socket.close()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2)


class Exporter:
    """The figures of a worker: counted in all of its processes, served by the main one.

    To be made before the pool forks; serves from `serve` to `stop`.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self._feed = Feed(self.tally.note)
        self._endpoint: Endpoint | None = None
        self.observer: Observer = reporting(Counting(self._feed.sink), self._feed)

    def serve(self, host: str, port: int, *gauges: Gauges) -> None:
        """Take in what children count, and begin to serve; a worker works without it, too."""
        self._feed.start()
        try:
            self._endpoint = Endpoint(host, port, Collector(self.tally, *gauges))
        except ConfigurationError as error:
            log.error("no metrics are served: %s", error)
        except OSError as error:
            log.error(
                "no metrics are served: %s:%d cannot be had (%s); each worker of a machine needs "
                "a saga_metrics_port of its own",
                host,
                port,
                error.strerror,
            )
        else:
            log.info("metrics are served at http://%s:%d/metrics", host, self._endpoint.port)

    def leave(self) -> None:
        """In a pool child: give up what is the main process's."""
        self._feed.leave()
        if self._endpoint is not None:
            self._endpoint.leave()

    def flush(self) -> None:
        """In a pool child that ends: send what it has not sent yet."""
        self._feed.flush()

    def stop(self) -> None:
        """End the endpoint."""
        if self._endpoint is not None:
            self._endpoint.stop()
        self._feed.stop()
