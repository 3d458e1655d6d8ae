"""Gates that stand in the way: breakers that stay open, lines that nobody sees to, odd numbers.

Owns: what the doctor says of them.  Refuses to know: how gates work (`tests/gates`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.doctor import CHECKS, judge
from celeriac.doctor.facts import Facts, gather
from celeriac.doctor.store_contents import GateSeen, StoreContents
from celeriac.gating import Record
from celeriac.machine import Rule
from celeriac.store import GateChange
from celeriac.workers import WorkerReports
from celeriac.workers.report import Worker
from tests.doctor.conftest import Examined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

MINUTE = 60_000
LIMIT = {"kind": "limit", "most": 2}
BREAKER = {"kind": "breaker", "most": 3, "per": MINUTE, "open_for": 30_000}


@pytest.fixture
def facts(app: Celery) -> Iterator[Facts]:
    """What is seen of a sound application, without asking workers."""
    found = gather(app.celeriac.runtime, frozenset({"app", "redis"}))
    yield found
    app.celeriac.runtime.close()


def seen(facts: Facts, rule: dict[str, Any], **said: Any) -> GateSeen:
    """A gate; times are how many ms ago."""
    now = facts.server.now  # type: ignore[union-attr]
    ago = {"first", "opened"}
    found = {name: now - value if name in ago else value for name, value in said.items()}
    state = {name: found.pop(name) for name in ("opened", "by") if name in found}
    record = Record(version=1, rule=Rule(**rule), **state)
    usual = {"inside": 0, "waiting": 0, "first": 0, "look_at": now + 5_000}
    late = {"look_at": now - found.pop("late")} if "late" in found else {}
    return GateSeen("bank", record, **(usual | found | late))


@pytest.mark.parametrize(
    ("rule", "said", "told"),
    [
        (LIMIT, {"inside": 2, "waiting": 9, "first": 90 * MINUTE}, None),
        (LIMIT, {"waiting": 1, "first": 1_000}, None),
        (BREAKER, {"opened": 9 * MINUTE, "waiting": 3, "first": 9 * MINUTE}, None),
        (
            BREAKER,
            {"opened": 2 * 60 * MINUTE, "by": "eve", "waiting": 3, "first": 5},
            "warning: the breaker bank has been open for 2 h (by eve), with 3 steps in line",
        ),
        (
            LIMIT,
            {"inside": 2, "waiting": 1, "first": 9 * MINUTE, "late": 5 * MINUTE},
            "error: 1 step in line before bank, and nobody has looked at it for 5 min",
        ),
        (
            LIMIT,
            {"waiting": 2, "first": 9 * MINUTE},
            "info: nobody was inside of bank just now, and 2 steps in line, the first for 9 min",
        ),
    ],
)
def test_what_is_said_of_a_gate(
    facts: Facts, rule: dict[str, Any], said: dict[str, Any], told: str | None
) -> None:
    """A line that moves, and a breaker that has just opened, are nothing to tell of."""
    contents = StoreContents(gates=[seen(facts, rule, **said)])
    report = judge(dataclasses.replace(facts, contents=contents), [CHECKS["gates"]])
    assert Examined(report).bad == ({"gates": told} if told else {})


def test_gates_are_read(app: Celery) -> None:
    """As they are kept: places that are over do not count; what cannot be read is told."""
    gates = app.celeriac.runtime.engine.store.gates
    now = gates.read("bank").now
    record = Record(version=7, rule=Rule(**LIMIT))
    text = f"7 {record.model_dump_json()}"
    change = GateChange(
        *("bank", "", text, {"a": now - 1, "b": now + 90_000}),
        join={"x": now - 5, "y": now},
        look_at=now + 99,
    )
    assert gates.commit(change)
    assert gates.commit(GateChange("odd", "", "1 {}", {"a": now + 90_000}, look_at=now + 100))
    facts = gather(app.celeriac.runtime, frozenset({"app", "redis"}))
    assert isinstance(facts.contents, StoreContents)
    assert facts.contents.gates == [
        GateSeen("bank", record, 1, 2, now - 5, now + 99),
        GateSeen("odd", None, 1, 0, 0, now + 100),
    ]
    told = Examined(judge(facts, [CHECKS["gates"]])).bad["gates"]
    assert "what is kept of odd cannot be read here" in told
    app.celeriac.runtime.close()


def test_workers_have_other_numbers(facts: Facts, app: Celery) -> None:
    """Whoever comes last changes them for all, so it is told who has which."""
    app.celeriac.runtime.rules["bank"] = Rule(**LIMIT)

    def worker(**gates: Any) -> Worker:
        return Worker(
            celeriac="1",
            celery="5",
            now=0,
            namespace="celeriac",
            shards=16,
            lease=15,
            state="",
            pool="prefork",
            prefetch=1,
            gates=gates,
            reject_on_worker_lost=False,
            tasks=frozenset(),
            queues=frozenset(),
        )

    def told(**workers: Worker) -> str:
        roll = WorkerReports(workers)
        report = judge(dataclasses.replace(facts, roll=roll), [CHECKS["gate-numbers"]])
        return Examined(report).bad.get("gate-numbers", "")

    assert told(w1=worker(bank=LIMIT), w2=worker()) == ""
    other = {"kind": "rate", "most": 5, "per": 1_000}
    assert told(w1=worker(bank=LIMIT, mail=other), w2=worker(bank=LIMIT | {"most": 3})) == (
        "warning: bank: limit 2 at this app, w1; limit 3 at w2"
    )
    assert "mail" in told(w1=worker(mail=other), w2=worker(mail=other | {"per": 2_000}))
