"""The Redis that holds the runs, as people are shown it: by what it says of itself.

Owns: which of its words are shown.  Refuses to know: how it is asked, and what of it is good: the
doctor says that.  What a server does not say is None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from celeriac.machine import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.store import Store


class ServerState(Frozen):
    """A server that holds runs, or a part of them."""

    name: str = Field(description="of a node of a cluster; empty: there is one server")
    version: str = Field(description="and what it is: `redis 7.4.1`; empty: it does not say")
    memory: int | None = Field(description="bytes in use")
    memory_limit: int | None = Field(description="bytes; null: none is set")
    clients: int | None = Field(description="connections to it")
    uptime: int | None = Field(description="seconds since it was started")
    appends: bool | None = Field(description="whether it writes an append-only file")


def servers_of(store: Store) -> tuple[ServerState, ...]:
    """Return what the servers say of themselves, by name; none for a store in memory."""
    return tuple(_state(name, said) for name, said in sorted(store.servers().items()))


def _state(name: str, said: Mapping[str, str]) -> ServerState:
    def number(word: str) -> int | None:
        text = said.get(word, "")
        return int(text) if text.isdecimal() else None

    kind = said.get("server_name", "redis")
    version = said.get("valkey_version") or said.get("redis_version", "")
    return ServerState(
        name=name,
        version=f"{kind} {version}" if version else "",
        memory=number("used_memory"),
        memory_limit=number("maxmemory") or None,
        clients=number("connected_clients"),
        uptime=number("uptime_in_seconds"),
        appends={"1": True, "0": False}.get(said.get("aof_enabled", "")),
    )
