"""Whether an expression speaks of metrics and labels that there are.

Owns: the names under which Prometheus keeps what is in the table.  Refuses to know: who asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.observing.metrics import METRICS
from tests.ops.promql import labels_asked_for, selectors

if TYPE_CHECKING:
    from celeriac.observing.metrics import Metric
    from tests.ops.promql import Tree

#: What Prometheus adds to each series by itself; `up` is its own.
ADDED = {"job", "instance"}


def known() -> dict[str, set[str]]:
    """Every series that Prometheus gets, with its labels."""
    found: dict[str, set[str]] = {"up": set()}
    for metric in METRICS:
        for suffix, more in _forms(metric):
            found[metric.name + suffix] = set(metric.labels) | more
    return found


def _forms(metric: Metric) -> list[tuple[str, set[str]]]:
    if metric.kind == "histogram":
        return [("_bucket", {"le"}), ("_sum", set()), ("_count", set())]
    return [("", set())]


def unknown_in(tree: Tree) -> list[str]:
    """What an expression asks for that nobody has."""
    table = known()
    names = [f"metric {each.name}" for each in selectors(tree) if each.name not in table]
    labels = [
        f"label {label} of {each.name}"
        for each, label in labels_asked_for(tree)
        if each.name in table and label not in table[each.name] | ADDED
    ]
    return [*names, *labels]
