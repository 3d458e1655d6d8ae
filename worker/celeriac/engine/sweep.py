"""The sweep: finding runs whose time has come, and waking them.

Owns: what happens to an entry of the wake index that is due; telling a message that was lost from
one that waits, and an attempt that died from one that could not be heard.  Refuses to know: what a
run may do next (`transitions`), and who calls it how often.

A message may vanish without a crash (F3), so nothing but the sweep promises that a run goes on.
The file is long because all that may be due is seen to in one place.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from celeriac.engine.changes import LeaseGuard
from celeriac.engine.deaths import MEMORY, Deaths, find_deaths, note_deaths
from celeriac.engine.dispatching import Backlog, Unreachable, asked_for
from celeriac.engine.herds import is_herd, look_again_at, told_of, was_told
from celeriac.engine.retention import Retention
from celeriac.errors import CommandRefused, RunNotFound, StoreError, StoreUnavailable
from celeriac.failure import Failure
from celeriac.machine import (
    PATROL,
    Expire,
    Redispatch,
    RunStatus,
    Wake,
    as_visited,
    dates,
    only_sleeps_ended,
    overdue,
    patrol,
    try_of,
)
from celeriac.observing import Swept, log
from celeriac.points import reached
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from celeriac.engine.dispatching import Dispatcher
    from celeriac.engine.engine import Engine
    from celeriac.engine.retention import Archivist
    from celeriac.engine.ticks import Ticks
    from celeriac.machine import Dispatch, Plan, Run
    from celeriac.store import Due, DueBatch, Lease, Snapshot

# So many batches of a shard at most: an entry that stays due must not keep a sweep for ever.
_MOST_BATCHES = 50
# A sweep does not go on beyond a batch of each shard while so many messages wait where it sends to:
# each may bring the attempts of twenty runs.
_ENOUGH = 40
# Of two messages to one queue, the one that was sent so many ms before the other is ahead of it.
_ORDER = 250
# Entries of the wake index that are read at a time when somebody has died.
_PAGE = 1_000
_LOST = {
    "lease": "its worker, or the process that was at it, gave no sign of life; outcome unknown",
    "death": "its worker died; outcome unknown",
}
# Some brokers cannot count what waits: after so many graces a message counts as lost there.
_BLIND_GRACES = 10

_Address = tuple[str, str | None]  # a task, and the queue that is named for it


class Sweep:
    """One sweep over all shards, to be run once.  Two at once are harmless: versions decide."""

    def __init__(
        self,
        engine: Engine,
        dispatcher: Dispatcher,
        archivist: Callable[[], Archivist | None] = lambda: None,
        ticks: Ticks | None = None,
    ) -> None:
        """*archivist* is called when a run is to be removed; None: no archive wants to see it.

        *ticks* sees to the schedules; None: there are none.
        """
        self._ticks = ticks
        self._engine, self._dispatcher = engine, dispatcher
        self._store, self._terms = engine.store, engine.terms
        self._retention = Retention(self._store, self._terms, engine.clock, archivist)
        # What the broker said of each queue in this sweep.
        self._backlogs: dict[_Address, Backlog | Unreachable | None] = {}
        self._sent_to: _Address | None = None  # the queue that the newest message went to
        self._away: Unreachable | None = None  # as soon as the broker has turned out to be
        self._lag = 0  # ms that the entry longest due had waited
        self._cut_off: list[StoreUnavailable] = []  # shards out of reach, while others are not
        self._whole = True  # whether each of the others could be swept
        self._told: dict[Due, int] = {}  # of a herd, and when to look again (ms)
        self._deaths = Deaths()

    def run(self, seconds: float = 5.0, removing: float = 0.5) -> int:
        """See to every run whose time has come; return how many were looked at.

        Takes a batch of each shard in turn, and leaves what is not done after *seconds* to the
        next: whoever sweeps has other work to do.  Then it removes what has expired, for *removing*
        seconds.
        """
        began, looked = self._engine.clock(), 0
        until = began + seconds
        self._deaths = self._found_deaths()
        shards = list(range(self._store.shards))
        for shard in shards if self._deaths.fresh else ():
            self._safely(shard, self._bury)
        for _ in range(_MOST_BATCHES):
            found = {shard: self._safely(shard, self._batch) for shard in shards}
            looked += sum(found.values())
            shards = [shard for shard, count in found.items() if count >= self._terms.batch]
            if not shards or self._engine.clock() >= until or self._is_enough():
                break
        gates = partial(self._engine.gates.sweep, until=max(until, self._engine.clock() + 1))
        looked += sum(self._safely(n, gates) for n in range(self._store.shards))
        away = [*self._cut_off, *self._see_to_schedules()]
        self._note_deaths()
        took = self._engine.clock() - began
        if self._whole and not away:
            self._note(took)
        self._engine.observers.tell(Swept(took, looked))
        # Last, and briefly: nobody waits for it, and an archive may be slow.
        self._retention.run(removing)
        if away:
            raise away[0]
        return looked

    def _see_to_schedules(self) -> list[StoreUnavailable]:
        """See to the schedules of shards within reach; return what keeps it from the others."""
        try:
            if self._ticks is not None:
                self._ticks.run()
        except StoreUnavailable as error:
            if not self._store.apart:
                raise
            return [error]
        return []

    def _found_deaths(self) -> Deaths:
        """Which workers have died; nobody knows while the shard is away that knows of workers."""
        try:
            return find_deaths(self._store.presences)
        except StoreUnavailable:
            if not self._store.apart:
                raise
            return Deaths()

    def _note_deaths(self) -> None:
        try:
            note_deaths(self._store.presences, self._deaths)
        except StoreUnavailable:
            if not self._store.apart:
                raise

    def _note(self, seconds: float) -> None:
        """Leave a mark by which anybody can tell that there are sweeps."""
        try:
            self._store.swept(self._lag, int(seconds * 1000))
        except StoreUnavailable:
            raise
        except StoreError as error:
            log.error("the sweep is done, but could not be recorded: %s", error)

    def _is_enough(self) -> bool:
        """True if so much waits in the queue last sent to that more would only be in the way there.

        Many runs that come due at once must not keep those that are live waiting behind them.
        """
        if self._sent_to is None:
            return False
        backlog = self._dispatcher.backlog(*self._sent_to)
        return isinstance(backlog, Backlog) and backlog.messages >= _ENOUGH

    def _safely(self, shard: int, do: Callable[[int], int]) -> int:
        """Do something to a shard; what is wrong with one must not keep the sweep from others."""
        try:
            return do(shard)
        except StoreUnavailable as error:
            if not self._store.apart:
                raise
            self._cut_off.append(error)
        except StoreError as error:
            log.error("shard %d cannot be swept: %s", shard, error)
            self._whole = False
        return 0

    def _batch(self, shard: int) -> int:
        """See to what is due in a shard, so much at a time; return how many entries that were."""
        batch = self._store.due(shard, self._terms.batch)
        if batch.due:
            self._lag = max(self._lag, batch.now - batch.due[0].at)
        reached("sweep.taken", batch.due)
        # Read together and sent together: one by one, round trips would be most of the time.
        found = self._read(entry.run_id for entry in batch.due if entry.lease is None)
        with self._dispatcher.together():
            for entry in batch.due:
                self._look_safely(entry, batch, found.get(entry.run_id))
            told, self._told = self._told, {}
            if told:
                self._store.postpone(told)
        return len(batch.due)

    def _read(self, run_ids: Iterable[str]) -> Mapping[str, Snapshot]:
        """Read several runs; those that are left out are read when they are looked at."""
        try:
            return self._store.read_all(dict.fromkeys(run_ids, self._engine.observers.wants()))
        except StoreUnavailable:
            raise
        except StoreError:
            return {}  # whatever is wrong with one must not keep the sweep from the others

    def _look_safely(self, entry: Due, batch: DueBatch, found: Snapshot | None) -> None:
        """One run that cannot be handled must not keep the sweep from the others."""
        try:
            self._look(entry, batch, found)
        except StoreUnavailable:
            raise
        except RunNotFound:
            log.warning(
                "%s is in the wake index, but the run is gone; will look again in an hour",
                entry.run_id,
            )
            self._store.postpone({entry: batch.now + PATROL})
        except Exception as error:  # noqa: BLE001 -- it is logged, and looked at again
            # Whatever is wrong with it, or with sending what it needs.
            log.exception("%s: the sweep cannot handle it: %s", entry.run_id, type(error).__name__)
            self._store.postpone({entry: batch.now + 60_000})

    def _look(self, entry: Due, batch: DueBatch, found: Snapshot | None = None) -> None:
        reached("sweep.looking", entry)
        if entry.lease is not None:
            self._expire(entry, entry.lease, batch)
            return
        before = found.run if found else None
        if before is not None and self._tell_of(entry, before, batch):
            return
        plan, decided, now = self._engine.command(
            entry.run_id, lambda run: self._wake(run, batch), found=found
        )
        run = decided.run
        if decided.events:
            sent = decided.dispatches
            if before is not None and was_told(before, entry) and only_sleeps_ended(decided.events):
                sent = self._lost_of_told(plan, run, sent, entry, batch)
            self._send(plan, run, sent, now)
            return
        death = self._deaths.newest
        late = overdue(run, now, death)
        lost = [d for d in late if self._is_lost(plan, run, d, batch)]
        for dispatch in lost:
            plan, decided, now = self._engine.command(entry.run_id, Redispatch(dispatch, death))
            self._engine.send(self._dispatcher, plan, decided.run, decided.dispatches, now)
        reached_all = self._engine.see_to_others(self._dispatcher, plan, run)
        if not lost:
            waiting = overdue(run, now)
            next_look = _next_look(run, waiting, now, away=self._away is not None)
            if not reached_all:
                next_look = min(next_look, now + run.grace)
            self._store.postpone({entry: next_look})

    def _wake(self, run: Run, batch: DueBatch) -> Wake:
        return Wake(
            _credit(batch, run.started_at, self._terms.lease),
            self._engine.longest_eta,
            tuple((begin, over) for begin, over in batch.pulse.outages),
        )

    def _tell_of(self, entry: Due, run: Run, batch: DueBatch) -> bool:
        """Send what follows the sleep of a run, if that is enough; see `herds`."""
        again = was_told(run, entry)
        if not (again or is_herd(batch)):
            return False
        plan = as_visited(self._store.plan(run.id, run.plan), run)
        told = told_of(plan, run, self._wake(run, batch), batch.now)
        if told is None:
            return False
        visited = as_visited(plan, told.run)
        if not again:
            self._send(visited, told.run, told.dispatches, batch.now)
        elif self._lost_of_told(visited, told.run, told.dispatches, entry, batch):
            return False
        self._told[entry] = look_again_at(run, batch.now)
        return True

    def _lost_of_told(
        self, plan: Plan, run: Run, told: Sequence[Dispatch], entry: Due, batch: DueBatch
    ) -> list[Dispatch]:
        """Those of what was told of a grace before an entry that have been lost since."""
        at = entry.at - run.grace
        return [each for each in told if self._is_lost(plan, run, each._replace(at=at), batch)]

    def _send(self, plan: Plan, run: Run, dispatches: Sequence[Dispatch], now: int) -> None:
        self._engine.send(self._dispatcher, plan, run, dispatches, now)
        for sent in [each for each in dispatches if each.step][-1:]:
            self._sent_to = _address(plan, run, sent)

    def _expire(self, entry: Due, lease: Lease, batch: DueBatch) -> None:
        if not _trusted(batch, self._terms.lease):
            # Nobody could renew just now: a worker that lives gets the time to say so (L5).
            self._store.postpone({entry: batch.now + self._terms.lease // 3})
            return
        self._give_up(entry, lease, "lease")

    def _give_up(self, entry: Due, lease: Lease, why: Literal["lease", "death"]) -> None:
        """Give up an attempt that nobody is at any more."""
        command = Expire(lease.step, lease.phase, lease.attempt, why, lease.epoch)
        failure = Failure(type="AttemptLost", message=_LOST[why], code="lost")
        text = failure.model_dump_json(exclude_none=True)
        fields = {payloads.error_field(lease.step, lease.phase): text}
        try:
            plan, decided, now = self._engine.command(
                entry.run_id, command, fields=fields, guard=LeaseGuard(lease, entry.at)
            )
        except CommandRefused:
            return  # renewed or settled since it was found; if not, the next sweep sees it again
        if decided.events:
            self._engine.send(self._dispatcher, plan, decided.run, decided.dispatches, now)
        else:
            self._store.postpone({entry: now + PATROL})

    def _bury(self, shard: int) -> int:
        """Give up the attempts of dead workers, and look now after messages they may have had.

        A worker has the oldest messages in its hands: of those that wait, as many are looked at as
        a sweep takes at a time, the oldest first.  The rest of a backlog is left alone.
        """
        within = max(MEMORY, *(dead.worker.lease for dead in self._deaths.fresh))
        left, skip, whole = self._terms.batch, 0, False
        while not whole:
            page = self._store.coming(shard, within, skip, _PAGE)
            skip, whole = skip + len(page), len(page) < _PAGE
            self._give_up_held(page)
            now = self._deaths.now
            waiting = [each for each in page if each.lease is None and each.at > now][:left]
            left -= len(waiting)
            self._store.postpone(dict.fromkeys(waiting, now))
        return self._terms.batch - left

    def _give_up_held(self, page: Sequence[Due]) -> None:
        """Give up what dead workers held, of the leases of a *page*."""
        held = [(entry, entry.lease) for entry in page if entry.lease is not None]
        runs = self._store.read_all({entry.run_id: () for entry, _ in held})
        dead = tuple(each.worker.id for each in self._deaths.fresh)
        for entry, lease in held:
            run = runs[entry.run_id].run if entry.run_id in runs else None
            run = run and (try_of(run, lease.step, lease.epoch) or run)
            direction = run.step(lease.step).direction(lease.phase) if run else None
            if run is None or direction is None or _is_late(run, self._deaths.now):
                continue
            if direction.attempt == lease.attempt and direction.holder.startswith(dead):
                self._give_up(entry, lease, "death")

    def _is_lost(self, plan: Plan, run: Run, dispatch: Dispatch, batch: DueBatch) -> bool:
        """Tell a message that was lost from one that waits: a backlog must not cause a storm.

        It is lost if it was never sent, if its queue is empty, or if a message sent well after it
        has arrived; merely after it, if a worker has died that may have had it.  Where the broker
        cannot say, only much time can tell.
        """
        run = try_of(run, dispatch.step, dispatch.epoch) or run
        node = as_visited(plan, run).node(dispatch.step)
        if node.reads_first or node.child:
            return True  # no message stands for it: whoever should have seen to it did not
        backlog = self._backlog(_address(plan, run, dispatch))
        if run.step(dispatch.step).unsent:
            return not isinstance(backlog, Unreachable)
        if backlog is None:
            return batch.now >= dispatch.at + _BLIND_GRACES * self._terms.grace
        if isinstance(backlog, Unreachable):
            return False  # sent now, it would be lost for certain
        newest = batch.arrivals.get(backlog.queue, 0)
        patience = _ORDER if dispatch.at <= self._deaths.newest else self._terms.grace
        return backlog.messages == 0 or newest >= dispatch.at + patience

    def _backlog(self, address: _Address) -> Backlog | Unreachable | None:
        """What the broker says of the queue of an address, asked once in a sweep."""
        if self._away is not None:
            return self._away
        if address not in self._backlogs:
            found = self._backlogs[address] = self._dispatcher.backlog(*address)
            self._away = found if isinstance(found, Unreachable) else None
        return self._backlogs[address]


def _address(plan: Plan, run: Run, dispatch: Dispatch) -> _Address:
    """Where the message of a dispatch goes."""
    run = try_of(run, dispatch.step, dispatch.epoch) or run
    node = as_visited(plan, run).node(dispatch.step)
    queue = asked_for(run, dispatch).get("queue") or node.queue_of(dispatch.phase)
    return node.task_of(dispatch.phase), queue


def _is_late(run: Run, now: int) -> bool:
    """True if the deadline seems to have passed: it is judged before anything is tried again.

    That takes what the workers say of outages, so the attempt is left to its lease, which does too.
    """
    running = run.status is RunStatus.RUNNING
    return running and run.deadline is not None and not run.overdue and run.deadline <= now


def _trusted(batch: DueBatch, lease_ms: int) -> bool:
    """True if workers had every chance to renew: only then does an old lease mean a dead worker."""
    chance = lease_ms * 2 // 3
    return batch.now - batch.pulse.last <= chance and batch.now - batch.pulse.since >= chance


def _credit(batch: DueBatch, started_at: int, lease_ms: int) -> int | None:
    """Milliseconds since *started_at* in which workers could not reach the store.

    None while that is not known: the store is back, but not all of them have said how long they
    had been cut off (L5).
    """
    if not _trusted(batch, lease_ms):
        return None
    total, end = 0, started_at
    for begin, over in sorted(batch.pulse.outages):
        total += max(0, over - max(begin, end))
        end = max(end, over)
    return total


def _next_look(run: Run, late: Sequence[Dispatch], now: int, *, away: bool) -> int:
    """When to look again at a run for which there was nothing to do."""
    times = dates(run)
    coming = [at for at in times if at > now]
    if late and away:
        coming.append(now + run.grace)  # the broker may be back then
    elif late:
        # It waits in a queue: look more and more rarely, but miss nothing else that has a date.
        oldest = min(d.at for d in late)
        coming.append(now + max(run.grace, min((now - oldest) // 2, 60_000)))
    passed = [at for at in times if at <= now]
    undecided = len(passed) > len(late)  # a deadline or a limit that cannot be judged yet
    if undecided:
        coming.append(now + run.grace)
    return min(coming, default=now + patrol(run))
