"""The endpoint: what Prometheus reads there, and what happens when it cannot be had.

Owns: the text form of all metrics, read by `prometheus_client`'s own parser.  Refuses to know: when
something counts.
"""

from __future__ import annotations

import logging
import socket
import sys
import urllib.request
from typing import TYPE_CHECKING

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from celeriac.app.instruments import count_into, serve_store
from celeriac.engine import Engine
from celeriac.errors import ConfigurationError
from celeriac.machine import Rule
from celeriac.observing.metrics import METRICS
from celeriac.observing.metrics.exporter import Collector, Endpoint, Exporter
from celeriac.observing.metrics.gauges import Gauges, Sample, StoreGauges
from celeriac.observing.metrics.tally import Tally
from celeriac.observing.observers import Asked, Refused
from celeriac.settings import Terms
from celeriac.store.memory import MemoryStore
from celeriac.testing.servers import free_port
from tests.store.runs import a_run, starting, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.workers.runtime import Runtime

HOST = "127.0.0.1"


@pytest.fixture
def tally() -> Tally:
    """StoreStats with a sample in each series of each metric."""
    tally = Tally()
    for metric in METRICS:
        tally.note(metric.name, tuple(f"a-{label}" for label in metric.labels), 0.5)
    return tally


@pytest.fixture
def gauges() -> StoreGauges:
    """The gauges of a store with a run, and with a breaker that somebody has opened."""
    store = MemoryStore()
    gates = Engine(store, Terms(15_000, 5_000, 86_400_000, 1_000_000, 50)).gates
    gates.know({"bank": Rule(kind="breaker", most=5, per=60_000, open_for=30_000)})
    gates.set_breaker("bank", "eve", to_open=True)
    write(store, starting(a_run()))
    store.swept(0, 0)
    store.pulse(1000)
    return StoreGauges(store)


def others() -> list[Sample]:
    """A sample of each gauge that is not the store's."""
    return [
        Sample(metric.name, tuple(f"a-{label}" for label in metric.labels), 1)
        for metric in METRICS
        if metric.source in ("redis", "app")
    ]


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    """An exporter that is ended."""
    exporter = Exporter()
    yield exporter
    exporter.stop()


def look(port: int) -> dict[str, prometheus_client.Metric]:
    """What is served, by the name of the metric."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_all_metrics_are_served(tally: Tally, gauges: StoreGauges) -> None:
    """Each metric of the table is there, with its kind, its labels and its sentence; no other."""
    endpoint = Endpoint(HOST, free_port(), Collector(tally, gauges, Gauges(others)))
    found = look(endpoint.port)
    endpoint.stop()
    assert set(found) == {metric.name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        family = found[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.meaning)
        assert family.samples, metric.name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), metric.name


def test_a_histogram_adds_up(tally: Tally) -> None:
    """Buckets are cumulative, and the last is the count."""
    for seconds in (0.001, 0.02, 7_200):
        tally.note("celeriac_step_seconds", ("a-saga", "a-step"), seconds)
    registry = prometheus_client.CollectorRegistry()
    registry.register(Collector(tally))
    labels = {"saga": "a-saga", "step": "a-step"}

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(f"celeriac_step_seconds_{name}", {**labels, **more})

    assert value("bucket", le="0.005") == 1
    assert value("bucket", le="0.025") == 2
    assert value("bucket", le="3600.0") == 3
    assert value("bucket", le="+Inf") == value("count") == 4
    assert value("sum") == pytest.approx(7200.521)


def test_a_port_that_is_taken_stops_no_worker(
    exporter: Exporter, gauges: StoreGauges, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which port and what to do, and counting goes on."""
    with socket.socket() as other, caplog.at_level(logging.ERROR, "celeriac"):
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        exporter.serve(HOST, port, gauges)
    assert f"127.0.0.1:{port} cannot be had (Address already in use)" in caplog.text
    assert "saga_metrics_port of its own" in caplog.text
    exporter.observer(Refused("stale", "", "", "do"))
    assert exporter.tally.counters("celeriac_stale_deliveries_total") == {("stale",): 1}


def test_without_the_extra_a_worker_goes_on(
    exporter: Exporter,
    gauges: StoreGauges,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where prometheus-client is not installed, the log says how to install it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with caplog.at_level(logging.ERROR, "celeriac"):
        exporter.serve(HOST, free_port(), gauges)
    assert "pip install 'celeriac[prometheus]'" in caplog.text


def test_a_stopped_endpoint_gives_its_port_back(exporter: Exporter, gauges: StoreGauges) -> None:
    """A worker that is started again finds its port free."""
    port = free_port()
    exporter.serve(HOST, port, gauges)
    assert "celeriac_overdue" in look(port)
    exporter.stop()
    again = Endpoint(HOST, port, Collector(Tally()))
    assert "celeriac_overdue" not in look(port)
    again.stop()


def test_a_web_process_counts_into_its_own_registry(runtime: Runtime) -> None:
    """An application that serves metrics by itself has ours among them."""
    registry = prometheus_client.CollectorRegistry()
    count_into(registry, runtime)
    runtime.observers.tell(Asked("read", 0.25, "store_unavailable"))
    labels = {"kind": "store_unavailable"}
    assert registry.get_sample_value("celeriac_store_errors_total", labels) == 1
    assert registry.get_sample_value("celeriac_store_seconds_sum", {"op": "read"}) == 0.25


def test_a_port_is_refused_in_words(runtime: Runtime) -> None:
    """The command says why it cannot serve."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        with pytest.raises(ConfigurationError, match="cannot be had"):
            serve_store(runtime, HOST, other.getsockname()[1])
