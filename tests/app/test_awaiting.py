"""Starting and awaiting runs in coroutines: no event loop is held up, no thread waits.

Owns: `astart` and `aresult` on a real Redis, with nobody at work: the test ends the runs by hand.
Refuses to know: how a store wakes who waits (`tests/store/test_waiting.py`).
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import (
    Flow,
    InputInvalid,
    ResultTimeout,
    RunNotFound,
    Saga,
    Sagas,
    StoreUnavailable,
)
from celeriac.app.offload import THREADS
from celeriac.errors import RunTerminated
from celeriac.testing.servers import free_port
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

Doubling = Saga[int, int]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the runs."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as found:
        yield found


def _doubling(url: str) -> Doubling:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.saga_redis_url = url
    sagas = Sagas(app)

    @sagas.step(name="shop.work")
    def work(call: int) -> int:
        return 2 * call

    @sagas.saga
    def doubling(flow: Flow, call: int) -> int:
        return flow.step(work, call)

    return doubling


@pytest.fixture
def doubling(server: RedisServer) -> Iterator[Doubling]:
    """A saga of one step, on an empty Redis."""
    with server.client() as client:
        client.flushall()
    saga = _doubling(server.url)
    yield saga
    saga._sagas.runtime.close()


def threads(name: str) -> int:
    """How many threads there are whose names begin like this."""
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


def sagas_of(saga: Doubling) -> Sagas:
    """The `Sagas` that a saga is one of."""
    found: Sagas = saga._sagas.app.celeriac
    return found


def end(saga: Doubling, *ids: str) -> None:
    """Let somebody do by hand what the step would have done."""
    for run_id in ids:
        sagas_of(saga).run(run_id).skip("work", 42, "by hand")


# --- waiting -----------------------------------------------------------------------------------


def test_many_coroutines_await_their_results(doubling: Doubling, server: RedisServer) -> None:
    """200 coroutines each get the result of their run; few threads and connections serve them."""
    ids = [f"run-{n}" for n in range(200)]

    async def one(run_id: str) -> int:
        run = await doubling.astart(21, id=run_id)
        return await run.aresult(timeout=60)

    async def main() -> list[int]:
        tasks = [asyncio.create_task(one(run_id)) for run_id in ids]
        await asyncio.to_thread(_until_subscribed, server, len(ids))
        assert threads("celeriac-offload") <= THREADS
        assert threads("celeriac-waiting") == 1
        with server.client() as client:
            assert len(client.client_list(_type="pubsub")) == 1
            assert len(client.client_list()) <= THREADS + 3
        await asyncio.to_thread(end, doubling, *ids)
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [42] * len(ids)


def _until_subscribed(server: RedisServer, count: int) -> None:
    with server.client() as client:
        while len(client.pubsub_channels()) < count:
            threading.Event().wait(0.01)


@pytest.mark.parametrize("timeout", [0, 5, None])
def test_a_result_is_there_at_once(doubling: Doubling, timeout: float | None) -> None:
    """A run that has ended is not waited for."""
    run = doubling.start(21)
    end(doubling, run.id)
    assert asyncio.run(run.aresult(timeout)) == 42
    assert run.result(timeout) == 42


def test_other_ends_are_raised(doubling: Doubling) -> None:
    """A coroutine hears of every other end by the same errors as a thread."""
    run = doubling.start(21, id="order-42")
    for timeout, words in ((0, "is running after 0 s"), (0.05, r"is running after 0\.05 s")):
        with pytest.raises(ResultTimeout, match=words):
            asyncio.run(run.aresult(timeout))
    run.terminate("enough")
    with pytest.raises(RunTerminated, match="enough"):
        asyncio.run(run.aresult(5))
    with pytest.raises(RunNotFound, match="order-43"):
        asyncio.run(doubling._handle("order-43").aresult(5))


def test_a_redis_that_is_away_is_told_to_coroutines() -> None:
    """A coroutine hears that Redis is away as a thread does, and not for ever."""
    run = _doubling(f"redis://127.0.0.1:{free_port()}/0")._handle("order-42")
    with pytest.raises(StoreUnavailable):
        asyncio.run(run.aresult(20))


# --- starting ----------------------------------------------------------------------------------


def test_a_start_holds_up_no_loop(doubling: Doubling, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker lets one start wait, the loop goes on: it is the loop that ends the wait."""
    publishes, let_go = threading.Event(), threading.Event()

    def send(*_: Any) -> None:
        publishes.set()
        assert let_go.wait(20)

    monkeypatch.setattr(doubling._sagas.runtime.dispatcher, "send", send)

    async def main() -> str:
        start = asyncio.create_task(doubling.astart(21, id="order-42"))
        await asyncio.to_thread(publishes.wait, 20)
        assert not start.done()
        let_go.set()
        return (await start).id

    assert asyncio.run(main()) == "order-42"


def test_a_start_sees_the_context_of_its_caller(
    doubling: Doubling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Context variables are those of the coroutine, so that spans of traces find their parents."""
    variable = contextvars.ContextVar("variable", default="nobody's")
    seen: list[str] = []
    monkeypatch.setattr(
        doubling._sagas.runtime.dispatcher, "send", lambda *_: seen.append(variable.get())
    )

    async def one(name: str) -> None:
        variable.set(name)
        await doubling.astart(21)

    async def main() -> None:
        await asyncio.gather(one("Ada's"), one("Grace's"))

    asyncio.run(main())
    assert sorted(seen) == ["Ada's", "Grace's"]


def test_a_start_takes_what_start_takes(doubling: Doubling) -> None:
    """Ids, tags and inputs by name mean the same; a wrong input raises the same."""

    async def main() -> None:
        run = await doubling.astart(call=21, id="order-42", tags={"shop": "7"})
        assert (await doubling.astart(21, id="order-42")).id == run.id
        with pytest.raises(InputInvalid):
            await doubling.astart("many", id="order-43")  # type: ignore[arg-type]

    asyncio.run(main())
    assert sagas_of(doubling).run("order-42").state().tags == {"shop": "7"}


def test_a_cancelled_start_can_be_asked_again(
    doubling: Doubling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was cancelled in the middle finds the run by its id, and no second one."""
    publishes, let_go = threading.Event(), threading.Event()

    def send(*_: Any) -> None:
        publishes.set()
        assert let_go.wait(20)

    monkeypatch.setattr(doubling._sagas.runtime.dispatcher, "send", send)

    async def main() -> None:
        start = asyncio.create_task(doubling.astart(21, id="order-42"))
        await asyncio.to_thread(publishes.wait, 20)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        let_go.set()
        await doubling.astart(21, id="order-42")

    asyncio.run(main())
    assert len(sagas_of(doubling).runs().runs) == 1


def test_threads_that_come_together_share_one_engine(doubling: Doubling) -> None:
    """However many threads ask first, a process has one engine, and so one subscription."""
    found: list[object] = []
    together = threading.Barrier(50)

    def ask() -> None:
        together.wait()
        found.append(doubling._sagas.runtime.engine)

    asking = [threading.Thread(target=ask) for _ in range(50)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert len(found) == 50
    assert len({id(engine) for engine in found}) == 1
