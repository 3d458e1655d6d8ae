"""The HTTP API in this process, over an empty shop."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Protocol

import pytest
import uvicorn
from starlette.testclient import TestClient

from celeriac.web import Caller, Role, create_app
from tests.in_memory import keep_in_memory
from tests.web import shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.store.memory import MemoryStore


class AsRole(Protocol):
    """Makes a client of somebody with a role."""

    def __call__(self, role: Role) -> TestClient:
        """Return the client."""


@pytest.fixture
def store() -> MemoryStore:
    """A shop without runs; its store."""
    return keep_in_memory(shop.sagas)


@pytest.fixture
def as_role(store: MemoryStore) -> AsRole:  # noqa: ARG001 -- it is the shop that is asked
    """Clients of people called like their role."""

    def client(role: Role) -> TestClient:
        app = create_app(shop.sagas, identify=lambda _: Caller(role.value, role))
        return TestClient(app, raise_server_exceptions=False, follow_redirects=False)

    return client


@pytest.fixture
def client(as_role: AsRole) -> TestClient:
    """An administrator's client."""
    return as_role(Role.ADMIN)


@pytest.fixture
def session() -> list[Caller]:
    """Who is logged in at `address`; nobody, once it is empty."""
    return [Caller("ada", Role.ADMIN)]


@pytest.fixture
def address(
    store: MemoryStore,  # noqa: ARG001 -- it is the shop that is asked
    session: list[Caller],
) -> Iterator[str]:
    """Where the shop is served."""
    app = create_app(shop.sagas, identify=lambda _: session[0] if session else None)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(60)
