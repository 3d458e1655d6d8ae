"""Gates in files: limits of a saga, and what an action has to pass; read, refused, and written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celeriac import Breaker, FileInvalid, Flow, Limit, Rate, Sagas
from celeriac.machine import FromInput, FromItem, Gate, Rule

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
saga: releases
limit:
  - {most: 2, key: "${vars.order.card}"}
  - {most: 100, per: 1s, name: orders}
vars: {order: {type: object}, regions: {type: 'list[string]'}}
steps:
  build:
    http: {method: POST, url: "https://ci.example.com/builds"}
    limit: 5
    breaker: {name: ci, failures: 3, within: 1m, open_for: 30s}
  release:
    foreach: ${vars.regions}
    as: region
    http: {method: PUT, url: "https://ci.example.com/${vars.region}"}
    breaker:
      - {name: region, failures: 2, within: 1m, open_for: 5s, key: "${vars.region}"}
      - {name: ci, failures: 3, within: 1m, open_for: 30s}
"""
CI = Rule(kind="breaker", most=3, per=60_000, open_for=30_000)


@pytest.fixture
def sagas() -> Sagas:
    """An app that allows requests."""
    app = Celery("gated", broker="memory://", set_as_current=False)
    app.conf.update(saga_actions=("http",), saga_http_allow=("ci.example.com",))
    return Sagas(app)


def file(folder: Path, text: str) -> Path:
    """A file with this text."""
    made = folder / "a.yaml"
    made.write_text(text)
    return made


def test_gates_are_read_and_written(sagas: Sagas, tmp_path: Path) -> None:
    """With their numbers, names and keys, also for each element; the same file comes back."""
    saga = sagas.load(file(tmp_path, TEXT))
    plan = saga.planned.plan
    limit, rate = Rule(kind="limit", most=2), Rule(kind="rate", most=100, per=1_000)
    card = FromInput(input="order", path=("card",))
    assert plan.gates == (
        Gate(name="releases", rule=limit, key=card),
        Gate(name="orders", rule=rate),
    )
    build, release = plan.nodes
    five = Gate(name="releases.build", rule=Rule(kind="limit", most=5))
    assert build.gates == (five, Gate(name="ci", rule=CI))
    assert release.map is not None
    (each,) = release.map.nodes
    assert [gate.name for gate in each.gates] == ["region", "ci"]
    assert isinstance(each.gates[0].key, FromItem)
    assert {"releases", "orders", "releases.build", "ci", "region"} == {*sagas.runtime.rules}
    again = sagas.from_file(file(tmp_path, saga.as_yaml().replace("saga: releases", "saga: b")))
    renamed = saga.as_yaml().replace("saga: releases", "saga: b")
    assert "limit: {most: 5}" in renamed
    found = again.planned.plan
    assert found.nodes[1:] == plan.nodes[1:]
    assert [gate.rule for gate in found.gates] == [gate.rule for gate in plan.gates]
    assert found.gates[0].key == card


def test_a_saga_in_python_keeps_its_limit(sagas: Sagas, tmp_path: Path) -> None:
    """Written as a file it would run without otherwise."""

    @sagas.step(name="charge", breaker=Breaker("bank"))
    def charge(order: str) -> None: ...

    @sagas.saga(limit=[Limit(2, key="order"), Rate(9, per="2s", name="orders")])
    def pay(flow: Flow, order: str) -> None:
        flow.step(charge, order)

    text = (
        pay.as_yaml()
        .replace("saga: pay", "saga: paid")
        .replace("{most: 2,", "{most: 2, name: pay,")
    )
    again = sagas.from_file(file(tmp_path, text)).planned.plan
    assert again.gates == pay.planned.plan.gates
    assert again.nodes == pay.planned.plan.nodes


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('key: "${vars.order.card}"', 'key: "${steps.build.output}"', "before its steps: key by"),
        ("failures: 3,", "failures: 5000,", "failures takes a whole number from 1 to 1,000"),
        ("limit: 5", "limit: 0", "8:12: most is a whole number from 1"),
        ("limit: 5", "limit: many", "most should be int"),
        ("limit: 5", "limit: -3", "most is a whole number from 1"),
        ("limit: 5", "limit: 9999999999", "a whole number from 1 to 1,000,000"),
        ("limit: 5", "limit: {per: 1s}", "limit has no most"),
        ("limit: 5", "limit: {most: 5, per: soon}", "per is a duration"),
        ("limit: 5", "limit: {most: 5, per: 0}", "per is a duration"),
        ("limit: 5", "limit: {most: 5, name: a#b}", "printable text without '#'"),
        ("limit: 5", "limit: {most: 5, name: ''}", "printable text"),
        ("limit: 5", "limit: {most: 5, nam: x}", "did you mean name?"),
        ("limit: 5", "limit: {most: 5, key: card}", "key is a value of the run"),
        ("limit: 5", 'limit: {most: 5, key: "${vars.card}"}', "there is no variable 'card'"),
        ("limit: 5", "limit: [5, 3]", "two gates called 'releases.build'"),
        ("limit: 5", "limit: {most: 5, name: ci}", "another gate called 'ci' with other numbers"),
        ("{name: ci, failures: 3,", "{failures: 3,", "breaker has no name"),
        ("{name: ci, failures: 3,", "{name: ci, failures: 0,", "failures is a whole number"),
        (
            "breaker: {name: ci, failures: 3, within: 1m, open_for: 30s}",
            "breaker: ci",
            "is such as",
        ),
    ],
)
def test_what_is_no_gate(sagas: Sagas, tmp_path: Path, old: str, new: str, words: str) -> None:
    """It is told with its place."""
    with pytest.raises(FileInvalid) as caught:
        sagas.from_file(file(tmp_path, TEXT.replace(old, new, 1)))
    assert words.removeprefix("8:12: ") in str(caught.value)


def test_a_task_brings_its_own(sagas: Sagas, tmp_path: Path) -> None:
    """And a gate of the code has one set of numbers, also in a file that is only started."""

    @sagas.step(name="charge", breaker=Breaker("ci"))
    def charge() -> None: ...

    assert charge.name
    text = "saga: a\nsteps:\n  it: {task: charge, limit: 5}\n"
    with pytest.raises(FileInvalid, match="limit belongs to http or poll or shell"):
        sagas.from_file(file(tmp_path, text))
    with pytest.raises(FileInvalid, match=r"a\.yaml:11:14: there is another gate called 'ci' with"):
        sagas.from_file(file(tmp_path, TEXT))
