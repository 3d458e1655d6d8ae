"""Where servers are, said without their passwords.

Owns: naming a server by its URL, and taking a configuration's secrets out of any text.  Refuses to
know: what is asked of a server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from celeriac.errors import ConfigurationError
from celeriac.store.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HIDDEN = "****"
_SECRET = ("password", "passwd", "secret", "token")  # what the name of an option has in it
_SHORTEST = 3  # a shorter password would blot out half of the text
_URLS = ("broker_url", "broker_read_url", "broker_write_url", "result_backend", "saga_redis_url")
# Settings that are options themselves, by name, and what may be nested in them.
_OPTIONS = (
    "broker_use_ssl",
    "redis_backend_use_ssl",
    "broker_transport_options",
    "result_backend_transport_options",
)
_PASSWORDS = ("broker_password", "redis_password", "security_key_password")


def setting(conf: Mapping[str, Any], name: str) -> Any:
    """A setting as Celery takes it: some come from the environment, such as CELERY_BROKER_URL."""
    computed = isinstance(getattr(type(conf), name, None), property)
    return getattr(conf, name) if computed else conf.get(name)


def configured_urls(conf: Mapping[str, Any]) -> list[str]:
    """Every URL of a configuration; Celery takes several as a list, or with `;` between them."""
    found: list[str] = []
    for name in _URLS:
        given = setting(conf, name) or ()
        given = [given] if isinstance(given, str) else given
        found += [url for each in given for url in str(each).split(";")]
    return found


def all_broker_urls(conf: Mapping[str, Any]) -> list[str]:
    """The URLs of the broker, in the order in which Celery tries them."""
    given = setting(conf, "broker_url") or ""
    given = [given] if isinstance(given, str) else given
    return [url for each in given for url in str(each).split(";") if url.strip()]


def broker_url(conf: Mapping[str, Any]) -> str:
    """The first URL of the broker."""
    return next(iter(all_broker_urls(conf)), "")


def place(url: str) -> str:
    """Name the server and database of *url*: `host:6379/0`, or the path of a socket."""
    try:
        return parse_address(url).place
    except ConfigurationError:
        return "an address that cannot be read"


def secrets_of(conf: Mapping[str, Any]) -> set[str]:
    """The passwords in a configuration, as they are written there and as they are meant."""
    found: set[str] = set()
    for url in configured_urls(conf):
        for secret in _secrets_in_url(url):
            found |= {secret, unquote(secret), quote(unquote(secret), safe="")}
    found |= {_text(conf.get(name)) for name in _PASSWORDS}
    found.update(*(_secrets_in_options(conf.get(name)) for name in _OPTIONS))
    return {secret for secret in found if len(secret) >= _SHORTEST}


def _secrets_in_url(url: str) -> Iterator[str]:
    # A password with a bare `/`, `#` or `[` makes it no URL, and is one all the same.
    yield url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    yield parts.password or ""
    for name, value in parse_qsl(parts.query):
        if _is_secret(name):
            yield value


def _secrets_in_options(given: Any) -> Iterator[str]:
    """The secrets in options, however deep: those of Sentinel's servers are one level down."""
    for name, value in given.items() if isinstance(given, Mapping) else ():
        if _is_secret(str(name)):
            yield _text(value)
        yield from _secrets_in_options(value)


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET)


def _text(value: Any) -> str:
    """A secret as text; one that is made when it is asked for (a function) is not in here."""
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def masked(text: str, secrets: Iterable[str]) -> str:
    """*text* with every one of *secrets* hidden."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
