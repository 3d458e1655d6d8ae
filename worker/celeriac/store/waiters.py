"""The two ways to wait for a run to come to rest: as a thread, and as a coroutine.

Owns: being woken by a store, in time, and leaving nothing behind.  Refuses to know: how a store
learns that a run is at rest.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from celeriac.errors import ResultTimeout, StoreError
from celeriac.store.protocol import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.machine import Run
    from celeriac.store.protocol import Snapshot, Store

    Wanted = Callable[[Run], Sequence[str]]


def _nothing(_: Run) -> Sequence[str]:
    return ()


def wait_for_rest(
    store: Store, run_id: str, timeout: float | None, wanted: Wanted = _nothing
) -> Snapshot:
    """Wait until a run is at rest, and return it with the payload fields *wanted* then.

    Without a run if there is none.  *timeout* is seconds: 0 looks once, None waits for ever.
    Raises ResultTimeout, and StoreUnavailable if the store was out of reach from the start.
    """
    if timeout is not None and timeout <= 0:
        return _looked_at(store, run_id, timeout, wanted)
    answers: list[Snapshot | Exception] = []
    woken = threading.Event()

    def told(answer: Snapshot | Exception) -> None:
        answers.append(answer)
        woken.set()

    waiter = Waiter(run_id, told, wanted)
    try:
        store.add_waiter(waiter)
        woken.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))
    finally:
        store.remove_waiter(waiter)
    return _given(waiter, answers, timeout)


async def await_rest(
    store: Store,
    run_id: str,
    timeout: float | None,  # noqa: ASYNC109 -- it is part of what is told when it is over
    wanted: Wanted = _nothing,
) -> Snapshot:
    """Do what `wait_for_rest` does, without a thread that is held up meanwhile.

    *timeout* is more than 0: to look once is to ask the store, which would hold up the loop.
    """
    loop = asyncio.get_running_loop()
    answers: list[Snapshot | Exception] = []
    woken = asyncio.Event()

    def told(answer: Snapshot | Exception) -> None:
        answers.append(answer)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(woken.set)

    waiter = Waiter(run_id, told, wanted)
    try:
        store.add_waiter(waiter)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await woken.wait()
    finally:
        store.remove_waiter(waiter)
    return _given(waiter, answers, timeout)


def _looked_at(store: Store, run_id: str, timeout: float, wanted: Wanted) -> Snapshot:
    found = store.read(run_id)
    if found.run is not None and found.run.status.at_rest:
        found = store.read(run_id, wanted(found.run))
    if found.run is not None and not found.run.status.at_rest:
        raise _too_late(run_id, found.run, timeout)
    return found


def _given(waiter: Waiter, answers: list[Snapshot | Exception], timeout: float | None) -> Snapshot:
    """What was answered; without an answer in time, raise why."""
    answer = answers[0] if answers else None
    if answer is None and waiter.seen is None:
        answer = waiter.trouble
    if isinstance(answer, StoreError):
        # All who wait are told the same one, and each must raise one of its own.
        raise type(answer)(*answer.args) from answer
    if isinstance(answer, Exception):
        raise answer
    if answer is None:
        raise _too_late(waiter.run_id, waiter.seen, timeout or 0)
    return answer


def _too_late(run_id: str, run: Run | None, timeout: float) -> ResultTimeout:
    if run is None:
        return ResultTimeout(f"run {run_id!r} could not be looked at within {timeout:g} s")
    return ResultTimeout(
        f"run {run_id!r} is {run.status} after {timeout:g} s; it goes on by itself, ask again later"
    )
