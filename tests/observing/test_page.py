"""The page about watching says what the code says, and the extras cost nothing unasked.

Owns: that names in `docs/observability.md` exist and none is missing.  Refuses to know: its prose.
"""

from __future__ import annotations

import re
from typing import get_args

import pytest

from celeriac.observing import signals
from celeriac.observing.logs import FIELDS
from celeriac.observing.metrics import METRICS, Kind, Metric
from tests.house.sources import ROOT, modules

PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
ALLOWED = {"saga", "step", "phase", "outcome", "status", "reason", "result", "op", "kind", "queue"}
ALLOWED |= {"schedule", "gate", "state"}

each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


@each_metric
def test_a_metric_is_well_made(metric: Metric) -> None:
    """Its name follows Prometheus's habits, its labels are few, it has a sentence."""
    assert re.fullmatch(r"celeriac_[a-z_]+", metric.name)
    assert metric.kind in get_args(Kind)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert set(metric.labels) <= ALLOWED
    assert metric.meaning.endswith(".")
    assert "|" not in metric.meaning
    assert (metric.source != "process") == (metric.kind == "gauge")
    assert {len(labels) for labels in metric.series} <= {len(metric.labels)}


def test_names_are_unique() -> None:
    """No two metrics share a name, also without their suffixes."""
    names = [metric.name.removesuffix("_total") for metric in METRICS]
    assert len(set(names)) == len(names)


@each_metric
def test_a_metric_is_on_the_page(metric: Metric) -> None:
    """Each is in the table, with its labels."""
    labels = f"{{{','.join(metric.labels)}}}" if metric.labels else ""
    assert f"| `{metric.name}{labels}` | {metric.kind}" in PAGE


def test_every_signal_is_on_the_page() -> None:
    """Each signal has a row that names everything it is sent with."""
    for signal in (getattr(signals, name) for name in dir(signals) if name.startswith("saga_")):
        [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{signal.name}`")]
        told = set(re.findall(r"`(\w+)`", row.split("|")[3]))
        assert told == signal.providing_args - {"run_id", "saga"}, signal.name


def test_every_field_of_a_record_is_on_the_page() -> None:
    """Each field that logs have is described."""
    for name in FIELDS:
        assert f"`{name}`" in PAGE


def test_nothing_on_the_page_is_made_up() -> None:
    """A metric that prose names is one of the table."""
    named = set(re.findall(r"celeriac_[a-z_]+\w", PAGE))
    assert named <= {metric.name for metric in METRICS}


def test_extras_are_not_loaded_unasked() -> None:
    """No file of ours imports Prometheus or OpenTelemetry before somebody asks for it."""
    early = [
        f"{module.label}:{found.line}"
        for module in modules().values()
        for found in module.imports
        if found.target.partition(".")[0] in ("prometheus_client", "opentelemetry")
        and not found.local
    ]
    assert early == []
