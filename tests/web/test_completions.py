"""Results from outside, over HTTP: the token is the right, and wrong ones are slowed down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from celeriac.web import Account, Role, create_app
from tests.in_memory import ask_outside
from tests.web import shop
from tests.web.test_access import basic

if TYPE_CHECKING:
    from celeriac.store.memory import MemoryStore

PATH = "/api/completions"


@pytest.fixture
def outside(store: MemoryStore) -> TestClient:  # noqa: ARG001 -- it is the shop that is asked
    """Somebody outside, who cannot log in."""
    app = create_app(shop.sagas, accounts={"ada": Account("x", Role.ADMIN)})
    return TestClient(app, raise_server_exceptions=False)


def asked(run_id: str = "o-1") -> str:
    """A run that waits for somebody outside; his token."""
    shop.place_order.start(shop.Order(sku="tea"), id=run_id)
    return ask_outside(shop.sagas, run_id, "reserve")


@pytest.mark.parametrize("by_path", [True, False])
def test_a_result_is_taken_once(outside: TestClient, by_path: bool) -> None:
    """From the path or a header; the same again is fine, another is a conflict."""
    token = asked()
    headers = {} if by_path else {"Saga-Token": token}
    path = f"{PATH}/{token}" if by_path else PATH

    def bring(result: Any) -> Any:
        return outside.post(path, json={"result": result}, headers=headers)

    assert (bring(7).status_code, bring(7).json()["code"]) == (422, "input_invalid")
    for _ in range(2):
        found = bring("tea")
        assert (found.status_code, found.json()) == (200, {"taken": True})
        assert found.headers["Referrer-Policy"] == "no-referrer"
    other = bring("coffee")
    assert (other.status_code, other.json()["code"]) == (409, "token_settled")
    assert token not in other.text
    assert shop.sagas.run("o-1").state().step("reserve").status == "completed"


@pytest.mark.parametrize(
    ("login", "by"), [(("ada", "x"), "ada"), (("ada", "wrong"), None), (None, None)]
)
def test_whoever_is_known_is_named(
    outside: TestClient, login: tuple[str, str] | None, by: str | None
) -> None:
    """In the history of the run; nobody has to be, and nobody can say that they are another."""
    body = {"result": "tea"}
    headers = basic(*login) if login else {}
    assert outside.post(f"{PATH}/{asked()}", json=body, headers=headers).status_code == 200
    (told,) = [each.data for each in shop.sagas.run("o-1").history() if "outside" in each.data]
    assert told.get("by") == by
    claimed = outside.post(f"{PATH}/{asked('o-2')}", json={**body, "by": "ada"})
    assert claimed.status_code == 422


def test_a_failure_is_taken(outside: TestClient) -> None:
    """With what `sagas.fail` takes."""
    error = {"message": "no shelf", "code": "no_shelf", "effect": False}
    assert outside.post(f"{PATH}/{asked()}", json={"error": error}).status_code == 200
    state = shop.sagas.run("o-1").state()
    assert state.status == "compensated"
    assert state.failure is not None
    assert state.failure.code == "no_shelf"


def test_a_token_that_no_longer_counts_is_gone(outside: TestClient) -> None:
    """And one that was never given out is not found."""
    token = asked()
    shop.sagas.run("o-1").cancel()
    late = outside.post(f"{PATH}/{token}", json={"result": "tea"})
    assert (late.status_code, late.json()["code"]) == (410, "token_void")
    wrong = outside.post(f"{PATH}/{token}x", json={"result": "tea"})
    assert (wrong.status_code, wrong.json()["code"]) == (404, "token_unknown")


@pytest.mark.parametrize("body", [{}, {"result": 1, "error": {"message": "no"}}, {"results": 1}])
def test_one_of_the_two_is_given(outside: TestClient, body: Any) -> None:
    """A result or an error, and nothing else."""
    assert outside.post(f"{PATH}/{asked()}", json=body).status_code == 422


def test_a_body_that_is_too_large_is_not_read(outside: TestClient) -> None:
    """As at every route."""
    found = outside.post(f"{PATH}/{asked()}", content=b"x" * 3_000_000)
    assert found.status_code == 413


def test_whoever_tries_tokens_is_slowed_down(outside: TestClient) -> None:
    """After thirty wrong ones in a minute an address has to wait."""
    asked()
    told = [outside.post(f"{PATH}/x.{n}", json={"result": 1}).status_code for n in range(40)]
    assert told == [404] * 30 + [429] * 10
    found = outside.post(f"{PATH}/x.y", json={"result": 1})
    assert int(found.headers["Retry-After"]) > 0
