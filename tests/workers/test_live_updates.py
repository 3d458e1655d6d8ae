"""What a browser hears of a run while what it hears it from is killed and started again.

Owns: Redis and the dashboard, as real processes.  Refuses to know: which events there are
(`tests/web/test_events`), and what a page does with them.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx2

from celeriac.testing.servers import free_port
from tests.web.streams import listening
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World


def serves(world: World, address: str) -> None:
    """Wait until somebody answers there: it says where before it does."""

    def is_ready() -> bool:
        with suppress(httpx2.TransportError):
            return httpx2.get(f"{address}/health/ready").status_code == HTTPStatus.OK
        return False

    world.until(is_ready, f"{address} answers")


def test_a_stream_outlives_redis_and_its_reader_the_dashboard(world: World) -> None:
    """Nothing that happened is missed, and nothing is heard twice."""
    port = free_port()
    words = ("saga", "ui", "--port", str(port))
    address = f"http://127.0.0.1:{port}"
    dashboard = world.celery("ui", *words, says=address)
    serves(world, address)
    run = world.kit.trip.start(Trip(), id="o-1")
    with listening(address, "o-1") as stream:
        assert stream.next()["id"] == "1"
        run.pause("lunch")
        assert stream.next()["id"] == "2"
        world.redis.kill()
        world.redis.start()
        run.resume()
        assert stream.next()["id"] == "3"
    dashboard.kill()
    run.pause("tea")
    world.celery("ui-again", *words, says=address)
    serves(world, address)
    with listening(address, "o-1", Last_Event_ID="3") as stream:
        assert stream.next()["id"] == "4"
        run.resume()
        assert stream.next()["id"] == "5"
