"""The lab: a saga runs in milliseconds, time moves when told to, and whatever can go wrong does.

Owns: what a test says: start, fail, crash, lose, let time pass, and look.  Refuses to know: how
any of it is done.

The engine, the state machine and the bodies of the steps are the real ones, the user's functions
included.  Store, broker, clock and processes are the lab's: no Redis, no broker, no worker, and
nothing of the app itself is touched.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from celeriac.app import bring_failure, bring_result
from celeriac.errors import CommandRefused, InputInvalid, ScheduleNotFound
from celeriac.machine import Duration, EventKind, duration_ms
from celeriac.testing.fault_points import Fault, checked_point, checked_who
from celeriac.testing.lab_sagas import LabFamily, LabRun
from celeriac.testing.process import ASIDE, Process
from celeriac.testing.random_faults import Odds, Storm
from celeriac.testing.scripted_faults import Script, failing
from celeriac.testing.simulation import FOR_EVER, World
from celeriac.testing.virtual_tasks import VirtualTasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.app import IfExists, Schedule
    from celeriac.authoring import Answer, Signal
    from celeriac.machine import Phase
    from celeriac.sagas import Saga
    from celeriac.settings import Settings

R = TypeVar("R")
T = TypeVar("T")


# How often whoever sends a signal is asked, if nothing comes of it: he may have died on the way.
_PATIENCE = 3


class Lab:
    """A place to run sagas in, for one test.

    Steps are named as in `run.state()`; the compensation of `charge` is `"undo charge"`.  Points
    are named as `celeriac.testing.fault_points` says: `"charge before body"`.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """*settings* replace those of the app whose saga is started first."""
        self._settings = settings
        self._tasks = VirtualTasks()
        self._script = Script()
        self._opened: tuple[World, LabFamily] | None = None
        self._unchecked: list[Callable[[], object]] = []

    # --- running -------------------------------------------------------------------------------

    def start(
        self,
        saga: Saga[Any, R],
        *inputs: Any,
        id: str | None = None,  # noqa: A002 -- the word of the interface
        tags: Mapping[str, str] | None = None,
        if_exists: IfExists = "join",
        started_by: str = "",
        **named: Any,
    ) -> LabRun[R]:
        """Start a run, as `saga.start` does; nothing of it happens before `run` or `advance`.

        Without *id* it is called `run-1`, the next `run-2`.  Raises what `saga.start` raises, and
        ConfigurationError for a saga of another app than the first.
        """
        self._tasks.add_saga(saga)
        world, family = self._open()
        run_id = id if id is not None else f"run-{len(world.store.runs()) + 1}"
        options = {"tags": tags, "if_exists": if_exists, "started_by": started_by, **named}
        return family.start(saga, inputs, run_id, options)

    def schedule(self, schedule: Schedule) -> Schedule:
        """Let a schedule of the app tick in this lab from now on; return its handle here.

        Its runs are started as time passes, in `advance`; `run` does not wait for ticks, of which
        there is no end.  Others of the app do not tick.  Raises ScheduleNotFound if the code does
        not have it, and ConfigurationError for one of another app than the first.
        """
        scheduled = schedule.defined
        if scheduled is None:
            raise ScheduleNotFound(schedule.name)
        self._tasks.add_saga(schedule.app.celeriac.defined[scheduled.plan.saga])
        world, _ = self._open()
        world.keep(schedule.name, scheduled)
        return schedule.moved_to(world.ticks)

    def run(self, meanwhile: Callable[[], object] | None = None) -> Lab:
        """Let happen what happens by itself, retries and recovery included.

        Time moves on its own, also while runs sleep, until every run is at rest, or waits for
        somebody: for a signal, or an operator.  *meanwhile* is called then, and sends what is
        waited for; where that leads to nothing, time moves on until the wait is over.  Raises Stuck
        if none of it comes to an end.
        """
        world = self.world
        self._live()
        while meanwhile is not None and world.waiting():
            before = world.observed.events[-1:]
            for _ in range(_PATIENCE):
                with suppress(CommandRefused):
                    meanwhile()
                self._live()
                if world.observed.events[-1:] != before:
                    break
            else:
                world.live(FOR_EVER, lambda: not world.waiting())
                self._live()
        return self

    def _live(self) -> None:
        world = self.world
        world.live(FOR_EVER, lambda: world.quiet() and not world.in_the_end)

    def advance(self, duration: Duration) -> Lab:
        """Let so much time pass, and happen what happens meanwhile."""
        self.world.live(self.world.clock.now + duration_ms(duration))
        return self

    def signal(
        self,
        run: LabRun[Any] | str,
        signal: Signal[T] | str,
        payload: T,
        id: str | None = None,  # noqa: A002 -- the word of the interface
    ) -> Answer:
        """Send a signal to a run, as `run.signal` does; what follows happens with `run`."""
        return self.find(run if isinstance(run, str) else run.id).signal(signal, payload, id=id)

    def complete(self, token: str, result: Any = None, *, by: str = "") -> None:
        """Bring a result from outside, as `sagas.complete` does; what follows happens with `run`.

        *token* is what a step got as `ctx.token`.
        """
        world, stage = self._open()
        with world.process(Process("operator")):
            bring_result(world.engine, world.broker, stage.dump, token, result, by=by)

    # --- looking -------------------------------------------------------------------------------

    @property
    def world(self) -> World:
        """Everything there is in the lab.  Raises InputInvalid before a run was started."""
        if self._opened is None:
            raise InputInvalid("the lab is empty: start a run first, with lab.start(saga, …)")
        return self._opened[0]

    @property
    def now(self) -> datetime:
        """What time it is in the lab."""
        return datetime.fromtimestamp(self.world.clock.now / 1000, UTC)

    @property
    def done(self) -> list[str]:
        """The steps that completed, of all runs, in the order in which they did."""
        return self._completed("do")

    @property
    def undone(self) -> list[str]:
        """The steps that were undone, of all runs, in that order."""
        return self._completed("undo")

    @property
    def ran(self) -> list[str]:
        """The steps and compensations whose functions were called, with each attempt."""
        return list(self.world.observed.bodies) if self._opened else []

    def story(self) -> str:
        """Everything that happened, for people; `!` marks what the lab let go wrong."""
        return self._opened[0].observed.story.text() if self._opened else "nothing was started"

    def _completed(self, phase: Phase) -> list[str]:
        events = [event for _, event in self._opened[0].observed.events] if self._opened else []
        kind = EventKind.COMPLETED
        return [each.step for each in events if each.kind is kind and each.phase == phase]

    def find(self, run_id: str) -> LabRun[Any]:
        """Return the handle of a run by its id."""
        world, family = self._open()
        found = world.store.look(run_id).run
        saga = self._tasks.sagas and found and self._tasks.sagas.defined.get(found.saga)
        if not saga:
            return family.handle(run_id)
        return family.handle(run_id, saga.planned.result, saga.planned.answer)

    # --- what goes wrong: a step ---------------------------------------------------------------

    @overload
    def fail(
        self,
        step: str,
        error: BaseException | type[BaseException] | None = None,
        *,
        times: int | None = None,
        after: bool = False,
    ) -> Fault: ...

    @overload
    def fail(
        self,
        step: str,
        error: str,
        *,
        code: str | None = None,
        effect: bool | None = None,
        retry: bool = False,
    ) -> None: ...

    def fail(
        self,
        step: str,
        error: BaseException | type[BaseException] | str | None = None,
        *,
        times: int | None = None,
        after: bool = False,
        **said: Any,
    ) -> Fault | None:
        """Let a step fail with *error*; `after`: it did its work, and fails then.

        The first *times* attempts from now; left out, every one until `mend`.

        With a token and a message, such as `lab.fail(token, "declined", effect=False)`, it says
        from outside that the attempt of that token has failed, as `sagas.fail` does.
        """
        if isinstance(error, str):
            self._fail_outside(step, error, **said)
            return None
        self._check(partial(checked_who, step))
        name = f"{step} {'after' if after else 'before'}"
        return self._script.bodies.arm(name, Fault(failing(error), times=times))

    def _fail_outside(
        self,
        token: str,
        message: str,
        *,
        code: str | None = None,
        effect: bool | None = None,
        retry: bool = False,
        by: str = "",
    ) -> None:
        world, _ = self._open()
        options: Any = {"code": code, "effect": effect, "retry": retry, "by": by}
        with world.process(Process("operator")):
            bring_failure(world.engine, world.broker, token, message, **options)

    def mend(self, step: str) -> None:
        """Let a step fail no more."""
        self._check(partial(checked_who, step))
        for when in ("before", "after"):
            self._script.bodies.disarm(f"{step} {when}")

    def crash_before(self, step: str, *, times: int | None = 1) -> Fault:
        """Let the worker die when it has claimed a step, before it calls its function."""
        return self.crash(f"{step} before body", times=times)

    def crash_after(self, step: str, *, times: int | None = 1) -> Fault:
        """Let the worker die when a step has done its work, before that is recorded."""
        return self.crash(f"{step} after body", times=times)

    def slow(self, step: str, duration: Duration, *, times: int | None = 1) -> Fault:
        """Let a step take so long, with its worker alive; its time limit strikes if it has one."""
        ms = duration_ms(duration)
        return self._arm(f"{step} after body", lambda p, _: self.world.labour(p, ms), times=times)

    def late(self, step: str, duration: Duration | None = None, *, nth: int = 1) -> Fault:
        """Let the worker die, and what its step asks of others arrive later all the same.

        Left out, *duration* is until everything is at rest: after whatever undid the step.
        """
        ms = None if duration is None else duration_ms(duration)
        name = f"{step} before body"
        return self._arm(name, lambda p, _: self.world.come_late(p, ms), nth=nth, ends=True)

    # --- what goes wrong: anything -------------------------------------------------------------

    def crash(self, point: str, *, nth: int = 1, times: int | None = 1) -> Fault:
        """Let the process that gets to a point for the *nth* time from now die there."""

        def act(process: Process, where: str) -> None:
            self.world.kill(process, where)

        return self._arm(point, act, nth=nth, times=times, ends=True)

    def stop(self, point: str, duration: Duration | None = None, *, nth: int = 1) -> Fault:
        """Stop the process that gets to a point; it goes on later, as if nothing had been.

        Left out, *duration* is until everything else is at rest.  Longer than the lease, the
        worker's attempt is given up meanwhile: it is a zombie.
        """
        ms = None if duration is None else duration_ms(duration)
        return self._arm(point, lambda p, where: self.world.stop(p, ms, where), nth=nth)

    def cut(self, point: str, *, nth: int = 1, times: int | None = 1) -> Fault:
        """Let a call of the store fail: `before`, its request is lost; `after`, its reply."""

        def act(process: Process, where: str) -> None:
            self.world.cut(process, where)

        return self._arm(point, act, nth=nth, times=times, ends=True)

    def at(self, point: str, act: Callable[[], object], *, nth: int = 1) -> Fault:
        """Call *act* when a point is reached, in the middle of it: to cancel a run, for example."""

        def aside(_process: Process, _where: str) -> None:
            with self.world.process(Process(ASIDE)):
                try:
                    act()
                except Exception as error:
                    self.world.broke(error)  # in the middle of a step, this is none of its errors
                    raise

        return self._arm(point, aside, nth=nth)

    def lose(self, step: str, *, nth: int = 1, times: int | None = 1) -> Fault:
        """Lose the message of a step, the *nth* that is sent from now."""
        return self._fate(step, "is lost", (), nth, times)

    def double(self, step: str, *, nth: int = 1, later: Duration | None = None) -> Fault:
        """Deliver the message of a step twice, the second copy at once or *later*."""
        copy = 0 if later is None else duration_ms(later)
        return self._fate(step, "is doubled", (0, copy), nth, 1)

    def delay(self, step: str, duration: Duration, *, nth: int = 1) -> Fault:
        """Let the message of a step come later, when others were sent in its place."""
        return self._fate(step, "is delayed", (duration_ms(duration),), nth, 1)

    def storm(self, seed: int, *, lasts: Duration = "2m", odds: Odds | None = None) -> Storm:
        """Let anything go wrong anywhere for some time, as *seed* has it.

        The same seed is the same storm, to the millisecond.  To be called after the first start.
        """
        until = self.world.clock.now + duration_ms(lasts)
        storm = Storm(seed, self.world, self._script, until, odds or Odds())
        self.world.trouble = storm
        return storm

    # --- how -----------------------------------------------------------------------------------

    def _open(self) -> tuple[World, LabFamily]:
        if self._opened is None:
            world = World(self._tasks, self._script, self._settings or self._tasks.settings)
            self._script.world = world
            self._opened = (world, LabFamily(world))
        while self._unchecked:
            self._unchecked.pop(0)()
        return self._opened

    def _check(self, check: Callable[[set[str]], object]) -> None:
        """Check a name, now or as soon as the lab knows what steps there are."""
        if self._opened is None:
            self._unchecked.append(lambda: check(self._tasks.steps))
        else:
            check(self._tasks.steps)

    def _arm(
        self,
        point: str,
        act: Callable[[Process, str], object],
        *,
        nth: int = 1,
        times: int | None = 1,
        ends: bool = False,
    ) -> Fault:
        self._check(partial(checked_point, point))
        return self._script.points.arm(point, Fault(act, nth - 1, times, ends))

    def _fate(
        self, step: str, what: str, copies: Sequence[int], nth: int, times: int | None
    ) -> Fault:
        self._check(partial(checked_who, step))

        def act(delivery: Any) -> Sequence[int]:
            message = f"the message of {step} · #{delivery.attempt} {what}"
            self.world.observed.story.tell(
                self.world.clock.now, "network", message, run_id=delivery.run_id, trouble=True
            )
            return copies

        return self._script.fates.arm(step, Fault(act, skip=nth - 1, times=times))
