"""Where servers are, said without their passwords.

Owns: naming a server by its URL, and taking secrets out of any text.  Refuses to know: what is
asked of a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HIDDEN = "****"
_SECRETS = ("password", "ssl_password")  # what a URL's query may hold
_SHORTEST = 3  # a shorter password would blot out half of the text
_URLS = ("broker_url", "broker_read_url", "broker_write_url", "result_backend", "saga_redis_url")


def configured_urls(conf: Mapping[str, Any]) -> list[str]:
    """Every URL of a configuration; Celery takes several as a list, or with `;` between them."""
    found: list[str] = []
    for name in _URLS:
        given = conf.get(name) or ()
        given = [given] if isinstance(given, str) else given
        found += [url for each in given for url in str(each).split(";")]
    return found


def broker_url(conf: Mapping[str, Any]) -> str:
    """The first URL of the broker."""
    given = conf.get("broker_url") or ""
    return str(given if isinstance(given, str) else given[0]).partition(";")[0]


def place(url: str) -> str:
    """Name the server and database of *url*: `host:6379/0`, or the path of a socket."""
    parts = urlsplit(url.partition(";")[0])
    query = parse_qs(parts.query)
    db = (query.get("db") or query.get("virtual_host") or [""])[0]
    if "unix" in parts.scheme or "socket" in parts.scheme:
        return f"{parts.netloc.rpartition('@')[2]}{parts.path} db {db or 0}"
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname or 'localhost'}{port}/{parts.path.strip('/') or db or 0}"


def secrets_of(found_in: Iterable[str]) -> set[str]:
    """The passwords that URLs hold, as they are written there and as they are meant."""
    found: set[str] = set()
    for url in found_in:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        given = [parts.password or "", *(v for name in _SECRETS for v in query.get(name, ()))]
        for secret in given:
            found |= {secret, unquote(secret), quote(unquote(secret), safe="")}
    return {secret for secret in found if len(secret) >= _SHORTEST}


def masked(text: str, secrets: Iterable[str]) -> str:
    """*text* with every one of *secrets* hidden."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
