"""Approvals: what runs ask people, how they are asked, and what becomes of an answer.

Owns: the list of questions, their forms, and that an answer counts for what was seen.  Refuses to
know: how a wait takes a signal (`tests/machine/test_waits.py`).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter

from celeriac import InputInvalid
from celeriac.web import Role
from celeriac.web.answers import payload, sheet
from tests.web import shop
from tests.web.test_pages import HOSTILE, Page, seen

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.web.conftest import AsRole


@pytest.fixture
def approver(as_role: AsRole) -> TestClient:
    """Somebody who may answer, and nothing else."""
    return as_role(Role.APPROVER)


def answered(client: TestClient, page: Page, **fields: str) -> Any:
    """What comes of a form, filled in."""
    (form,) = [each for each in page.forms if each["method"] == "post"]
    named = {f"field.{name}": value for name, value in fields.items()}
    return client.post(form["action"], data={**form["fields"], **named})


def test_an_approver_sees_the_question_and_answers_it(approver: TestClient) -> None:
    """What it is about, one button for each way to decide, and the run goes on."""
    shop.asking("e-1")
    shop.running("o-1")
    listed = seen(approver, "/approvals")
    assert "Pay this expense" in listed.text
    assert "who: ada, amount: 700" in listed.text
    page = seen(approver, "/approvals/e-1/verdict")
    buttons = [
        (each["name"], each["value"])
        for tag, each in page.elements
        if "value" in each and tag == "button"
    ]
    assert buttons == [("field.approve", "true"), ("field.approve", "false")]
    (form,) = page.forms
    assert form["fields"]["field.by"] == "approver", "who answers need not type that"
    found = answered(approver, page, approve="true", limit="900", urgency='"high"')
    assert (found.status_code, found.headers["Location"]) == (303, "/approvals?done=verdict")
    state = shop.sagas.run("e-1").state()
    assert state.step("verdict").status == "completed"
    given = shop.sagas.run("e-1").export(payloads=True)["payloads"]["out:verdict"]
    assert given == {"approve": True, "by": "approver", "limit": 900, "urgency": "high"}
    (event,) = [each for each in shop.sagas.run("e-1").history() if each.kind == "signalled"]
    assert event.data["by"] == "approver"
    assert "Nobody is asked anything" in seen(approver, "/approvals").text


def test_a_link_that_was_answered_is_gone(approver: TestClient, as_role: AsRole) -> None:
    """A second answer is not taken by anything, and its page says who was faster."""
    shop.asking("e-1")
    page = seen(approver, "/approvals/e-1/verdict")
    other = as_role(Role.OPERATOR)
    answered(other, seen(other, "/approvals/e-1/verdict"), approve="false")
    late = answered(approver, page, approve="true")
    assert late.status_code == 410
    assert "answered by operator" in late.text
    assert approver.get("/approvals/e-1/verdict").status_code == 410
    given = shop.sagas.run("e-1").export(payloads=True)["payloads"]["out:verdict"]
    assert given["approve"] is False


def test_a_page_of_a_visit_before_does_not_count(approver: TestClient) -> None:
    """What is asked anew has to be looked at anew."""
    shop.asking("e-1")
    (form,) = seen(approver, "/approvals/e-1/verdict").forms
    old = {**form["fields"], "since": "2020-01-01T00:00:00.000Z", "field.approve": "true"}
    found = approver.post(form["action"], data=old)
    assert found.status_code == 410
    assert "asked anew" in found.text
    assert shop.sagas.run("e-1").status == "waiting"


def test_a_mail_is_about_what_it_was_sent_for(
    approver: TestClient, as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a rewind the link says that it is asked anew, and an answer to before is refused."""
    shop.asking("e-1")
    (before,) = approver.get("/api/approvals").json()["approvals"]
    assert approver.get(before["page"]).status_code == 200
    answered(approver, seen(approver, before["page"]), approve="true")
    store = shop.sagas.runtime.engine.store
    now = store._clock  # type: ignore[attr-defined]
    monkeypatch.setattr(store, "_clock", lambda: now() + 5_000)
    shop.sagas.run("e-1").rewind("verdict", by="ada")
    (after,) = approver.get("/api/approvals").json()["approvals"]
    gone = approver.get(before["page"])
    assert (gone.status_code, "asked anew" in gone.text) == (410, True)
    assert 'href="/approvals/e-1/verdict"' in gone.text
    assert approver.get(after["page"]).status_code == 200
    for path, client in (("/approvals", approver), ("/", as_role(Role.OPERATOR))):
        assert f'href="{after["page"]}"' in client.get(path).text
    answer = {"name": "verdict", "step": "verdict", "payload": {"approve": True, "by": "eve"}}
    late = approver.post("/api/runs/e-1/signal", json={**answer, "asked": before["since"]})
    assert (late.status_code, late.json()["reason"]) == (409, "asked_anew")
    nowhere = {**answer, "step": None, "asked": after["since"]}
    assert approver.post("/api/runs/e-1/signal", json=nowhere).status_code == 422
    taken = approver.post("/api/runs/e-1/signal", json={**answer, "asked": after["since"]})
    assert taken.json() == {"answer": "taken"}


def test_what_cannot_be_is_told_and_kept(approver: TestClient) -> None:
    """A mistake leaves the form filled in, and the run as it is."""
    shop.asking("e-1")
    page = seen(approver, "/approvals/e-1/verdict")
    found = answered(approver, page, approve="true", limit="lots")
    assert found.status_code == 422
    assert "'lots' is not a number" in found.text.replace("&#39;", "'")
    assert Page(found.text).forms[0]["fields"]["field.limit"] == "lots"
    assert answered(approver, page).status_code == 422, "nothing was decided"
    assert shop.sagas.run("e-1").status == "waiting"


def test_looking_never_answers(approver: TestClient) -> None:
    """Mail scanners follow links, and may even ask for the head only."""
    shop.asking("e-1")
    for address in ("/approvals/e-1/verdict", "/approvals/e-1/verdict?field.approve=true"):
        assert approver.get(address).status_code == 200
        approver.head(address)
    assert shop.sagas.run("e-1").status == "waiting"


@pytest.mark.parametrize("path", ["none/verdict", "e-1/none"])
def test_an_unknown_question_is_not_found(approver: TestClient, path: str) -> None:
    """Neither of a run that there is not, nor of a step."""
    shop.asking("e-1")
    assert approver.get(f"/approvals/{path}").status_code == 404


def test_a_held_run_takes_no_answer_yet(approver: TestClient) -> None:
    """The page says so, and keeps what was typed."""
    shop.asking("e-1")
    page = seen(approver, "/approvals/e-1/verdict")
    shop.sagas.run("e-1").pause("stocktaking", by="ada")
    found = answered(approver, page, approve="true")
    assert (found.status_code, "paused" in found.text) == (422, True)


def test_the_api_tells_what_a_form_needs(
    approver: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question has the schema of its answer; what is to be hidden is hidden."""
    monkeypatch.setitem(shop.app.conf, "saga_redact", ("card",))
    shop.asking("e-1")
    (found,) = approver.get("/api/approvals").json()["approvals"]
    assert (found["run_id"], found["step"], found["signal"]) == ("e-1", "verdict", "verdict")
    assert set(found["payload"]["properties"]) == {"approve", "by", "limit", "urgency"}
    assert found["about"] == {"who": "ada", "amount": 700, "Card": "•••"}
    assert shop.SECRET not in approver.get("/approvals/e-1/verdict").text
    answer = {"name": "verdict", "step": "verdict", "payload": {"approve": True, "by": "eve"}}
    assert approver.post("/api/runs/e-1/signal", json=answer).json() == {"answer": "taken"}
    again = approver.post("/api/runs/e-1/signal", json=answer)
    assert (again.status_code, again.json()["reason"]) == (409, "not_waiting")
    assert approver.get("/api/approvals").json() == {"approvals": [], "cursor": None}


def test_an_approver_answers_only_what_is_asked(approver: TestClient, as_role: AsRole) -> None:
    """Nothing is kept for a wait that is to come, with its name or without."""
    shop.purchase.start(id="p-1")
    answer = {"name": "allowed", "payload": True}
    early = approver.post("/api/runs/p-1/signal", json=answer)
    assert (early.status_code, early.json()["code"]) == (403, "forbidden")
    named = approver.post("/api/runs/p-1/signal", json={**answer, "step": "allowed"})
    assert (named.status_code, named.json()["reason"]) == (409, "not_waiting")
    assert all(each.kind != "signalled" for each in shop.sagas.run("p-1").history())
    shop.paid("p-2")
    taken = approver.post("/api/runs/p-2/signal", json=answer)
    assert (taken.status_code, taken.json()) == (200, {"answer": "taken"})
    assert approver.post("/api/runs/p-2/signal", json=answer).status_code == 403
    operator = as_role(Role.OPERATOR)
    assert operator.post("/api/runs/p-1/signal", json=answer).json() == {"answer": "kept"}


def test_nothing_on_it_is_taken_for_html(approver: TestClient) -> None:
    """An input may hold anything."""
    shop.expense.start(HOSTILE, 7, id="e-1")
    for path in ("/approvals", "/approvals/e-1/verdict"):
        page = seen(approver, path)
        assert HOSTILE in page.text
        assert ("script", {}) not in page.elements


class Colour(Enum):
    """Few values."""

    RED = "red"
    DARK_BLUE = "dark_blue"


class Nested(BaseModel):
    """A field of no simple kind."""

    note: str | None = None
    colour: Colour
    lines: list[int] = []


FORMS: list[tuple[Any, dict[str, str], Any]] = [
    (bool, {"": "false"}, False),
    (str, {"": "no, 3"}, "no, 3"),
    (int | None, {"": ""}, None),
    (Literal["yes", "no"], {"": '"no"'}, "no"),
    (Colour, {"": '"dark_blue"'}, "dark_blue"),
    (Nested, {"colour": '"red"', "lines": "[1, 2]"}, {"colour": "red", "lines": [1, 2]}),
    (Nested, {"colour": '"red"', "note": "x"}, {"colour": "red", "note": "x"}),
    (dict[str, int], {"": '{"a": 1}'}, {"a": 1}),
]


@pytest.mark.parametrize(("kind", "filled_in", "given"), FORMS)
def test_each_kind_of_payload_has_a_form(kind: Any, filled_in: dict[str, str], given: Any) -> None:
    """What is typed becomes what the type means."""
    schema = TypeAdapter(kind).json_schema()
    named = {f"field.{name}": value for name, value in filled_in.items()}
    assert payload(schema, named) == given
    names = {each.name for each in sheet(schema).fields}
    decision = sheet(schema).decision
    assert names | ({decision.name} if decision else set()) >= set(filled_in)


def test_buttons_read_like_words() -> None:
    """A value is shown without its spelling."""
    decision = sheet(TypeAdapter(Colour).json_schema()).decision
    assert decision
    assert [each.label for each in decision.options] == ["red", "dark blue"]


@pytest.mark.parametrize(("kind", "text"), [(int, "x"), (Nested, "["), (Colour, "red")])
def test_what_is_no_value_is_refused(kind: Any, text: str) -> None:
    """Before anything is sent."""
    schema = TypeAdapter(kind).json_schema()
    name = "lines" if kind is Nested else ""
    with pytest.raises(InputInvalid, match="is not"):
        payload(schema, {f"field.{name}": text, "field.colour": '"red"'})
