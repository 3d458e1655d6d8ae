"""`make bench`: sagas beside bare Celery chains, on the same Redis and the same worker.

Owns: a Redis and a worker for the length of the benchmark.  Refuses to know: what is good enough;
what is measured is printed with the aims beside.

Both sides are measured in turns, and the best of each is taken: what disturbs a machine only ever
makes it slower.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac.testing.servers import LocalRedis

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=1500, help="chains and sagas of each batch")
    parser.add_argument("--rounds", type=int, default=3, help="batches of each kind")
    parser.add_argument("--children", type=int, default=2, help="processes of the worker")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="celeriac-bench-") as name,
        LocalRedis(Path(name) / "redis") as server,
    ):
        os.environ["BENCH_URL"] = server.url  # before the app is imported, here and in the worker
        bench = importlib.import_module("bench.timing")
        print(f"{os.cpu_count()} cores, one worker with {options.children} processes")
        with _worker(bench, options.children, Path(name)):
            bench.measure(options.runs, options.rounds)


@contextmanager
def _worker(bench: Any, children: int, folder: Path) -> Iterator[None]:
    log = folder / "worker.log"
    path = os.pathsep.join([str(ROOT / "worker"), str(ROOT)])
    options = ["-c", str(children), "-l", "WARNING", "--without-mingle", "--without-gossip"]
    sweep = ["--beat", "--schedule", str(folder / "beat")]  # the sweep is part of the price
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "bench.app", "worker", *options, *sweep],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        give_up = time.monotonic() + 30
        while not bench.worker_answers():
            if time.monotonic() > give_up or child.poll() is not None:
                raise SystemExit(f"the worker did not start:\n{log.read_text()[-2000:]}")
        yield
    finally:
        child.terminate()
        child.wait(30)


if __name__ == "__main__":
    main()
