"""A real Prometheus, where there is one: it takes the rules, scrapes, and answers every panel.

Owns: starting it for this machine alone, and ending it.  Refuses to know: when an alert fires
(`test_alerts` says that on every machine).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from celery import Celery

from celeriac import Sagas
from celeriac.app.instruments import serve_store
from celeriac.machine.runs import RunStatus
from celeriac.testing.servers import free_port
from tests.ops.rules import OPS, read_alerts
from tests.ops.test_dashboard import SHOWN, asked
from tests.redis_server import RedisServer
from tests.store.runs import a_run, ending, starting, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAM = shutil.which("prometheus")
HOST = "127.0.0.1"

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Prometheus on this machine")


class Server:
    """A Prometheus with the rules of ops/, which scrapes one endpoint every half second."""

    def __init__(self, folder: Path, target: int) -> None:
        self.port = free_port()
        config = yaml.safe_load((OPS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        config["rule_files"] = [str(OPS / name) for name in config["rule_files"]]
        _, store = config["scrape_configs"]
        store["static_configs"] = [{"targets": [f"{HOST}:{target}"]}]
        config["scrape_configs"] = [store]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        assert PROGRAM
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    PROGRAM,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={HOST}:{self.port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ask(self, path: str, **query: str) -> Any:
        """What its API answers."""
        url = f"http://{HOST}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return said["data"]

    def states(self) -> dict[str, str]:
        """Each alert and its state, once it was tried; nothing while Prometheus starts."""
        try:
            groups = self.ask("rules")["groups"]
        except OSError:
            return {}
        rules = [rule for group in groups for rule in group["rules"]]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}, rules
        return {rule["name"]: rule["state"] for rule in rules if rule["health"] == "ok"}

    def until(self, true: Callable[[dict[str, str]], bool], what: str) -> dict[str, str]:
        """Wait for a state of the alerts."""
        give_up = time.monotonic() + 60
        while not (found := self.states()) or not true(found):
            assert self.process.poll() is None, "it has ended"
            assert time.monotonic() < give_up, f"{what}: {found}"
            time.sleep(0.1)  # a condition is awaited
        return found

    def stop(self) -> None:
        """End it, by its own process."""
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def sagas(tmp_path: Path) -> Iterator[Sagas]:
    """An app over a Redis of the test's own."""
    with RedisServer(tmp_path / "redis") as redis:
        sagas = Sagas(Celery("shop", broker=redis.url, set_as_current=False))
        yield sagas
        sagas.runtime.close()


@pytest.fixture
def prometheus(tmp_path: Path, sagas: Sagas) -> Iterator[Server]:
    """A Prometheus that watches the app."""
    endpoint = serve_store(sagas.runtime, HOST, free_port())
    server = Server(tmp_path, endpoint.port)
    try:
        yield server
    finally:
        server.stop()
        endpoint.stop()


def test_alerts_in_a_real_prometheus(prometheus: Server, sagas: Sagas) -> None:
    """All rules are tried without an error; those fire that should, and stop when all is well."""
    found = prometheus.until(
        lambda states: states.get("CeleriacRedisRestarted") == "firing", "Redis is new"
    )
    assert set(found) <= set(read_alerts())
    assert found["CeleriacNoWorkers"] == "pending"
    assert found["CeleriacRunsFailed"] == "inactive"
    store = sagas.runtime.engine.store
    run = write(store, starting(a_run("bad", saga="order")))
    write(store, ending(run, RunStatus.FAILED))
    store.pulse(1000)
    prometheus.until(
        lambda states: (
            states["CeleriacRunsFailed"] == "firing" and states["CeleriacNoWorkers"] == "inactive"
        ),
        "a run failed, and a worker is there",
    )


def test_panels_in_a_real_prometheus(prometheus: Server, sagas: Sagas) -> None:
    """It understands every question of the dashboard, and answers those about the store."""
    write(sagas.runtime.engine.store, starting(a_run("order-1", saga="order")))
    prometheus.until(
        lambda states: states.get("CeleriacRedisRestarted") == "firing", "it has scraped"
    )
    answered = {
        panel["title"]
        for panel in SHOWN
        for text in asked(panel)
        if prometheus.ask("query", query=text.replace("$saga", ".*"))["result"]
    }
    assert {"Active", "Oldest active run", "Overdue", "Memory", "Messages that wait"} <= answered
