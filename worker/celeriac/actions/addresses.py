"""Whom actions may reach: hosts by a list, and the address that is really connected to.

Owns: the check of both, at the moment of connecting, so that no name can lead elsewhere a moment
later.  Refuses to know: what is asked.

An entry of `saga_http_allow` is a host (`api.example.com`, `*.example.com`) or a network of
addresses (`10.1.0.0/16`, `127.0.0.1`).  Addresses that are not public need such a network.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from celeriac.errors import Abort

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_GIVEN_OUT = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def check_host(host: str, allowed: Sequence[str]) -> None:
    """Raise Abort, without effect, unless a host may be asked."""
    name = host.rstrip(".").lower()
    address = _address(name)
    if address is not None:
        if not any(address in network for network in _networks(allowed)):
            _refuse(f"the address {name} is in no network of saga_http_allow")
        return
    for entry in allowed:
        pattern = entry.lower()
        if name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:])):
            return
    _refuse(f"{name!r} is no host of saga_http_allow ({', '.join(allowed) or 'which is empty'})")


def allowed_addresses(host: str, port: int, allowed: Sequence[str]) -> list[str]:
    """The addresses of a host, all of which may be connected to.

    Raises Abort, without effect, if one may not, and OSError if the host has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    texts = list(dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found))
    networks = list(_networks(allowed))
    for text in texts:
        address = _address(text)
        if address is None or not _may_connect(address, networks):
            _refuse(
                f"{host} is at {text}, which is no public address: name its network in "
                "saga_http_allow if that is meant"
            )
    return texts


def _may_connect(address: Address, networks: Iterable[Network]) -> bool:
    address = _behind(address)
    if any(address in network for network in networks):
        return True
    # Of IPv6, only what is given out: among the rest are forms in which an IPv4 address hides.
    public = address.version == 4 or address in _GIVEN_OUT  # noqa: PLR2004 -- of the protocol
    return public and address.is_global and not address.is_multicast


def _behind(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return (
        address.ipv4_mapped
        or address.sixtofour
        or (address.teredo[1] if address.teredo else None)
        or address
    )


def _networks(allowed: Iterable[str]) -> Iterable[Network]:
    for entry in allowed:
        try:
            yield ipaddress.ip_network(entry, strict=False)
        except ValueError:
            continue


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _refuse(problem: str) -> None:
    raise Abort(problem, code="host_refused", effect=False)
