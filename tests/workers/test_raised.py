"""What the Celery edge takes for the end of a process, and delays that cannot be kept.

Owns: the edge's own reading of what a body raises.  Refuses to know: workers.
"""

from __future__ import annotations

import math
import threading
from types import SimpleNamespace

import pytest
from celery.exceptions import WorkerShutdown, WorkerTerminate

from celeriac.workers import passage, retries

LEAVING = (SystemExit(1), KeyboardInterrupt(), WorkerShutdown(0), WorkerTerminate(1))


@pytest.mark.parametrize(
    ("process", "ending"),
    [("ForkPoolWorker-1", list(LEAVING)), ("MainProcess", list(LEAVING[2:]))],
)
def test_a_child_ends_by_what_a_worker_survives(
    monkeypatch: pytest.MonkeyPatch, process: str, ending: list[BaseException]
) -> None:
    """A pool's child may leave; a solo worker ends when Celery asks, and not when a step does."""
    monkeypatch.setattr(passage, "current_process", lambda: SimpleNamespace(name=process))
    assert [each for each in LEAVING if passage.ends_process(each)] == ending
    assert not passage.ends_process(GeneratorExit())


def test_no_thread_of_a_pool_ends_the_process() -> None:
    """In a thread all that a body raises is how its attempt ended."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.extend(map(passage.ends_process, LEAVING)))
    thread.start()
    thread.join()
    assert found == [False] * 4


@pytest.mark.parametrize("countdown", [math.inf, math.nan, 1e300])
def test_a_delay_without_end_is_refused_in_the_body(countdown: float) -> None:
    """`self.retry(countdown=inf)` raises where it is called, not when it is recorded."""
    with pytest.raises(ValueError, match="at most ten years"):
        retries.seconds(None, countdown, None)


def test_a_delay_in_the_past_is_none() -> None:
    """A negative countdown means at once."""
    assert retries.seconds(None, -5, 180) == 0
