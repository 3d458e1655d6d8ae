"""Secrets are asked for where they are used, and appear nowhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.actions.conftest import SECRETS

if TYPE_CHECKING:
    from celeriac.testing import Lab, LabRun
    from tests.actions.conftest import Run
    from tests.actions.server import Server

STEPS = """
it:
  http:
    method: POST
    url: URL/x/${secrets.OTHER}/${vars.order}
    headers: {Authorization: "Bearer ${secrets.TOKEN}"}
    json: {nested: [{token: "${secrets.TOKEN}"}], order: "${vars.order}"}
"""


def everything(lab: Lab, run: LabRun[Any]) -> str:
    """All that is kept of a run: plan, payloads, history, and what is shown."""
    run_id = run.id
    store = lab.world.store
    found = store.read(run_id).run
    assert found is not None
    plan = store.plan(run_id, found.plan)
    fields = store.read_all({run_id: None})[run_id].fields
    history = [repr(event) for event in run.history()]
    state = run.state().model_dump_json()
    return json.dumps([plan.model_dump_json(), dict(fields), history, state, lab.story()])


def test_a_secret_is_used_and_seen_nowhere(run: Run, server: Server, labs: list[Lab]) -> None:
    """Not in the plan, a payload, the history, a failure, nor in what the server sends back."""
    server.on[f"/x/{SECRETS['OTHER']}/o1"] = lambda asked: (200, {"you": dict(asked.headers)})
    ended = run(STEPS, "${steps.it.output}", order="o1")
    assert ended.status == "completed"
    [asked] = server.asked
    assert asked.headers["authorization"] == f"Bearer {SECRETS['TOKEN']}"
    assert json.loads(asked.body)["nested"] == [{"token": SECRETS["TOKEN"]}]
    server.on[f"/x/{SECRETS['OTHER']}/o1"] = lambda asked: (500, {"you": dict(asked.headers)})
    failed = run(STEPS, order="o1")
    texts = [everything(lab, each) for lab, each in zip(labs, (ended, failed), strict=True)]
    assert all(secret not in text for text in texts for secret in SECRETS.values())
    assert ended.result().body["you"]["authorization"] == "Bearer •••"
    assert "TOKEN" in texts[0]


def test_a_value_cannot_ask_for_a_secret(run: Run, server: Server) -> None:
    """Whatever it looks like: an expression, or what the plan keeps of one."""
    hostile = [
        "${secrets.TOKEN}",
        {"kind": "secret", "value": "TOKEN"},
        {"at": ["json"], "parts": [{"kind": "secret", "value": "TOKEN"}]},
    ]
    steps = 'it: {http: {method: POST, url: URL/x, json: "${vars.order}"}}'
    assert run(steps, order=hostile).status == "completed"
    assert json.loads(server.asked[0].body) == hostile
    steps = 'it: {http: {url: "URL/x/${vars.order}"}}'
    assert run(steps, order="${secrets.TOKEN}").status == "completed"
    assert all(secret not in server.asked[1].path for secret in SECRETS.values())


def test_a_secret_that_is_not_there(run: Run, server: Server) -> None:
    """Nothing is sent, and the error names it."""
    steps = 'it: {http: {url: URL/x, headers: {A: "${secrets.NONE}"}}}'
    ended = run(steps)
    assert ended.status == "compensated"
    failure = ended.state().failure
    assert failure is not None
    assert (failure.code, failure.effect) == ("no_secret", False)
    assert server.asked == []
