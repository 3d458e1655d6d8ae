"""All that the doctor looks at, gathered once: the only part of it that asks anybody.

Owns: asking the state Redis, the broker and the workers, at the same time, each within a time
limit.  Refuses to know: what is good.  What cannot be seen is kept as `Unseen`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from celeriac.doctor.findings import Unseen
from celeriac.doctor.server import Server, read_server
from celeriac.doctor.store_contents import StoreContents, read_contents
from celeriac.errors import SagaError, StoreError, StoreUnavailable
from celeriac.store import Keys
from celeriac.store.addresses import SCHEMES, scheme_of
from celeriac.store.connecting import connection_to
from celeriac.workers import (
    CALL_SECONDS,
    WorkerReports,
    all_broker_urls,
    ask_workers,
    broker_url,
    completed,
    redis_url,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery

    from celeriac.doctor.findings import Area
    from celeriac.machine import Plan
    from celeriac.settings import Settings
    from celeriac.store import SweepMark
    from celeriac.store.connection import Connection
    from celeriac.workers import Runtime

T = TypeVar("T")

BROKER_SECONDS = 3.0
#: Tells of nothing: stands for what nobody was asked, because nobody wants to know.
NOBODY = "-"
STORE_SECONDS = 7.0  # its client's own time-outs are shorter, but there are several round trips


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker, as far as it matters."""

    transport: str
    server: Server | Unseen = field(default_factory=lambda: Unseen("the broker is not Redis"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen of one application and its servers."""

    app: Celery
    settings: Settings
    defined: Mapping[str, Plan]  # the plans of this app's sagas, by saga
    server: Server | Unseen
    contents: StoreContents | Unseen
    sweep: SweepMark | Unseen | None
    broker: Broker | Unseen
    roll: WorkerReports | Unseen
    nodes: Mapping[str, Server | Unseen] = field(default_factory=dict)  # of a cluster, by name
    held: Mapping[str, int] = field(default_factory=dict)  # how many shards each of them has

    @property
    def conf(self) -> Any:
        """The app's configuration."""
        return self.app.conf

    @property
    def plans(self) -> dict[str, Plan]:
        """The plans of live runs and of this app's sagas, as far as they could be seen."""
        live = {} if isinstance(self.contents, Unseen) else self.contents.plans
        return {**{plan.fingerprint: plan for plan in self.defined.values()}, **live}

    def is_live(self, plan: Plan) -> bool:
        """True if there are live runs that follow *plan*."""
        return not isinstance(self.contents, Unseen) and plan.fingerprint in self.contents.plans


def gather(runtime: Runtime, areas: frozenset[Area]) -> Facts:
    """See what can be seen of *areas*, in a few seconds whoever does not answer."""
    app, settings = runtime.app, runtime.settings
    url = redis_url(app, settings)
    # Started together, and only then waited for.
    state = _Asked(lambda: _ask_state(url, settings), STORE_SECONDS, "redis", "redis" in areas)
    mark = _Asked(lambda: _ask_mark(runtime), STORE_SECONDS, "redis", "redis" in areas)
    broker = _Asked(lambda: _ask_broker(app), BROKER_SECONDS, "broker", "broker" in areas)
    reached = broker.answer()
    # Without the broker no worker can be asked.
    asked = "workers" in areas and not (isinstance(reached, Unseen) and "broker" in areas)
    roll = _Asked(lambda: ask_workers(app), CALL_SECONDS + BROKER_SECONDS, "workers", asked)
    found = state.answer()
    seen = _State(found, found) if isinstance(found, Unseen) else found
    called = reached if "workers" in areas and not asked else roll.answer()
    said = (seen.server, seen.contents, mark.answer(), reached, called, seen.nodes, seen.held)
    return Facts(app, settings, _defined(app), *said)


def _defined(app: Celery) -> dict[str, Plan]:
    return {name: saga.planned.plan for name, saga in app.celeriac.defined.items()}


class _State(NamedTuple):
    """What the state Redis says, or each node of it."""

    server: Server | Unseen  # of a cluster, one of them
    contents: StoreContents | Unseen
    nodes: Mapping[str, Server | Unseen] = {}
    held: Mapping[str, int] = {}


def _ask_state(url: str, settings: Settings) -> _State:
    connection = connection_to(url)
    try:
        keys = Keys(settings.namespace, settings.shards)
        nodes, held = _ask_nodes(connection, keys) if connection.apart else ({}, {})
        well = [each for each in nodes.values() if isinstance(each, Server)]
        server = well[0] if well else read_server(connection, keys.shards[0].prefix)
        try:
            contents: StoreContents | Unseen = read_contents(connection, settings, server.now)
        except (StoreError, ValueError) as error:  # forbidden, in a cluster, or not ours
            contents = Unseen(str(error))
        return _State(server, contents, nodes, held)
    finally:
        connection.close()


def _ask_nodes(
    connection: Connection, keys: Keys
) -> tuple[dict[str, Server | Unseen], dict[str, int]]:
    """What each node of a cluster says of itself, and how many shards it has."""
    found: dict[str, Server | Unseen] = {}
    held: dict[str, int] = {}
    for name, node in connection.members().items():
        try:
            asked = node.try_all(("EXISTS", shard.wake) for shard in keys.shards)
            own = [
                shard.prefix
                for shard, answer in zip(keys.shards, asked, strict=True)
                if not isinstance(answer, Exception)
            ]
            held[name] = len(own)
            found[name] = read_server(node, own[0] if own else keys.shards[0].prefix)
        except StoreUnavailable as error:
            found[name] = Unseen(str(error), "redis")
    return found, held


def _ask_mark(runtime: Runtime) -> SweepMark | None:
    store = runtime.new_store()
    try:
        return store.last_sweep()
    finally:
        store.close()


def _ask_broker(app: Celery) -> Broker:
    with app.connection_for_write() as link:
        link.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        transport = str(link.transport.driver_type)
        scheme = scheme_of(str(link.as_uri()))
        prefix = str(link.transport_options.get("global_keyprefix") or "")
    if scheme not in SCHEMES:
        return Broker(transport)
    urls = all_broker_urls(app.conf) if scheme == "sentinel" else [broker_url(app.conf)]
    return Broker(transport, _broker_server(";".join(urls), app, f"{prefix}_kombu.celeriac:"))


def _broker_server(url: str, app: Celery, prefix: str) -> Server | Unseen:
    connection = None
    try:
        connection = connection_to(completed(url, app.conf))
        return read_server(connection, prefix)
    except SagaError as error:
        return Unseen(str(error))
    finally:
        if connection is not None:
            connection.close()


class _Asked:
    """A question in a thread of its own, whose answer is waited for only so long."""

    def __init__(self, ask: Callable[[], Any], seconds: float, who: str, wanted: bool) -> None:
        self._ask, self._seconds, self._who = ask, seconds, who
        self._answer: Any = Unseen(f"no answer within {seconds:g} s", who)
        # A daemon: whoever never answers must not keep the process from ending.
        self._thread = threading.Thread(
            target=self._run, name=f"celeriac-doctor-{who}", daemon=True
        )
        if wanted:
            self._thread.start()
        else:
            self._answer = Unseen("nobody was asked", NOBODY)

    def answer(self) -> Any:
        """What was answered, or why there is none."""
        if self._thread.ident is not None:
            self._thread.join(self._seconds)
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is told as a finding
            self._answer = _unseen(error, self._who)


def _unseen(error: Exception, who: str) -> Unseen:
    if not isinstance(error, SagaError):
        return Unseen(f"{type(error).__name__}: {error}", who)
    away = isinstance(error, StoreUnavailable)
    # What is only forbidden is told where it is missed.
    return Unseen(str(error), who if away else None)
