"""An app whose files may use all actions, and a server for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest
from celery import Celery

from celeriac import Sagas
from celeriac.testing import Lab
from tests.actions.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac.testing import LabRun

SECRETS = {"TOKEN": "t0p-s3cret-value", "OTHER": "another-one"}


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of one test."""
    made = Server()
    yield made
    made.close()


@pytest.fixture
def sagas() -> Sagas:
    """An app that allows the actions, and this machine."""
    app = Celery("acting", broker="memory://", set_as_current=False)
    app.conf.update(
        saga_actions=("http", "poll", "shell"),
        saga_http_allow=("127.0.0.1", "ci.example.com", "x.org"),
        saga_secrets=SECRETS.__getitem__,
    )
    return Sagas(app)


@pytest.fixture
def labs() -> list[Lab]:
    """The labs of one test's runs."""
    return []


class Run(Protocol):
    """Runs a definition to its end."""

    def __call__(self, steps: str, result: str = "", **inputs: Any) -> LabRun[Any]:
        """Return the run of these steps."""


@pytest.fixture
def run(sagas: Sagas, server: Server, labs: list[Lab], tmp_path: Path) -> Run:
    """Runs the steps of a file in a lab; `URL` stands for the server."""

    def of(steps: str, result: str = "", **inputs: Any) -> LabRun[Any]:
        names = "".join(f"  {name}: {{type: any}}\n" for name in inputs)
        variables = f"vars:\n{names}" if names else ""
        end = f"result: {result}\n" if result else ""
        inside = "".join(f"  {line}\n" for line in steps.strip("\n").splitlines())
        file = tmp_path / "acting.yaml"
        text = f"saga: acting\ndeadline: 1h\n{variables}steps:\n{inside}{end}"
        file.write_text(text.replace("URL", server.url))
        lab = Lab()
        labs.append(lab)
        started = lab.start(sagas.from_file(file), **inputs)
        lab.run()
        return started

    return of
