"""`task_always_eager`: runs happen in the process that starts them, and no message is sent.

Owns: what an application's own tests often do.  Refuses to know: workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import Abort, Flow, Saga, Sagas
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Seen = list[tuple[str, int]]


def saga(app: Celery, seen: Seen) -> Saga[int, int]:
    """Three steps, of which the second is an existing task; numbers over 10 are refused."""
    sagas = Sagas(app)

    @sagas.step(name="one")
    def one(n: int) -> int:
        seen.append(("one", n))
        return n + 1

    @one.compensation(name="unone")
    def unone(n: int) -> None:
        seen.append(("unone", n))

    def two(task: Any, n: int) -> int:
        if task.request.retries < 1:
            raise task.retry(countdown=0.1)
        seen.append(("two", n))
        return n * 2

    existing = app.task(shared=False, name="two", bind=True)(two)

    @sagas.step(name="three")
    def three(n: int) -> int:
        seen.append(("three", n))
        if n > 10:
            raise Abort("too much", effect=False)
        return n

    def order(flow: Flow, n: int) -> int:
        return flow.step(three, flow.step(existing, flow.step(one, n)))

    return sagas.saga(order)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for the runs."""
    with RedisServer(tmp_path / "redis") as found:
        yield found


def test_a_run_happens_where_it_is_started(redis: RedisServer) -> None:
    """Steps, retries and undo run at once, each once, and the broker is not needed."""
    app = Celery("eager", broker="redis://localhost:1/0", set_as_current=False)
    app.conf.update(task_always_eager=True, saga_redis_url=redis.url)
    seen: Seen = []
    order = saga(app, seen)
    run = order.start(1, id="fine")
    assert (run.status, run.result(0)) == ("completed", 4)
    assert seen == [("one", 1), ("two", 2), ("three", 4)]
    seen.clear()
    assert order.start(9, id="much").status == "compensated"
    assert seen == [("one", 9), ("two", 10), ("three", 20), ("unone", 9)]
    app.celeriac.runtime.close()
