"""The page of a saga: its newest runs, and starting one by its form.

Owns: the form.  Refuses to know: what a start does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.web import Role
from celeriac.web.marks import grid
from tests.web import shop
from tests.web.test_pages import Page

if TYPE_CHECKING:
    from httpx2 import Response
    from starlette.testclient import TestClient

    from celeriac.store.memory import MemoryStore
    from tests.web.conftest import AsRole


def sent(client: TestClient, name: str, **fields: Any) -> Response:
    """The answer to the form of a saga, as it was filled in."""
    (form,) = [
        each for each in Page(client.get(f"/sagas/{name}").text).forms if each["method"] == "post"
    ]
    return client.post(form["action"], data={**form["fields"], **fields})


def test_a_run_is_started_by_a_form(client: TestClient) -> None:
    """With its input, an id and tags; the same form again is the same run."""
    asked = {"input": '{"sku": "pen"}', "id": "o 1&2", "tags": "shop:7 region:eu"}
    for _ in range(2):
        found = sent(client, "place_order", **asked)
        assert (found.status_code, found.headers["Location"]) == (303, "/runs/o%201%262")
    state = shop.sagas.run("o 1&2").state()
    assert state.tags == {"shop": "7", "region": "eu"}
    assert len(shop.sagas.runs()) == 1
    assert 'href="/runs/o%201%262"' in client.get("/sagas/place_order").text
    assert sent(client, "transfer", input='{"source": "here", "amount": 2}').status_code == 303
    assert sent(client, "ping").status_code == 303


def test_a_form_that_is_sent_twice_starts_one_run(client: TestClient) -> None:
    """Its id was made with the form."""
    page = Page(client.get("/sagas/ping").text)
    (form,) = [each for each in page.forms if each["method"] == "post"]
    told = {client.post(form["action"], data=form["fields"]).headers["Location"] for _ in range(2)}
    assert len(told) == len(shop.sagas.runs()) == 1


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"input": "{"}, 422, "Nothing was started"),
        ({"input": '{"sku": 7}'}, 422, "sku"),
        ({"input": '{"sku": "<b>"}', "id": ".."}, 422, "folder"),
        ({"input": '{"sku": "a"}', "tags": "shop"}, 422, "give name:value"),
        ({"input": '{"sku": "ink"}', "id": "taken"}, 409, "Nothing was started"),
    ],
)
def test_what_makes_no_sense_starts_nothing(
    client: TestClient, fields: dict[str, str], status: int, told: str
) -> None:
    """And what was typed is still there."""
    shop.running("taken")
    found = sent(client, "place_order", **fields)
    assert found.status_code == status
    page = Page(found.text)
    assert told in page.text
    (form,) = [each for each in page.forms if each["method"] == "post"]
    assert form["fields"]["input"] == fields["input"]
    assert len(shop.sagas.runs()) == 1


def test_viewers_see_no_form(as_role: AsRole) -> None:
    """And an unknown saga is not found, by whatever method."""
    client = as_role(Role.VIEWER)
    assert "<form" not in client.get("/sagas/ping").text
    assert client.get("/sagas/none").status_code == 404


def test_the_newest_runs_stand_in_a_grid(client: TestClient) -> None:
    """A column a step, which says how often it failed; a mark a run in each, told by words too."""
    for make in (shop.running, shop.completed, shop.failed):
        make(make.__name__)
    page = Page(client.get("/sagas/place_order").text)
    heads = [known["title"] for tag, known in page.elements if known.get("class") == "step"]
    assert heads == ["reserve", "charge: failed in 1 of 3"]
    marks = [known for _, known in page.elements if known.get("class", "").startswith("dot ")]
    assert [known["aria-label"] for known in marks] == [
        *("reserve: compensated", "charge: compensation failed"),
        *("reserve: completed", "charge: completed"),
        *("reserve: running", "charge: pending"),
    ]


def test_a_run_of_an_older_plan_has_no_mark_for_what_it_lacks(store: MemoryStore) -> None:  # noqa: ARG001
    """Its own steps come behind those of the plan that is in use."""
    shop.completed("new")
    new = shop.sagas.run("new").state()
    first, second = new.steps
    old = new.model_copy(
        update={"id": "old", "plan": "x", "steps": (first.model_copy(update={"name": "a"}), second)}
    )
    found = grid([old, new], new.plan)
    assert [each.name for each in found.columns] == ["reserve", "charge", "a"]
    assert [str(marks).count("<td></td>") for _, marks in found.rows] == [1, 1]
    wide = [first.model_copy(update={"name": f"s{n}"}) for n in range(70)]
    assert grid([new.model_copy(update={"steps": tuple(wide)})], new.plan).more == 10
