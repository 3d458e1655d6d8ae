"""The pipe from pool children to the main process: what children count is neither lost nor spoilt.

Owns: real child processes, also such that are killed.  Refuses to know: Celery's pools.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.observing.metrics.feed import KEPT, Feed, _Outbox, reporting
from celeriac.observing.metrics.tally import Tally
from celeriac.observing.observers import Asked, Refused
from tests.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STARTED = ("celeriac_runs_started_total", ("place_order",), 1.0)
SECONDS = ("celeriac_step_seconds", ("place_order", "charge"), 0.02)


@pytest.fixture
def tally() -> Tally:
    """The figures of the main process."""
    return Tally()


@pytest.fixture
def feed(tally: Tally) -> Iterator[Feed]:
    """A feed into them, whose children are yet to come."""
    feed = Feed(tally.note)
    yield feed
    feed.stop()


def child(work: Callable[[], object]) -> int:
    """Fork a child that does *work*; return its pid."""
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork beside threads; a pool forks beside our threads all the same.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        failed = True
        try:
            work()
            failed = False
        finally:
            os._exit(failed)
    return pid


def count(feed: Feed) -> None:
    """What a child does that counts one run."""
    feed.sink(*STARTED)
    feed.flush()


def started(tally: Tally) -> float:
    """The runs counted as started."""
    return tally.counters(STARTED[0]).get(STARTED[1], 0)


def counted(tally: Tally, runs: float) -> bool:
    """True once more than so many runs are counted as started."""
    return started(tally) > runs


def test_the_main_process_counts_at_once(tally: Tally, feed: Feed) -> None:
    """What happens where the figures are needs no pipe."""
    feed.sink(*STARTED)
    assert started(tally) == 1


def test_what_children_count_arrives(tally: Tally, feed: Feed) -> None:
    """Nothing is lost and nothing counted twice, however many children write at once."""

    def work() -> None:
        for number in range(2_000):
            feed.sink(*STARTED)
            feed.sink(*SECONDS)
            if number % 3 == 0:
                feed.flush()
        while feed._own_outbox()._lines:  # the pipe is full: others are quicker
            feed.flush()

    children = [child(work) for _ in range(4)]
    feed.start()
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    until(lambda: started(tally) >= 8_000, "all is counted", more=lambda: started(tally))
    assert started(tally) == 8_000
    [found] = tally.histograms(SECONDS[0]).values()
    assert sum(found.counts) == 8_000
    assert found.total == pytest.approx(160)


def test_killing_children_spoils_nothing(tally: Tally, feed: Feed) -> None:
    """Whenever a child is killed, what it had sent counts, and everything else stays right."""

    def work() -> None:
        while True:
            feed.sink(*STARTED)
            feed.flush()

    feed.start()
    seen = 0.0
    for _ in range(12):
        pid = child(work)
        enough = seen + 50
        until(partial(counted, tally, enough), "its runs are counted", more=lambda: started(tally))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert started(tally) >= seen, "a counter never goes back"
        seen = started(tally)
    feed.sink(*STARTED)
    assert list(tally.counters(STARTED[0])) == [STARTED[1]], "no broken line made a series"


def test_nonsense_in_the_pipe_is_dropped(tally: Tally, feed: Feed) -> None:
    """Lines that are no samples change nothing, and those after them count."""
    feed.start()
    for line in (b"{", b"[1,2]", b'["celeriac_runs_started_total",[],"x"]', b"\xff\xfe", b"[[]]"):
        os.write(feed._write, line + b"\n")
    child(lambda: count(feed))
    until(lambda: started(tally) == 1, "all is counted", more=lambda: started(tally))


def test_a_pipe_that_nobody_empties_stops_no_child(tally: Tally, feed: Feed) -> None:
    """A child goes on, keeps a bounded number of samples, and sends the newest when it can."""
    report, ready = os.pipe()

    def work() -> None:
        for _ in range(3 * KEPT):
            feed.sink(*STARTED)
        os.write(ready, str(len(feed._own_outbox()._lines)).encode())
        while feed._own_outbox()._lines:
            feed.flush()

    pid = child(work)
    assert int(os.read(report, 20)) <= KEPT
    feed.start()
    assert os.waitpid(pid, 0)[1] == 0
    until(lambda: started(tally) >= KEPT, "all is counted", more=lambda: started(tally))
    os.close(report)
    os.close(ready)


def test_a_child_is_not_held_up_by_a_lock_it_inherited(tally: Tally, feed: Feed) -> None:
    """A lock that another thread held at the fork is never free again: children have their own."""
    feed.start()
    with tally._lock:
        pid = child(lambda: count(feed))
        assert os.waitpid(pid, 0)[1] == 0
    until(lambda: started(tally) == 1, "all is counted", more=lambda: started(tally))


def test_threads_of_a_child_share_its_outbox(tally: Tally, feed: Feed) -> None:
    """Samples of several threads arrive, each once."""

    def work() -> None:
        def count() -> None:
            for _ in range(500):
                feed.sink(*STARTED)
            feed.flush()

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(feed.flush, "the pipe took everything")

    feed.start()
    assert os.waitpid(child(work), 0)[1] == 0
    until(lambda: started(tally) >= 2_000, "all is counted", more=lambda: started(tally))
    assert started(tally) == 2_000


def test_threads_of_a_new_child_agree_on_one_outbox(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they meet at the first sample, none counts into an outbox that nobody sends."""
    meet = threading.Barrier(2, timeout=20)

    class Met(_Outbox):
        def __init__(self, pipe: int) -> None:
            meet.wait()
            super().__init__(pipe)

    monkeypatch.setattr("celeriac.observing.metrics.feed._Outbox", Met)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(feed._own_outbox())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found[0] is found[1]


def test_samples_are_sent_when_something_happens(tally: Tally, feed: Feed) -> None:
    """The time of a round trip waits for an event, a refusal or a sweep to go along with."""
    counted: list[Any] = []
    flushed: list[int] = []
    feed.flush = lambda: bool(flushed.append(len(counted)))  # type: ignore[method-assign,func-returns-value]
    report = reporting(counted.append, feed)
    report(Asked("read", 0.1))
    report(Asked("commit", 0.1))
    report(Refused("stale", "", "", "do"))
    assert len(counted) == 3
    assert flushed == [3]
    assert tally.counters(STARTED[0]) == {}
