"""The figures of a process: counters that only go up, and histograms.

Owns: adding up samples, safely among threads.  Refuses to know: Prometheus, and who sends them.  A
sample that the table does not allow is dropped: whatever arrives, no figure is spoilt.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from typing import NamedTuple

from celeriac.observing.metrics import BY_NAME, METRICS


class Histogram(NamedTuple):
    """How many values fell into each bucket (the last has no bound), and their sum."""

    counts: list[int]
    total: float


class Tally:
    """Adds up what is counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[str, dict[tuple[str, ...], float]] = {}
        self._histograms: dict[str, dict[tuple[str, ...], Histogram]] = {}
        for metric in METRICS:
            if metric.source == "process" and metric.kind == "counter":
                # What can be there from the beginning is: 0 is a figure too.
                known = metric.series if metric.labels else ((),)
                self._counters[metric.name] = dict.fromkeys(known, 0.0)
            elif metric.source == "process":
                self._histograms[metric.name] = {}

    def note(self, name: str, labels: tuple[str, ...], value: float) -> None:
        """Add a sample; one that makes no sense is dropped."""
        metric = BY_NAME.get(name)
        if metric is None or len(labels) != len(metric.labels):
            return
        if not (math.isfinite(value) and value >= 0):
            return
        with self._lock:
            if name in self._counters:
                series = self._counters[name]
                series[labels] = series.get(labels, 0.0) + value
            elif name in self._histograms:
                self._observe(name, labels, value, metric.buckets)

    def _observe(
        self, name: str, labels: tuple[str, ...], value: float, bounds: tuple[float, ...]
    ) -> None:
        found = self._histograms[name].get(labels) or Histogram([0] * (len(bounds) + 1), 0.0)
        found.counts[bisect_left(bounds, value)] += 1
        self._histograms[name][labels] = found._replace(total=found.total + value)

    def counters(self, name: str) -> dict[tuple[str, ...], float]:
        """A counter's value for each set of labels."""
        with self._lock:
            return dict(self._counters.get(name, {}))

    def histograms(self, name: str) -> dict[tuple[str, ...], Histogram]:
        """A histogram for each set of labels."""
        with self._lock:
            found = self._histograms.get(name, {})
            return {
                labels: Histogram(list(counts), total) for labels, (counts, total) in found.items()
            }
