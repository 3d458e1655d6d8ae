"""Where state is kept, read from a URL: one server, one that sentinels name, or a cluster.

Owns: the spellings of such URLs, redis-py's and Celery's; what is refused, and naming a place
without its password.  Refuses to know: connections, and which setting a URL is from.

::

    redis://user:password@host:6379/0    rediss:// is TLS; valkey:// and valkeys:// are the same
    unix:///run/redis.sock?db=0          or redis+socket://, as kombu spells it
    sentinel://:password@a:26379;sentinel://b:26379/0?master_name=state
    redis+cluster://a:7000,b:7001        rediss+cluster:// is TLS

Nothing that is said here of a URL quotes it: a password with odd characters that was not
percent-encoded may be in any part of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from redis.connection import parse_url

from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT, SENTINEL_PORT = 6379, 26379
_LAST_PORT = 65_535
OF_SENTINELS = "sentinel_"  # begins the options that are meant for the sentinels themselves
MASTER = "master_name"

_SERVERS = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
    "redis+socket": "unix",
}
_CLUSTERS = {
    "redis+cluster": "redis",
    "rediss+cluster": "rediss",
    "valkey+cluster": "redis",
    "valkeys+cluster": "rediss",
}
_SENTINEL = "sentinel"
SCHEMES = (*_SERVERS, _SENTINEL, *_CLUSTERS)

_NODE = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]@\s]*)(?::(\d{1,5}))?")
_ENCODE = (
    "in a user name or a password, write %2F for /, %23 for #, %3F for ?, %40 for @, %5B for [ "
    "and %5D for ]"
)

_UNREADABLE = f"the address cannot be read; {_ENCODE}"


class Kind(StrEnum):
    """What answers at an address."""

    SERVER = "server"
    SENTINELS = "sentinels"
    CLUSTER = "cluster"


class Node(NamedTuple):
    """A server at the network."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where state is kept."""

    kind: Kind
    nodes: tuple[Node, ...]  # the server, the sentinels, or some nodes; none of a socket
    options: Mapping[str, Any] = field(repr=False)  # of connections, as redis-py takes them
    master: str = ""  # the name by which sentinels know the primary
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> str:
        """Name server and database, without its password: `host:6379/0`, or a socket's path."""
        db = self.options.get("db", 0)
        if self.kind is Kind.CLUSTER:
            return self.server
        return f"{self.server} db {db}" if "path" in self.options else f"{self.server}/{db}"

    @property
    def server(self) -> str:
        """The same without the database."""
        nodes = ",".join(map(str, self.nodes))
        if self.kind is Kind.SENTINELS:
            return f"{self.master} of the sentinels {nodes}"
        if self.kind is Kind.CLUSTER:
            return f"the cluster {nodes}"
        return str(self.options.get("path", nodes))


class _Part(NamedTuple):
    """A URL, or one of several with `;` between them, taken apart."""

    scheme: str
    login: str  # with its `@`, as it is written
    hosts: str
    path: str
    query: str


def scheme_of(url: str) -> str:
    """The scheme of a URL in small letters; '' if it has none."""
    found = re.match(r"([A-Za-z0-9+.-]+)://", url)
    return found[1].lower() if found else ""


def parse_address(url: str) -> Address:
    """Read where state is kept; raises ConfigurationError, which names saga_redis_url."""
    scheme = scheme_of(url)
    if scheme not in SCHEMES:
        raise _refused(f"it begins with {scheme or 'no scheme'}, which is not a Redis")
    parts = [_taken_apart(part, scheme) for part in url.split(";") if part.strip()]
    if scheme == _SENTINEL:
        return _sentinels(parts)
    if len(parts) > 1:
        raise _refused(
            "it names several servers with ';', and state is in one place; name one of them, a "
            "cluster (redis+cluster://a:7000,b:7001), or sentinels (sentinel://a:26379;…)"
        )
    return _cluster(parts[0]) if scheme in _CLUSTERS else _server(parts[0])


def nodes_of(url: str) -> frozenset[Node]:
    """The servers that a URL names; none if it cannot be read, or is no such URL."""
    scheme = scheme_of(url)
    port = SENTINEL_PORT if scheme == _SENTINEL else PORT
    if scheme not in SCHEMES or _SERVERS.get(scheme) == "unix":
        return frozenset()
    try:
        parts = [_taken_apart(part, scheme) for part in url.split(";") if part.strip()]
        return frozenset(node for part in parts for node in _nodes(part.hosts, port))
    except ConfigurationError:
        return frozenset()


def with_options(url: str, options: Mapping[str, Any]) -> str:
    """Return *url* with *options* in its query, as far as it does not say itself."""
    url = url.rstrip("; ")
    known = {name for part in url.split(";") for name, _ in parse_qsl(urlsplit(part).query)}
    missing = {name: value for name, value in options.items() if name not in known}
    last = url.rpartition(";")[2]
    joint = "&" if "?" in last else "?"
    return f"{url}{joint}{urlencode(missing)}" if missing else url


def _server(part: _Part) -> Address:
    if _SERVERS[part.scheme] == "unix":
        query = part.query.replace("virtual_host=", "db=")
        options = _options(f"unix://{part.login}{part.hosts}{part.path}?{query}")
        if "db" in options:
            options["db"] = _database(str(options["db"]))
        return Address(Kind.SERVER, (), options)
    nodes = _nodes(part.hosts, PORT)
    if len(nodes) != 1:
        raise _refused("it names several servers with ',': a cluster begins with redis+cluster://")
    return Address(Kind.SERVER, nodes, _network_options(part, _SERVERS[part.scheme]))


def _cluster(part: _Part) -> Address:
    options = _network_options(part, _CLUSTERS[part.scheme])
    if options.pop("db", 0):
        raise _refused("a cluster has no databases: leave out the number")
    return Address(Kind.CLUSTER, _nodes(part.hosts, PORT), options)


def _sentinels(parts: list[_Part]) -> Address:
    nodes = [node for part in parts for node in _nodes(part.hosts, SENTINEL_PORT)]
    query = {name: value for part in parts for name, value in parse_qsl(part.query)}
    master = query.pop(MASTER, "")
    if not master:
        raise _refused(
            f"sentinels know their primaries by name: set {MASTER} in broker_transport_options, or "
            f"add ?{MASTER}=NAME"
        )
    own = {name: query.pop(name) for name in list(query) if name.startswith(OF_SENTINELS)}
    whole = _Part(
        _SENTINEL,
        next((part.login for part in parts if part.login), ""),
        "",
        next((part.path for part in parts if part.path.strip("/")), ""),
        urlencode(query),
    )
    options = _network_options(whole, "rediss" if _wants_tls(query) else "redis")
    return Address(Kind.SENTINELS, tuple(nodes), options, master, _sentinel_options(own))


def _sentinel_options(given: Mapping[str, str]) -> dict[str, Any]:
    query = {name.removeprefix(OF_SENTINELS): value for name, value in given.items()}
    tls = query.pop("ssl", "").lower() in ("1", "true", "yes", "on") or _wants_tls(query)
    return _options(f"{'rediss' if tls else 'redis'}://?{urlencode(query)}")


def _wants_tls(query: Mapping[str, str]) -> bool:
    return any(name.startswith("ssl_") for name in query)


def _network_options(part: _Part, scheme: str) -> dict[str, Any]:
    """What redis-py is told of every connection, but for where it leads."""
    query = dict(parse_qsl(part.query, keep_blank_values=True))
    given = part.path.strip("/") or query.pop("virtual_host", "") or query.pop("db", "")
    query.pop("db", None)
    found = _options(f"{scheme}://{part.login}host?{urlencode(query)}")
    found.pop("host", None)
    return {**found, "db": _database(given)}


def _database(given: str) -> int:
    if given and not given.isdecimal():
        raise _refused("its database is not a number: write …/0")
    return int(given or 0)


def _options(url: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]  # of redis-py
    except ValueError as error:
        # Only of this one it is known that it quotes nothing.
        told = str(error) if str(error).startswith("Invalid value for") else _UNREADABLE
        raise _refused(told) from None
    return found


def _nodes(hosts: str, port: int) -> tuple[Node, ...]:
    found = []
    for each in hosts.split(","):
        match = _NODE.fullmatch(each.strip())
        if match is None or int(match[2] or 0) > _LAST_PORT:
            raise _refused(f"its host and port cannot be read: write host:{port}; {_ENCODE}")
        found.append(Node(match[1].strip("[]") or "localhost", int(match[2] or port)))
    return tuple(found)


def _taken_apart(url: str, scheme: str) -> _Part:
    own, cut, rest = url.strip().partition("://")
    if not cut:
        rest = own
    elif own.lower() != scheme:
        raise _refused("it names several places of different kinds; state is in one place")
    found = re.fullmatch(r"([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?", rest, re.DOTALL)
    assert found is not None
    network, path, query, rest = found[1], found[2], found[3] or "", found[4] or ""
    login, at, hosts = network.rpartition("@")
    socket = _SERVERS.get(scheme) == "unix"
    if rest or set(login) & set("[]") or (not at and not socket and "@" in path + query):
        raise _refused(_UNREADABLE)
    user, colon, password = login.partition(":")
    # Also what nobody meant to be encoded, as a `%` in a password, is read as it is written.
    login = f"{_encoded(user)}{colon}{_encoded(password)}{at}"
    return _Part(scheme, login, hosts, path, query)


def _encoded(text: str) -> str:
    """Encode what was left as it is, and nothing twice."""
    return re.sub(r"%(?![0-9A-Fa-f]{2})|[^%\w.~-]", lambda found: quote(found[0], safe=""), text)


def _refused(why: str) -> ConfigurationError:
    return ConfigurationError(f"saga_redis_url: {why}")
