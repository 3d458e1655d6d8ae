"""The HTTP API in this process, over an empty shop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from starlette.testclient import TestClient

from celeriac.web import Caller, Role, create_app
from tests.in_memory import keep_in_memory
from tests.web import shop

if TYPE_CHECKING:
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
