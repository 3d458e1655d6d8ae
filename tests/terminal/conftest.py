"""The command line, with a Redis and no worker: in this process, or as the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest
from celery.bin.base import CLIContext
from click.testing import CliRunner

from celeriac.terminal.cli import saga
from tests.house.sources import ROOT
from tests.redis_server import RedisServer
from tests.terminal import shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

COMMAND = (sys.executable, "-m", "celery", "-A", "tests.terminal.shop", "saga")


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.out.splitlines()


class Cli(Protocol):
    """Calls `celery -A tests.terminal.shop saga` with some words."""

    def __call__(self, *words: str, stdin: str = "", app: Celery = shop.app) -> Ended:
        """Return how it ended."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for all tests that do not harm it; the shop's."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        shop.app.conf.update(broker_url=server.url, saga_redis_url=server.url)
        yield server
        shop.sagas.runtime.close()


@pytest.fixture
def empty(server: RedisServer) -> None:
    """A shop without runs."""
    with server.client() as client:
        client.flushall()


@pytest.fixture
def cli(empty: None) -> Cli:  # noqa: ARG001 -- it is the shop that is asked
    """The verbs in this process, on a shop without runs."""

    def call(*words: str, stdin: str = "", app: Celery = shop.app) -> Ended:
        context = CLIContext(app=app, no_color=False, workdir=None)
        ran = CliRunner().invoke(saga, words, input=stdin, obj=context)
        return Ended(ran.exit_code, ran.stdout, ran.stderr)

    return call


@pytest.fixture
def environment(server: RedisServer) -> dict[str, str]:
    """What the real command finds in its environment."""
    return {**os.environ, shop.URL: server.url, "COLUMNS": "200"}


@pytest.fixture
def command(empty: None, environment: dict[str, str]) -> Cli:  # noqa: ARG001
    """The real command in a process of its own, on a shop without runs."""

    def call(*words: str, stdin: str = "", app: Celery = shop.app) -> Ended:
        assert app is shop.app
        ran = subprocess.run(
            [*COMMAND, *words],
            cwd=ROOT,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ended(ran.returncode, ran.stdout, ran.stderr)

    return call
