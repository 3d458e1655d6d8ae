"""Who a request comes from: a password, a proxy that has asked already, or the application.

Owns: the ways to log in, and slowing down whoever guesses.  Refuses to know: what a caller may do.

Without any of them only the machine itself is let in, as an administrator: the request comes from
a loopback address and names a loopback host, so that no page of another site reaches it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError
from celeriac.web.access import Caller, Role
from celeriac.web.guesses import Guesses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from starlette.requests import Request

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_GUESSES = 10  # wrong passwords of one address that are answered at once, in a minute


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with a password."""

    password: str = field(repr=False)
    role: Role


def read_accounts(lines: Iterable[str]) -> dict[str, Account]:
    """Return accounts by name, from lines `user:password:role`; raise ConfigurationError.

    Blank lines and lines that begin with `#` are left out.  A password may hold colons.
    """
    found: dict[str, Account] = {}
    for number, line in enumerate((each.strip() for each in lines), 1):
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        password, _, role = rest.rpartition(":")
        if not name or not password or role not in set(Role):
            raise ConfigurationError(
                f"basic auth, line {number}: write user:password:role, with one of "
                f"{', '.join(Role)} as the role"
            )
        if name in found:
            raise ConfigurationError(f"basic auth, line {number}: {name!r} is there twice")
        found[name] = Account(password, Role(role))
    if not found:
        raise ConfigurationError("basic auth: there is no line user:password:role")
    return found


@dataclass(frozen=True, slots=True)
class TrustedProxy:
    """A proxy that knows who somebody is, and says so in a header.

    Only requests from *peers* (addresses or networks, such as `10.0.0.5` or `10.0.0.0/24`) are
    believed.  Who comes without *role_header* has *role*.
    """

    peers: tuple[str, ...]
    user_header: str = "X-Forwarded-User"
    role_header: str | None = None
    role: Role = Role.VIEWER

    def __post_init__(self) -> None:
        try:
            networks = [ipaddress.ip_network(peer, strict=False) for peer in self.peers]
        except ValueError as error:
            raise ConfigurationError(f"proxy: {error}; give addresses or networks") from None
        if not networks:
            raise ConfigurationError("proxy: name the addresses that its header is believed from")

    def caller(self, request: Request) -> Caller | None:
        """Return who the proxy says that it is; None if it says nothing, or is another."""
        name = request.headers.get(self.user_header, "").strip()
        if not name or not name.isprintable() or not self._is_peer(request):
            return None
        role = request.headers.get(self.role_header, "") if self.role_header else self.role
        return Caller(name, Role(role)) if role in set(Role) else None

    def _is_peer(self, request: Request) -> bool:
        address = _address(request)
        return address is not None and any(
            address in ipaddress.ip_network(peer, strict=False) for peer in self.peers
        )


class Login:
    """Tells who a request comes from."""

    def __init__(
        self,
        accounts: Mapping[str, Account] | None = None,
        proxy: TrustedProxy | None = None,
        identify: Callable[[Request], Caller | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*identify* is the application's own way; it is asked first."""
        self._accounts, self._proxy, self._identify = dict(accounts or {}), proxy, identify
        self._guesses = Guesses("passwords", _GUESSES, clock)

    @property
    def asks(self) -> bool:
        """False if there is no login: then only this machine itself is let in."""
        return bool(self._accounts or self._proxy or self._identify)

    @property
    def takes_passwords(self) -> bool:
        """True if a browser should ask for a password."""
        return bool(self._accounts)

    def caller(self, request: Request) -> Caller | None:
        """Return who it is; None if nobody known.  Raises TooManyGuesses."""
        if not self.asks:
            return Caller("local", Role.ADMIN) if is_local(request) else None
        found = self._identify(request) if self._identify else None
        if found is None and self._proxy:
            found = self._proxy.caller(request)
        if found is None and self._accounts:
            found = self._by_password(request)
        return found

    def _by_password(self, request: Request) -> Caller | None:
        given = _credentials(request)
        if given is None:
            return None
        address = request.client.host if request.client else ""
        self._guesses.refuse(address)
        name, password = given
        account = self._accounts.get(name)
        # Unknown names take as long as wrong passwords.
        expected = account.password if account else "\0"
        if hmac.compare_digest(password.encode(), expected.encode()) and account:
            self._guesses.was_right(address)
            return Caller(name, account.role)
        self._guesses.was_wrong(address)
        return None


def is_local(request: Request) -> bool:
    """True if a request comes from this machine, and is meant for it under a loopback name."""
    address = _address(request)
    return address is not None and address.is_loopback and is_loopback_host(request.url.hostname)


def is_loopback_host(host: str | None) -> bool:
    """True for a name or address that only means this machine."""
    return (host or "").strip("[]").lower() in LOOPBACK_HOSTS


def _address(request: Request) -> Any:
    try:
        return ipaddress.ip_address(request.client.host) if request.client else None
    except ValueError:  # a socket file, or a test's own
        return None


def _credentials(request: Request) -> tuple[str, str] | None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None
