"""TLS for the Redis of run state, as the application has spelt it for Celery.

Owns: which of Celery's TLS settings apply to the state, and their spelling in a URL that redis-py
reads.  Refuses to know: connections.

Celery has three spellings: `broker_use_ssl`, `redis_backend_use_ssl` and options in the URL, where
`ssl_cert_reqs` is `CERT_NONE` or `none`.  The first two are said of a server: they hold for the
state as well where that is the same server, at the same port.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from celeriac.errors import ConfigurationError
from celeriac.store.addresses import nodes_of, scheme_of, with_options
from celeriac.workers.urls import all_broker_urls, setting

_NETWORK = ("redis", "rediss")
_SOCKETS = ("unix", "redis+socket")
_CERT_REQS = {
    **{name: name for name in ("none", "optional", "required")},
    "cert_none": "none",
    "cert_optional": "optional",
    "cert_required": "required",
}
# What redis-py reads from a URL as it is meant there.
_IN_A_URL = {
    "ssl_ca_certs",
    "ssl_ca_data",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_min_version",
    "ssl_password",
}


def with_tls(url: str, conf: Mapping[str, Any]) -> str:
    """Return the *url* of a Redis with the TLS options that *conf* has for its server.

    What the URL says itself wins.  Raises ConfigurationError for an option that cannot be used.
    """
    if scheme_of(url) not in _NETWORK:
        return url if scheme_of(url) in _SOCKETS else _with_tls_behind(url, conf)
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    options = _said_of_the_server(url, conf)
    # Any such option turns TLS on, whatever the scheme: so does kombu.
    if options is None and parts.scheme == "redis" and not any(map(_is_of_tls, query)):
        return url
    found = {**(options or {}), **query}
    for name in filter(_is_of_tls, list(found)):
        found[name] = _spelt(name, found[name])
    return urlunsplit(parts._replace(scheme="rediss", query=urlencode(found)))


def _is_of_tls(option: str) -> bool:
    return option.startswith("ssl_")


def _with_tls_behind(url: str, conf: Mapping[str, Any]) -> str:
    """The same for sentinels and clusters, where any option means that servers speak TLS."""
    options = _said_of_the_server(url, conf)
    if options is not None:
        # Without any that says so, redis-py's own: a certificate is required.
        spelt = {name: _spelt(name, value) for name, value in options.items()}
        url = with_options(url, spelt or {"ssl_cert_reqs": "required"})
    return re.sub(
        r"(?<=ssl_cert_reqs=)[^&;#]*", lambda f: _spelt("ssl_cert_reqs", unquote(f[0])), url
    )


def _said_of_the_server(url: str, conf: Mapping[str, Any]) -> dict[str, Any] | None:
    """The options that are set for the server of *url*, be it as broker or as result backend.

    None: it is not said of this server that it speaks TLS.
    """
    backend = setting(conf, "result_backend")
    for name, other in (
        ("broker_use_ssl", ";".join(all_broker_urls(conf))),
        ("redis_backend_use_ssl", backend if isinstance(backend, str) else ""),
    ):
        given = conf.get(name)
        # True turns TLS on for other brokers; kombu's Redis wants the options (`rediss://`).
        if not given or not isinstance(given, Mapping):
            continue
        if not nodes_of(other) & nodes_of(url):
            continue
        if unknown := sorted(set(given) - _IN_A_URL):
            raise ConfigurationError(
                f"{name}: run state is in the same Redis, and {unknown[0]} cannot be used for it; "
                "set app.conf.saga_redis_url = 'rediss://…?ssl_ca_certs=…' with what it needs"
            )
        # For all but this one None is "not set"; here it is CERT_NONE, to redis-py and to kombu.
        return {k: v for k, v in given.items() if v is not None or k == "ssl_cert_reqs"}
    return None


def _spelt(name: str, value: Any) -> str:
    """An option of Celery's as redis-py reads it from a URL."""
    if name == "ssl_cert_reqs":
        given = value.name if isinstance(value, ssl.VerifyMode) else str(value or "none")
        if given.lower() not in _CERT_REQS:
            raise ConfigurationError(
                f"ssl_cert_reqs must be CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE, not {given!r}"
            )
        return _CERT_REQS[given.lower()]
    if isinstance(value, ssl.TLSVersion):
        return str(int(value))
    return str(value)
