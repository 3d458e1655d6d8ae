"""A load of starts and steps on a real Redis, and a book of everything that was acknowledged.

Owns: some threads that start runs and take them through their steps, over connections that may
break; what each of them was told is written; and what of that is there afterwards.  Refuses to
know: what happens to Redis meanwhile.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from celeriac.engine.attempts import Delivery
from celeriac.engine.engine import Engine
from celeriac.errors import CommandRefused, RunNotFound, SagaError, StoreError
from celeriac.machine.commands import Start
from celeriac.store.redis import RedisStore
from tests.durability.shop import PLAN, STEPS
from tests.engine.driver import GRACE, QUEUE, TERMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celeriac.machine.runs import Run

T = TypeVar("T")
THREADS = 3


class Loss(NamedTuple):
    """What was acknowledged and is not there any more."""

    writes: int
    of: int
    newest_kept: float  # s before the last acknowledgement: so far back the state is

    def __str__(self) -> str:
        share = f"{self.writes} of {self.of} acknowledged writes lost"
        return f"{share}, state {self.newest_kept:.1f} s back" if self.writes else share


class Acknowledged(NamedTuple):
    """A write that somebody was told is done.  Times are s since the epoch."""

    asked: float
    told: float
    run: Run  # as it was committed


class Impatient(Engine):
    """An engine that gives up at once, so that the load goes on with other runs."""

    def retry_while_unavailable(
        self,
        once: Callable[[], T],
        patience: float | None = None,  # noqa: ARG002
    ) -> T:
        """Return what *once* returns; StoreUnavailable ends it."""
        return super().retry_while_unavailable(once, 0)


class Load:
    """Clients of a Redis that may go away at any moment."""

    def __init__(self, url: str, *, pause: float = 0.0) -> None:
        """*pause* is how many seconds each client rests after a run."""
        self.url, self._pause = url, pause
        self.acknowledged: list[Acknowledged] = []
        self.refusals = 0
        self._until = threading.Event()
        self._lock = threading.Lock()

    @property
    def writes(self) -> int:
        """How many writes were acknowledged until now."""
        return len(self.acknowledged)

    @contextmanager
    def running(self) -> Iterator[Load]:
        """Work until the block ends."""
        threads = [threading.Thread(target=self._work, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._until.set()
            for thread in threads:
                thread.join(30)

    def wait_for(self, writes: int, seconds: float = 30) -> None:
        """Wait until so many more writes were acknowledged."""
        goal, end = self.writes + writes, time.monotonic() + seconds
        while self.writes < goal:
            assert time.monotonic() < end, "the load does not get on"
            time.sleep(0.001)

    def _work(self, number: int) -> None:
        store = RedisStore(self.url, shards=2)
        engine = Impatient(store, TERMS)
        runs = 0
        while not self._until.wait(self._pause):
            runs += 1
            with suppress(CommandRefused, RunNotFound):  # Redis is back, without the run
                try:
                    self._one(engine, f"order-{number}-{runs}")
                except StoreError:
                    self.refusals += 1
                    time.sleep(0.01)
        store.close()

    def _one(self, engine: Engine, run_id: str) -> None:
        command = Start(run_id, "input", f"call-{run_id}", GRACE)
        self._do(lambda: engine.start(PLAN, command, {"order": f'"{run_id}"'})[1].run)
        for name in STEPS:
            delivery = Delivery(run_id, 1, name, "do", 1, PLAN.fingerprint)
            if self._until.is_set():
                return
            attempt = engine.claim(delivery, f"worker-{run_id}", QUEUE)
            self._do(lambda a=attempt: engine.complete(a, '"done"').done.run)  # type: ignore[misc]

    def _do(self, write: Callable[[], Run]) -> None:
        asked = time.time()
        run = write()
        with self._lock:
            self.acknowledged.append(Acknowledged(asked, time.time(), run))

    # --- afterwards ----------------------------------------------------------------------------

    def lost(self, url: str | None = None) -> Loss:
        """Compare with what a server has now."""
        versions = self.versions(url)
        gone = [each.told for each in self.acknowledged if versions[each.run.id] < each.run.version]
        last = max((each.told for each in self.acknowledged), default=0.0)
        return Loss(len(gone), self.writes, last - min(gone) if gone else 0.0)

    def versions(self, url: str | None = None) -> dict[str, int]:
        """Which version of each run a server has now; 0: it has none."""
        store = RedisStore(url or self.url, shards=2)
        try:
            return {run_id: self._version(store, run_id) for run_id in self._ids()}
        finally:
            store.close()

    def _ids(self) -> set[str]:
        return {each.run.id for each in self.acknowledged}

    def _version(self, store: RedisStore, run_id: str) -> int:
        with suppress(SagaError):
            run = store.read(run_id).run
            return run.version if run else 0
        return 0
