"""The world of the lab: one thread, in which processes work, die, stop and go on, in virtual time.

Owns: who is at work, what happens next, and the passing of time; the life of a sweep and of a late
request.  Refuses to know: what goes wrong where: it asks its `Trouble` at every contact with the
world.

The engine, its sweep, the state machine and the bodies are the real ones.  A process that is
stopped is a call that has not returned yet: meanwhile, inside of it, all others go on.  So those
that stop later go on earlier, which is one of the orders in which it could happen.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from billiard.exceptions import SoftTimeLimitExceeded

from celeriac.engine import Delivery, Engine, Scheduled, Sweep, Ticks
from celeriac.errors import RunNotFound, StoreError, StoreUnavailable
from celeriac.machine import (
    AT_WORK,
    WAITS,
    Run,
    RunStatus,
    as_visited,
    awaited_children,
    id_of_child,
    wake_at,
)
from celeriac.observing import Observers
from celeriac.scheduling import Record, next_looks
from celeriac.settings import Settings, Terms
from celeriac.testing.broker import Broker
from celeriac.testing.checked_store import CheckedStore
from celeriac.testing.clock import Clock
from celeriac.testing.lab_attempts import work_on
from celeriac.testing.observations import Observations
from celeriac.testing.process import ASIDE, Killed, Process, Stuck, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from celeriac.machine import Event
    from celeriac.store import Due, DueBatch, Snapshot
    from celeriac.testing.virtual_tasks import VirtualTasks

FOR_EVER = 10**18
_LONG_BEFORE = 3_600_000  # ms that workers have been up when the lab opens
_MOST_ACTS = 2_000


class _Appointment(NamedTuple):
    """Something that will happen: at a time (ms), or when nothing else is left to do."""

    at: int
    act: Callable[[], None]


class World:
    """Everything there is: clock, store, broker, engine, and the processes."""

    def __init__(self, tasks: VirtualTasks, trouble: Trouble, settings: Settings) -> None:
        self.tasks, self.trouble, self.settings = tasks, trouble, settings
        self.clock = Clock()
        self.began = self.clock.now
        self.observed = Observations(self.began)
        self.store = CheckedStore(self.clock, self)
        self.broker = Broker(self.clock, self)
        # No observers: the lab's runs are none of the app's logs, metrics and signals.
        self.engine = Engine(
            self.store,
            Terms.of(settings),
            clock=self.clock.seconds,
            pause=self.sleep,
            observers=Observers(),
        )
        self.engine.progress_pace = 0.0  # no time passes within a body
        self.engine.gates.send = partial(self.engine.send, self.broker)
        self._scheduled: dict[str, Scheduled] = {}
        self._deployed = self.began
        self.at_work: list[Process] = []
        self.broken: BaseException | None = None  # a promise of the engine's, where nobody sees it
        self.appointments: list[_Appointment] = []
        self.in_the_end: list[Callable[[], None]] = []
        self._restless: dict[str, Run] = {}
        self.away_until = 0  # ms; nobody reaches the store before
        self._reached = self._swept = self.began
        self.hired = 0  # holders of attempts so far
        self._have_been_up()

    def _have_been_up(self) -> None:
        """Workers have shown signs of life for long."""
        self.clock.now = self.began - _LONG_BEFORE
        self.store.pulse(0)
        self.pass_to(self.began)

    # --- schedules -----------------------------------------------------------------------------

    def keep(self, name: str, scheduled: Scheduled) -> None:
        """See to a schedule from now on: every process has it in its code."""
        self._scheduled[name], self._deployed = scheduled, self.clock.now
        self.ticks().run()

    def ticks(self) -> Ticks:
        """What sees to the schedules."""
        age = (self.clock.now - self._deployed) / 1000
        return _OpenTicks(self, self._scheduled, age)

    def _tick_at(self) -> int | None:
        """When a schedule has something to do, as far as it is known before."""
        _, found = self.store.looked_at.read(tuple(self._scheduled))
        records = [each for each in found.values() if isinstance(each, Record)]
        times = [at for each in records for at in next_looks(each)]
        # A sweep comes every second: it sees when a run is at rest that another waits for.
        behind = [each for each in records if each.waiting]
        if any(not set(each.runs) & set(self._restless) for each in behind):
            times.append(self.clock.now)
        return min(times, default=None)

    # --- contacts ------------------------------------------------------------------------------

    def contact(self, contact: str, when: str) -> None:
        """A process is at a contact with the world; nobody's is nobody's business."""
        if not self.at_work:
            return
        process = self.at_work[-1]
        contact = {"commit": process.stage, "due": "read"}.get(contact, contact)
        if process.who == ASIDE:
            return
        self.trouble.at(process, self.observed.note(process.who, when, contact))
        if when == "after" and contact != "read":
            self.clock.now += 1  # nothing takes no time

    def fate(self, who: str, delivery: Delivery) -> Sequence[int]:
        """What becomes of a message."""
        self.observed.sent(who)
        return self.trouble.fate(who, delivery)

    def committed(self, run: Run, events: Sequence[Event]) -> None:
        """Tell what was recorded."""
        self._restless.pop(run.id, None)
        if wake_at(run) is not None:
            self._restless[run.id] = run
        who = self.at_work[-1].who if self.at_work else "?"
        place = who if who in ("client", "operator", "sweep") else "worker"
        for event in events:
            self.observed.events.append((run.id, event))
            self.observed.story.tell_event(place, run.id, event)

    def broke(self, error: BaseException) -> BaseException:
        """Note what must not have been, where a handler of the engine's or a step's might hide it.

        It is raised again as soon as nobody is at work inside.
        """
        self.broken = self.broken or error
        return error

    def tell(self, process: Process, what: str) -> None:
        """Tell of something that the lab did to a process."""
        place = process.who if not process.title else "worker"
        what = f"{process.title}: {what}" if process.title else what
        self.observed.story.tell(self.clock.now, place, what, run_id=process.run_id, trouble=True)

    @contextmanager
    def process(self, process: Process) -> Iterator[Process]:
        """Be at work as *process*; its death ends the `with`, and nothing else."""
        self.at_work.append(process)
        try:
            yield process
        except Killed:
            pass
        finally:
            self.at_work.remove(process)

    # --- what can happen to a process ----------------------------------------------------------

    def kill(self, process: Process, where: str) -> None:
        """End the process: a worker takes its leases along."""
        self.tell(process, f"dies {where}")
        raise Killed

    def stop(self, process: Process, ms: int | None, where: str) -> None:
        """Stop the process for so long, or until all runs are at rest; others go on meanwhile."""
        length = "until all is at rest" if ms is None else f"for {ms / 1000:g} s"
        self.tell(process, f"is stopped {length}, {where}")
        process.stopped = True
        try:
            if ms is None:
                self.live(FOR_EVER, self.quiet)
            else:
                self.live(self.clock.now + ms)
        finally:
            process.stopped = False
        self.tell(process, "goes on")

    def labour(self, process: Process, ms: int) -> None:
        """Let the body take so long: its worker shows life, until its time limit strikes."""
        allowed = ms if process.limit is None else min(ms, process.limit)
        self.tell(process, f"takes {allowed / 1000:g} s")
        self.live(self.clock.now + allowed)
        if allowed < ms:
            self.tell(process, "is over its time limit")
            raise SoftTimeLimitExceeded

    def cut(self, process: Process, where: str) -> None:
        """Let one call of the store fail; `after`: it was done, and its reply is lost."""
        self.tell(process, f"loses its connection to the store {where}")
        raise StoreUnavailable("the lab has cut the connection")

    def lose_the_store(self, ms: int) -> None:
        """Nobody reaches the store for so long."""
        self.observed.story.tell(
            self.clock.now, "store", f"is away for {ms / 1000:g} s", trouble=True
        )
        self.away_until = self.clock.now + ms

    def come_late(self, process: Process, ms: int | None) -> None:
        """Kill the worker, and let the request of its body arrive all the same, but later."""
        request, title = process.request, process.title
        length = "when all is at rest" if ms is None else f"in {ms / 1000:g} s"
        self.tell(process, f"dies; its request is on its way, and arrives {length}")
        assert request is not None

        def arrive() -> None:
            self.observed.story.tell(
                self.clock.now,
                "network",
                f"{title}: its request arrives late",
                run_id=process.run_id,
                trouble=True,
            )
            with self.process(Process("late", process.run_id, title)), suppress(Exception):
                request()  # nobody hears how it ended

        if ms is None:
            self.in_the_end.append(arrive)
        else:
            self.appointments.append(_Appointment(self.clock.now + ms, arrive))
        raise Killed

    def sleep(self, seconds: float) -> None:
        """The engine waits; all others go on."""
        self.live(self.clock.now + max(1, round(seconds * 1000)))

    # --- what happens next ---------------------------------------------------------------------

    def live(self, until: int, done: Callable[[], bool] | None = None) -> None:
        """Do what happens until a time (ms), or until *done*; raise Stuck if that never ends."""
        acts = 0
        self.broken = self.broken if self.at_work else None  # whoever called has been told
        while not (done and done()):
            if self.one_more() or self._end():
                acts += 1
                if acts > _MOST_ACTS:
                    raise self.broke(Stuck(self._why_stuck()))
                continue
            at = self._next_at()
            if at is None or at > until:
                break
            acts = acts if until == FOR_EVER else 0  # it ends all the same
            self.pass_to(at)
        if until < FOR_EVER and not (done and done()):
            self.pass_to(until)

    def one_more(self) -> bool:
        """Do one thing that can be done now; False if there is nothing."""
        now = self.clock.now
        due = [each for each in self.appointments if each.at <= now]
        ready = self.broker.ready()
        if due:
            self.appointments.remove(due[0])
            due[0].act()
        elif ready:
            work_on(self, self.broker.take(self.trouble.pick(ready)))
        elif (at := self._sweep_at()) is not None and at <= now:
            self._sweep()
        else:
            return False
        if self.broken is not None:
            raise self.broken
        return True

    def _end(self) -> bool:
        """Do what was put off until nothing else is left; False if there is nothing."""
        if not self.in_the_end or not self.quiet():
            return False
        self.in_the_end.pop(0)()
        return True

    def _next_at(self) -> int | None:
        times = [self.broker.next_at(), self._sweep_at()]
        times += [each.at for each in self.appointments]
        times += [self.away_until] if self.away_until else []
        return min((at for at in times if at is not None), default=None)

    def _sweep_at(self) -> int | None:
        """When a sweep finds something to do; those that find nothing are left out."""
        times = (self.store.earliest(), self._tick_at() if self._scheduled else None)
        due = min((at for at in times if at is not None), default=None)
        if due is None:
            return None
        interval = int(self.settings.sweep_interval * 1000)
        at = max(due, self._swept + 1)
        return at + (self.began - at) % interval

    def pass_to(self, at: int) -> None:
        """Let time pass; all who are not stopped show signs of life all the while."""
        self.clock.now = max(self.clock.now, at)
        if self.clock.now < self.away_until:
            return
        if self.away_until:
            # As the lease thread does: nobody was heard for so long, and it was nobody's fault.
            self.store.pulse(self.settings.lease_ms * 2 // 3, self.clock.now - self._reached)
            self.away_until = 0
        self._reached = self.clock.now
        alive = sorted(p.lease for p in self.at_work if p.lease is not None and not p.stopped)
        self.store.renew(alive, self.settings.lease_ms)
        self.store.pulse(FOR_EVER)

    def quiet(self) -> bool:
        """True when nothing goes on by itself any more, but for what has been put off.

        Runs are at rest, or wait for somebody or for a date; no message is on its way.
        """
        return not self.appointments and not self.broker.waiting and not self.restless()

    def restless(self) -> list[Run]:
        """The runs that will go on by themselves, be it that they only sleep."""
        return [run for run in self._restless.values() if not self._waits_for_somebody(run)]

    def waiting(self) -> list[Run]:
        """The runs that wait for a signal, a result from outside, or a time."""
        return [run for run in self._restless.values() if run.shown is RunStatus.WAITING]

    def _waits_for_somebody(self, run: Run) -> bool:
        """True if nothing happens to a run by itself, nor to the runs that are its steps."""
        if run.status is not RunStatus.RUNNING or run.paused:
            return run.shown is RunStatus.PAUSED
        plan, steps = as_visited(self.store.plan(run.id, run.plan), run), run.steps.open
        children = [id_of_child(run, name, do.child) for name, _, do in awaited_children(run)]
        if sum(step.do.state in AT_WORK for step in steps.values()) > len(children):
            return False
        waits = [plan.node(name).wait for name, step in steps.items() if step.do.state in WAITS]
        asked = any(wait is None or wait.signal for wait in waits)  # None: a result from outside
        held = [
            each in self._restless and self._waits_for_somebody(self._restless[each])
            for each in children
        ]
        return all(held) and (asked or bool(held))

    def _why_stuck(self) -> str:
        names = ", ".join(f"{run.id} ({run.status})" for run in self.restless())
        return (
            f"{_MOST_ACTS} things happened, and not all runs are at rest: {names}; does a step "
            "fail for ever?"
        )

    # --- the sweep -----------------------------------------------------------------------------

    def _sweep(self) -> None:
        self._swept = self.clock.now
        self.observed.double_sweeps += any(each.who == "sweep" for each in self.at_work)
        self.pass_to(self.clock.now)
        with self.process(Process("sweep")):
            try:
                _OpenSweep(self).run()
            except StoreUnavailable:
                return  # the next one goes on where it stopped


class _OpenSweep(Sweep):
    """The sweep; what it would only log and look at again later, the lab wants to know."""

    def __init__(self, world: World) -> None:
        super().__init__(world.engine, world.broker, ticks=world.ticks())
        self._world = world

    def _look(self, entry: Due, batch: DueBatch, found: Snapshot | None = None) -> None:
        try:
            super()._look(entry, batch, found)
        except (StoreError, RunNotFound):
            raise
        except Exception as error:
            self._world.broke(error)
            raise


class _OpenTicks(Ticks):
    """What sees to schedules; what it would only log, the lab wants to know."""

    def __init__(self, world: World, scheduled: Mapping[str, Scheduled], age: float) -> None:
        super().__init__(world.engine, world.broker, scheduled, lambda: age)
        self._world = world

    def _trouble(self, _name: str, error: Exception) -> None:
        raise self._world.broke(error)
