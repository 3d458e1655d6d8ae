"""The API and its description agree, whatever is sent: schemathesis over all routes.

Owns: running it, and with which requests.  Refuses to know: what the routes do.
"""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from celeriac.doctor import Report
from celeriac.web import Caller, Role, create_app, site
from tests.house.sources import ROOT
from tests.in_memory import keep_in_memory
from tests.web import shop

# That there is such a saga, run or step, and no other run under the id, no schema can say.
UNKNOWABLE: Any = positive_data_acceptance

keep_in_memory(shop.sagas)
for make in (shop.running, shop.completed, shop.failed, shop.unsure, shop.paused):
    make(make.__name__)
ENGINE = shop.sagas.runtime.engine
app = create_app(shop.sagas, identify=lambda _: Caller("ada", Role.ADMIN))
schema = schemathesis.openapi.from_asgi("/openapi.json", app).exclude(path_regex="/events$")


@pytest.fixture(autouse=True)
def _runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs made above, whatever other tests of this process have put in their place."""
    monkeypatch.setitem(shop.sagas.runtime._engines, os.getpid(), ENGINE)
    monkeypatch.setattr(site, "examine", lambda _: Report(()))  # workers that are not there


@schema.parametrize()
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_finds_a_hole(case: schemathesis.Case[Any]) -> None:
    """No request makes a server error or an answer that the description does not know."""
    case.call_and_validate(excluded_checks=[UNKNOWABLE])


def test_every_route_is_described() -> None:
    """What is served stands in the description, with a sentence for people."""
    silent = [
        (path, method)
        for path, each in app.openapi()["paths"].items()
        for method, operation in each.items()
        if not operation.get("description")
    ]
    assert app.openapi()["paths"]
    assert silent == []


def test_every_route_is_in_the_table_for_people() -> None:
    """Each word of each path stands among the routes of docs/dashboard.md."""
    text = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8")
    routes = text.partition("## Routes")[2].partition("\n## ")[0]
    known = set(re.findall(r"[a-z][a-z.-]*", routes))
    words = {
        word for path in app.openapi()["paths"] for word in re.sub(r"{\w+}", "", path).split("/")
    }
    assert words - {""} - known == set()


@pytest.mark.parametrize("run_id", ["running", "completed", "failed", "unsure", "paused"])
def test_the_runs_asked_of_were_there(run_id: str) -> None:
    """The requests met runs of each kind, and no request made one disappear."""
    assert shop.sagas.run(run_id).history()
