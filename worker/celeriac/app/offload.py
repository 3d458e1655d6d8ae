"""Calls that ask Redis or the broker, made for coroutines without holding up their event loop.

Owns: the few threads that make such calls, and that these see the caller's context variables (the
span of a trace, for example).  Refuses to know: what is called, and waiting: no call may wait for
anybody, since all coroutines of the process share these threads.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 8  # more would wait for each other: a call is mostly work in Python

_threads: tuple[int, ThreadPoolExecutor] | None = None


async def offload(call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what *call* returns, or raise what it raises.

    A coroutine that is cancelled meanwhile does not end a call that has begun.
    """
    run = partial(contextvars.copy_context().run, call, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_of_this_process(), run)


def _of_this_process() -> ThreadPoolExecutor:
    """The threads of this process: those of a parent did not survive the fork."""
    global _threads  # noqa: PLW0603 -- one pool bounds all event loops of a process
    if _threads is None or _threads[0] != os.getpid():
        _threads = (os.getpid(), ThreadPoolExecutor(THREADS, "celeriac-offload"))
    return _threads[1]
