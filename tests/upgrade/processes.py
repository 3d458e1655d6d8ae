"""The shop in the hands of one version: its app, a Redis, and a worker process.

Owns: the app, the worker and its environment, and the sweeps that beat would ask for.  Refuses to
know: what is waited for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests import processes
from tests.processes import environment, until
from tests.upgrade.shop import CUSTOMS, build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Self

_PATIENCE = 100.0  # seconds; more than a sweep leaves alone what may wait in a queue


class Processes:
    """A client of the shop, and a worker while it is wanted."""

    def __init__(self, url: str, folder: Path, *, trouble: bool, conf: Mapping[str, Any]) -> None:
        self.url, self.folder = url, folder
        self.shop = build(url, folder, trouble=trouble, conf=conf)
        self._env = environment(
            SHOP_REDIS=url,
            SHOP_FOLDER=str(folder),
            SHOP_TROUBLE="yes" if trouble else "no",
            SHOP_CONF=json.dumps(conf),
        )
        self._workers = processes.Processes(folder, "tests.upgrade.worker_app")

    def start_worker(self, children: int) -> None:
        """Start a worker, and return once it takes messages."""
        # A log of its own: another client's worker may have been in this folder before.
        name = f"worker-{len([*self.folder.glob('worker-*.log')]) + 1}"
        queues = f"celery,{CUSTOMS}"
        self._workers.worker(name, "-Q", queues, env=self._env, children=children)

    @property
    def log(self) -> str:
        """What workers have said."""
        return "".join(worker.text() for worker in self._workers.started)

    def kill_worker(self) -> None:
        """End the worker and all its processes as a machine that loses power does."""
        self._workers.kill()

    def until(self, true: Callable[[], object], what: str, *, sweeping: bool = False) -> None:
        """Wait for a condition; with *sweeping*, do meanwhile what beat asks for."""

        def looked() -> object:
            found = true()
            if sweeping and not found:
                self.shop.sagas.sweep()
            return found

        until(looked, what, _PATIENCE, more=self._workers.logs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_worker()
        self.shop.sagas.runtime.close()
