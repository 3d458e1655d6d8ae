"""A world for one test: workers and beats of its own, over a Redis of its own.

Owns: what its processes are told, faults and gates, and checking a run against the ledger.
Refuses to know: what is tested.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.machine.moves import fold
from celeriac.machine.runs import AT_REST
from celeriac.machine.tries import key_of
from celeriac.machine.visits import as_visited
from tests.processes import Processes, environment, until
from tests.workers.kit import RECOVERY, Kit, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from celeriac import RunHandle, RunState
    from tests.processes import Process
    from tests.redis_server import RedisServer

T = TypeVar("T")


class World:
    """A Redis, a client, and as many workers and beats as a test wants."""

    def __init__(
        self,
        folder: Path,
        redis: RedisServer,
        state: RedisServer | None = None,
        *,
        broker: str = "",
        conf: Mapping[str, Any] | None = None,
    ) -> None:
        """*redis* is the broker, and holds the runs too unless *state* does.

        *broker* is the URL of another broker, if *redis* holds runs alone; *conf* are settings of
        Celery's, for every process.
        """
        self.folder, self.redis, self.state = folder, redis, state
        self._broker, self._conf = broker or redis.url, dict(conf or {})
        self._state = state.url if state else redis.url if broker else ""
        self.kit: Kit = build(self._broker, folder, (), self._state or None, self._conf)
        self.ledger = self.kit.ledger
        self.processes = Processes(folder, "tests.workers.worker_app")

    # --- processes -----------------------------------------------------------------------------

    def worker(
        self,
        name: str = "w1",
        *,
        children: int = 2,
        without: str = "",
        args: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a worker and wait until it is ready; *env* is added to its environment."""
        env = {**self.environment(KIT_WITHOUT=without), **(env or {})}
        return self.processes.worker(name, *args, env=env, children=children)

    def supervise(self) -> list[str]:
        """Replace the workers that have crashed, as whoever runs them does; return their names.

        When a connection with unacknowledged messages is lost, Celery 5.7 may end with
        "Unrecoverable error: AttributeError" instead of connecting again; what is left of such a
        worker takes no message any more.
        """
        found = [p for p in self.processes.started if not p.ended and p.says("Unrecoverable error")]
        for process in found:
            process.kill()
            self.worker(f"{process.name}-again", children=4)
        return [process.name for process in found]

    def beat(self, name: str = "beat") -> Process:
        """Start a beat and wait until it has started."""
        return self.processes.beat(name, self.environment())

    def celery(self, name: str, *words: str, says: str = "", **extra: str) -> Process:
        """Start a command of Celery, and wait until it says something, if it is to."""
        return self.processes.celery(name, *words, env=self.environment(**extra), says=says)

    def environment(self, **extra: str) -> dict[str, str]:
        """What its processes find in their environment, with *extra*."""
        kit = {"KIT_BROKER": self._broker, "KIT_STATE": self._state, "KIT_FOLDER": str(self.folder)}
        return environment(**kit, KIT_CONF=json.dumps(self._conf), **extra)

    def close(self) -> None:
        """End whatever still runs."""
        self.processes.kill()
        self.kit.sagas.runtime.close()

    # --- faults and gates ----------------------------------------------------------------------

    @contextlib.contextmanager
    def fault(self, name: str, only: str = "") -> Iterator[None]:
        """Let messages be dropped, doubled or reordered (see `kit`)."""
        made = self.folder / f"{name}.new"
        made.write_text(only)
        made.rename(self.folder / name)  # at once: nobody reads half of it
        try:
            yield
        finally:
            (self.folder / name).unlink()

    def published(self, called: str, sign: str = "+") -> list[str]:
        """The messages sent (or dropped: `-`) that have *called* in their task's name or id."""
        log = self.folder / "published"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line[2:] for line in lines if line[0] == sign and called in line]

    def reached(self, run: RunHandle[Any], step: str) -> None:
        """Wait until a step waits at its gate."""
        mark = self.folder / f"{run.id}.{step}.reached"
        self.until(mark.exists, f"{run.id} reached its gate in {step}")

    def open(self, run: RunHandle[Any], step: str) -> None:
        """Open the gate of a step."""
        (self.folder / f"{run.id}.{step}.open").touch()

    # --- waiting and checking ------------------------------------------------------------------

    def until(self, true: Callable[[], T], what: str, timeout: float = RECOVERY + 10) -> T:
        """Wait for a condition, and return what it returned."""
        return until(true, what, timeout, more=self.processes.logs)

    def rest(self, run: RunHandle[Any], timeout: float = RECOVERY + 20) -> RunState:
        """Wait until a run is at rest, check the invariants, and return its state."""
        self.until(lambda: run.status in AT_REST, f"{run.id} at rest: {_story(run)}", timeout)
        self.check(run)
        return run.state()

    def check(self, run: RunHandle[Any]) -> None:
        """The ledger agrees with the run (I1, I2), and its history folds to its state (I9)."""
        store = self.kit.sagas.runtime.engine.store
        found, history = store.read(run.id).run, run.history()
        while (again := store.read(run.id).run) != found:  # a late report came between the two
            found, history = again, run.history()
        assert found is not None
        plan = as_visited(store.plan(run.id, found.plan), found)
        assert fold(plan, run.id, history) == found, _story(run)
        keys = {found.key, *(key_of(found, name) for name, _ in found.stands)}
        live = {name for key in keys for name in self.ledger.live(key)}
        if found.status == "completed":
            names = [name for name in found.steps if name not in found.steps.maps]
            done_by = {name: plan.node(name) for name in names}
            aside = {n for n, at in done_by.items() if at.choice or at.wait or at.child}
            steps = {name: found.step(name) for name in names if name not in aside}
            done = {name for name, step in steps.items() if step.status == "completed"}
            # One that an operator skipped may have had its effect before.
            may = {name for name, step in steps.items() if step.may_have_effect}
            assert done <= live <= done | may, _story(run)
        if found.status == "compensated":
            assert live == set(), _story(run)
        for row in self.ledger.rows(f"{run.id}:%", "begin"):
            assert row.attempt <= 3, _story(run)


def _story(run: RunHandle[Any]) -> str:
    return "\n".join(event.dump() for event in run.history())
