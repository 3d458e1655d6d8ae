"""What the dashboard costs: a page of many runs, the first page, and pages that stay open.

Owns: a Redis with many runs, a server, and browsers that only ask.  Refuses to know: what stands on
a page, and what is good enough.

An open page asks for itself again as often as it says (`data-live`), and that of a run hears what
happens by a stream.
"""

from __future__ import annotations

import gzip
import os
import re
import statistics
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from redis import Redis

from bench.filling import fill
from bench.site import ROOT, cpu_seconds
from celeriac.testing.servers import Child, LocalRedis, free_port
from celeriac.web.live_looks import LIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTED = "/runs?limit=200"
OVERVIEW = "/"
#: The pages that have a bound: what they are called, and ms that one may take, from click to end.
BOUNDS = {"listed": ("a page of 200 runs", 100), "overview": ("the overview", 60)}
_PATHS = {"listed": LISTED, "overview": OVERVIEW}
_BROWSER = {"Accept-Encoding": "gzip", "Sec-Fetch-Site": "same-origin"}
_STARTED = 60.0  # seconds that the server may take to start
_TIMES = 50
_OPEN = {OVERVIEW: 40, "/runs": 30, "run": 30}  # pages that are open at the same time
_ASKS = re.compile(r'data-live="(\d+)"')
_LIVE_RUNS = 300


def pages(runs: int, seconds: float) -> dict[str, Any]:
    """Measure pages beside *runs* at rest: milliseconds, and what open pages cost for *seconds*."""
    with (
        TemporaryDirectory(prefix="celeriac-bench-") as name,
        LocalRedis(Path(name) / "redis", options={"appendonly": "no"}) as redis,
    ):
        with Redis.from_url(redis.url, decode_responses=True) as client:
            fill(redis.url, client, runs, 0, _LIVE_RUNS)
        with _served(redis.url) as server:
            found: dict[str, Any] = {"runs": runs, "open": sum(_OPEN.values())}
            found |= {page: server.timed(path) for page, path in _PATHS.items()}
            found["share"] = server.share_of_open_pages(runs, seconds)
            return found


def pages_beside(url: str) -> dict[str, dict[str, float]]:
    """Measure the pages that have a bound, by name, beside whatever the Redis at *url* holds."""
    with _served(url) as server:
        return {page: server.timed(path) for page, path in _PATHS.items()}


class _Server:
    def __init__(self, port: int, child: Child) -> None:
        self.port, self.child = port, child

    def get(self, path: str, headers: dict[str, str] | None = None) -> bytes:
        """Ask for a page, and return what comes over the wire."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers=_BROWSER | (headers or {}))
            answer = connection.getresponse()
            data = answer.read()
            assert answer.status == HTTPStatus.OK, f"{path}: {answer.status}"
            return data
        finally:
            connection.close()

    def timed(self, path: str) -> dict[str, float]:
        """How long a page takes, how much of that is the server's work, and how large it is."""
        size = len(self.get(path))
        times, before = [], cpu_seconds(self.child.pid)
        for _ in range(_TIMES):
            began = time.perf_counter()
            self.get(path)
            times.append((time.perf_counter() - began) * 1000)
        cpu = (cpu_seconds(self.child.pid) - before) * 1000 / _TIMES
        cuts = statistics.quantiles(times, n=20, method="inclusive")
        return {"p50": statistics.median(times), "p95": cuts[18], "cpu": cpu, "bytes": size}

    def share_of_open_pages(self, runs: int, seconds: float) -> float:
        """The share of a core that the server uses while pages are open, in percent."""
        closed = threading.Event()
        paths = [path for path, count in _OPEN.items() for _ in range(count)]
        # The newest runs are live.
        paths = [f"/runs/order-{runs + n:08d}" if p == "run" else p for n, p in enumerate(paths)]
        opened = threading.Semaphore(0)
        threads = [
            threading.Thread(target=self._keep_open, args=(path, n / len(paths), opened, closed))
            for n, path in enumerate(paths)
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            opened.acquire(timeout=_STARTED)
        before, began = cpu_seconds(self.child.pid), time.perf_counter()
        closed.wait(seconds)
        used = cpu_seconds(self.child.pid) - before
        share = 100 * used / (time.perf_counter() - began)
        closed.set()
        for thread in threads:
            thread.join()
        return share

    def _keep_open(
        self, path: str, turn: float, opened: threading.Semaphore, closed: threading.Event
    ) -> None:
        """Be a browser with a page; *turn* is when it asks, as a share of its pause."""
        stream = None
        try:
            found = _ASKS.search(gzip.decompress(self.get(path)).decode())
            assert found is not None, f"{path} is not live"
            pause = float(found[1])
            if path.startswith("/runs/"):
                stream = HTTPConnection("127.0.0.1", self.port, timeout=60)
                stream.request("GET", f"/api{path}/events")
            opened.release()
            closed.wait(turn * pause)
            while not closed.is_set():
                self.get(path, {LIVE: "1"})
                closed.wait(pause)
        finally:
            if stream is not None:
                stream.close()


@contextmanager
def _served(url: str) -> Iterator[_Server]:
    with TemporaryDirectory(prefix="celeriac-bench-") as name:
        port = free_port()
        path = os.pathsep.join([str(ROOT / "worker"), str(ROOT)])
        command = [sys.executable, "-m", "celery", "-A", "bench.app", "saga", "ui"]
        child = Child(
            [*command, f"--port={port}"],
            log=Path(name) / "server.log",
            env={**os.environ, "CELERY_BROKER_URL": url, "PYTHONPATH": path},
            cwd=ROOT,
        )
        try:
            yield _answering(_Server(port, child))
        finally:
            child.stop()


def _answering(server: _Server) -> _Server:
    give_up = time.monotonic() + _STARTED
    while time.monotonic() < give_up and server.child.alive:
        with suppress(OSError, HTTPException):
            server.get("/health/ready")
            return server
        time.sleep(0.05)
    raise SystemExit(f"the dashboard did not start:\n{server.child.last_words(30)}")
