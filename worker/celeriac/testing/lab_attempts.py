"""The life of an attempt in the lab: from its message, to the end of what follows on that message.

Owns: what a worker does with a message, as the Celery edge does it.  Refuses to know: what goes
wrong meanwhile, and what happens next in the world (`simulation`).
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from celeriac.engine import AttemptFailure, Delivery, Output, Work, perform, report
from celeriac.errors import CommandRefused, RunNotFound, StoreError
from celeriac.machine import in_any_visit
from celeriac.observing import title
from celeriac.store import Lease
from celeriac.testing.broker import QUEUE
from celeriac.testing.fault_points import UNDO
from celeriac.testing.process import Process, leaves_lab
from celeriac.testing.virtual_tasks import late_request
from celeriac.workers import classify_celery_error

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from celeriac.engine import Attempt, Engine
    from celeriac.machine import Dispatch, Node, Phase, Run
    from celeriac.settings import Settings
    from celeriac.testing.broker import Broker
    from celeriac.testing.checked_store import CheckedStore
    from celeriac.testing.observations import Observations
    from celeriac.testing.process import Trouble
    from celeriac.testing.virtual_tasks import VirtualTasks


class Surroundings(Protocol):
    """The world that a worker is in; see `simulation`."""

    engine: Engine
    store: CheckedStore
    tasks: VirtualTasks
    trouble: Trouble
    observed: Observations
    broker: Broker
    settings: Settings
    hired: int  # holders of attempts so far

    def process(self, process: Process) -> AbstractContextManager[Process]:
        """Be at work as *process*; its death ends the `with`, and nothing else."""

    def tell(self, process: Process, what: str) -> None:
        """Tell of something that happens to a process."""


class RunsAhead:
    """What a worker of the lab takes up on one message: whatever the setting allows."""

    def __init__(self, world: Surroundings) -> None:
        self.left = world.settings.run_ahead
        self._world = world

    def suits(self, _node: Node, _phase: Phase) -> bool:
        """Whether it could run a step: in the lab, any."""
        return True

    def take(self, _run: Run, _node: Node, _dispatch: Dispatch) -> str:
        """Take up what is offered."""
        self.left -= 1
        return holder(self._world)


def holder(world: Surroundings) -> str:
    """Return a nonce for a claim."""
    world.hired += 1
    return f"worker-{world.hired}"


def work_on(world: Surroundings, delivery: Delivery) -> None:
    """Do what a worker does with a message, as the Celery edge does it."""
    with world.process(
        Process(_who(delivery), delivery.run_id, _title(delivery), "claim")
    ) as process:
        ahead = RunsAhead(world)
        attempt = _claim(world, process, delivery, ahead)
        while attempt is not None:
            d = attempt.delivery
            process.who, process.title, process.request = _who(d), _title(d), None
            process.lease = Lease(d.run_id, d.step, d.phase, d.attempt, d.epoch)
            process.limit = attempt.node.limit(d.phase)
            work, ended = _perform(world, process, attempt)
            process.stage = "report"
            attempt = _settle(world, process, work, ended, ahead)


def _who(d: Delivery) -> str:
    return f"{UNDO}{d.step}" if d.phase == "undo" else d.step


def _title(d: Delivery) -> str:
    return title("", d.step, d.phase, d.attempt).lstrip(" ·")


def _claim(
    world: Surroundings, process: Process, delivery: Delivery, ahead: RunsAhead
) -> Attempt | None:
    try:
        task = _task_of(world, delivery)
        return world.engine.claim(delivery, holder(world), QUEUE, task, ahead)
    except (CommandRefused, RunNotFound, StoreError) as error:
        reason = error.reason if isinstance(error, CommandRefused) else error.code
        world.observed.refused.append(reason)
        world.tell(process, f"not claimed: {reason}")
        return None


def _task_of(world: Surroundings, delivery: Delivery) -> str | None:
    node = world.store.plan(delivery.run_id, delivery.plan).find(in_any_visit(delivery.step))
    return None if node is None else node.task_of(delivery.phase)


def _perform(
    world: Surroundings, process: Process, attempt: Attempt
) -> tuple[Work, Output | AttemptFailure]:
    body = world.tasks.body(attempt.node.task_of(attempt.delivery.phase))
    runtime, plan = world.tasks.runtime, attempt.plan
    work = Work(
        attempt,
        world.engine,
        body.name,
        body.shape,
        body.adopted,
        run_result=partial(runtime.run_result, plan),
        answer=partial(runtime.answer, plan),
    )

    def call(*args: Any, **kwargs: Any) -> Any:
        process.stage = "heartbeat"
        run = partial(body.call, attempt, *args, **kwargs)
        # Should it arrive late, it still knows which attempt it is of.
        process.request = partial(copy_context().run, late_request, body, attempt, args, kwargs)
        world.observed.bodies.append(process.who)
        return world.trouble.body(process, run)

    return work, perform(work, call, classify_celery_error, leaves_lab)


def _settle(
    world: Surroundings,
    process: Process,
    work: Work,
    ended: Output | AttemptFailure,
    ahead: RunsAhead,
) -> Attempt | None:
    """Report; return what was taken up along with that."""
    attempt = work.attempt
    try:
        if isinstance(ended, AttemptFailure):
            over = world.engine.fail(attempt, *report(work, ended), ahead=ahead)
        else:
            over = world.engine.complete(attempt, ended, ahead)
    except (CommandRefused, RunNotFound, StoreError) as error:
        world.tell(process, f"its report was refused: {error.code}")
        return None
    done = over.done
    process.lease = None
    world.observed.reported.append(attempt.delivery)
    now = done.events[-1].at if done.events else attempt.now
    world.engine.send(world.broker, attempt.plan, done.run, done.dispatches, now)
    return over.following
