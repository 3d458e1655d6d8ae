"""What an application meets when it keeps a barrier in its SQL database.

Owns: results and their types, effects that fail, parts, connections that are no good, and keys
that are forgotten.  Refuses to know: the four laws (`test_laws`) and races.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Engine, MetaData, create_engine, inspect, select, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from celeriac import Abort, CommandRefused, ConfigurationError, OutputInvalid
from celeriac.barrier import SqlBarrier
from tests.barrier.participants import SqlParticipant, backward, forward

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "order-42:reserve"


class Hold(BaseModel):
    """A result with a type that JSON does not have."""

    number: int
    until: datetime


HOLD = Hold(number=7, until=datetime(2030, 1, 2, tzinfo=UTC))


@pytest.fixture
def participant(engine: Engine) -> SqlParticipant:
    """A participant with its books."""
    return SqlParticipant(engine)


def test_a_result_of_a_type(participant: SqlParticipant) -> None:
    """With `returns`, the result is of that type the first time and every time, and in the undo."""
    seen: list[Any] = []
    for _ in range(2):
        with participant.engine.begin() as db:
            seen.append(participant.barrier.do(db, forward(KEY), lambda: HOLD, returns=Hold))
    with participant.engine.begin() as db:
        participant.barrier.undo(db, backward(KEY), seen.append, returns=Hold)
    assert seen == [HOLD] * 3


def test_a_result_without_a_type(participant: SqlParticipant) -> None:
    """Without it, the first answer is plain JSON, as all later ones are: nobody is surprised."""
    found = [participant.do(KEY, HOLD), participant.do(KEY)]
    assert found == [{"number": 7, "until": "2030-01-02T00:00:00Z"}] * 2


@pytest.mark.parametrize("bad", [object(), float("nan"), {"hold": object()}])
def test_a_result_that_cannot_be_remembered(participant: SqlParticipant, bad: Any) -> None:
    """What has no JSON is refused, and the effect with it."""
    with pytest.raises(OutputInvalid, match="the result under 'order-42:reserve'"):
        participant.do(KEY, bad)
    assert participant.books(KEY) == (0, 0)
    assert participant.do(KEY, "good") == "good"


def failing(error: BaseException) -> Callable[[], None]:
    """Something that raises."""

    def fail() -> None:
        raise error

    return fail


ERRORS = (ConnectionError("away"), Abort("sold out", effect=False), KeyboardInterrupt())


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_effect_that_fails_has_not_happened(
    participant: SqlParticipant, error: BaseException
) -> None:
    """An effect that raises is rolled back with its mark, and the next attempt tries it again."""
    participant.during = failing(error)
    with pytest.raises(type(error)):
        participant.do(KEY, "first")
    participant.during = lambda: None
    assert participant.do(KEY, "second") == "second"
    participant.during = failing(error)
    with pytest.raises(type(error)):
        participant.undo(KEY)
    participant.during = lambda: None
    assert participant.do(KEY) == "second"
    assert participant.undo(KEY) is True
    assert participant.books(KEY) == (1, 1)


def test_an_error_that_is_swallowed_leaves_no_mark(participant: SqlParticipant) -> None:
    """Whoever commits although the effect failed has at least no mark that says it succeeded."""
    with participant.engine.begin() as db, pytest.raises(ConnectionError):
        participant.barrier.do(db, forward(KEY), failing(ConnectionError()))
    assert participant.do(KEY, "done") == "done"
    with participant.engine.begin() as db, pytest.raises(ConnectionError):
        participant.barrier.undo(db, backward(KEY), lambda _: failing(ConnectionError())())
    assert participant.undo(KEY) is True


def test_several_effects_of_a_step(participant: SqlParticipant) -> None:
    """Each part of a step is done and undone for itself."""
    with participant.engine.begin() as db:
        for part in ("stock", "points", "stock"):
            assert participant.barrier.do(db, forward(KEY), lambda p=part: p, part=part) == part
    seen: list[str] = []
    with participant.engine.begin() as db:
        assert participant.barrier.undo(db, backward(KEY), seen.append, part="stock")
        assert not participant.barrier.undo(db, backward(KEY), seen.append, part="card")
    assert seen == ["stock"]


def test_a_session_and_its_objects(participant: SqlParticipant) -> None:
    """A Session, or a scoped one, commits effect and mark together."""
    with Session(participant.engine) as session:
        participant.barrier.do(
            session, forward(KEY), lambda: participant.write(session, "do", KEY, 1)
        )
        session.rollback()
    assert participant.books(KEY) == (0, 0)
    scoped = scoped_session(sessionmaker(participant.engine))
    participant.barrier.do(scoped, forward(KEY), lambda: participant.write(scoped, "do", KEY, 2))
    scoped.commit()
    scoped.remove()
    assert participant.do(KEY) == 2
    assert participant.books(KEY) == (1, 0)


def test_a_step_does_and_a_compensation_undoes(participant: SqlParticipant) -> None:
    """Step and compensation have the same key: the wrong verb is refused at once."""
    with participant.engine.begin() as db:
        with pytest.raises(CommandRefused, match=r"call barrier\.undo there"):
            participant.barrier.do(db, backward(KEY), failing(AssertionError()))
        with pytest.raises(CommandRefused, match=r"call barrier\.do there"):
            participant.barrier.undo(db, forward(KEY), lambda _: failing(AssertionError())())
    assert participant.do(KEY, 1) == 1


@pytest.mark.parametrize("how", ["engine", "connection"])
def test_a_connection_that_commits_by_itself(url: str, how: str) -> None:
    """Without a transaction there is no barrier: it says so instead of seeming to work."""
    level: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"}
    engine = create_engine(url, **level) if how == "engine" else create_engine(url)
    participant = SqlParticipant(engine if how == "engine" else engine.execution_options(**level))
    with pytest.raises(ConfigurationError, match="needs a transaction"):
        participant.do(KEY)
    with pytest.raises(ConfigurationError, match="needs a transaction"):
        participant.undo(KEY)
    engine.dispose()


def test_a_table_that_is_not_there(engine: Engine) -> None:
    """What has nothing to do with other transactions is told as it is, and not as busy."""
    barrier = SqlBarrier(MetaData(), table="elsewhere")
    with engine.begin() as db, pytest.raises(Exception, match="elsewhere") as caught:
        barrier.do(db, forward(KEY), failing(AssertionError()))
    assert caught.type.__module__.startswith("sqlalchemy")
    barrier.create(engine)
    barrier.create(engine)
    assert inspect(engine).has_table("elsewhere")
    with engine.begin() as db:
        assert barrier.do(db, forward(KEY), lambda: 1) == 1


def test_forgetting(participant: SqlParticipant) -> None:
    """Keys older than what is asked for are removed; a forgotten key is as if it had never been."""
    for key in ("old", "undone", "young"):
        participant.do(key, key)
    participant.undo("undone")
    table = participant.barrier.table
    week = 7 * 86_400_000
    with participant.engine.begin() as db:
        old = table.update().where(table.c.key.in_(["old", "undone"]))
        db.execute(old.values(at=table.c.at - week))
        assert participant.barrier.forget(db, older_than="8d") == 0
        assert participant.barrier.forget(db, older_than="6d") == 2
        assert db.execute(select(table.c.key)).scalars().all() == ["young"]
    assert participant.do("undone", "again") == "again"


def test_keys_can_be_read_by_people(participant: SqlParticipant) -> None:
    """The table says which key each row is about."""
    participant.do(KEY, {"hold": 7})
    with participant.engine.begin() as db:
        found = db.execute(text("SELECT key, result, undone_at FROM celeriac_barrier")).one()
    assert tuple(found) == (KEY, '{"hold":7}', None)


def test_sqlalchemy_is_an_extra() -> None:
    """Without SQLAlchemy the rest of the package works, and the barrier says what to install."""
    program = """
import sys
sys.modules["sqlalchemy"] = None
import celeriac.barrier as barrier
assert barrier.RedisBarrier
try:
    barrier.SqlBarrier
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "SqlBarrier needs SQLAlchemy 2: pip install 'celeriac[sqlalchemy]'\n", (
        done
    )
