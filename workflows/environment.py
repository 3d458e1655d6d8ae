"""The processes of the demo: a Redis, a real Celery worker of several processes, beat, dashboard.

Owns: bringing them, each with its own folder, keys and log; waiting until they work; ending them.
Refuses to know: what happens there.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.request import urlopen

import redis

import celeriac
from celeriac.testing.servers import (
    Child,
    LocalRedis,
    answers,
    find_embedded_binary,
    free_port,
)
from workflows.services import ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workflows.progress_display import Screen

ROOT = Path(__file__).parents[1]
# Three may wait for ferries and one be killed, which Celery may take seconds to notice: the others
# keep the orders moving, and none passes its deadline that is not meant to.
PROCESSES = 6
READY_SECONDS = 30.0
PATIENCE = 3.0  # seconds that who is told to end may take: in the end, all is at rest


class Trouble(Exception):
    """The demo cannot go on; the text says why."""


class DemoProcesses(NamedTuple):
    """What is running."""

    app: Any  # the Celery app, as this process sees it
    worker: Child
    beat: Child
    dashboard: Dashboard | None  # None without the extra celeriac[web]

    def check(self) -> None:
        """Raise Trouble if one of them has ended by itself."""
        _check_alive(self.worker, self.beat)
        if self.dashboard is not None:
            _check_alive(self.dashboard.child)


class Dashboard(NamedTuple):
    """Where people can look on."""

    child: Child
    url: str


@contextmanager
def processes(folder: Path, screen: Screen) -> Iterator[DemoProcesses]:
    """Everything the shop needs, with all files in *folder*; ended in the end, whatever happens."""
    namespace = f"demo-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        url = stack.enter_context(_redis(folder, namespace, screen))
        stack.enter_context(_environment(folder, namespace, url))
        stack.callback(ledger.close)
        # Imported this late because it reads its environment when it is imported, as apps do.
        from workflows.order import app  # noqa: PLC0415

        worker = Child(_worker_command(), log=folder / "worker.log")
        stack.callback(worker.stop, PATIENCE)
        beat = Child(_beat_command(folder), log=folder / "beat.log")
        stack.callback(beat.stop, PATIENCE)
        dashboard = _dashboard(folder)
        if dashboard is not None:
            stack.callback(dashboard.child.stop, PATIENCE)
        _await_worker(app, worker, beat)
        screen.say(f"Worker    {PROCESSES} processes under process {worker.pid}; beat {beat.pid}")
        if dashboard is None:
            screen.say("Dashboard none: it takes the extra celeriac[web]", "yellow")
        else:
            _await_dashboard(dashboard)
            screen.say(f"Dashboard {dashboard.url}")
        yield DemoProcesses(app, worker, beat, dashboard)


@contextmanager
def _redis(folder: Path, namespace: str, screen: Screen) -> Iterator[str]:
    """The Redis named by `CELERIAC_REDIS_URL` if it answers, else one of our own."""
    named = os.environ.get("CELERIAC_REDIS_URL")
    if named and answers(named):
        screen.say(f"Redis     the one named by CELERIAC_REDIS_URL, under keys {namespace}*")
        try:
            yield named
        finally:
            _sweep_out(named, namespace)
        return
    if named:
        screen.say("Redis     nobody answers at CELERIAC_REDIS_URL; bringing one", "yellow")
    with LocalRedis(folder / "redis") as server:
        embedded = server.binary == find_embedded_binary()
        which = "of the extra celeriac[embedded]" if embedded else server.binary
        screen.say(f"Redis     {which}, port {server.port}, process {server.pid}")
        yield server.url


def _sweep_out(url: str, namespace: str) -> None:
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f"{namespace}*", count=1000):
            client.unlink(key)


@contextmanager
def _environment(folder: Path, namespace: str, url: str) -> Iterator[None]:
    """Point this process and its children at the demo's own Redis, keys and files."""
    before = dict(os.environ)
    # Nothing of the caller's own Celery may lead elsewhere.
    for name in [name for name in os.environ if name.startswith("CELERY_")]:
        del os.environ[name]
    packages = (str(ROOT), str(Path(celeriac.__file__).parents[1]), os.environ.get("PYTHONPATH"))
    os.environ.update(
        # kombu spells a Unix socket in its own way.
        CELERY_BROKER_URL=url.replace("unix://", "redis+socket://").replace(
            "?db=", "?virtual_host="
        ),
        SHOP_NAMESPACE=namespace,
        SHOP_DATA=str(folder / "shop.db"),
        PYTHONPATH=os.pathsep.join(path for path in packages if path),
        PYTHONUNBUFFERED="1",
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _worker_command() -> list[str]:
    options = ["--pool=prefork", f"--concurrency={PROCESSES}", "--prefetch-multiplier=1"]
    quiet = ["--without-gossip", "--without-mingle", "--loglevel=INFO"]
    return [*_celery("worker"), *options, *quiet, "--hostname=demo@%h"]


def _beat_command(folder: Path) -> list[str]:
    own = [f"--schedule={folder / 'beat-schedule'}", f"--pidfile={folder / 'beat.pid'}"]
    return [*_celery("beat"), *own, "--loglevel=INFO"]


def _dashboard(folder: Path) -> Dashboard | None:
    """Start the dashboard, for this machine only; None if it is not installed."""
    if any(find_spec(name) is None for name in ("fastapi", "uvicorn", "jinja2")):
        return None
    port = free_port()
    command = [*_celery("saga"), "ui", f"--port={port}"]
    return Dashboard(Child(command, log=folder / "dashboard.log"), f"http://127.0.0.1:{port}")


def _celery(command: str) -> list[str]:
    return [sys.executable, "-m", "celery", "--app=workflows.order", command]


def _await_worker(app: Any, worker: Child, beat: Child) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        _check_alive(worker, beat)
        if app.control.ping(timeout=0.5, limit=1):
            return
    raise Trouble(f"the worker was not ready in {READY_SECONDS:.0f} s:\n{worker.last_words(20)}")


def _await_dashboard(dashboard: Dashboard) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        _check_alive(dashboard.child)
        with (
            suppress(OSError, HTTPException),
            urlopen(f"{dashboard.url}/health/ready", timeout=5) as answer,  # noqa: S310 -- our own
        ):
            answer.read()
            return
        time.sleep(0.05)
    words = dashboard.child.last_words(20)
    raise Trouble(f"the dashboard was not ready in {READY_SECONDS:.0f} s:\n{words}")


def _check_alive(*children: Child) -> None:
    for child in children:
        if not child.alive:
            raise Trouble(f"process {child.pid} ended by itself:\n{child.last_words(20)}")
