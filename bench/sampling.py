"""Where a process spends its CPU time: a look at its stack after each millisecond of it.

Owns: sampling this process or the workers of an app, and keeping the counts in a file.  Refuses to
know: what is read from them.

The timer counts CPU time, of all threads; the stack is the main thread's.  A sampler slows a
process by a few percent, where a tracing profiler would double the price of small functions.
"""

from __future__ import annotations

import json
import os
import signal
import sysconfig
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import signals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERVAL = 0.001  # seconds of CPU time
_LIBRARY = Path(sysconfig.get_path("stdlib"))


class Sampler:
    """Counts the functions at which this process's main thread is found."""

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str]] = Counter()  # (file, function)

    def start(self) -> None:
        """Look from now on; only the main thread may ask for it."""
        signal.signal(signal.SIGPROF, self._look)
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def stop(self) -> None:
        """Look no more."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _: int, frame: FrameType | None) -> None:
        if frame is not None:
            self.found[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

    def save(self, path: Path) -> None:
        """Write the counts as JSON: a list of package, function, samples."""
        rows = [(*place(file), name, n) for (file, name), n in self.found.most_common()]
        found = [(package, f"{short}:{name}", n) for package, short, name, n in rows]
        path.write_text(json.dumps(found), encoding="utf-8")


def place(file: str) -> tuple[str, str]:
    """Return the package that a source file belongs to, and its name in there."""
    path = Path(file)
    for folder in path.parents:
        if folder.name in {"site-packages", "worker"}:
            inner = path.relative_to(folder)
            return inner.parts[0].removesuffix(".py"), str(inner)
    if path.is_relative_to(_LIBRARY):
        return "standard library", str(path.relative_to(_LIBRARY))
    return path.parent.name or "python", str(Path(path.parent.name) / path.name)


@contextmanager
def sampled(path: Path) -> Iterator[None]:
    """Sample this process for a while, and keep the counts at *path*."""
    sampler = Sampler()
    sampler.start()
    try:
        yield
    finally:
        sampler.stop()
        sampler.save(path)


def install(folder: str) -> None:
    """Sample the workers of the app that is being made; each process leaves a file in *folder*."""
    begin = partial(_begin, Path(folder))
    signals.worker_ready.connect(partial(begin, "main", signals.worker_shutdown), weak=False)
    child = partial(begin, "child", signals.worker_process_shutdown)
    signals.worker_process_init.connect(child, weak=False)


def _begin(folder: Path, role: str, at_end: Any, **_: Any) -> None:
    sampler = Sampler()

    def end(**_: Any) -> None:
        sampler.stop()
        sampler.save(folder / f"{role}-{os.getpid()}.json")

    at_end.connect(end, weak=False)
    sampler.start()
