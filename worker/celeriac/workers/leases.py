"""The lease thread: signs of life for the attempts that a worker has at work.

Owns: when leases are renewed, noticing that a pool child has died, and telling how long the
worker was cut off.  Refuses to know: what an expired lease or an outage leads to.  It lives in
the worker's *main* process, which stays responsive while a step holds its interpreter lock, and
dies with it, which is the point.
"""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import Terminated, WorkerLostError
from celery.worker import state
from celery.worker.request import Request

from celeriac.errors import StoreError, StoreUnavailable
from celeriac.observing import log
from celeriac.points import reached
from celeriac.store import Lease
from celeriac.workers.headers import HEADER, parse_header
from celeriac.workers.supervision import Supervision, become, position_of, supervise

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator

    from celeriac.store import Store
    from celeriac.workers.presence import SignOfLife
    from celeriac.workers.progress import Position

#: What Celery is to import for the requests of our messages.
REQUEST = "celeriac.workers.leases:SagaRequest"
_LONGEST_TICK = 0.5


class OutageClock:
    """How long a worker has been cut off from the store or its broker; 0 while it is not."""

    def __init__(self) -> None:
        self._whole_at = time.monotonic()  # when both were last within reach
        self._cut_off = False

    def cut_off(self) -> None:
        """One of them is out of reach now."""
        self._cut_off = True

    def within_reach(self) -> None:
        """Both are within reach now."""
        self._cut_off = False
        self._whole_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """The length of the outage so far."""
        return time.monotonic() - self._whole_at if self._cut_off else 0.0


class LeaseKeeper(threading.Thread):
    """Renews the leases of a worker's active attempts, three times in the length of one."""

    def __init__(
        self,
        store: Store,
        lease: float,
        deaths: deque[Lease],
        consumes: Callable[[], bool] = lambda: True,
        forks: Callable[[], bool] = lambda: True,
        look: Callable[[], object] = lambda: None,
        supervision: Supervision | None = None,
        sign: SignOfLife | None = None,
    ) -> None:
        """*lease* is seconds; *deaths* is where attempts are reported whose child is gone.

        *consumes* tells whether the worker is in touch with its broker; *forks*, whether its pool
        is one of processes, whose ids can be asked for.  *look* is called after each renewal, and
        *sign* given all the time.  *supervision* looks after children that run ahead.
        """
        super().__init__(name="celeriac-leases", daemon=True)
        self._store, self._lease, self._deaths = store, lease, deaths
        self._consumes, self._forks, self._look = consumes, forks, look
        self._supervision, self._sign = supervision, sign
        self._gap = int(lease * 2000 / 3)  # ms
        self._stopped = threading.Event()
        self._given_up: set[Lease] = set()
        self._outages = [OutageClock() for _ in range(store.shards)]  # each may be away alone
        self._away: set[int] = set()  # shards that are out of reach; it was logged
        self._renew_at = [0.0] * store.shards  # by the monotonic clock; 0 is at once
        self._ran_at = time.monotonic()

    def run(self) -> None:
        """Work until the worker stops."""
        tick = min(_LONGEST_TICK, self._lease / 6)
        while not self._stopped.is_set():
            self._ran_at = time.monotonic()
            try:
                self._beat()
            except StoreError as error:
                everywhere = set(range(self._store.shards))
                if everywhere - self._away:
                    log.warning("cannot renew leases: %s", error)
                self._away = everywhere
                self._cut_off()
            except Exception:  # noqa: BLE001 -- it is logged
                # Nothing that goes wrong here may end the thread: all attempts would be lost.
                log.exception("lease renewal failed; will retry")
            self._stopped.wait(tick)

    def stop(self) -> None:
        """Renew no more; whatever is still active will be taken over."""
        self._stopped.set()
        if self.is_alive():
            self.join(_LONGEST_TICK)  # or it might give another sign
        if self._sign is not None and not self.held():
            self._sign.end()

    def ran_at(self) -> float:
        """Return when it last ran, by the monotonic clock."""
        return self._ran_at

    def held(self) -> set[Lease]:
        """Return the leases of all attempts at work, whatever became of their processes."""
        return {lease for _, leases in self._at_work() for lease in leases}

    def _beat(self) -> None:
        self._supervise()
        if self._sign is not None:
            self._tried({0}, self._sign.give)  # it is kept in the first shard
        alive, dead = self._attempts()
        fresh = dead - self._given_up
        left = self._let_lapse(fresh) if fresh else set()
        self._given_up = dead - left
        if not self._consumes():
            # Celery waits up to half a minute between two tries to connect again.  Runs make no
            # progress until it has, and must not pay for that with their deadlines (L5).
            self._cut_off()
        due = {n for n, at in enumerate(self._renew_at) if time.monotonic() >= at}
        if due:
            self._renew(alive, due)

    def _supervise(self) -> None:
        try:
            if self._supervision is not None:
                self._supervision.look()
        except Exception:  # noqa: BLE001 -- it is logged
            log.exception("looking after children failed; will retry")  # leases come first

    def _let_lapse(self, fresh: set[Lease]) -> set[Lease]:
        """Report attempts whose child is gone; return those that could not be."""
        everywhere = set(range(self._store.shards))
        try:
            away = self._tried(everywhere, lambda: self._store.lapse(sorted(fresh)))
        except StoreError:
            self._deaths.extend(fresh)  # nobody will report them again
            raise
        left = {each for each in fresh if self._store.shard_of(each.run_id) in away}
        self._deaths.extend(left)
        if len(left) < len(fresh):
            log.warning("attempts lost with their pool child: %d", len(fresh) - len(left))
        for shard in away:
            self._renew_at[shard] = 0.0  # and see how long it is away
        return left

    def _renew(self, alive: set[Lease], due: set[int]) -> None:
        """Renew what is at work in the shards *due*; one that is away holds up no other."""
        lengths: dict[int, set[int]] = {}  # ms of an outage: the shards it was in
        for shard in due:
            lengths.setdefault(int(self._outages[shard].seconds * 1000), set()).add(shard)
        leases = sorted(each for each in alive if self._store.shard_of(each.run_id) in due)
        reached("lease.renewing", alive)
        away = self._tried(due, lambda: self._store.renew(leases, int(self._lease * 1000)))
        for outage, shards in lengths.items():
            # Where no lease could be renewed there is no sign of life either: all would lapse.
            here = shards - away
            if here:
                away |= self._tried(here, partial(self._store.pulse, self._gap, outage, here))
        self._away = (self._away - due) | away
        for shard in due:
            if shard in away:
                self._outages[shard].cut_off()
            elif self._consumes():
                self._outages[shard].within_reach()
                self._renew_at[shard] = time.monotonic() + self._lease / 3
        self._tried({0}, self._look)

    def _tried(self, shards: set[int], ask: Callable[[], object]) -> set[int]:
        """Ask the store about *shards*; return those that are out of reach, and say so once."""
        try:
            ask()
        except StoreUnavailable as error:
            away = shards if error.shards is None else shards & error.shards
            if away - self._away:
                log.warning("cannot renew leases: %s", error)
            return set(away)
        return set()

    def _cut_off(self) -> None:
        """No run makes progress; renew as soon as that is over."""
        for outage in self._outages:
            outage.cut_off()
        self._renew_at = [0.0] * self._store.shards

    def _attempts(self) -> tuple[set[Lease], set[Lease]]:
        """The attempts of living and of dead pool children."""
        alive: set[Lease] = set()
        dead: set[Lease] = set()
        while self._deaths:
            dead.add(self._deaths.popleft())
        forks = self._forks()
        for request, leases in self._at_work():
            # In other pools it is the id of a greenlet, and may even be that of a process.
            pid = getattr(request, "worker_pid", None) if forks else None
            (dead if pid and has_died(pid) else alive).update(leases)
        return alive - dead, dead

    def _at_work(self) -> Iterator[tuple[Any, set[Lease]]]:
        # Read after the requests: one that has ended since then has no position any more.
        requests = list(state.active_requests)
        positions = self._supervision.positions() if self._supervision else {}
        for request in requests:
            leases = leases_of(request, positions.get(request.id))
            if leases:
                yield request, leases


class SagaRequest(Request):  # type: ignore[misc]  # Celery has no types
    """What a worker's main process knows of a saga's message; reports a child that is gone.

    Celery often buries a child and clears its request before the lease thread looks again.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        supervise(cls)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """Celery says how a task failed; here it matters only whether its process is gone."""
        error = exc_info.exception
        error = error.exc if isinstance(error, ExceptionWithTraceback) else error
        if isinstance(error, WorkerLostError | SystemExit | Terminated):
            self._report()
        return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """After the hard limit the child is killed."""
        if not soft:
            self._report()
        return super().on_timeout(soft, timeout)

    def terminate(self, *args: Any, **kwargs: Any) -> Any:
        """Somebody ends the process that is at the task."""
        at = position_of(self)
        if at is not None:
            become(self, at)
        return super().terminate(*args, **kwargs)

    def _report(self) -> None:
        at = position_of(self)
        self.task.saga_runtime.deaths.extend(leases_of(self, at))
        if at is not None:
            become(self, at)


def lease_of(request: Any) -> Lease | None:
    """The lease of the attempt that a worker's request stands for, if it is a saga's."""
    if not hasattr(request.task, "saga_runtime"):
        return None  # a header that was put on another task: that says nothing of the attempt
    hint = parse_header(request.request_dict.get(HEADER))
    return hint and Lease(hint.run_id, hint.step, hint.phase, hint.attempt, hint.epoch)


def leases_of(request: Any, at: Position | None) -> set[Lease]:
    """The leases that are those of a worker's request; *at*: where its message has got to."""
    if at is not None:
        return at.leases
    lease = lease_of(request)
    return set() if lease is None else {lease}


def forks(pool: object) -> bool:
    """True if a worker's *pool* runs tasks in child processes; all others live and die with it.

    Asked by name: importing that pool costs every other one its start.
    """
    return any(kind.__module__ == "celery.concurrency.prefork" for kind in type(pool).__mro__)


def has_died(pid: int) -> bool:
    """True if the child process *pid* has ended, whether or not the pool has noticed.

    The pool looks every five seconds.  WNOWAIT leaves the child for it to bury.
    """
    if pid == os.getpid():
        return False  # a pool of threads: the attempt dies with us
    try:
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        os.kill(pid, 0)  # macOS, before Python 3.13: true until the pool has buried it
    except (ChildProcessError, ProcessLookupError):
        return True  # buried already
    except (OSError, OverflowError):
        return False  # not the id of a process: nothing is known of its end
    return False
