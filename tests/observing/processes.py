"""Workers of the watched app over a Redis of the test's own, and what can be seen of them.

Owns: starting and ending them (by pid), and reading their logs, metrics and spans.  Refuses to
know: what is tested.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from tests.observing.app import Kit, Order, build
from tests.processes import Processes, environment, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac import RunHandle
    from tests.processes import Process
    from tests.redis_server import RedisServer

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class World:
    """A Redis, a client, and as many workers as a test wants."""

    def __init__(self, folder: Path, redis: RedisServer, **conf: Any) -> None:
        self.folder, self.redis, self.conf = folder, redis, conf
        self.kit: Kit = build(redis.url, folder, conf)
        self.processes = Processes(folder, "tests.observing.app")

    def worker(self, name: str = "w1", *args: str, children: int = 2) -> Process:
        """Start a worker and wait until it is ready; the first brings a beat along."""
        if not self.processes.started:
            self.processes.beat("beat", self._env())
        return self.processes.worker(name, *args, env=self._env(), children=children)

    def run(self, name: str, *args: str, says: str = "") -> Process:
        """Start a command of the app, and wait until it says something, if it is to."""
        return self.processes.celery(name, *args, env=self._env(), says=says)

    def _env(self) -> dict[str, str]:
        return environment(
            KIT_BROKER=self.redis.url,
            KIT_FOLDER=str(self.folder),
            KIT_CONF=json.dumps(self.conf),
        )

    def order(self, run_id: str, *does: str) -> RunHandle[str]:
        """Start a run."""
        return self.kit.order.start(Order(does=list(does)), id=run_id)

    def until(self, true: Callable[[], T], what: str, timeout: float = 30) -> T:
        """Wait for a condition, and return what it returned."""
        return until(true, what, timeout, more=self.processes.logs)

    def rows(self, name: str = "w1") -> list[dict[str, Any]]:
        """The lines of a log that are JSON objects."""
        text = (self.folder / f"{name}.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def spans(self) -> list[dict[str, Any]]:
        """All spans that were written."""
        return [
            json.loads(line)
            for path in self.folder.glob("spans-*")
            for line in path.read_text().splitlines()
        ]

    def close(self) -> None:
        """End whatever still runs."""
        self.processes.kill()
        self.kit.sagas.runtime.close()


def look(port: int) -> Series:
    """What is served at a port: every series and its value."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    """The value of one series; 0 if it is not there."""
    return series.get((name, frozenset(labels.items())), 0.0)
