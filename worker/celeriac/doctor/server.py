"""What a Redis says of itself, read in a few round trips.

Owns: INFO, the settings that matter, whether it would take our commands, its clock and how quickly
it answers.  Refuses to know: which of it is good.

A server may forbid any of this (an ACL, a managed Redis without CONFIG): what it does not say is
`Unseen`, and nothing fails.  Nothing is written: the commands that try whether writing is allowed
are forms that change no key.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from celeriac.doctor.findings import Unseen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.store.connection import Command, Connection

SETTINGS = (
    "appendonly",
    "appendfsync",
    "cluster-require-full-coverage",
    "no-appendfsync-on-rewrite",
    "maxmemory",
    "maxmemory-policy",
    "stop-writes-on-bgsave-error",
)
_ROUND_TRIPS = 7  # enough for a median
_NO_SCRIPT = "0" * 40


@dataclass(frozen=True, slots=True)
class Server:
    """A Redis, as it described itself."""

    info: Mapping[str, str] | Unseen
    settings: Mapping[str, str | Unseen] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)  # command: error and its text
    now: int = 0  # ms: its clock …
    ahead: int = 0  # ms: … and how far it is ahead of ours
    round_trip: float = 0.0  # ms

    def says(self, name: str) -> str:
        """What INFO says under *name*."""
        if isinstance(self.info, Unseen):
            raise self.info
        if name not in self.info:
            raise Unseen(f"this server's INFO does not say {name}")
        return self.info[name]

    def refuses(self, *signs: str) -> list[str]:
        """The commands it would not take, for a reason that shows one of *signs*."""
        return [name for name, why in self.refused.items() if any(sign in why for sign in signs)]

    def number(self, name: str) -> float:
        """The number that INFO says under *name*."""
        text = self.says(name)
        try:
            return float(text)
        except ValueError:
            raise Unseen(f"this server's INFO says {name}:{text}") from None

    def setting(self, name: str, in_info: str | None = None) -> str:
        """A setting, from INFO if it is there, else from CONFIG."""
        if in_info and not isinstance(self.info, Unseen) and in_info in self.info:
            return self.info[in_info]
        found = self.settings.get(name, Unseen(f"this server has no setting {name}"))
        if isinstance(found, Unseen):
            raise found
        return found


def read_server(connection: Connection, prefix: str) -> Server:
    """Ask a server about itself; *prefix* is how keys begin that we may write.

    Raises StoreUnavailable if it cannot be reached.
    """
    asked: list[Command] = [("INFO",), *(("CONFIG", "GET", name) for name in SETTINGS)]
    info, *settings = connection.try_all(asked)
    now, ahead, round_trip = _clock(connection)
    return Server(
        _info(info),
        {name: _setting(name, said) for name, said in zip(SETTINGS, settings, strict=True)},
        _refused(connection, prefix),
        now,
        ahead,
        round_trip,
    )


def _info(said: Any) -> dict[str, str] | Unseen:
    if isinstance(said, Exception):
        return Unseen(f"INFO was refused ({said})")
    lines = (line.partition(":") for line in str(said).splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in lines if colon}


def _setting(name: str, said: Any) -> str | Unseen:
    if isinstance(said, Exception):
        return Unseen(f"CONFIG GET was refused ({said})")
    return str(said[1]) if len(said) > 1 else Unseen(f"CONFIG GET does not show {name}")


def _clock(connection: Connection) -> tuple[int, int, float]:
    """Return its time, how far it is ahead of ours, and the round trip, all in ms."""
    trips: list[float] = []
    now = ahead = 0
    for _ in range(_ROUND_TRIPS):
        began, asked_at = time.perf_counter(), time.time()
        said = connection.try_all((("TIME",),))[0]
        trip = (time.perf_counter() - began) * 1000
        if isinstance(said, Exception):
            continue
        if not trips or trip < min(trips):  # the quickest answer tells the time best
            now = int(said[0]) * 1000 + int(said[1]) // 1000
            ahead = round(now - (asked_at * 1000 + trip / 2))
        trips.append(trip)
    return now, ahead, median(trips) if trips else 0.0


def _refused(connection: Connection, prefix: str) -> dict[str, str]:
    """Which of the commands that sagas need the server would not take now."""
    key = f"{prefix}doctor"
    harmless: tuple[Command, ...] = (
        ("SET", key, "1", "XX"),  # only if it exists, and it does not
        ("HGET", key, "h"),
        ("HDEL", key, "h"),
        ("LRANGE", key, 0, 0),
        ("RPUSHX", key, "1"),
        ("SMEMBERS", key),
        ("SREM", key, "1"),
        ("ZRANGE", key, 0, 0),
        ("ZADD", key, "XX", 1, "1"),
        ("ZREM", key, "1"),
        ("DEL", key),
        ("TIME",),
        ("PUBLISH", key, ""),
        ("EVALSHA", _NO_SCRIPT, 1, key),
        ("SCRIPT", "LOAD", "return 1"),
        ("CLIENT", "ID"),
        ("CLIENT", "LIST", "ID", 1),
    )
    answers = connection.try_all(harmless)
    return {
        (
            str(command[0]) if command[0] != "CLIENT" else f"CLIENT {command[1]}"
        ): f"{type(answer).__name__}: {answer}"
        for command, answer in zip(harmless, answers, strict=True)
        if isinstance(answer, Exception) and not _is_no_script(answer)
    }


def _is_no_script(answer: Exception) -> bool:
    return type(answer).__name__ == "NoScriptError" or "NOSCRIPT" in str(answer)
