"""A small HTTP server that does what its paths say, and notes what it was asked."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Asked(NamedTuple):
    """One request, as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class Server:
    """Answers what `on` says, and 200 with an empty object otherwise."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.on: dict[str, Callable[[Asked], Answer]] = {}
        self.released = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                asked = Asked(
                    self.command,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length).decode(),
                )
                owner.asked.append(asked)
                told = owner.on.get(self.path.partition("?")[0])
                status, body, *more = told(asked) if told else (200, {})
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                headers = {"Content-Type": "application/json", **(more[0] if more else {})}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                # Whoever was to take no more of it may be gone by now.
                with suppress(ConnectionError):
                    if self.command != "HEAD":
                        self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _handle  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def hang(self, _: Asked) -> Answer:
        """Answer only when the test is over."""
        self.released.wait(20)
        return 200, {}

    def drip(self, _: Asked) -> Answer:
        """Answer slowly; what it does is over before the bytes are."""
        time.sleep(0.01)
        return 200, b"x" * 1_000_000

    def close(self) -> None:
        """End it."""
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
