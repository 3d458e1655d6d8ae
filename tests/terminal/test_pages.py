"""Pages of runs: what they show is what each run shows, and they cost no more for many runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.round_trips import counted
from celeriac.store import listing
from tests.terminal import driven_runs, shop

if TYPE_CHECKING:
    from tests.redis_server import RedisServer
    from tests.terminal.conftest import Cli


def a_run_of_each_kind() -> None:
    """Runs that have got to different places."""
    driven_runs.completed("done")
    driven_runs.compensated("undone")
    driven_runs.failed("owing")
    driven_runs.stuck("stuck")
    shop.ping.start(id="p-1")
    shop.place_order.start(shop.Order(sku="pen"), id="held", tags={"tenant": "acme"})
    driven_runs.do("held", "reserve")
    shop.sagas.run("held").pause("the bank is down", by="ada")


@pytest.mark.usefixtures("empty")
def test_a_page_shows_what_each_run_shows() -> None:
    """The state of a run is the same in a page and by itself, failures and holds among it."""
    a_run_of_each_kind()
    page = shop.sagas.runs()
    assert list(page.states()) == [run.state() for run in page.runs]
    assert [state.id for state in page.states()] == [run.id for run in page]
    assert {state.id for state in page.states() if state.hold} == {"held"}


@pytest.mark.usefixtures("empty")
def test_a_page_may_leave_out_failures() -> None:
    """Then everything else is the same."""
    a_run_of_each_kind()
    page = shop.sagas.runs()
    whole = {state.id: state for state in page.states()}
    for state in page.states(failures=False):
        steps = tuple(
            step.model_copy(update={"failure": None, "undo_failure": None})
            for step in whole[state.id].steps
        )
        assert state == whole[state.id].model_copy(update={"failure": None, "steps": steps})


@pytest.mark.parametrize("words", [(), ("-o", "json"), ("-o", "ids"), ("--saga", "ping")])
def test_a_list_is_a_handful_of_round_trips(cli: Cli, words: tuple[str, ...]) -> None:
    """Not one for each run; the table does not even ask how steps failed."""
    for n in range(60):
        shop.ping.start(id=f"p-{n}")
    cli("list")  # plans are read once
    with counted() as trips:
        ended = cli("list", *words, "--limit", "50")
    assert ended.code == 0
    assert len(trips) <= (4 if "json" not in words else 5)


@pytest.mark.usefixtures("empty")
def test_runs_that_were_removed_meanwhile_are_left_out(server: RedisServer) -> None:
    """A page is shown without them."""
    driven_runs.completed("gone")
    driven_runs.completed("here")
    page = shop.sagas.runs()
    with server.client() as client:
        client.delete(shop.sagas.runtime.engine.store._keys.of("gone").run("gone"))  # type: ignore[attr-defined]
    assert [state.id for state in page.states()] == ["here"]


@pytest.mark.usefixtures("empty")
def test_a_run_whose_plan_is_lost_does_not_hide_the_others(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out, and named in the log."""
    driven_runs.completed("here")
    shop.ping.start(id="lost")
    store = shop.sagas.runtime.engine.store
    run = store.read("lost").run
    assert run is not None
    with server.client() as client:
        client.delete(store._keys.of("lost").plan(run.plan))  # type: ignore[attr-defined]
        shop.sagas.runtime.close()  # another process, which has not read it
        assert [state.id for state in shop.sagas.runs().states()] == ["here"]
    assert "lost left out: its plan" in caplog.text


def test_a_page_that_ends_early_leads_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where filters hardly meet, a page may be empty, and its cursor finds the rest."""
    monkeypatch.setattr(listing, "_LOOKED_AT", 8)
    monkeypatch.setattr(listing, "_ROUNDS", 1)
    shop.place_order.start(shop.Order(sku="pen"), id="wanted", tags={"tenant": "acme"})
    driven_runs.do("wanted", "reserve", "charge")
    for n in range(80):
        tags = {"tenant": "acme"} if n % 2 else None
        shop.place_order.start(shop.Order(sku="pen"), id=f"order-{n}", tags=tags)
        if not n % 2:
            driven_runs.do(f"order-{n}", "reserve", "charge")
    words = ("list", "--tag", "tenant=acme", "--status", "completed", "-o", "json")
    found, cursor, pages = [], None, 0
    while pages < 100:
        told = json.loads(cli(*words, *(("--cursor", cursor) if cursor else ())).out)
        found += [run["id"] for run in told["runs"]]
        pages, cursor = pages + 1, told["cursor"]
        if cursor is None:
            break
    assert found == ["wanted"]
    assert pages > 1
    assert "No run matches so far." in cli(*words[:-2]).err
