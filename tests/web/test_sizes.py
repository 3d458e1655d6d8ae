"""How many bytes a page of many runs is: by a real rendering, which no machine makes larger.

Owns: the bound.  Refuses to know: how long it takes (`bench/web.py`).
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from starlette.testclient import TestClient

from celeriac import Flow, Sagas
from celeriac.web import Caller, Role, create_app
from tests.in_memory import do, fail, keep_in_memory

sagas = Sagas(Celery("sizes", broker="memory://", set_as_current=False))
#: Bytes.  150 KB is the contract for what goes over the wire, where our own pages are compressed;
#: uncompressed it is what was measured, and a tenth more: so that what grows is seen.
WIRE, MOST_WIRE, MOST = 150_000, 20_000, 220_000


@sagas.step
def reserve() -> None:
    """The first of four."""


@sagas.step
def charge() -> None:
    """The second."""


@sagas.step
def ship() -> None:
    """The third."""


@sagas.step
def confirm() -> None:
    """The last."""


STEPS: Any = (reserve, charge, ship, confirm)


@sagas.saga(deadline="1h")
def place_order(flow: Flow) -> None:
    """Four steps, as most sagas have."""
    for step in STEPS:
        flow.step(step)


def test_a_page_of_200_runs_is_under_150_kb() -> None:
    """As browsers get it; what others get, uncompressed, has a bound of its own."""
    keep_in_memory(sagas)
    for n in range(200):
        tags = {"customer": f"{4711 + n}", "shop": "hamburg"}
        run_id = place_order.start(tags=tags).id  # a UUID, the longest id that is usual
        for step in ("reserve", "charge", "ship", "confirm")[: n % 5]:
            do(sagas, run_id, step)
        if n % 5 == 3:
            fail(sagas, run_id, "confirm")
    app = create_app(sagas, identify=lambda _: Caller("ada", Role.ADMIN))
    headers = {"Sec-Fetch-Site": "same-origin"}
    sizes = {}
    for coding in ("identity", "gzip"):
        with TestClient(app).stream(
            "GET", "/runs?limit=200", headers={**headers, "Accept-Encoding": coding}
        ) as found:
            sizes[coding] = sum(len(each) for each in found.iter_raw())
    assert sizes["gzip"] < MOST_WIRE < WIRE
    assert MOST_WIRE < sizes["identity"] < MOST
