"""Secrets are asked for where they are used, and appear nowhere."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import httpx

from tests.actions.conftest import SECRETS

if TYPE_CHECKING:
    import pytest

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


def test_half_a_secret_is_not_seen_either(run: Run, server: Server) -> None:
    """What is kept of an answer is cut behind a secret, or before it, and never inside."""
    token = SECRETS["TOKEN"]
    server.on["/x"] = lambda asked: (
        200,
        {},
        {"Location": "y" * 1_995 + asked.headers["authorization"]},
    )
    steps = 'it: {http: {url: URL/x, headers: {Authorization: "${secrets.TOKEN}"}}}'
    headers = run(steps, "${steps.it.output}").result().headers
    assert headers["location"] == "y" * 1_995 + "•••"
    for most in range(20, 20 + len(token) + 1):
        steps = f"""
it:
  shell:
    command: [sh, -c, 'echo {"z" * 20}$T; echo "$T"{"z" * 490} >&2']
    env: {{T: "${{secrets.TOKEN}}"}}
    max_bytes: {most}
"""
        found = run(steps, "${steps.it.output}").result()
        assert found.stdout.strip("z\n") in ("", "•••")
        assert found.truncated
    failing = steps.replace("max_bytes", "max_bytes: 9999 #").replace(">&2", ">&2; exit 3")
    failure = run(failing).state().failure
    assert failure is not None
    assert failure.message == f"the command ended with 3: •••{'z' * 490}\n"


def test_a_secret_is_masked_as_a_url_and_json_spell_it(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is asked tells of the path and the body as they came."""
    odd = 'p/a&s"s wörd'
    monkeypatch.setitem(SECRETS, "ODD", odd)
    server.on["/x"] = lambda asked: (200, {"path": asked.path, "body": asked.body})
    steps = """
it:
  http: {method: POST, url: URL/x, params: {a: "${secrets.ODD}"}, json: "${secrets.ODD}"}
"""
    body = run(steps, "${steps.it.output}").result().body
    assert body == {"path": "/x?a=•••", "body": '"•••"'}


def test_the_library_logs_nothing_of_a_request(
    run: Run, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It tells of URLs at INFO, of headers at DEBUG; of requests of others it still does."""
    caplog.set_level(logging.DEBUG)
    token = SECRETS["TOKEN"]
    server.on["/x"] = lambda asked: (200, {}, {"X-You": asked.headers["authorization"]})
    steps = """
it: {http: {url: "URL/x?a=${secrets.TOKEN}", headers: {Authorization: "${secrets.TOKEN}"}}}
"""
    assert run(steps).status == "completed"
    assert [record for record in caplog.records if token in str(record.__dict__)] == []
    httpx.get(f"{server.url}/other")
    assert any("/other" in record.getMessage() for record in caplog.records)
