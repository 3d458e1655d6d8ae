"""What `docker compose up` would give, shown with the same commands as plain processes.

Owns: when each service counts as well.  Refuses to know: how a container's names become this
machine's (`compose.py`).
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import redis

from celeriac.testing.servers import find_redis_binary
from tests.ops.compose import Machine, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

APPS = ("worker", "beat", "flower", "dashboard")
ORDER = {
    "customer": "Ada Moor",
    "sku": "SEED-CELERIAC",
    "quantity": 1,
    "unit_price": 319,
    "amount": 319,
    "card": "tok_visa_5c1e3a90",
    "address": "4 North End, 2277 Ashby",
}
CLIENT = """
import json, sys
from workflows.order import Order, place_order
run = place_order.start(Order(**json.loads(sys.argv[1])), id=sys.argv[2])
run.result(timeout=60)
print(run.status.value)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A folder and ports of its own for one set of services."""
    return Machine(tmp_path_factory.mktemp("compose"))


@pytest.fixture(scope="module")
def server(machine: Machine) -> Iterator[tuple[Service, redis.Redis]]:
    """The redis service, answering."""
    service = machine.service("redis")
    service.command[0] = str(find_redis_binary())  # any server understands the configuration
    client = redis.Redis(port=machine.ports["6379"], decode_responses=True)
    try:
        service.start()
        service.wait("answering PING", lambda: _answers(client))
        yield service, client
        assert service.stop() == 0
    finally:
        client.close()
        service.kill()


@pytest.fixture(scope="module")
def apps(machine: Machine, server: object) -> Iterator[dict[str, Service]]:
    """Worker, beat, Flower and dashboard, started; redis is there, as `depends_on` has it."""
    assert server
    services = {name: machine.service(name) for name in APPS}
    try:
        for service in services.values():
            service.start()
        yield services
        ends = {name: service.stop() for name, service in services.items()}
        assert ends == dict.fromkeys(APPS, 0)
    finally:
        for service in services.values():
            service.kill()


@pytest.fixture
def figures(machine: Machine, server: object) -> Iterator[Service]:
    """What serves the store's figures, started."""
    assert server
    service = machine.service("figures")
    try:
        service.start()
        yield service
        assert service.stop() == 0
    finally:
        service.kill()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_redis_keeps_what_it_acknowledged_and_evicts_nothing(
    server: tuple[Service, redis.Redis],
) -> None:
    """The server that answers is the child, with its append-only file on and no eviction."""
    service, client = server
    assert service.process is not None
    assert client.info("server")["process_id"] == service.process.pid
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
    assert client.config_get(*wanted) == wanted
    assert client.config_get("maxmemory") != {"maxmemory": "0"}


def test_redis_healthcheck_passes(server: tuple[Service, redis.Redis]) -> None:
    """The healthcheck that the others wait for passes once the server answers."""
    service, _ = server
    if shutil.which(service.healthcheck[0]) is None:
        pytest.skip(f"there is no {service.healthcheck[0]} on this machine")
    assert service.check().stdout.strip() == "PONG"


def test_worker_is_ready_and_passes_its_healthcheck(apps: dict[str, Service]) -> None:
    """The worker finds its app and its broker, says so, and touches its file."""
    worker = apps["worker"]
    worker.wait("being ready", lambda: " ready." in worker.log.read_text())
    worker.wait("passing its healthcheck", lambda: worker.check().returncode == 0)


def test_worker_fails_its_healthcheck_when_it_is_stuck(
    machine: Machine, apps: dict[str, Service]
) -> None:
    """A file that is old, or was never there, fails it."""
    worker = apps["worker"]
    assert worker.process is not None
    worker.wait("passing its healthcheck", lambda: worker.check().returncode == 0)
    (file,) = machine.folder.glob("worker/alive")
    worker.process.signal(signal.SIGSTOP)
    try:
        before = file.stat().st_mtime
        os.utime(file, (before - 60, before - 60))
        assert worker.check().returncode != 0
    finally:
        worker.process.signal(signal.SIGCONT)
    worker.wait("passing it again", lambda: worker.check().returncode == 0)


def test_worker_and_figures_serve_metrics(
    machine: Machine, apps: dict[str, Service], figures: Service
) -> None:
    """The worker counts what its processes do, and somebody else tells how the runs stand."""
    worker = apps["worker"]
    assert _placed(worker, "order-3").startswith("completed")
    labels = '{outcome="completed",saga="place_order"}'
    ended = f"celeriac_runs_ended_total{labels}"
    worker.wait("counting", lambda: ended in _ask(machine.ports["9540"], "GET", "/metrics", "")[1])
    figures.wait("passing its healthcheck", lambda: figures.check().returncode == 0)
    told = (
        'celeriac_runs{saga="place_order",status="completed"}',
        "celeriac_worker_seen_timestamp_seconds ",
        'celeriac_queue_messages{queue="celeriac.shop"}',
        "celeriac_redis_aof_ok 1.0",
    )
    figures.wait(
        "telling of the run, the worker, the queue and Redis",
        lambda: all(each in _ask(machine.ports["9541"], "GET", "/metrics", "")[1] for each in told),
    )


def test_beat_sends_the_sweep(
    apps: dict[str, Service], server: tuple[Service, redis.Redis]
) -> None:
    """Beat starts with the schedule of `Sagas(app)`: the sweep arrives at the broker."""
    beat, (_, client) = apps["beat"], server
    beat.wait("having started", lambda: "beat: Starting" in beat.log.read_text())
    with client.monitor() as watched:  # type: ignore[no-untyped-call]
        sent = (str(each["command"]) for each in watched.listen())
        # Ends with the sweep; with none, the limit for a test ends it.
        assert any("LPUSH" in command and "celeriac.sweep" in command for command in sent)


def test_an_order_is_taken_to_its_end(apps: dict[str, Service]) -> None:
    """A client that knows the broker's address places an order, and the worker completes it."""
    assert _placed(apps["worker"], "order-1").startswith("completed")


def test_flower_is_healthy_and_sees_the_worker(machine: Machine, apps: dict[str, Service]) -> None:
    """Flower passes its healthcheck, and lists the worker to whoever has the password."""
    flower = apps["flower"]
    flower.wait("passing its healthcheck", lambda: flower.check().returncode == 0)
    flower.wait("listing the worker", lambda: _workers(machine, flower) != [])
    assert all(each.startswith("worker@") for each in _workers(machine, flower))


def test_flower_tells_a_step_but_no_payload(machine: Machine, apps: dict[str, Service]) -> None:
    """Flower lists each step under its own name with run, step and attempt; the card stays out."""
    flower = apps["flower"]
    flower.wait("passing its healthcheck", lambda: flower.check().returncode == 0)
    # Flower only knows what it heard; once it lists the worker, it listens.
    flower.wait("listing the worker", lambda: _workers(machine, flower) != [])
    assert _placed(apps["worker"], "order-2").startswith("completed")
    flower.wait("listing the last step", lambda: "order-2 · ship" in str(_tasks(machine, flower)))
    shown = {task["args"]: task["name"] for task in _tasks(machine, flower).values()}
    assert shown["order-2 · charge · #1"] == "workflows.order.charge"
    assert str(ORDER["card"]) not in json.dumps(_tasks(machine, flower))


def test_flower_shows_nothing_without_the_password(
    machine: Machine, apps: dict[str, Service]
) -> None:
    """Without the password there is no page, and with it nothing can be changed."""
    flower = apps["flower"]
    flower.wait("passing its healthcheck", lambda: flower.check().returncode == 0)
    port, password = machine.ports["5555"], flower.environment["FLOWER_BASIC_AUTH"]
    assert _ask(port, "GET", "/tasks", "")[0] == 401
    assert _ask(port, "GET", "/tasks", password)[0] == 200
    assert _ask(port, "POST", "/api/worker/shutdown/any", password)[0] == 403


def test_the_dashboard_shows_runs_to_whoever_has_the_password(
    machine: Machine, apps: dict[str, Service]
) -> None:
    """It passes its healthcheck; its account may look and act, and do nothing that is final."""
    dashboard, port = apps["dashboard"], machine.ports["5556"]
    dashboard.wait("passing its healthcheck", lambda: dashboard.check().returncode == 0)
    account, _, role = dashboard.environment["CELERIAC_BASIC_AUTH"].rpartition(":")
    assert role == "operator"
    assert _ask(port, "GET", "/runs", "")[0] == 401
    assert _placed(apps["worker"], "order-4").startswith("completed")
    status, page = _ask(port, "GET", "/runs/order-4", account)
    assert (status, "order-4" in page) == (200, True)
    assert _ask(port, "POST", "/api/runs/order-4/terminate", account)[0] == 403


def _placed(worker: Service, run_id: str) -> str:
    """Place an order from where the worker is, wait for its end, and return its status."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, json.dumps(ORDER | {"id": run_id}), run_id],
        cwd=worker.folder,
        env=worker.environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return done.stdout or done.stderr


def _tasks(machine: Machine, flower: Service) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = _asked(machine, flower, "/api/tasks")
    return found


def _workers(machine: Machine, flower: Service) -> list[str]:
    return [worker["hostname"] for worker in _asked(machine, flower, "/workers?json=1")["data"]]


def _asked(machine: Machine, flower: Service, path: str) -> Any:
    password = flower.environment["FLOWER_BASIC_AUTH"]
    status, body = _ask(machine.ports["5555"], "GET", path, password)
    assert status == 200, body
    return json.loads(body)


def _ask(port: int, method: str, path: str, password: str) -> tuple[int, str]:
    """Send one request with `name:password`, if there is one; return the status and the body."""
    token = base64.b64encode(password.encode()).decode()
    headers = {"Authorization": f"Basic {token}"} if password else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
