"""Celery's documented in-process worker for tests: adopted tasks are there what they were.

Owns: what the result of a direct call says of its children, its chain and its request.  Refuses to
know: sagas' own runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task
from celery.contrib.testing.worker import start_worker

from celeriac import Flow, Sagas
from tests.processes import until
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for messages, results and runs."""
    with RedisServer(tmp_path / "redis") as found:
        yield found


def told(app: Celery, *, adopting: bool) -> dict[str, Any]:
    """What is seen of direct calls of three tasks."""
    seen: list[Any] = []

    class Base(Task):  # type: ignore[misc]  # Celery has no types
        def after_return(self, *_: Any) -> None:
            seen.append(getattr(self.request, "stash", None))

    def leaf(x: Any) -> Any:
        return x

    def parent(task: Any, x: Any) -> Any:
        task.request.stash = x
        app.tasks["leaf"].delay(x)
        return x

    def stop(task: Any, x: Any) -> Any:
        task.request.chain = None
        return x

    leaf_task = app.task(shared=False, name="leaf")(leaf)
    parent_task = app.task(shared=False, name="parent", bind=True, base=Base)(parent)
    stop_task = app.task(shared=False, name="stop", bind=True)(stop)
    if adopting:

        def all_of_them(flow: Flow, x: int) -> Any:
            flow.step(leaf_task, x)
            flow.step(stop_task, x)
            return flow.step(parent_task, x)

        Sagas(app).saga(all_of_them)
    with start_worker(app, perform_ping_check=False, pool="solo", shutdown_timeout=60):
        called = app.tasks["parent"].delay(3)
        called.get(timeout=20)
        children = called.children or []
        ended = (app.tasks["stop"].s(1) | app.tasks["leaf"].s()).apply_async()
        until(ended.parent.successful, "the chain was stopped", 20)
        after = app.tasks["leaf"].delay(9)
        assert after.get(timeout=20) == 9  # whatever the chain had sent would be done by now
        return {"children": len(children), "stash": seen, "chain": ended.state}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Celery, which runs in this process
def test_the_in_process_worker_shows_the_same(redis: RedisServer) -> None:
    """Children of a result, a chain that is stopped, and what a request is given to keep."""
    found = []
    for adopting in (False, True):
        app = Celery(f"fix-{adopting}", broker=redis.url, backend=redis.url)
        app.conf.update(task_default_queue=f"fix-{adopting}")
        found.append(told(app, adopting=adopting))
        app.close()
    assert found[1] == found[0]
    assert found[0] == {"children": 1, "stash": [3], "chain": "PENDING"}
