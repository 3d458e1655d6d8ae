"""What the doctor's tests share: servers that are well, and examining an application."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from celeriac.doctor import examine
from tests.doctor.examined_app import build
from tests.doctor.processes import ExaminedProcesses
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery

    from celeriac.doctor import Finding, Report

WELL: dict[str, str | int] = {
    "maxmemory": "256mb",
    "repl-diskless-sync-delay": 0,  # a replica need not wait for others
}


class Examined:
    """A report, for a test to look into."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __getitem__(self, check: str) -> Finding:
        """The worst finding of a check."""
        return next(each for each in self.report.findings if each.check == check)

    @property
    def bad(self) -> dict[str, str]:
        """What is not well, by check: severity and text."""
        found = reversed(self.report.shown())
        return {each.check: f"{each.severity.value}: {each.text}" for each in found}


class Examine(Protocol):
    """Examines an application."""

    def __call__(self, app: Celery, *only: str, skip: tuple[str, ...] = ()) -> Examined:
        """Return what was found."""


class Serve(Protocol):
    """Starts a Redis that ends with the test."""

    def __call__(self, **options: Any) -> RedisServer:
        """Return a server with these options; `_` stands for `-` in their names."""


@pytest.fixture
def examined() -> Iterator[Examine]:
    """Examine an application, and give back its connections at the end."""
    with ExitStack() as stack:

        def call(app: Celery, *only: str, skip: tuple[str, ...] = ()) -> Examined:
            runtime = app.celeriac.runtime
            stack.callback(app.close)
            stack.callback(runtime.close)
            return Examined(examine(runtime, only, skip))

        yield call


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers with options of one's own."""
    with ExitStack() as stack:
        number = iter(range(100))

        def start(**options: Any) -> RedisServer:
            given = WELL | {name.replace("_", "-"): value for name, value in options.items()}
            folder = tmp_path / f"redis-{next(number)}"
            return stack.enter_context(RedisServer(folder, options=given))

        yield start


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A state Redis that is well, for all tests that do not harm it."""
    with RedisServer(tmp_path_factory.mktemp("sound"), options=WELL) as server:
        yield server


@pytest.fixture
def clean(sound: RedisServer) -> RedisServer:
    """The same, with nothing in it."""
    with sound.client() as client:
        client.flushall()
    return sound


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[ExaminedProcesses]:
    """Workers and beats that end with the test."""
    made = ExaminedProcesses(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def app(clean: RedisServer) -> Celery:
    """The clinic as it should be, on a Redis that is well."""
    return build(clean.url, clean.url)
