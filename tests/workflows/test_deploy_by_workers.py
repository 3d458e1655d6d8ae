"""A file started as people start it, whose actions real workers do: killed, failing, watched.

Owns: that nothing is done twice or left half done, and that the secret is nowhere to be seen.
Refuses to know: what each action does (`tests/actions`).
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import pytest

from celeriac.machine import EventKind
from tests.actions.server import Server
from tests.processes import Process, Processes, environment, until
from tests.redis_server import RedisServer
from tests.workers.monitors import Events, Wire
from tests.workflows.deploying_app import TOKEN, build
from tests.workflows.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac import RunHandle, Sagas

# A command that was given the secret, and prints it; and a URL with the secret in it.
MORE = f"""
  tell:
    shell:
      command: ["{sys.executable}", -c, "import os; print(os.environ['T'], '${{vars.ref}}')"]
      env: {{T: "${{secrets.CI_TOKEN}}"}}
    depends_on: [built]
  ask:
    http: {{url: "URL/who?token=${{secrets.CI_TOKEN}}"}}
    depends_on: [built]
"""
SPELLINGS = (TOKEN, quote(TOKEN, safe=""), quote(TOKEN), json.dumps(TOKEN)[1:-1])


class Place(NamedTuple):
    """A Redis, a server, an app as its client has it, and its processes."""

    folder: Path
    redis: RedisServer
    pipeline: Pipeline
    sagas: Sagas
    processes: Processes

    @property
    def env(self) -> dict[str, str]:
        """What processes find in their environment."""
        return environment(DEPLOYING_URL=self.redis.url)

    def worker(self, name: str) -> Process:
        """Start a worker, which logs all that it can."""
        return self.processes.worker(name, "-l", "DEBUG", env=self.env, children=2)

    def start(self, run_id: str) -> RunHandle[Any]:
        """Start the file, as it is typed."""
        more = MORE.replace("URL", self.pipeline.server.url)
        file = str(self.pipeline.file(self.folder, more))
        words = ["start", "--file", file, "--var", "ref=v1.10", "--id", run_id]
        typed = self.processes.celery(f"start-{run_id}", "saga", *words, env=self.env)
        assert typed.wait(40) == 0, typed.text()
        return self.sagas.run(run_id)

    def rest(self, run: RunHandle[Any], status: str) -> None:
        """Wait until a run has ended so."""

        def ended() -> bool:
            return run.state().status.at_rest

        until(ended, f"{run.id} is at rest", 40, more=self.processes.logs)
        assert run.status == status, self.processes.logs()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place of its own."""
    server = Server()
    server.on["/who"] = lambda asked: (200, {"path": asked.path})
    with RedisServer(tmp_path / "redis") as redis:
        processes = Processes(tmp_path, "tests.workflows.deploying_app")
        pipeline = Pipeline(server)
        server.on["/who"] = lambda asked: (200, {"path": asked.path})
        found = Place(tmp_path, redis, pipeline, build(redis.url), processes)
        yield found
        pipeline.let_go.set()
        processes.kill()
        found.sagas.runtime.close()
    server.close()


def held_by(redis: RedisServer) -> dict[str, str]:
    """All that a Redis holds, by key."""
    with redis.client() as client:
        read: dict[str, Any] = {
            "hash": client.hgetall,
            "list": lambda key: client.lrange(key, 0, -1),
            "set": client.smembers,
            "zset": lambda key: client.zrange(key, 0, -1),
            "string": client.get,
            "none": str,  # it is gone since: some are kept for seconds only
        }
        return {key: str(read[client.type(key)](key)) for key in client.scan_iter()}


def test_a_worker_is_killed_in_the_middle(place: Place) -> None:
    """Each region is released once, and the run goes on where it was, with the same keys."""
    pipeline, (eu, us) = place.pipeline, ("eu", "us")
    pipeline.holds = eu
    place.processes.beat("beat", place.env)
    first = place.worker("w1")
    run = place.start("deploy-1")
    until(lambda: (eu, "v1.10") in pipeline.releases, "eu is asked", 40, more=place.processes.logs)
    first.kill()
    pipeline.holds = None
    pipeline.let_go.set()
    place.worker("w2")
    place.rest(run, "completed")
    assert run.result() == {"build": 1, "regions": [eu, us]}
    assert sorted(pipeline.releases) == [(eu, "v1.10"), (us, "v1.10")]
    asked = [each for each in pipeline.server.asked if each.path == "/regions/eu"]
    assert len(asked) == 2
    assert len({each.headers["idempotency-key"] for each in asked}) == 1
    lost = [event.step for event in run.history() if event.kind is EventKind.LOST]
    assert "release[0]" in lost
    assert run.state().step("tell").status == "completed"


def test_it_rolls_back_and_nobody_sees_the_secret(place: Place) -> None:
    """Not in Redis, in a message, in an event or in a log, though all that is asked sends it back.

    Workers log at DEBUG, where the HTTP library tells of URLs and headers.
    """
    pipeline = place.pipeline
    pipeline.fails = "us"
    with Events(place.sagas.app) as events, Wire(place) as wire:
        place.processes.beat("beat", place.env)
        place.worker("w1")
        run = place.start("deploy-2")
        place.rest(run, "compensated")
    assert pipeline.regions == {"eu": "v1", "us": "v1"}
    assert (pipeline.schema, pipeline.builds) == ("v1", 0)
    assert any(each.headers.get("authorization") for each in pipeline.server.asked)
    (who,) = (each.path for each in pipeline.server.asked if each.path.startswith("/who"))
    assert quote(TOKEN, safe="/&") in who
    seen = {
        **held_by(place.redis),
        **{each.name: each.text() for each in place.processes.started},
        "wire": "\n".join(wire.commands),
        "messages": "\n".join(wire.to_broker()),
        "events": str(events.seen),
        "history": "\n".join(event.dump() for event in run.history()),
        "state": run.state().model_dump_json(),
    }
    assert any("deploy-2" in text for text in seen.values())
    leaks = [(where, each) for where, text in seen.items() for each in SPELLINGS if each in text]
    assert leaks == []
