"""A connection for one request: to an address that was checked, and no longer than until a moment.

Owns: what httpx and httpcore are told of connections, and that they log nothing of our requests.
Refuses to know: requests and answers.
"""

from __future__ import annotations

import functools
import logging
import ssl
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from celeriac.actions.addresses import allowed_addresses
from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.actions.requests import Allowance


#: Where the library logs URLs (at INFO) and headers (at DEBUG).
_LOGGERS = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy")))
_ours: ContextVar[bool] = ContextVar("celeriac_http", default=False)


@contextmanager
def unlogged() -> Iterator[None]:
    """Let the library log nothing of a request of ours: a URL or a header may hold a secret."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_of_others)  # once: it knows its filters
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def _of_others(_: logging.LogRecord) -> bool:
    return not _ours.get()


def http_library() -> Any:
    """httpx; ConfigurationError where it is not installed."""
    try:
        import httpcore  # noqa: PLC0415 -- an extra, which may not be there
        import httpx  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "the actions http and poll need httpx: install celeriac[actions]"
        ) from None
    return httpx, httpcore


@functools.cache
def _trust() -> ssl.SSLContext:
    """Whom to trust; reading that takes a tenth of a second."""
    return ssl.create_default_context()


class Transport:
    """One connection, to an address that was checked, and no longer than until a moment."""

    def __init__(self, httpx: Any, httpcore: Any, allowed: Allowance) -> None:
        self._httpx, self._httpcore, self._allowed = httpx, httpcore, allowed
        self._until = 0.0
        self.sent = False  # whether anything of the request may have arrived

    def made(self, seconds: float) -> Any:
        """The transport for a client, for one request that takes no longer than this."""
        context = _trust()
        self._until = time.monotonic() + seconds
        httpx, httpcore = self._httpx, self._httpcore
        pool = httpcore.ConnectionPool(
            ssl_context=context,
            network_backend=_backend(httpcore, self),
            max_connections=1,
            retries=0,
        )

        class Stream(httpx.SyncByteStream):  # type: ignore[misc, name-defined]
            def __init__(self, inner: Any) -> None:
                self._inner = inner

            def __iter__(self) -> Iterator[bytes]:
                yield from self._inner

            def close(self) -> None:
                self._inner.close()

        class Checked(httpx.BaseTransport):  # type: ignore[misc, name-defined]
            def handle_request(self, request: Any) -> Any:
                url = httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                )
                answer = pool.handle_request(
                    httpcore.Request(
                        request.method,
                        url,
                        headers=request.headers.raw,
                        content=request.stream,
                        extensions=request.extensions,
                    )
                )
                return httpx.Response(
                    answer.status,
                    headers=answer.headers,
                    stream=Stream(answer.stream),
                    extensions=answer.extensions,
                )

            def close(self) -> None:
                pool.close()

        return Checked()

    def left(self, timeout: float | None) -> float:
        """How long an operation may take, in seconds; raises if there is no time left."""
        found = self._until - time.monotonic()
        if found <= 0:
            raise self._httpcore.ReadTimeout("the time is over")
        return found if timeout is None else min(found, timeout)

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses to connect to; raises Abort for one that may not be."""
        return allowed_addresses(host, port, self._allowed.hosts)


def _backend(  # noqa: C901 -- two classes of a library that may not be there
    httpcore: Any, transport: Transport
) -> Any:
    class Timed(httpcore.NetworkStream):  # type: ignore[misc]
        """A connection whose every operation ends when the time is over."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            found: bytes = self._inner.read(max_bytes, transport.left(timeout))
            return found

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            transport.sent = True
            self._inner.write(buffer, transport.left(timeout))

        def close(self) -> None:
            self._inner.close()

        def start_tls(
            self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
        ) -> Any:
            return Timed(
                self._inner.start_tls(ssl_context, server_hostname, transport.left(timeout))
            )

        def get_extra_info(self, info: str) -> Any:
            return self._inner.get_extra_info(info)

    class Checked(httpcore.NetworkBackend):  # type: ignore[misc]
        """Connects to addresses that were checked, and to nothing else."""

        def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Any = None,
        ) -> Any:
            plain = httpcore.SyncBackend()
            error: Exception | None = None
            for address in transport.addresses(host, port):
                try:
                    return Timed(
                        plain.connect_tcp(
                            address, port, transport.left(timeout), local_address, socket_options
                        )
                    )
                except (httpcore.NetworkError, httpcore.TimeoutException) as failed:
                    error = failed
            raise error or OSError(f"{host} has no address")

        def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> Any:
            raise OSError(f"no request goes to a socket ({path})")

    return Checked()
