"""`workflows/deploy.yaml`, against a small server: it releases, or all is as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import Sagas
from celeriac.testing import Lab
from tests.actions.server import Server
from tests.workflows.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac.testing import LabRun


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
    lab = Lab()
    run: LabRun[Any] = lab.start(Sagas(app).load(pipeline.file(folder)), ref="v1.10")
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
