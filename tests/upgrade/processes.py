"""The shop in the hands of one version: its app, a Redis, and a worker process.

Owns: starting and ending the worker (by its id), and waiting.  Refuses to know: what is waited for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac.testing.servers import Child
from tests.upgrade.shop import CUSTOMS, build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

_ROOT = Path(__file__).parents[2]
_PATIENCE = 100.0  # seconds; more than a sweep leaves alone what may wait in a queue
_READY = " ready."


class Processes:
    """A client of the shop, and a worker while it is wanted."""

    def __init__(self, url: str, folder: Path, *, trouble: bool, conf: Mapping[str, Any]) -> None:
        self.url, self.folder, self._trouble, self._conf = url, folder, trouble, conf
        self.shop = build(url, folder, trouble=trouble, conf=conf)
        self._worker: Child | None = None

    def start_worker(self, processes: int) -> None:
        """Start a worker, and return once it takes messages."""
        env = {
            **os.environ,
            "SHOP_REDIS": self.url,
            "SHOP_FOLDER": str(self.folder),
            "SHOP_TROUBLE": "yes" if self._trouble else "no",
            "SHOP_CONF": json.dumps(self._conf),
            "PYTHONPATH": os.pathsep.join([str(_ROOT / "worker"), str(_ROOT)]),
        }
        # Named, since a worker may note its name in a run: no machine belongs into a fixture.
        options = ["-n", "crew@shop", "-c", str(processes), "-l", "INFO", "-Q", f"celery,{CUSTOMS}"]
        options += ["--without-mingle", "--without-gossip"]
        command = [sys.executable, "-m", "celery", "-A", "tests.upgrade.worker_app", "worker"]
        log, before = self.folder / "worker.log", self.log.count(_READY)
        self._worker = Child([*command, *options], log=log, env=env)
        self.until(lambda: self.log.count(_READY) > before, "the worker is ready")

    @property
    def log(self) -> str:
        """What workers have said."""
        file = self.folder / "worker.log"
        return file.read_text() if file.exists() else ""

    def kill_worker(self) -> None:
        """End the worker and all its processes as a machine that loses power does."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def until(self, true: Callable[[], object], what: str, *, sweeping: bool = False) -> None:
        """Wait for a condition; with *sweeping*, do meanwhile what beat asks for."""
        end = time.monotonic() + _PATIENCE
        while not true():
            words = self._worker.last_words(30) if self._worker else ""
            assert time.monotonic() < end, f"not within {_PATIENCE:g} s: {what}\n{words}"
            if sweeping:
                self.shop.sagas.sweep()
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_worker()
        self.shop.sagas.runtime.close()
