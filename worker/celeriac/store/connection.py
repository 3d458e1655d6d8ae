"""The one way to speak to the state Redis: fails fast, never repeats, errors in our words.

Owns: the client and its time-outs, pipelines, and what each error of Redis means for us.
Refuses to know: what is asked.

The client never sends a command twice by itself: a repeat after a lost reply must be decided by
who knows that it is harmless (F6).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    TryAgainError,
)
from redis.retry import Retry

from celeriac.errors import ConfigurationError, StoreError, StoreFull, StoreUnavailable
from celeriac.points import reached
from celeriac.store.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from celeriac.store.addresses import Address

Command = tuple[str | int, ...]

CONNECTIONS = 10  # at most, as Celery's broker_pool_limit; threads beyond take turns
CONNECT_TIMEOUT = 2.0  # seconds
REPLY_TIMEOUT = 5.0  # seconds

_FOREIGN_BYTES = "surrogateescape"  # whatever is in an index, it must not break a sweep
OUT_OF_REACH = (redis.ConnectionError, redis.TimeoutError, OSError)
_RAISED = (*OUT_OF_REACH, redis.RedisError)
_MEANINGS: tuple[tuple[type[redis.RedisError] | str, type[StoreError], str], ...] = (
    # what Redis answers (redis-py cuts the first word off where it has a class for it)
    (redis.OutOfMemoryError, StoreFull, "is at maxmemory: give it more, or lower saga_retention"),
    ("OOM ", StoreFull, "is at maxmemory: give it more, or lower saga_retention"),
    (
        "No connection available",
        StoreUnavailable,
        "keeps all our connections busy: look at it, or add ?max_connections= to saga_redis_url",
    ),
    ("max number of clients", StoreUnavailable, "takes no more connections: see its maxclients"),
    (redis.BusyLoadingError, StoreUnavailable, "is loading its data: wait a moment"),
    (NoScriptError, StoreUnavailable, "forgets scripts at once: find out who flushes them"),
    (redis.ReadOnlyError, StoreUnavailable, "is a replica: name the primary in saga_redis_url"),
    ("READONLY", StoreUnavailable, "is a replica: name the primary in saga_redis_url"),
    (MasterDownError, StoreUnavailable, "has lost its primary: wait for the failover"),
    (ClusterDownError, StoreUnavailable, "is in a cluster that is down: look at its nodes"),
    (TryAgainError, StoreUnavailable, "is moving keys to another node: wait a moment"),
    ("NOREPLICAS", StoreUnavailable, "has too few replicas to accept writes: look at them"),
    ("MISCONF", StoreUnavailable, "cannot write to its disk: look at its log"),
    ("BUSY", StoreUnavailable, "is kept busy by a script: wait, or SCRIPT KILL"),
    (MovedError, StoreError, "is a node of a cluster: write redis+cluster:// in saga_redis_url"),
    (NoPermissionError, StoreError, "forbids it by its ACL: allow what sagas need"),
    ("NOPERM", StoreError, "forbids it by its ACL: allow what sagas need"),
    ("The user executing the script", StoreError, "forbids it by its ACL: allow what sagas need"),
    ("WRONGTYPE", StoreError, "holds something else under our keys: change saga_namespace"),
)


class Connection:
    """A server that holds state, or the one that sentinels name (`sentinel`)."""

    apart = False  # whether it leads to several servers, each with a part of all keys
    may_move = False  # whether a connection that is well may come to lead to the wrong server

    def __init__(self, address: Address) -> None:
        self.address = address
        # Any: redis-py leaves the types of what we call open.
        self._factory: Any = self._new_pool(address)  # of it we use what makes a connection
        self.pool = Pool(self._new, self._factory.max_connections, self._factory.timeout)

    def _new(self) -> Any:
        return self._factory.connection_class(**self._factory.connection_kwargs)

    def _new_pool(self, address: Address) -> Any:
        """Return the connections to a server."""
        [where] = address.nodes or [None]
        place = where._asdict() if where else {}
        return new_pool({**place, **address.options})

    def ask(self, *command: str | int) -> Any:
        """Send one command and return the answer."""
        return self.ask_all((command,))[0]

    def ask_all(self, commands: Iterable[Command]) -> list[Any]:
        """Send commands in one round trip and return their answers, or raise the first error."""
        return self.check(self.try_all(commands))

    def try_all(self, commands: Iterable[Command]) -> list[Any]:
        """Send commands in one round trip; errors of single commands are among the answers.

        Speaks through the client's connections but not its pipelines: those cost more than the
        round trip itself, and this is done three times a step.
        """
        asked = list(commands)
        text = packed(asked)
        try:
            link = self._link()
            broken = True  # also when a time limit strikes: nobody may get what we asked for
            try:
                answers = _exchanged(link, text, len(asked))
                if any(map(is_read_only, answers)):
                    # It was the primary once.  Whoever is now is found by connecting again.
                    link.disconnect()
                broken = False
            finally:
                self.pool.give_back(link, broken=broken)
        except _RAISED as error:
            raise self._meaning(error) from error
        return answers

    def check(self, answers: list[Any]) -> list[Any]:
        """Return *answers*, or raise the first error among them."""
        for answer in answers:
            if isinstance(answer, Exception):
                with self.errors():
                    raise answer
        return answers

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what Redis and its client raise into our errors, which never hold a password."""
        try:
            yield
        except _RAISED as error:
            raise self._meaning(error) from error

    def one_of_each(self, keys: Sequence[str]) -> list[int]:
        """Return which of *keys* are the first for their server."""
        return [0] if keys else []

    def members(self) -> dict[str, Connection]:
        """Return a connection to each server that holds a part, by its name; '' if it is one."""
        return {"": self}

    def new_link(self, key: str = "") -> Any:  # noqa: ARG002 -- all keys are at one place here
        """Return a connection that is the caller's alone, to listen on and to close.

        It leads to where *key* is, or else to any server.
        """
        with self.errors():
            link = self._new()
            link.connect()
        return link

    def _link(self) -> Any:
        """Take a connection, for a while."""
        return self.pool.take()

    def leads_on(self, link: Any, key: str = "") -> bool:  # noqa: ARG002 -- others know better
        """True while *link* leads to where one should listen, or to where *key* is."""
        return True

    def ask_over(self, link: Any, commands: Iterable[Command]) -> list[Any]:
        """Send commands over a connection of the caller's own, and return their answers."""
        asked = list(commands)
        with self.errors():
            answers = _exchanged(link, packed(asked), len(asked))
        return self.check(answers)

    def close(self) -> None:
        """Give back all connections."""
        self.pool.close()

    def _meaning(self, error: Exception) -> StoreError:
        if isinstance(error, redis.AuthenticationError):
            return StoreUnavailable(
                f"{self._where()} refused the login: check user and password in saga_redis_url"
            )
        text = str(error) or type(error).__name__
        for sign, kind, meaning in _MEANINGS:
            if sign in text if isinstance(sign, str) else isinstance(error, sign):
                return kind(f"{self._where()} {meaning} ({text})")
        if isinstance(error, OUT_OF_REACH):
            return StoreUnavailable(
                f"{self._where()} cannot be reached: see that it is up and that saga_redis_url "
                f"is right ({text})"
            )
        return StoreError(f"{self._where()} could not carry out a command: see its log ({text})")

    def _where(self) -> str:
        return f"the state Redis at {self.address.server}"


def new_pool(options: Mapping[str, Any], **more: Any) -> Any:
    """Return what makes connections under *options* of redis-py, which win over ours."""
    ours: dict[str, Any] = {
        "max_connections": CONNECTIONS,
        "timeout": CONNECT_TIMEOUT + REPLY_TIMEOUT,
        "decode_responses": True,
        "encoding_errors": _FOREIGN_BYTES,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": REPLY_TIMEOUT,
    }
    try:
        made: Any = redis.BlockingConnectionPool
        pool = made(**{**ours, **options, **more})
        # Made and thrown away: an option that cannot be is noticed now, not by the first run.
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError) as error:
        raise ConfigurationError(f"saga_redis_url: an option of it cannot be: {error}") from None
    return pool


def is_read_only(answer: object) -> bool:
    """True if a server answered that it is a replica."""
    return isinstance(answer, redis.ReadOnlyError) or (
        isinstance(answer, redis.ResponseError) and "READONLY" in str(answer)
    )


def packed(commands: Iterable[Command]) -> bytes:
    """Spell commands as Redis reads them."""
    texts = [[str(part) for part in command] for command in commands]
    packed = "".join(
        f"*{len(words)}\r\n" + "".join([f"${len(word)}\r\n{word}\r\n" for word in words])
        for words in texts
    )
    if packed.isascii():
        return packed.encode()
    # Lengths are of bytes: each word has to be encoded by itself.
    datas = [[word.encode("utf-8", _FOREIGN_BYTES) for word in words] for words in texts]
    return b"".join(
        b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
        for words in datas
    )


def _exchanged(link: Any, text: bytes, count: int) -> list[Any]:
    reached("store.asking", text)
    link.send_packed_command((text,))
    answers = [read_answer(link) for _ in range(count)]
    reached("store.answered", text)
    return answers


def read_answer(link: Any) -> Any:
    """Read one answer; an error that concerns only this command is an answer too."""
    try:
        return link.read_response()
    except redis.ResponseError as error:
        return error
