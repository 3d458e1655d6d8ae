"""The alerts, and the stories that are told of them, read from ops/.

Owns: their files' form.  Refuses to know: what a good alert is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from celeriac.machine.policy import duration_ms
from tests.ops.prometheus import Labels, Prometheus, Scrape, Vector
from tests.ops.promql import Selector, Tree, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

OPS = Path(__file__).resolve().parents[2] / "ops"
ALERTS = "ALERTS"


@dataclass(frozen=True)
class Alert:
    """A rule of ops/alerts.yml."""

    name: str
    tree: Tree
    patience: int  # ms it must hold
    labels: dict[str, str]
    annotations: dict[str, str]

    def firing(self, prometheus: Prometheus, at: int) -> list[Labels]:
        """The labels with which it fires at a time."""
        found = prometheus.fires(self.tree, at, self.patience)
        return [labels | frozenset(self.labels.items()) for labels in found]


@dataclass(frozen=True)
class Question:
    """What a story asks, when, and what the answer must be."""

    tree: Tree
    at: int
    answer: Vector


@dataclass(frozen=True)
class Story:
    """StoreStats over time, and what is asked of them."""

    name: str
    prometheus: Prometheus
    questions: tuple[Question, ...]


def read_alerts() -> dict[str, Alert]:
    """The alerts by name."""
    groups = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return {rule["alert"]: _alert(rule) for rule in rules}


def _alert(rule: dict[str, Any]) -> Alert:
    patience = duration_ms(rule["for"]) if "for" in rule else 0
    tree = parse(rule["expr"])
    return Alert(rule["alert"], tree, patience, rule["labels"], rule["annotations"])


def read_stories() -> list[Story]:
    """The stories of ops/alerts_test.yml."""
    file = yaml.safe_load((OPS / "alerts_test.yml").read_text())
    return [_story(told) for told in file["tests"]]


def _story(told: dict[str, Any]) -> Story:
    prometheus, interval = Prometheus(), duration_ms(told["interval"])
    for series in told["input_series"]:
        name = series_of(series["series"])
        for number, value in enumerate(_values(series["values"])):
            scrape = prometheus.scrapes.setdefault(number * interval, {})
            if value is not None:
                scrape[name] = value
    asked = tuple(_question(each) for each in told["promql_expr_test"])
    return Story(told["name"], prometheus, asked)


def _question(told: dict[str, Any]) -> Question:
    answer = {series_of(each["labels"])[1]: each["value"] for each in told["exp_samples"]}
    return Question(parse(told["expr"]), duration_ms(told["eval_time"]), answer)


def series_of(text: str) -> tuple[str, Labels]:
    """A series as it is written: a name, and labels that are equal to something."""
    tree = parse(text if not text.startswith("{") else f"x{text}")
    assert isinstance(tree, Selector)
    return tree.name, frozenset((label, value) for label, _, value in tree.matchers)


def _values(text: str) -> Iterator[float | None]:
    """`0+5x8 _ 7`: rising, nothing, and a value."""
    for part in text.split():
        found = re.fullmatch(r"(_|-?\d+)(?:([+-]\d+))?(?:x(\d+))?", part)
        assert found, part
        first, step, times = found.groups()
        if first == "_":
            yield from [None] * int(times or 1)
        else:
            for number in range(int(times or 0) + 1):
                yield int(first) + int(step or 0) * number


def answer(alerts: dict[str, Alert], story: Story, question: Question) -> Vector:
    """What Prometheus would say to a question of a story."""
    firing: Scrape = {
        (ALERTS, labels | {("alertname", alert.name), ("alertstate", "firing")}): 1.0
        for alert in alerts.values()
        for labels in alert.firing(story.prometheus, question.at)
    }
    return Prometheus({question.at: firing}).value(question.tree, question.at)
