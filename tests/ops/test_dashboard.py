"""The dashboard: its form, that each question is one Prometheus can answer, and its links.

Owns: ops/grafana.json.  Refuses to know: whether it is beautiful.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from celeriac.observing.metrics import METRICS
from tests.ops.metrics import unknown_in
from tests.ops.promql import parse, selectors
from tests.ops.rules import OPS, read_alerts

DASHBOARD: dict[str, Any] = json.loads((OPS / "grafana.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
ROWS = [panel["title"] for panel in PANELS if panel["type"] == "row"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
WIDTH = 24

each_panel = pytest.mark.parametrize("panel", SHOWN, ids=lambda panel: panel["title"])


def asked(panel: dict[str, Any]) -> list[str]:
    """What a panel asks, with the span that Grafana puts in."""
    return [target["expr"].replace("$__rate_interval", "5m") for target in panel.get("targets", ())]


def test_rows_are_those_that_operations_need() -> None:
    """From what flows to what it stands on."""
    assert ROWS == [
        "Flow",
        "Latency by step",
        "Failures and compensations",
        "Recovery",
        "Sweep and backlog",
        "Redis",
        "Celery",
    ]
    tops = [panel["gridPos"]["y"] for panel in PANELS if panel["type"] == "row"]
    for top, end in pairwise([*tops, 10**6]):
        assert any(top < panel["gridPos"]["y"] < end for panel in SHOWN)


def test_it_can_be_imported_anywhere() -> None:
    """It has a fixed id of its own, a schema, and no data source of somebody's machine."""
    assert DASHBOARD["uid"] == "celeriac"
    assert "id" not in DASHBOARD
    assert 39 <= DASHBOARD["schemaVersion"] <= 42
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    sources = re.findall(r'"uid": "([^"]+)"', json.dumps(DASHBOARD))
    assert set(sources) == {"${datasource}", "celeriac"}


def test_sagas_can_be_chosen() -> None:
    """One, several or all; those that are in the store."""
    variable = VARIABLES["saga"]
    assert variable["multi"]
    assert variable["includeAll"]
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
    assert found
    assert unknown_in(parse(f'{found[1]}{{{found[2]}=""}}')) == []


@each_panel
def test_a_panel_is_complete(panel: dict[str, Any]) -> None:
    """It says what it shows, in which unit, with thresholds, of which source."""
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["type"] in ("timeseries", "stat")
    assert panel["description"].endswith(".")
    assert defaults["unit"] in ("short", "s", "ops", "percentunit", "bytes")
    assert defaults["thresholds"]["steps"][0]["value"] is None
    assert panel["datasource"]["uid"] == "${datasource}"
    assert [target["refId"] for target in panel["targets"]] == ["A", "B"][: len(panel["targets"])]
    assert all(target["legendFormat"] for target in panel["targets"])


@each_panel
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    """Every name and every label is one of the table; where there is a saga, it is the chosen."""
    by_name = {metric.name: metric for metric in METRICS}
    for text in asked(panel):
        tree = parse(text)
        assert unknown_in(tree) == [], text
        for each in selectors(tree):
            metric = by_name.get(re.sub(r"_(bucket|sum|count)$", "", each.name))
            chosen = ("saga", "=~", "$saga") in each.matchers
            assert chosen == (metric is not None and "saga" in metric.labels), text


@each_panel
def test_gauges_of_the_store_are_not_added_up(panel: dict[str, Any]) -> None:
    """Every worker says the same of them: the sum would grow with the number of workers."""
    gauges = "|".join(metric.name for metric in METRICS if metric.kind == "gauge")
    for text in asked(panel):
        assert not re.search(rf"sum(?: by \([^)]*\))? ?\((?:{gauges})\b", text), text


@each_panel
def test_legends_name_labels_that_are_left(panel: dict[str, Any]) -> None:
    """A label in a legend is one by which the figures were kept apart."""
    for target in panel["targets"]:
        kept = {
            name.strip()
            for found in re.findall(r"by \(([^)]*)\)", target["expr"])
            for name in found.split(",")
        }
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept


def test_panels_do_not_overlap() -> None:
    """Each place is taken once, and nothing hangs over the edge."""
    taken = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert max(taken.values()) == 1
    assert max(x for x, _ in taken) < WIDTH
    numbers = [panel["id"] for panel in PANELS]
    assert len(set(numbers)) == len(numbers)


def test_links_lead_into_the_runbook() -> None:
    """Each alert that can be seen in a panel is linked there, with a heading that exists."""
    links = [link for panel in SHOWN for link in panel.get("links", ())]
    anchors = {link["url"].removeprefix("${runbook}#") for link in links}
    assert anchors == {name.lower() for name in read_alerts()}
    assert all(link["targetBlank"] for link in links)
    assert "${runbook}" in {link["url"] for link in DASHBOARD["links"]}
    assert VARIABLES["runbook"]["query"].endswith("runbook.md")
