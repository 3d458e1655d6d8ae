"""Two transactions at one key at once, and a process that dies in the middle of its own.

Owns: threads and processes that really meet.  Refuses to know: sagas; the engine's own races are
explored elsewhere.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError

from celeriac import Abort
from celeriac.barrier import BarrierBusy
from tests.barrier.participants import SqlParticipant, only_savepoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from tests.barrier.participants import BarrierParticipant

ROUNDS = 12
KEY = "order-42:reserve"


def insisting(ask: Callable[[], Any]) -> Any:
    """Ask as a step that is tried again does; return the answer, or the Abort."""
    for _ in range(200):
        try:
            return ask()
        except Abort as refused:
            return refused.code
        except (BarrierBusy, DBAPIError):
            continue
    raise AssertionError("the database never got round to it")


def all_at_once(*asked: Callable[[], Any]) -> list[Any]:
    """Ask everything at the same moment, each in a thread of its own."""
    start = threading.Barrier(len(asked))

    def ask(what: Callable[[], Any]) -> Any:
        start.wait(10)
        return insisting(what)

    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(ask, asked))


@pytest.mark.parametrize("number", range(ROUNDS))
def test_many_attempts_at_once(participant: BarrierParticipant, number: int) -> None:
    """Of attempts at the same moment one takes effect, and all return its result."""
    key = f"{KEY}-{number}"
    answers = all_at_once(*[lambda n=n: participant.do(key, n) for n in range(4)])
    assert len(set(answers)) == 1, answers
    assert participant.books(key) == (1, 0)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_attempts_and_undos_at_once(participant: BarrierParticipant, number: int) -> None:
    """Whoever comes first: in the end nothing stands, and nothing was undone twice."""
    key = f"{KEY}-{number}"
    attempts = [lambda n=n: participant.do(key, n) for n in range(2)]
    answers = all_at_once(*attempts, *[lambda n=n: participant.undo(key, n) for n in range(2)])
    made, gone = participant.books(key)
    assert made == gone <= 1
    assert answers[2:].count(True) == gone
    granted = {answer for answer in answers[:2] if answer != "undone"}
    assert len(granted) == made
    assert insisting(lambda: participant.do(key)) == "undone"
    assert participant.undo(key) is False


def impatient(url: str) -> Engine:
    """An engine that does not wait for locks."""
    if url.startswith("sqlite"):
        return create_engine(url, connect_args={"timeout": 0})
    found = create_engine(url)

    @event.listens_for(found, "begin")
    def no_patience(connection: Any) -> None:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '1ms'")

    return found


@pytest.mark.parametrize("savepoint", [False, True])
@pytest.mark.parametrize("holder", ["do", "undo"])
@pytest.mark.parametrize("other", ["do", "undo"])
def test_a_database_that_does_not_wait(url: str, holder: str, other: str, savepoint: bool) -> None:
    """While a transaction holds the key, another is told to come again; then it sees the result."""
    engines = [create_engine(url), impatient(url)]
    if savepoint:
        engines = [only_savepoints(each) for each in engines]
    first, second = (SqlParticipant(each) for each in engines)
    ask: dict[str, Callable[[SqlParticipant], Any]] = {
        "do": lambda participant: participant.do(KEY, "the first"),
        "undo": lambda participant: participant.undo(KEY),
    }
    if holder == "undo":
        assert ask["do"](first) == "the first"
    met: list[type[Exception]] = []

    def meet() -> None:
        with pytest.raises((BarrierBusy, DBAPIError)) as caught:
            ask[other](second)
        met.append(caught.type)

    first.during = meet
    ask[holder](first)
    # Where the transaction is refused at its BEGIN, before the barrier, the words are SQLAlchemy's.
    assert met[0] is BarrierBusy or savepoint
    first.during = lambda: None
    answers = {"do": "the first" if holder == "do" else "undone", "undo": holder == "do"}
    assert insisting(lambda: ask[other](second)) == answers[other]
    for engine in engines:
        engine.dispose()


def _dies(url: str, what: str) -> None:
    participant = SqlParticipant(create_engine(url))
    participant.during = lambda: os.kill(os.getpid(), signal.SIGKILL)
    participant.do(KEY, "lost") if what == "do" else participant.undo(KEY)


@pytest.mark.parametrize("what", ["do", "undo"])
def test_a_process_that_dies_before_it_commits(engine: Engine, url: str, what: str) -> None:
    """Killed between effect and commit, it leaves neither the effect nor the mark."""
    participant = SqlParticipant(engine)
    if what == "undo":
        participant.do(KEY, "kept")
    before = participant.books(KEY)
    dying = get_context("spawn").Process(target=_dies, args=(url, what))
    dying.start()
    dying.join(30)
    assert dying.exitcode == -signal.SIGKILL
    assert participant.books(KEY) == before
    if what == "do":
        assert participant.do(KEY, "second") == "second"
    assert participant.undo(KEY) is True
    assert participant.books(KEY) == (1, 1)
