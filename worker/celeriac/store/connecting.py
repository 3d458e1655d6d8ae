"""From a URL to whoever speaks to what is there.

Owns: which kind of address takes which kind of connection.  Refuses to know: all else.
"""

from __future__ import annotations

from celeriac.store.addresses import Kind, parse_address
from celeriac.store.cluster import ClusterConnection
from celeriac.store.connection import Connection
from celeriac.store.sentinel import SentinelConnection

_KINDS = {
    Kind.SERVER: Connection,
    Kind.SENTINELS: SentinelConnection,
    Kind.CLUSTER: ClusterConnection,
}


def connection_to(url: str) -> Connection:
    """Return a connection to the state at *url*, which connects when it is first used.

    Raises ConfigurationError if that is no URL of state.
    """
    address = parse_address(url)
    return _KINDS[address.kind](address)
