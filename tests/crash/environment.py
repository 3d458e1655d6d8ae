"""Where processes are crashed: a world that stays up, and is mended between the cases.

Owns: three workers and a beat that are replaced when a case has ended them, the wait for rest, the
bound on it (L1), and holding every run to every law.  Refuses to know: which cases there are.
"""

from __future__ import annotations

import os
import time
from functools import partial
from signal import SIGCONT
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.machine.events import EventKind
from celeriac.machine.runs import AT_REST
from tests.crash.crash_saga import CrashInput, extend
from tests.crash.failpoints import Act, Failpoint
from tests.proof import sometimes
from tests.proof.checker import Asked, asked, check_runs
from tests.workers.kit import GRACE, LEASE, SWEEP
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from celeriac import RunHandle
    from celeriac.machine.events import Event
    from tests.processes import Process
    from tests.redis_server import RedisServer

BACKOFF = 0.1  # seconds; of the steps of `crash_saga`
#: L1: without progress for at most the lease, the grace before an undo, two sweeps, the grace of a
#: message that got lost, and the delay of a retry.
BOUND = LEASE + GRACE + 2 * SWEEP + GRACE + BACKOFF
#: After an outage a lease is believed only once workers could renew for two thirds of one.
AFTER_OUTAGE = LEASE * 2 / 3
#: Not ours: two busy cores, a worker that starts, and Celery, which tries to connect again after
#: 0, 2 and 6 seconds.
ALLOWANCE = 4.0
RECONNECT = 6.0
WORKERS = 3  # two may be stopped at once

_PROGRESS = {
    EventKind.CLAIMED,
    EventKind.COMPLETED,
    EventKind.FAILED,
    EventKind.LOST,
    EventKind.COMPENSATION_STARTED,
    EventKind.FINISHED,
}


class Crashed(NamedTuple):
    """A run that was hit, how it must end, and since when nothing is done to it any more."""

    run: RunHandle[Any]
    failpoint: Failpoint
    status: str
    since: float  # s since the epoch


class CrashWorld:
    """A world with workers whose points are armed."""

    def __init__(
        self, folder: Path, redis: RedisServer, state: RedisServer | None = None, *, ahead: int = 0
    ) -> None:
        """*ahead* is how many steps the workers run ahead; with 0 there is a message for each."""
        self.world = World(folder, redis, state)
        self.folder, self.redis = folder, redis
        self.saga = extend(self.world.kit)
        self.starts: dict[str, Asked] = {}
        self.workers: list[Process] = []
        self._made, self._ahead = 0, ahead
        self.beat = self.world.beat()
        self.mend()

    # --- processes -----------------------------------------------------------------------------

    def mend(self) -> None:
        """See that all workers are up and well, and nobody is stopped."""
        for process in (self.beat, *self.workers):
            if not process.ended:
                process.signal_all(SIGCONT)
        for worker in self.workers:
            if worker.says("Unrecoverable error") and not worker.ended:
                worker.kill()  # Celery's reconnect has crashed it: see World.supervise
        self.workers = [worker for worker in self.workers if not worker.ended]
        fresh = [self._worker() for _ in range(WORKERS - len(self.workers))]
        for worker in fresh:  # all at once: they take some seconds to start
            self.world.until(partial(worker.says, " ready."), f"{worker.name} is ready", 60)
        self.workers += fresh

    def _worker(self) -> Process:
        self._made += 1
        name = f"w{self._made}"
        options = ["worker", "-c", "2", "-n", f"{name}@test", "-l", "INFO"]
        more = ["--without-mingle", "--without-gossip", "-I", "tests.crash.arm_points"]
        return self.world.celery(name, *options, *more, KIT_AHEAD=str(self._ahead))

    def of(self, failpoint: Failpoint) -> Process:
        """The worker in which a failpoint was reached."""
        group = failpoint.hits[0]["group"]
        return next(worker for worker in self.workers if worker.pid == group)

    def beside(self, *wounded: Process) -> list[Process]:
        """The workers that nothing was done to."""
        return [worker for worker in self.workers if worker not in wounded]

    # --- runs ----------------------------------------------------------------------------------

    def start(self, run_id: str, fails: str = "", since: int = 1) -> RunHandle[Any]:
        """Start a run of `crash_saga`; see there."""
        value = CrashInput(fails=fails, since=since)
        self.starts[run_id] = asked(self.saga, value, run_id)
        return self.saga.start(value, id=run_id)

    def failpoint(
        self, point: str, text: str | tuple[str, ...], act: Act, **options: Any
    ) -> Failpoint:
        """Set a failpoint."""
        return Failpoint(self.folder, point, text, act, **options)

    def hit(self, *failpoints: Failpoint, timeout: float = 20.0) -> None:
        """Wait until all failpoints were reached."""
        what = f"reached: {failpoints}"
        self.world.until(lambda: all(failpoint.hit for failpoint in failpoints), what, timeout)

    def hit_any(self, failpoints: Iterable[Failpoint], timeout: float = 20.0) -> None:
        """Wait until one of the failpoints was reached."""
        found = list(failpoints)
        self.world.until(lambda: any(t.hit for t in found), f"reached, one of: {found}", timeout)

    def events(self, run: RunHandle[Any], kind: str, step: str = "") -> list[Event]:
        """What happened of one kind, in both directions."""
        return [e for e in run.history() if e.kind == kind and step in ("", e.step)]

    # --- judging -------------------------------------------------------------------------------

    def judge(self, crashed: Iterable[Crashed], more: float = 0.0) -> None:
        """Wait until all were hit and are at rest; hold them to status, bound (L1) and laws.

        *more* is what the bound is longer by, in seconds.
        """
        crashed = list(crashed)
        bound = BOUND + ALLOWANCE + more
        self.hit(*(each.failpoint for each in crashed))
        for each in crashed:
            # It may take several steps that each make progress: what is judged is the longest gap.
            self.world.until(
                lambda run=each.run: run.status in AT_REST,  # type: ignore[misc]
                f"{each.run.id} at rest: {_told(each.run)}",
                3 * bound,
            )
        problems = [problem for each in crashed for problem in self._problems(each, bound)]
        problems += self.violations([each.run.id for each in crashed])
        assert not problems, "\n\n".join(problems)

    def _problems(self, crashed: Crashed, bound: float) -> Iterable[str]:
        run = crashed.run
        gap = _longest_gap(run, crashed.since)
        if run.status != crashed.status:
            yield f"{run.id} is {run.status}, not {crashed.status}:\n{_told(run)}"
        if gap > bound:
            yield f"{run.id} made no progress for {gap:.1f} s, bound {bound:.1f}:\n{_told(run)}"

    def violations(self, run_ids: Iterable[str]) -> list[str]:
        """What the checker says of runs."""
        ids = list(run_ids)
        starts = [self.starts[run_id] for run_id in ids if run_id in self.starts]
        kit = self.world.kit
        found = check_runs(kit.sagas, kit.ledger, ids, starts=starts, at_rest=True)
        for run_id in ids:
            late = [e for e in kit.sagas.run(run_id).history() if _is_late_success(e)]
            sometimes.seen(sometimes.LATE_SUCCESS, len(late))
        return [str(violation) for violation in found]

    def close(self) -> None:
        """Hold everything to the laws once more, together, and end all processes."""
        try:
            kit = self.world.kit
            found = check_runs(kit.sagas, kit.ledger, starts=self.starts.values(), at_rest=True)
            assert not found, "\n\n".join(map(str, found))
        finally:
            self.world.close()


def _longest_gap(run: RunHandle[Any], since: float) -> float:
    """The longest time without progress after *since*, in seconds; 0 if it was at rest by then."""
    marks = [e.at / 1000 for e in run.history() if e.kind in _PROGRESS and e.at / 1000 > since]
    return max((b - a for a, b in zip([since, *marks], marks, strict=False)), default=0.0)


def _is_late_success(event: Event) -> bool:
    used = event.kind is EventKind.COMPLETED and bool(event.data.get("late"))
    return used or (event.kind is EventKind.LATE and event.data.get("outcome") == "completed")


def _told(run: RunHandle[Any]) -> str:
    return "\n".join(event.dump() for event in run.history())


def now() -> float:
    """Seconds since the epoch: the clock of histories, on this machine."""
    return time.time()


def wait(crash_world: CrashWorld, seconds: float) -> None:
    """Wait until some time has passed, as a fault lasts."""
    over = time.monotonic() + seconds
    crash_world.world.until(lambda: time.monotonic() > over, "time has passed", seconds + 5)


def everything() -> bool:
    """True if all cases are wanted, not only the representative ones: `PROVE=1`."""
    return os.environ.get("PROVE", "") not in ("", "0")
