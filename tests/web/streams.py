"""A stream of events as a browser reads it.

Owns: reading one over a real connection, event by event.  Refuses to know: what is expected.
"""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60  # seconds: a loaded machine is slow, and nothing here takes long by itself


class Stream:
    """A stream that is read in a thread of its own."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.status = answer.status_code
        self._told: queue.Queue[dict[str, str]] = queue.Queue()
        self._answer = answer
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        found: dict[str, str] = {}
        try:
            for line in self._answer.iter_lines():
                name, colon, value = line.partition(": ")
                if colon and name:
                    found[name] = value
                elif not line and found:
                    self._told.put(found)
                    found = {}
        except httpx2.HTTPError:
            pass  # the test is over

    def next(self) -> dict[str, str]:
        """The next event."""
        return self._told.get(timeout=PATIENCE)


@contextmanager
def listening(address: str, run_id: str, asked: str = "", **headers: str) -> Iterator[Stream]:
    """Listen to a run."""
    url = f"{address}/api/runs/{run_id}/events{asked}"
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx2.stream("GET", url, headers=sent, timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield Stream(answer)
