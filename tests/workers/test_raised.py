"""What the Celery edge takes for the end of a process or a time limit, and delays without end.

Owns: the edge's own reading of what a body raises.  Refuses to know: workers.
"""

from __future__ import annotations

import math
import sys
import threading
from types import SimpleNamespace

import pytest
from celery.exceptions import TimeLimitExceeded, WorkerShutdown, WorkerTerminate

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


class _Timeout(BaseException):
    def __init__(self, seconds: float | None) -> None:
        super().__init__()
        self.seconds = seconds


@pytest.mark.parametrize(
    ("error", "limit", "is_the_pools"),
    [
        (_Timeout(1.35), 1.35, True),
        (_Timeout(1.0), 1.35, False),  # the body's own
        (_Timeout(None), None, False),  # raised by hand, in a task without a limit
        (ValueError("1.35"), 1.35, False),
    ],
)
def test_a_greenlets_time_out_is_the_tasks_if_it_is_as_long(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, limit: float | None, is_the_pools: bool
) -> None:
    """What gevent's pool raises at a task's limit is a time-out; a body's own is its error."""
    monkeypatch.setitem(sys.modules, "gevent.timeout", SimpleNamespace(Timeout=_Timeout))
    found = retries.timed_out(error, limit)
    assert (found is not None) is is_the_pools
    if found is not None:
        assert (type(found.error), found.kind, found.retry) == (TimeLimitExceeded, "timeout", True)
