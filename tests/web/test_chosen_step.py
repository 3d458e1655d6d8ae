"""The chosen step on the page of a run: what it was given, what came of it, how it failed.

Owns: what is shown of it, to whom, and what is hidden.  Refuses to know: the rest of the page.
"""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from starlette.testclient import TestClient

from celeriac import Failure, Flow, Sagas
from celeriac.machine.commands import Fail
from celeriac.web import Caller, Role, create_app
from tests.in_memory import claim, do, keep_in_memory
from tests.web.test_pages import Page

app = Celery("chosen", broker="memory://", set_as_current=False)
sagas = Sagas(app)
RAISED = 'Traceback (most recent call last):\n  File "bank.py", line 7, in pay\n    <b>\x1b[1m\n'


@sagas.step
def price(sku: str) -> dict[str, int]:
    """What it costs."""
    return {"cents": len(sku)}


@sagas.step
def pay(account: int, cents: int, note: str) -> None:
    """Pay it."""


@pay.confirm
def settle(account: int) -> None:
    """It is decided."""


@sagas.saga
def buy(flow: Flow, sku: str, card: int) -> None:
    """A step that is given something of each kind."""
    cost = flow.step(price, sku)
    with flow.two_phase():
        flow.step(pay, card, cost["cents"], "for tea")


@sagas.step
def send(item: int) -> str:
    """Done for each element."""
    return str(item)


@sagas.saga
def deliver(flow: Flow, items: list[int]) -> list[str]:
    """A map."""
    return flow.map(send, items)


@pytest.fixture(autouse=True)
def _shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop without runs, where people see tracebacks."""
    keep_in_memory(sagas)
    monkeypatch.setitem(app.conf, "saga_web_payloads", True)


def shown(path: str, role: Role = Role.ADMIN) -> dict[str, str]:
    """What stands in each `pre` of a page, by the heading before it."""
    client = TestClient(create_app(sagas, identify=lambda _: Caller("ada", role)))
    html = client.get(path).text
    pieces = (each.partition("</h3><pre>") for each in html.split("<h3>")[1:])
    return {label: Page(rest.partition("</pre>")[0]).text for label, _, rest in pieces}


def bought(run_id: str = "b-1") -> str:
    """A run whose second step has just been taken up."""
    buy.start("tea", 47110815, id=run_id)
    do(sagas, run_id, "price", output='{"cents": 300}')
    return run_id


def broke(run_id: str, step: str) -> None:
    """Let an attempt of a step fail, somewhere."""
    attempt = claim(sagas, run_id, step)
    name = attempt.delivery
    token = (name.step, name.phase, name.attempt, "worker", name.epoch)
    failure = Failure(type="BankDown", message="no answer", code="away", traceback=RAISED)
    sagas.runtime.engine.fail(attempt, Fail(*token, "error", "BankDown", "away"), failure)


def test_a_step_shows_what_it_was_given() -> None:
    """Inputs of the run, results of other steps and constants, by parameter; before, nothing."""
    run_id = bought()
    assert shown(f"/runs/{run_id}?step=price")["Input"] == '{\n  "sku": "tea"\n}'
    assert "Input" not in shown(f"/runs/{run_id}?step=pay")
    claim(sagas, run_id, "pay")
    told = shown(f"/runs/{run_id}?step=pay")["Input"]
    assert told == '{\n  "account": 47110815,\n  "cents": 300,\n  "note": "for tea"\n}'


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *(("card", "47110815"), ("account", "47110815"), ("note", "for tea"), ("cents", "300")),
        ("out:price", "300"),
    ],
)
def test_what_is_hidden_is_hidden_in_inputs_too(
    monkeypatch: pytest.MonkeyPatch, name: str, secret: str
) -> None:
    """Whatever the parameter is called that it is given as."""
    monkeypatch.setitem(app.conf, "saga_redact", (name,))
    run_id = bought()
    claim(sagas, run_id, "pay")
    told = shown(f"/runs/{run_id}?step=pay")["Input"]
    assert secret not in told
    assert "•••" in told


def test_inputs_are_for_those_who_see_payloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer sees them where viewers see payloads."""
    run_id = bought()
    assert "Input" in shown(f"/runs/{run_id}?step=price", Role.VIEWER)
    monkeypatch.setitem(app.conf, "saga_web_payloads", False)
    assert shown(f"/runs/{run_id}?step=price", Role.VIEWER) == {}


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize(
    ("step", "label"), [("pay", "Error"), ("pay.confirm", "Error of its confirm")]
)
def test_an_error_is_text(
    monkeypatch: pytest.MonkeyPatch, step: str, label: str, opened: Any
) -> None:
    """Message and traceback line by line, where people see tracebacks; nothing of it is HTML."""
    monkeypatch.setitem(app.conf, "saga_web_payloads", opened)
    run_id = bought()
    if step != "pay":
        do(sagas, run_id, "pay")
    broke(run_id, step)
    lines = shown(f"/runs/{run_id}?step=pay")[label].split("\n")
    assert lines[0] == "BankDown [away]: no answer"
    where = RAISED.replace("\x1b", "\\x1b").rstrip().split("\n")
    assert lines[1:] == (["", *where] if opened else [])


def test_a_map_shows_what_came_of_its_elements() -> None:
    """In order, the first of many; an element shows its own."""
    deliver.start(list(range(300, 370)), id="m-1")
    for number in (number ^ 1 for number in range(60)):
        do(sagas, "m-1", f"send[{number}]", output=f'"parcel {number}"')
    lines = shown("/runs/m-1?step=send")["Results of its elements"].split("\n")
    assert lines[:2] == ['send[0]: "parcel 0"', 'send[1]: "parcel 1"']
    assert lines[50:] == ["and 10 more"]
    claim(sagas, "m-1", "send[60]")
    assert shown("/runs/m-1?step=send[60]")["Input"] == '{\n  "item": 360\n}'


def test_a_number_that_is_hidden_is_hidden_where_a_map_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An element of a list is kept under another name than the list."""
    monkeypatch.setitem(app.conf, "saga_redact", ("items",))
    deliver.start([4711], id="m-1")
    claim(sagas, "m-1", "send[0]")
    assert "4711" not in shown("/runs/m-1?step=send[0]")["Input"]
