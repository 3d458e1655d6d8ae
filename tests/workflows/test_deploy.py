"""`workflows/deploy.yaml`, against a small server: it releases, or all is as it was."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import Sagas
from celeriac.testing import Lab
from tests.actions.server import Asked, Server
from tests.house.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac.testing import LabRun


class Pipeline:
    """What the server stands for: builds, a schema, regions."""

    def __init__(self, server: Server) -> None:
        self.server, self.builds, self.schema = server, 0, "v1"
        self.regions = {"eu": "v1", "us": "v1"}
        self.keys: dict[str, Any] = {}
        self.fails: str | None = None
        server.on = {
            "/builds": self.once(lambda _: (201, {"id": self._built(), "previous": "v1"})),
            "/builds/1": self._build,
            "/migrations": self.once(self._migrate),
            "/migrations/m1/down": self.once(lambda _: self._schema("v1")),
            "/regions/eu": self.once(lambda asked: self._release("eu", asked)),
            "/regions/us": self.once(lambda asked: self._release("us", asked)),
            "/announcements": self.once(lambda _: (200, {})),
        }

    def once(self, answer: Any) -> Any:
        """Honour the key: the same one gets the same answer."""

        def told(asked: Asked) -> Any:
            key = asked.headers["idempotency-key"]
            if key not in self.keys:
                self.keys[key] = answer(asked)
            return self.keys[key]

        return told

    def _built(self) -> int:
        self.builds += 1
        return self.builds

    def _build(self, asked: Asked) -> Any:
        if asked.method == "DELETE":
            self.builds -= 1
            return 200, {}
        times = sum(each.path == "/builds/1" for each in self.server.asked)
        return 200, {"status": "passed" if times > 2 else "running"}

    def _schema(self, to: str) -> Any:
        self.schema = to
        return 200, {"id": "m1"}

    def _migrate(self, asked: Asked) -> Any:
        return self._schema(json.loads(asked.body)["to"])

    def _release(self, region: str, asked: Asked) -> Any:
        ref = json.loads(asked.body)["ref"]
        if self.fails == region and ref != "v1":
            return 400, {}
        self.regions[region] = ref
        return 200, {}


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """A server of its own."""
    server = Server()
    yield Pipeline(server)
    server.close()


def released(pipeline: Pipeline, folder: Path) -> LabRun[Any]:
    """A run of the file, to its end."""
    app = Celery("deploying", broker="memory://", set_as_current=False)
    app.conf.update(
        saga_actions=("http", "poll"),
        saga_http_allow=("127.0.0.1",),
        saga_secrets=lambda _: "t0k3n",
    )
    text = (ROOT / "workflows/deploy.yaml").read_text()
    file = folder / "deploy.yaml"
    file.write_text(re.sub(r"https://ci\.example\.com", pipeline.server.url, text))
    lab = Lab()
    run: LabRun[Any] = lab.start(Sagas(app).load(file), ref="v1.10")
    lab.run()
    return run


def test_it_releases(pipeline: Pipeline, tmp_path: Path) -> None:
    """Each region has the new one, and the secret went to whom it belongs to."""
    run = released(pipeline, tmp_path)
    assert run.result() == {"build": 1, "regions": ["eu", "us"]}
    assert pipeline.regions == {"eu": "v1.10", "us": "v1.10"}
    assert pipeline.schema == "v1.10"
    assert pipeline.server.asked[0].headers["authorization"] == "Bearer t0k3n"


def test_it_rolls_back(pipeline: Pipeline, tmp_path: Path) -> None:
    """If one region fails, every region, the schema and the build are as they were."""
    pipeline.fails = "us"
    run = released(pipeline, tmp_path)
    assert run.status == "compensated"
    assert pipeline.regions == {"eu": "v1", "us": "v1"}
    assert (pipeline.schema, pipeline.builds) == ("v1", 0)
