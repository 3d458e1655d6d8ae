"""What children tell their main process through shared memory, and soft limits, by themselves.

Owns: rows that are torn, reused or too short, and a signal that comes too late.  Refuses to know:
workers (`test_ahead`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import TYPE_CHECKING

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery, signals

from celeriac import Sagas
from celeriac.store import Lease
from celeriac.workers.limits import HANDED, Limits, SoftLimit, handed, limits_of
from celeriac.workers.progress import Position, Progress
from tests.processes import until

if TYPE_CHECKING:
    from collections.abc import Iterator

FORK = multiprocessing.get_context("fork")
BOOK, PAY = Lease("order-42", "book", "do", 1), Lease("order-42", "pay", "do", 1)


def position(lease: Lease, before: Lease | None = None, run: str = "") -> Position:
    """Where the message of `book` has got to."""
    task_id = f"order-42{run}:{lease.step}:1"
    return Position(f"order-42{run}:book:1", task_id, "shop.x", "shop", lease, before, 12.5, 1.0)


def in_child(progress: Progress, *told: Position | None) -> list[bool]:
    """Let a child that is forked now tell positions, or forget; return what it was answered."""
    receiver, sender = FORK.Pipe(duplex=False)

    def told_as(each: Position | None) -> bool:
        if each is not None:
            return progress.tell(each)
        progress.forget("order-42-2:book:1")
        return True

    def run() -> None:
        sender.send([told_as(each) for each in told])

    child = FORK.Process(target=run)
    child.start()
    answers: list[bool] = receiver.recv()
    child.join(10)
    return answers


def test_the_newest_is_read() -> None:
    """Each position replaces the one before; one that is forgotten is no more."""
    progress = Progress(rows=2)
    progress.allot(())
    assert in_child(progress, position(BOOK), position(PAY, BOOK)) == [True, True]
    (found,) = progress.positions().values()
    assert found == position(PAY, BOOK)
    assert found.leases == {BOOK, PAY}
    progress.allot(())
    in_child(progress, position(BOOK, run="-2"), None)
    assert list(progress.positions()) == ["order-42:book:1"]


def test_a_torn_half_is_passed_over() -> None:
    """A child that is killed while it writes leaves what it had told before."""
    progress = Progress(rows=1)
    progress.allot(())
    in_child(progress, position(BOOK), position(PAY, BOOK))
    newest = next(half for half in (0, 1) if b'"pay"' in _half(progress, half))
    at = progress._at(0, newest) + 60
    progress._memory[at : at + 4] = b"torn"
    assert progress.positions() == {"order-42:book:1": position(BOOK)}


def _half(progress: Progress, half: int) -> bytes:
    at = progress._at(0, half)
    return progress._memory[at : at + 300]


def test_a_row_is_its_own() -> None:
    """A row of somebody who lives is not given away; who has none, or no room, cannot tell."""
    progress = Progress(rows=1)
    assert in_child(progress, position(BOOK)) == [False]
    progress.allot(())
    assert not progress.crowded
    long = position(BOOK, run="x" * 5_000)
    assert in_child(progress, position(BOOK), long) == [True, False]
    pid = next(progress._halves(0))[1]
    progress.allot({pid})
    assert in_child(progress, position(PAY)) == [False]
    assert progress.crowded
    progress.allot(())
    assert progress.positions() == {}  # of whoever had it before
    assert in_child(progress, position(PAY)) == [True]


def test_a_child_that_has_told_nothing_keeps_its_row() -> None:
    """However many children come and go beside it."""
    sagas = Sagas(Celery("shop"))
    progress = sagas.runtime.progress = Progress(rows=2)
    progress.allot(())
    (ready, said), (leave, wait) = FORK.Pipe(duplex=False), FORK.Pipe(duplex=False)[::-1]

    def run() -> None:
        signals.worker_process_init.send(sender="w1@here")
        said.send(None)
        wait.recv()

    child = FORK.Process(target=run)
    child.start()
    ready.recv()
    rows = []
    for _ in range(3):
        progress.allot({child.pid or 0})
        rows.append(progress._row)
    leave.send(None)
    child.join(10)
    assert rows == [1, 1, 1]


@pytest.mark.parametrize("letter", ["x", "訂", "\N{PARTY POPPER}"])
def test_the_longest_id_can_be_told(letter: str) -> None:
    """Whatever it is written in: untold, the end of its time would not be known either."""
    progress = Progress(rows=1)
    progress.allot(())
    run = letter * 200
    book, pay = (each._replace(run_id=run) for each in (BOOK, PAY))
    ids = f"{run}:book:1", f"{run}:pay:1"
    told = Position(*ids, "shop.pay", "shop", pay, book, 12.5, 1.0, parent=ids[0], nth=2)
    assert in_child(progress, told) == [True]
    assert list(progress.positions().values()) == [told]


# --- soft limits -------------------------------------------------------------------------------


@pytest.fixture
def soft() -> Iterator[SoftLimit]:
    """A soft limit of its own; the signal's handler is as before afterwards."""
    before = signal.getsignal(signal.SIGUSR1)
    try:
        yield SoftLimit()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_time_that_is_up_is_raised(soft: SoftLimit) -> None:
    """In the main thread, in the middle of what it does; and told once."""
    with pytest.raises(SoftTimeLimitExceeded), soft.within(0.05):
        until(lambda: False, "the limit strikes", 20)
    with soft.within(60):
        assert not soft.disarm()


def test_a_signal_that_comes_too_late_does_nothing(soft: SoftLimit) -> None:
    """The body is over: whatever the main thread is at now is not to blame."""
    heard: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    with soft.within(60):
        soft.disarm()
        soft._sent = True  # the thread was quicker, the signal is on its way
        os.kill(os.getpid(), signal.SIGUSR1)
        until(lambda: not soft._sent, "it has arrived", 20)
    assert not heard
    os.kill(os.getpid(), signal.SIGUSR1)  # somebody else's
    until(lambda: bool(heard), "it was passed on", 20)


@pytest.mark.parametrize("odd", [None, 5, [1], [1, 2, 3], ["1", 2], {"soft": 1}])
def test_limits_that_nobody_handed(odd: object) -> None:
    """Whoever can write to the broker can write anything there; it counts for nothing."""
    assert handed({HANDED: odd}) is None
    assert handed({HANDED: [None, 2.5]}) == Limits(None, 2.5)


def test_whose_limit_counts() -> None:
    """The message's own before the task's, that before the pool's."""
    task = type("Task", (), {"soft_time_limit": 3, "time_limit": 4})
    assert limits_of([9, None], task, Limits(1, 2)) == Limits(3, 9)
    assert limits_of(None, object(), Limits(1, 2)) == Limits(1, 2)
    assert not limits_of(None, object(), Limits())
