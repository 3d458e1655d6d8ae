"""What a Celery app gets from Celeriac: its own tasks, the beat entry, and what a worker starts.

Owns: `celeriac.sweep`, `celeriac.compensate`, and the Celery signals by which they come to life.
Refuses to know: sagas.  Nothing has to be changed in an app for it, and `celery worker` and
`celery beat` are started as always.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import Task, signals
from celery.app.routes import Router
from celery.bootsteps import RUN, Step
from celery.platforms import EX_FAILURE
from celery.utils.text import str_to_list
from kombu.exceptions import KombuError

from celeriac.app.instruments import Instruments
from celeriac.app.sweeping import sweep_task
from celeriac.app.tick_logs import SWEEP, OutageFilter, quieten
from celeriac.doctor import start_checkup
from celeriac.engine import find_archive
from celeriac.errors import (
    CommandRefused,
    ConfigurationError,
    SagaError,
    StoreError,
    StoreUnavailable,
)
from celeriac.machine import Block, as_visited, try_of
from celeriac.observing import clean, log
from celeriac.points import reached
from celeriac.store.addresses import scheme_of
from celeriac.workers import (
    ERRBACK,
    HEADER,
    OF_TESTS,
    OPTION,
    SIGNED,
    STRATEGY,
    HeartbeatFileStep,
    LeaseKeeper,
    NativeRenewal,
    SagaTask,
    SignOfLife,
    Supervision,
    SweepWatch,
    Tick,
    broker_url,
    check_messages,
    declared,
    delivery_of,
    dies_as_one,
    forks,
    native,
    own_queue,
    parse_header,
    redis_url,
    shared_progress,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from celeriac.engine import Delivery, Ticks
    from celeriac.machine import Run
    from celeriac.store import Store
    from celeriac.workers import Runtime

_STATE_SECONDS = 20.0  # that a worker waits for run state when it starts


class OwnTask(Task):  # type: ignore[misc]  # Celery has no types
    """A task of Celeriac's own: what an application says of tasks, it says of others.

    A rate limit for `*` would throttle the sweep, a time limit end it, a task class of the
    application's own do what it likes around it.
    """

    abstract = True
    Strategy = STRATEGY
    ignore_result = True
    # All that Celery would otherwise take from the configuration; 0 is no limit.
    rate_limit = 0
    soft_time_limit, time_limit = 300, 330  # seconds; a sweep ends long before by itself
    acks_late = reject_on_worker_lost = False
    acks_on_failure_or_timeout = True
    track_started = store_eager_result = store_errors_even_if_ignored = False

    @classmethod
    def annotate(cls) -> None:
        """Take nothing from task_annotations."""

    def apply_async(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Ask no router of the application: one that raises would keep the sweep from all runs."""
        app = self._get_app()
        options.setdefault("router", Router((), app.amqp.queues, app=app))
        return super().apply_async(args, kwargs, *rest, **options)


class Preflight(Step):  # type: ignore[misc]  # Celery has no types
    """The part of a worker that keeps it from starting where it could do nothing for runs.

    A receiver of a signal could not: Celery logs what it raises, and goes on.  With a broker that
    is made for tests it starts: an application's other tasks may be tested without a Redis.
    """

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        runtime = worker.app.celeriac.runtime
        runtime.become_worker()
        if runtime.settings.archive is not None:
            find_archive(runtime.settings.archive)  # not called: this process will be forked
        try:
            redis_url(worker.app, runtime.settings)
            runtime.progress = shared_progress(worker) if runtime.settings.run_ahead else None
        except ConfigurationError as error:
            if runtime.settings.redis_url or scheme_of(broker_url(worker.app.conf)) not in OF_TESTS:
                raise
            log.error("this worker can do nothing for runs: %s", error)


def wire(app: Celery, runtime: Runtime, ticks: Callable[[], Ticks | None]) -> tuple[object, ...]:
    """Give *app* Celeriac's tasks, and make its workers and beat do their part.

    *ticks* gives what sees to the app's schedules; None: it has none.

    Whoever calls keeps what is returned for as long as the app is there: Celery's signals do not,
    or no app would ever be freed.
    """
    wiring, instruments = _Wiring(app, runtime, ticks), Instruments(app, runtime)
    wiring.connect()
    instruments.connect()
    return wiring, instruments


class _Wiring:
    def __init__(self, app: Celery, runtime: Runtime, ticks: Callable[[], Ticks | None]) -> None:
        self.app, self.runtime = app, runtime
        self.keeper: LeaseKeeper | None = None
        self.renewal: NativeRenewal | None = None
        self._supervision: Supervision | None = None  # Celery's signals do not keep it
        self._refuses_queue = False
        # shared=False: another app in this process must not get tasks that work on our store.
        self.sweep = app.task(
            sweep_task(runtime, ticks),
            name=SWEEP,
            base=OwnTask,
            bind=True,
            shared=False,
            send_events=False,
            Request=Tick,
        )
        # bound and with no argument of Celery's: an errback of another form runs inline in the
        # worker that failed, past queue and retries (F11).
        self.compensate = app.task(
            _compensate(runtime), name=ERRBACK, base=OwnTask, bind=True, shared=False
        )

    def connect(self) -> None:
        self.app.steps["consumer"].add(HeartbeatFileStep)
        self.app.steps["worker"].add(Preflight)
        self.app.user_options["worker"].add(OPTION)
        if self.app.finalized:
            self._add_beat_entry(self.app)
        else:
            self.app.on_after_finalize.connect(self._add_beat_entry, weak=False)
        signals.celeryd_init.connect(self._note_refusal)
        signals.celeryd_after_setup.connect(self._consume_queue)
        signals.worker_before_create_process.connect(self._allot)
        signals.worker_process_init.connect(self._settle_in)
        signals.worker_ready.connect(self._start_keeper)
        signals.worker_shutdown.connect(self._stop_keeper)
        signals.task_unknown.connect(self._tell_unknown)
        signals.task_prerun.connect(self._tell_not_adopted)
        signals.beat_init.connect(self._ready_beat)

    # --- beat ----------------------------------------------------------------------------------

    def _add_beat_entry(self, sender: Any, **_: Any) -> None:
        entry = self._beat_entry()
        sender.add_periodic_task(
            entry["schedule"], self.sweep.signature(), name=SWEEP, **entry["options"]
        )

    def _beat_entry(self) -> dict[str, Any]:
        interval = self.runtime.settings.sweep_interval
        options = {
            # One that waited for the next is of no use, and two beats double each tick (F17).
            "expires": max(interval, 1.0),
            "queue": own_queue(self.app),
            **written(self.app),
        }
        return {"task": SWEEP, "schedule": interval, "options": options}

    def _ready_beat(self, sender: Any = None, **_: Any) -> None:
        """See that a beat sends ticks, whatever became of the schedule since it was made."""
        quieten()
        if not self._mine(getattr(sender, "app", None)):
            return
        outages = OutageFilter()
        logging.getLogger("celery.beat").addFilter(outages)
        signals.after_task_publish.connect(outages.sent, sender=SWEEP, weak=False)
        try:
            check_messages(self.app)
            entry = self._beat_entry()
        except ConfigurationError as error:
            # Celery would log an error, and send everything but the ticks.
            raise SystemExit(f"this beat cannot send the sweep: {error}") from None
        declared(self.app)
        # Since it was added, the application may have set its beat_schedule, or another interval.
        sender.scheduler.update_from_dict({SWEEP: entry})

    # --- a worker ------------------------------------------------------------------------------

    def _mine(self, app: Any) -> bool:
        return app is self.app

    def _note_refusal(
        self, instance: Any = None, options: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if self._mine(getattr(instance, "app", None)):
            # Asked of the options: once -Q and -X are applied, nobody can tell them apart.
            excluded = (options or {}).get("exclude_queues") or ()
            self._refuses_queue = own_queue(self.app) in str_to_list(excluded)
            self._accept_json()

    def _consume_queue(self, instance: Any = None, **_: Any) -> None:
        if self._mine(getattr(instance, "app", None)):
            queue = declared(self.app)
            # With -Q a worker takes only what is named; somebody has to sweep all the same.
            if not self._refuses_queue:
                self.app.amqp.queues.select_add(queue)
            quieten()

    def _accept_json(self) -> None:
        """Let a worker read our messages, should its application send in another form."""
        conf = self.app.conf
        accepted = set(conf.accept_content or ())
        if conf.task_serializer != SIGNED and not accepted & {"json", "application/json"}:
            conf.accept_content = [*accepted, "json"]

    def _allot(self, sender: Any = None, **_: Any) -> None:
        """A child is about to be forked: it gets a place to tell where it has got to."""
        if self.runtime.progress is not None:
            self.runtime.progress.allot({each.pid for each in getattr(sender, "_pool", ())})

    def _settle_in(self, **_: Any) -> None:
        """This is a child that has just been forked."""
        if self.runtime.progress is not None:
            self.runtime.progress.settle_in()

    def _start_keeper(self, sender: Any = None, **_: Any) -> None:
        worker = getattr(sender, "controller", None)
        if worker is None or not self._mine(worker.app):
            return
        settings = self.runtime.settings
        try:
            # A node that does not answer must not keep it from the others for as long as a lease.
            store = self.runtime.new_store(patience=settings.lease / 3)
        except ConfigurationError:
            return  # it was told: see Preflight
        _await_state(self.runtime, store)
        self.keeper = LeaseKeeper(
            store,
            settings.lease,
            self.runtime.deaths,
            lambda: _consumes(worker.consumer),
            lambda: forks(worker.pool),
            SweepWatch(store, settings.sweep_interval).look,
            self._supervise(worker),
            self._sign_of_life(store, forks(worker.pool)),
        )
        self.keeper.start()
        if (threads := native()) is not None:  # the keeper is a greenlet, which may be held up
            keeper, new_store = self.keeper, self.runtime.new_store
            self.renewal = NativeRenewal(new_store, settings.lease, keeper.held, keeper.ran_at)
            self.renewal.start(threads)
        log.info(
            "celeriac is ready: lease %g s, sweep every %g s, namespace %s",
            settings.lease,
            settings.sweep_interval,
            settings.namespace,
        )
        start_checkup(self.runtime)

    def _supervise(self, worker: Any) -> Supervision | None:
        """What looks after the messages whose children run ahead, if they may."""
        progress = self.runtime.progress
        self._supervision = None if progress is None else Supervision(worker, progress)
        return self._supervision

    def _sign_of_life(self, store: Store, forking: bool) -> SignOfLife | None:
        if not dies_as_one(forking):
            return None
        lease_ms = self.runtime.settings.lease_ms
        return SignOfLife(store.presences, self.runtime.worker_id, lease_ms, self._sweep_at_once)

    def _sweep_at_once(self) -> None:
        """Send a tick of our own: a worker has died, and the next of beat's may be a while."""
        try:
            self.sweep.apply_async(**self._beat_entry()["options"])
        except (KombuError, OSError) as error:
            log.debug("no tick was sent: %s", type(error).__name__)

    def _stop_keeper(self, **_: Any) -> None:
        for each in (self.renewal, self.keeper):
            if each is not None:
                each.stop()
        self.renewal = self.keeper = None

    def _tell_unknown(
        self, sender: Any = None, message: Any = None, name: str = "", **_: Any
    ) -> None:
        """Note in the run that this worker was asked for a task it does not know (I14)."""
        delivery = parse_header((message.headers or {}).get(HEADER)) if message else None
        if delivery is None or not self._mine(getattr(sender, "app", None)):
            return
        why = f"worker {sender.hostname} does not know the task {clean(name)}"
        self._note(delivery, name, why)

    def _tell_not_adopted(self, task: Any = None, **_: Any) -> None:
        """Note in the run that this worker has the task, and no saga that it is a step of."""
        if isinstance(task, SagaTask | OwnTask) or not self._mine(getattr(task, "app", None)):
            return
        if (delivery := delivery_of(task.request)) is not None:
            where, name = task.request.hostname, clean(task.name)
            why = f"worker {where} knows the task {name} and not its saga: import that there too"
            self._note(delivery, task.name, why)

    def _note(self, delivery: Delivery, task: str, why: str) -> None:
        try:
            engine = self.runtime.engine
            engine.command(delivery.run_id, lambda run: self._block(run, delivery, task, why))
        except SagaError as error:
            log.warning("%s: %s (%s)", delivery.run_id, why, error)

    def _block(self, run: Run, delivery: Delivery, task: str, why: str) -> Block:
        """What to note in a run; a message that was made up may name any task with any step."""
        plan = self.runtime.engine.store.plan(run.id, run.plan)
        node = as_visited(plan, try_of(run, delivery.step, delivery.epoch)).find(delivery.step)
        if run.plan != delivery.plan or node is None or node.task_of(delivery.phase) != task:
            raise CommandRefused("stale", f"that is not the task of {delivery.step!r}")
        return Block(delivery.step, why, delivery.epoch)


def _await_state(runtime: Runtime, store: Store) -> None:
    """Wait a while for the store, which may start at the same time; end the worker without it.

    It would take messages for which it can do nothing, and renew no lease.
    """
    try:
        store.last_sweep()
    except StoreUnavailable as error:
        log.warning("waiting for run state: %s", error)
    except StoreError:
        pass  # told below
    try:
        runtime.engine.retry_while_unavailable(store.last_sweep, _STATE_SECONDS)
    except StoreError as error:
        log.critical("this worker ends, since it can do nothing for runs: %s", error)
        # Celery logs other errors of a receiver, and goes on.
        raise SystemExit(EX_FAILURE) from error


def _consumes(consumer: Any) -> bool:
    """False while a worker's consumer tries to connect to the broker again."""
    return consumer.connection is not None or consumer.blueprint.state != RUN


def _compensate(runtime: Runtime) -> Any:
    def compensate(_task: Any, run_id: str) -> None:
        """Send what is due of a run: after a failure, its compensations."""
        if not isinstance(run_id, str) or not run_id.isprintable():
            log.warning("was asked to look at something that is not a run id")
            return
        reached("errback.called", run_id)
        try:
            runtime.engine.dispatch_due(run_id, runtime.dispatcher)
        except SagaError as error:
            log.warning("%s: could not be looked at (%s); the sweep will do it", run_id, error.code)

    return compensate
