"""The least that the users of an installation must be allowed: lines for Redis's ACL.

Owns: which commands and keys those are, for run state and for Celery's messages.  Refuses to know:
who the people are, and their passwords: whoever takes the lines puts those in.

`docs/security.md` shows the lines of an application that has set nothing, and tests run all of
Celeriac under these.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from celeriac.errors import SagaError
from celeriac.observing import log
from celeriac.store.addresses import SCHEMES, Kind, parse_address, scheme_of
from celeriac.store.connecting import connection_to
from celeriac.workers import all_broker_urls, completed, own_queue, redis_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from celeriac.store.connection import Connection
    from celeriac.workers import Runtime

#: What sagas send to the state Redis, in the order of `docs/security.md`.
COMMANDS = (
    *("auth", "hello", "ping", "select", "client|setname", "time", "type", "get", "set", "del"),
    *("exists", "hget", "hmget", "hset", "hsetnx", "hgetall", "hdel", "lrange", "rpush", "rpushx"),
    *("llen", "ltrim", "lset", "lrem"),
    *("sadd", "srem", "smembers", "sismember", "zadd", "zrem", "zcard", "zscore", "zrange"),
    *("zrangebyscore", "zremrangebyrank", "zlexcount", "zcount", "script|load", "evalsha"),
    *("publish", "subscribe", "unsubscribe", "info", "client|id", "client|list", "config|get"),
)
#: What clients say of themselves where the server knows the command.
_SETINFO, _SETINFO_SINCE = "client|setinfo", (7, 2)
_OF_CLUSTERS = ("cluster|slots", "asking")
_OF_SENTINELS = ("auth", "hello", "ping", "client|setname", "sentinel|masters")
# kombu's Redis keeps one list for each priority: `celery`, `celery\x06\x163`.
_OF_PRIORITIES = "??[0-9]"
# What Celery keeps beside its queues: bindings, unacknowledged messages, remote control, results.
_BESIDE = (
    *("_kombu.*", "unacked*", "celeryev.*", "celery@*.pidbox*"),
    "[0-9a-f][0-9a-f][0-9a-f]*.reply.celery.pidbox*",
    "celery-task-meta-*",
)


class User(NamedTuple):
    """A user, and what it is for."""

    about: str
    line: str  # as in an ACL file; the password is a word to be replaced


def users(runtime: Runtime) -> Iterator[User]:
    """Yield the users that this application needs, each with the least it must be allowed.

    Asks the state Redis for its version.  Raises ConfigurationError where there is none.
    """
    app, settings = runtime.app, runtime.settings
    address = parse_address(redis_url(app, settings))
    words = [*COMMANDS, *_more(runtime, address.kind)]
    about = "run state: saga_redis_url"
    name = str(address.options.get("username") or "celeriac")
    keys = f"{_literal(settings.namespace)}:{{*}}:*"
    yield User(about, _line(name, "change-me", [f"~{keys}", f"&{keys}", "-@all"], words))
    if address.kind is Kind.SENTINELS:
        name = str(address.sentinel_options.get("username") or "sentinel")
        about = "the sentinels themselves: sentinel_username"
        yield User(about, _line(name, "change-me", ["-@all"], _OF_SENTINELS))
    brokers = all_broker_urls(app.conf)
    if brokers and scheme_of(brokers[0]) in SCHEMES:
        yield _of_broker(runtime, ";".join(brokers))


def _more(runtime: Runtime, kind: Kind) -> Iterator[str]:
    """What the server at hand needs beyond the rest."""
    connection: Connection | None = None
    try:
        connection = connection_to(redis_url(runtime.app, runtime.settings))
        one = next(iter(connection.members().values())) if connection.apart else connection
        told = re.search(r"redis_version:(\d+)\.(\d+)", str(one.ask("INFO", "server")))
        if told and (int(told[1]), int(told[2])) >= _SETINFO_SINCE:
            yield _SETINFO
    except SagaError as error:
        log.warning(
            "the state Redis did not say its version (%s): from 7.2 on, and for Valkey, add +%s",
            error,
            _SETINFO,
        )
    finally:
        if connection is not None:
            connection.close()
    if kind is Kind.CLUSTER:
        yield from _OF_CLUSTERS


def _of_broker(runtime: Runtime, url: str) -> User:
    app = runtime.app
    options = app.conf.broker_transport_options or {}
    prefix = _literal(str(options.get("global_keyprefix") or ""))
    keys = [
        *(
            f"{_literal(queue)}{more}"
            for queue in _queues(runtime)
            for more in ("", _OF_PRIORITIES)
        ),
        *_BESIDE,
    ]
    address = parse_address(completed(url, app.conf))
    name = str(address.options.get("username") or "broker")
    rules = [*(f"~{prefix}{key}" for key in keys), "&*", "-@all", "+@all", "-@dangerous", "-@admin"]
    about = "messages: broker_url; add a pattern for each further queue, or name of a worker"
    return User(about, _line(name, "change-me-too", rules, ["info"]))


def _queues(runtime: Runtime) -> list[str]:
    """The queues that sagas use: the default one first, ours last."""
    found = [str(runtime.app.conf.task_default_queue), *map(str, runtime.app.amqp.queues)]
    for saga in runtime.app.celeriac.defined.values():
        for task, queue in sorted(saga.planned.plan.addresses, key=str):
            try:
                found.append(str(runtime.dispatcher.queue_of(task, queue).name))
            except Exception as error:  # noqa: BLE001 -- it is not declared, or a router fails
                log.warning("the queue of %s is left out: %s", task, type(error).__name__)
    return list(dict.fromkeys([*found, own_queue(runtime.app)]))


def _line(name: str, password: str, rules: Iterable[str], words: Iterable[str]) -> str:
    allowed = " ".join([*rules, *(f"+{word}" for word in words)])
    return f"user {unquote(name)} on >{password} resetkeys resetchannels {allowed}"


def _literal(text: str) -> str:
    """*text* as a pattern that stands for nothing else."""
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", text) if re.search(r"[*?\[\]\\]", text) else text
