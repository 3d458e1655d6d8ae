"""What is not to be seen: payloads by whom they are not for, and fields of `saga_redact` by nobody.

Owns: answers, questions, inputs of an undo and results, which are payloads under other names, and
tracebacks of earlier tries.  Refuses to know: which role may look at a route (`test_access.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac import Failure
from celeriac.machine.commands import Fail
from celeriac.views import HIDDEN, Redaction
from celeriac.web import Role
from tests.in_memory import claim, do
from tests.web import shop

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.web.conftest import AsRole


@pytest.fixture
def _redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards are shown to nobody."""
    monkeypatch.setitem(shop.app.conf, "saga_redact", ("card",))


def joined(client: TestClient, run_id: str) -> dict[str, Any]:
    """What a second start of a purchase gets."""
    found = client.post("/api/runs", json={"saga": "purchase", "id": run_id})
    assert found.status_code == 200
    told: dict[str, Any] = found.json()
    return told


def test_an_answer_is_a_payload(as_role: AsRole, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step says to the caller is no more for a viewer than the input that it may quote."""
    shop.declined("p-1")
    assert "ask the bank" in as_role(Role.OPERATOR).get("/runs/p-1").text
    viewer = as_role(Role.VIEWER)
    assert "ask the bank" not in viewer.get("/runs/p-1").text
    assert "ask the bank" not in viewer.get("/api/runs/p-1").text
    monkeypatch.setitem(shop.app.conf, "saga_web_payloads", True)
    assert "ask the bank" in viewer.get("/runs/p-1").text


def test_who_joins_a_run_that_was_undone_gets_its_answer(client: TestClient) -> None:
    """As whoever joins one that completed gets its result."""
    shop.declined("p-1")
    told = joined(client, "p-1")
    assert (told["status"], told["answer"]["tries"], told["result"]) == ("compensated", 0, None)
    shop.paid("p-2")
    assert joined(client, "p-2")["answer"] is None


@pytest.mark.usefixtures("_redacted")
def test_an_answer_is_redacted(client: TestClient) -> None:
    """By its own names, and where it quotes a field of the input."""
    shop.declined("p-1")
    page = client.get("/runs/p-1").text
    assert shop.SECRET not in page
    assert f"ask the bank about {HIDDEN}" in page
    answer = joined(client, "p-1")["answer"]
    assert answer == {"card": HIDDEN, "told": f"ask the bank about {HIDDEN}", "tries": 0}


@pytest.mark.usefixtures("_redacted")
def test_a_field_is_hidden_under_any_name(client: TestClient, as_role: AsRole) -> None:
    """A label, a parameter or a result may be called otherwise than the field that it shows."""
    shop.paid("p-1")
    approver = as_role(Role.APPROVER)
    (question,) = approver.get("/api/approvals").json()["approvals"]
    assert question["about"] == {"paid with": HIDDEN, "told": f"paid with {HIDDEN}"}
    for path in ("/approvals", "/approvals/p-1/allowed"):
        page = approver.get(path).text
        assert HIDDEN in page
        assert shop.SECRET not in page
    (step,) = client.get("/api/runs/p-1/undo-plan").json()["steps"]
    assert (step["step"], step["inputs"]) == ("pay", {"number": HIDDEN})
    shop.sagas.run("p-1").signal(shop.allowed, True)
    assert joined(client, "p-1")["result"] == f"paid with {HIDDEN}"


def test_a_hidden_number_is_hidden_as_a_number() -> None:
    """It is no text that could quote it, and may be the very same."""
    redaction = Redaction(["card"])
    whole = {"in:card": 47110815}
    assert redaction.of({"number": 47110815, "amount": 7}, whole) == {"number": HIDDEN, "amount": 7}
    assert Redaction([]).of({"number": 47110815}, whole) == {"number": 47110815}


def test_a_traceback_of_an_earlier_try_is_for_nobody(client: TestClient) -> None:
    """Nor is one of a run that was rewound since."""
    shop.place_order.start(shop.Order(sku="pen"), id="o-1")
    attempt = claim(shop.sagas, "o-1", "reserve")
    name = attempt.delivery
    token = (name.step, name.phase, name.attempt, "worker", name.epoch)
    failure = Failure(type="BankDown", message="no", traceback="bank.py, line 7")
    command = Fail(*token, "error", "BankDown", "away", delay=0)
    shop.sagas.runtime.engine.fail(attempt, command, failure)
    do(shop.sagas, "o-1", "reserve")
    shop.sagas.run("o-1").rewind("reserve", reason="once more")
    do(shop.sagas, "o-1", "reserve", "undo")
    payloads = client.get("/api/runs/o-1", params={"payloads": True}).json()["payloads"]
    (earlier,) = [each for each in payloads if each.endswith(":err:reserve")]
    assert earlier.startswith("~")
    assert payloads[earlier]["message"] == "no"
    assert "traceback" not in payloads[earlier]
