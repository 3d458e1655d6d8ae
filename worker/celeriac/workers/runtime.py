"""What a process needs to work on runs: settings, store, engine, dispatcher; built when first used.

Owns: building them once per process, from the app's configuration.  Refuses to know: what they
are used for.  A pool child is a process of its own: it never shares a connection with its parent.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu.utils.json import JSONEncoder, object_hook

from celeriac.authoring import Shape, lend
from celeriac.engine import Archivist, Engine, as_answer, load_archive, steady
from celeriac.errors import ConfigurationError, DefinitionError
from celeriac.observing import Observers, log, log_context, logged, send_signals
from celeriac.observing.metrics.watched import watched
from celeriac.observing.traces import Tracing, wants
from celeriac.settings import Settings, Terms, read_settings
from celeriac.store import payloads
from celeriac.store.addresses import Kind, parse_address, with_options
from celeriac.store.connection import REPLY_TIMEOUT
from celeriac.store.redis import RedisStore
from celeriac.workers.canvas import CeleryDispatcher
from celeriac.workers.preflight import check_messages, check_tasks
from celeriac.workers.quorum import longest_eta
from celeriac.workers.state_url import key_prefix, redis_url, state_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.engine import Archive
    from celeriac.machine import Plan, Rule
    from celeriac.observing import Observer
    from celeriac.store import Lease, Store
    from celeriac.workers.progress import Progress

# Adopted tasks get and return what Celery's own serializer would carry.
lend(JSONEncoder().default, object_hook)


class Runtime:
    """The engine of this process, for one Celery app."""

    def __init__(self, app: Celery) -> None:
        if not isinstance(app, Celery):
            raise ConfigurationError(
                f"Sagas takes a Celery app, not {type(app).__name__}: write "
                "Sagas(Celery('shop', broker='redis://localhost:6379/0'))"
            )
        self.app = app
        self.began = steady()  # seconds; pool children know when their code was imported
        self.dispatcher = CeleryDispatcher(app, lambda: self.engine.terms.run_ahead)
        self.deaths: deque[Lease] = deque()  # attempts whose pool child is gone; the keeper reads
        self.progress: Progress | None = None  # of a worker whose children run ahead
        self.places: dict[str, Any] = {}  # by task, in this process; see `ahead`
        self.paces: dict[str, float] = {}  # by task, in this process; see `pace`
        self.rules: dict[str, Rule] = {}  # of the gates that this app defines, by name
        self.unfit: dict[str, str] = {}  # tasks that could not be made steps, and why
        self.worker_id = ""  # in a worker; its pool children inherit it
        self.at_start: list[Callable[[], None]] = []  # what a worker does before it makes its pool
        self.observers = Observers(logged, log_context, send_signals)
        self._counts = self._traces = False
        self._settings: Settings | None = None  # those the engine was built with
        self._state_settings: dict[str, Any] = {}
        self._engines: dict[int, Engine] = {}  # by process: that of a parent is of no use
        self._archive: Archive | None = None

    @property
    def settings(self) -> Settings:
        """The settings, read anew until this process has an engine: they may come after the sagas.

        Raises ConfigurationError if what they say is nonsense, or another Redis than the one this
        process is at work on.
        """
        if self._settings is None or os.getpid() not in self._engines:
            found = read_settings(self.app.conf)
            prefix = key_prefix(self.app.conf, found)
            return found.model_copy(update={"namespace": f"{prefix}{found.namespace}"})
        if state_settings(self.app) != self._state_settings:
            raise ConfigurationError(
                f"one of {', '.join(self._state_settings)} was changed after this process had "
                "begun to work on runs: half of them would be kept elsewhere; set it before the "
                "first run is started or looked for"
            )
        return self._settings

    def check(self) -> None:
        """Raise ConfigurationError if this process could do nothing for any run."""
        redis_url(self.app, self.settings)
        check_messages(self.app)

    @property
    def engine(self) -> Engine:
        """The engine of this process."""
        pid = os.getpid()
        found = self._engines.get(pid)
        if found is None:
            self.check()
            self._trace()
            self._settings, self._state_settings = self.settings, state_settings(self.app)
            terms = Terms.of(self._settings)
            made = Engine(
                self.new_store(),
                terms,
                observers=self.observers,
                longest_eta=longest_eta(self.app),
            )
            made.gates.know(self.rules)
            made.gates.send = partial(made.send, self.dispatcher)
            found = self._engines.setdefault(pid, made)  # threads that come together share one
            for other in set(self._engines) - {pid}:
                self._engines.pop(other, None)
        return found

    def new_store(self, patience: float | None = None) -> Store:
        """A store with connections of its own.

        *patience* is for how many seconds one node of a cluster may keep it from the others.
        """
        settings = self.settings
        url = redis_url(self.app, settings)
        apart = parse_address(url).kind is Kind.CLUSTER
        if apart and patience is not None and patience < REPLY_TIMEOUT:
            shorter = {"socket_timeout": patience, "socket_connect_timeout": patience}
            url = with_options(url, shorter)
        store = RedisStore(url, namespace=settings.namespace, shards=settings.shards)
        return watched(store, self.observers) if self._counts else store

    def become_worker(self) -> None:
        """Take an id for this worker, before its pool is made.

        Raises ConfigurationError if it could not take our messages, or not run one of our tasks.
        """
        check_messages(self.app)
        check_tasks(self.app, self.unfit)
        for prepare in self.at_start:
            prepare()
        self.worker_id = secrets.token_urlsafe(4)

    def new_holder(self) -> str:
        """The nonce of a claim; it begins with the id of the worker, if there is one.

        It is kept with each claim, so it is short: one worker is granted one attempt a few times.
        """
        return self.worker_id + secrets.token_urlsafe(3 if self.worker_id else 4)

    def count(self, observer: Observer) -> None:
        """Let *observer* hear everything from now on, and also how long the store takes."""
        self.observers.add(observer)
        self._counts = True
        self.close()  # the engine there is has a store that nobody watches

    def _trace(self) -> None:
        """Make spans, if that is wanted and can be."""
        if self.settings.traces and not self._traces:
            self._traces = True
            try:
                self.observers.add(Tracing(), wants)
            except ConfigurationError as error:
                log.error("no spans are made: %s", error)

    def typed(self, plan: Plan, field: str, text: str) -> str:
        """Return the JSON of a payload as an adopted task is to be given it.

        What was written by an annotation is read by it again, as far as it is known here.
        """
        where, _, name = field.partition(":")
        try:
            if where == "in":
                sagas = getattr(self.app, "celeriac", None)
                found = sagas.defined.get(plan.saga) if sagas else None
                return found.planned.shape.marked(name, text) if found else text
            step = payloads.step_of_output(field)
            if step:
                node = plan.find(step)
                task: Any = self.app.tasks.get(node.task) if node and not node.reads_first else None
                known = task is not None and getattr(task, "saga_adopted", True) is False
                return task.saga_shape.marked("return", text) if known else text
        except DefinitionError:  # no adapter of that type
            pass
        return text

    def run_result(self, plan: Plan, result: Any) -> str:
        """Return the result of a run, as its saga promises it, as JSON text; raise OutputInvalid.

        A saga that is not known here promises nothing.
        """
        sagas = getattr(self.app, "celeriac", None)
        found = sagas.defined.get(plan.saga) if sagas else None
        shape = found.planned.shape if found else Shape("the run", None, {}, Any, Any)
        return shape.dump(result)

    def answer(self, plan: Plan, answer: Any) -> str:
        """Return an answer to the caller, as its saga declares it, as JSON text; OutputInvalid."""
        sagas = getattr(self.app, "celeriac", None)
        found = sagas.defined.get(plan.saga) if sagas else None
        return found.planned.dump_answer(answer) if found else as_answer(answer)

    @property
    def archivist(self) -> Archivist | None:
        """Who gives runs to the archive; None if there is none.  Raises ConfigurationError."""
        named = self.settings.archive
        if named is None:
            return None
        if self._archive is None:
            self._archive = load_archive(named)
        return Archivist(self.engine.store, self._archive, self.settings.archive_payloads)

    def close(self) -> None:
        """Give back this process's connections; the next use opens new ones."""
        engine = self._engines.pop(os.getpid(), None)
        if engine is not None:
            engine.store.close()
