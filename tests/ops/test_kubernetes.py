"""The Kubernetes examples: read, compared with what they are for, and run as plain processes.

Owns: that the commands in them work on a real worker and beat.  Refuses to know: a cluster.
"""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import sys
import time
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from celeriac.testing.servers import free_port
from tests.house.sources import ROOT
from tests.processes import Process, Processes, until
from tests.redis_server import RedisServer
from workflows import order

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ROOT / "ops" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
PRIVATE = "/run/celeriac"  # the folder of a pod, which is another one here
METRICS_PORT = "9540"  # and its ports
WEB_PORT = "5556"
ACCOUNT = "ada:not so secret:operator"


def documents(name: str) -> list[dict[str, Any]]:
    """The documents of a file."""
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def container(document: dict[str, Any]) -> dict[str, Any]:
    """The one container of a workload."""
    spec = document["spec"]
    spec = spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec
    (found,) = spec["template"]["spec"]["containers"]
    return dict(found)


WORKLOADS = [
    (path.name, document)
    for path in FILES
    for document in documents(path.name)
    if document["kind"] in ("Deployment", "CronJob")
]
each_workload = pytest.mark.parametrize(
    "document", [document for _, document in WORKLOADS], ids=[name for name, _ in WORKLOADS]
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis told what `redis.yaml` tells it."""
    lines = documents("redis.yaml")[0]["data"]["redis.conf"].splitlines()
    told = dict(line.split(maxsplit=1) for line in lines if not line.startswith("#"))
    options = {name: value.strip('"') for name, value in told.items()}
    with RedisServer(tmp_path / "redis", options=options) as started:
        yield started


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Processes that end with the test."""
    made = Processes(tmp_path, "workflows.order")
    yield made
    made.kill()


class Pod:
    """A container as a process of this machine: its folder, environment and commands."""

    def __init__(self, document: dict[str, Any], folder: Path, server: RedisServer) -> None:
        self.container = container(document)
        self._folder = folder / "run"
        self._folder.mkdir()
        self.port = free_port()
        secrets = {"broker-url": server.url, "dashboard-accounts": ACCOUNT}
        programs = str(Path(sys.executable).parent)
        self.env = {
            "PATH": os.pathsep.join([programs, os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "worker")]),
            "SHOP_DATA": str(folder / "shop.db"),
            **{each["name"]: secrets[_secret(each)] for each in self.container["env"]},
        }

    @property
    def file(self) -> Path:
        """The file that the worker touches."""
        return self._folder / "alive"

    def command(self, words: list[str]) -> list[str]:
        """A command as it is written, with the folder, the address and the port it has here."""
        here = {PRIVATE: str(self._folder), "0.0.0.0": "127.0.0.1"}  # noqa: S104
        here |= dict.fromkeys((METRICS_PORT, WEB_PORT), str(self.port))
        for there, own in here.items():
            words = [word.replace(there, own) for word in words]
        return words

    def start(self, processes: Processes, name: str) -> Process:
        """Start what the container runs."""
        return processes.start(name, self.command(self.container["command"]), self.env)

    def probe(self, name: str) -> bool:
        """What a probe says now."""
        found = self.container[name]
        if "httpGet" in found:
            return self.ask(found["httpGet"]["path"]) == HTTPStatus.OK
        return self.run(found["exec"]["command"], found["timeoutSeconds"]) == 0

    def ask(self, path: str, account: str = "") -> int:
        """The status of the answer to a request to the pod's port; 0 without an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        login = base64.b64encode(account.encode()).decode()
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {login}"})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def run(self, words: list[str], timeout: float) -> int:
        """Run a command of the pod and return its exit code."""
        ran = subprocess.run(
            self.command(words), cwd=ROOT, env=self.env, timeout=timeout, check=False
        )
        return ran.returncode


def _secret(variable: dict[str, Any]) -> str:
    """The key of the Secret that a variable has its value from."""
    found = variable["valueFrom"]["secretKeyRef"]
    assert found["name"] == "celeriac"
    return str(found["key"])


def test_there_are_examples() -> None:
    """Each part has one."""
    assert [path.name for path in FILES] == [
        "beat.yaml",
        "dashboard.yaml",
        "doctor.yaml",
        "redis.yaml",
        "worker.yaml",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_example_is_introduced(path: Path) -> None:
    """A file says what it owns, and its documents say what they are."""
    text = path.read_text()
    assert text.startswith("# ")
    assert "Owns:" in text
    assert "Refuses to know:" in text
    for document in documents(path.name):
        assert {"apiVersion", "kind", "metadata"} <= set(document)


@each_workload
def test_a_workload_is_modest(document: dict[str, Any]) -> None:
    """Nothing runs as root, writes beside its volumes, or takes all the memory there is."""
    found = container(document)
    assert found["securityContext"]["readOnlyRootFilesystem"] is True
    assert found["securityContext"]["allowPrivilegeEscalation"] is False
    assert found["resources"]["limits"]["memory"]
    assert "runAsNonRoot: True" in yaml.dump(document).replace("true", "True")
    mounted = {mount["name"] for mount in found.get("volumeMounts", ())}
    text = yaml.dump(document)
    assert all(f"name: {name}" in text for name in mounted)


@each_workload
def test_selectors_find_their_pods(document: dict[str, Any]) -> None:
    """A deployment selects the pods that it makes."""
    if document["kind"] == "Deployment":
        labels = document["spec"]["template"]["metadata"]["labels"]
        assert document["spec"]["selector"]["matchLabels"] == labels


@each_workload
def test_no_probe_asks_the_broker(document: dict[str, Any]) -> None:
    """It reads a file, or asks the server: no Celery is started, a slow broker kills nobody."""
    found = container(document)
    probes = {name: probe for name, probe in found.items() if name.endswith("Probe")}
    for name, probe in probes.items():
        if "httpGet" in probe:
            asked = probe["httpGet"]["path"]
            assert asked == ("/health/ready" if name == "readinessProbe" else "/health/live")
            continue
        words = " ".join(probe["exec"]["command"])
        assert "celery" not in shlex.split(words)
        assert "inspect" not in words


def test_metrics_are_where_prometheus_is_told_to_look() -> None:
    """The annotation, the port of the container and what the worker serves are one."""
    document = documents("worker.yaml")[0]
    annotations = document["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == METRICS_PORT
    assert container(document)["ports"] == [{"name": "metrics", "containerPort": int(METRICS_PORT)}]
    assert f"saga.metrics_port=(int){METRICS_PORT}" in container(document)["command"]


def test_there_is_one_beat() -> None:
    """One beat, and never a second beside it during a deploy."""
    (document,) = documents("beat.yaml")
    assert document["spec"]["replicas"] == 1
    assert document["spec"]["strategy"]["type"] == "Recreate"


def test_a_worker_may_finish_its_steps() -> None:
    """The time to end in is longer than the longest step of the example, and what precedes it."""
    document = documents("worker.yaml")[0]
    found = container(document)
    pause = float(found["lifecycle"]["preStop"]["exec"]["command"][-1].split()[-1])
    longest = max(
        (node.limit(phase) or 0) / 1000
        for saga in order.sagas.defined.values()
        for node in saga.planned.plan.nodes
        for phase in ("do", "undo")
    )
    grace = order.sagas.runtime.settings.grace_ms / 1000
    told = document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert told > pause + longest + grace
    assert told < 3600  # the visibility timeout


def test_what_redis_is_told() -> None:
    """The reminder says what ops/redis.conf says."""
    said = documents("redis.yaml")[0]["data"]["redis.conf"].splitlines()
    lines = {line for line in said if not line.startswith("#")}
    assert lines <= set((ROOT / "ops" / "redis.conf").read_text().splitlines())
    assert {"appendonly yes", "maxmemory-policy noeviction"} <= lines


def test_a_worker_and_its_probes(tmp_path: Path, server: RedisServer, processes: Processes) -> None:
    """The commands of the example, on a real worker: not ready, ready, hanging, ended."""
    pod = Pod(documents("worker.yaml")[0], tmp_path, server)
    assert not any(pod.probe(f"{name}Probe") for name in ("startup", "readiness", "liveness"))
    worker = pod.start(processes, "worker")
    until(lambda: pod.probe("startupProbe") or worker.ended, "its start", 60)
    assert pod.probe("readinessProbe"), worker.text()
    worker.await_text(f"metrics are served at http://127.0.0.1:{pod.port}/metrics")
    assert pod.probe("livenessProbe")
    assert pod.run(["celeriac", "alive", f"{PRIVATE}/alive", "--within", "30"], 30) == 0
    worker.signal(SIGSTOP)
    _age(pod.file, 40)
    assert not pod.probe("readinessProbe")
    assert pod.probe("livenessProbe")
    _age(pod.file, 400)
    assert not pod.probe("livenessProbe")
    worker.signal(SIGCONT)
    until(lambda: pod.probe("readinessProbe"), "its return")
    assert pod.run(pod.container["lifecycle"]["preStop"]["exec"]["command"], 20) == 0
    worker.signal(SIGTERM)
    assert worker.wait(60) == 0
    assert not pod.probe("readinessProbe")


def _age(file: Path, seconds: float) -> None:
    """Let a file be that old, without waiting."""
    then = time.time() - seconds
    os.utime(file, (then, then))


def test_a_beat_and_its_probe(tmp_path: Path, server: RedisServer, processes: Processes) -> None:
    """The beat of the example keeps the file that its probe looks at."""
    pod = Pod(documents("beat.yaml")[0], tmp_path, server)
    assert not pod.probe("livenessProbe")
    beat = pod.start(processes, "beat")
    beat.await_text("beat: Starting")
    until(lambda: pod.probe("livenessProbe"), "its schedule")
    beat.signal(SIGTERM)
    assert beat.wait(30) == 0


def test_a_dashboard_and_its_probes(
    tmp_path: Path, server: RedisServer, processes: Processes
) -> None:
    """Ready once it reads runs, not ready without Redis, and alive all the while."""
    pod = Pod(documents("dashboard.yaml")[0], tmp_path, server)
    account = ACCOUNT.rpartition(":")[0]
    assert not pod.probe("startupProbe")
    dashboard = pod.start(processes, "dashboard")
    until(lambda: pod.probe("startupProbe") or dashboard.ended, "its start", 60)
    assert pod.probe("readinessProbe"), dashboard.text()
    assert (pod.ask("/runs"), pod.ask("/runs", account)) == (401, 200)
    server.kill()
    until(lambda: not pod.probe("readinessProbe"), "its noticing")
    assert pod.probe("livenessProbe")
    dashboard.signal(SIGTERM)
    assert dashboard.wait(30) == 0


def test_a_service_leads_to_the_dashboard() -> None:
    """It selects the pods of the deployment, and sends to the port that they serve at."""
    deployment, service = documents("dashboard.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels
    (served,) = container(deployment)["ports"]
    assert [each["targetPort"] for each in service["spec"]["ports"]] == [served["name"]]
    assert f"--port={served['containerPort']}" in container(deployment)["command"]


def test_the_doctor_of_a_cluster(tmp_path: Path, server: RedisServer) -> None:
    """The job ends with 1 where nobody works, and with 5 where there is no Redis."""
    pod = Pod(documents("doctor.yaml")[0], tmp_path, server)
    assert pod.run(pod.container["command"], 60) == 1
    server.kill()
    assert pod.run(pod.container["command"], 60) == 5
