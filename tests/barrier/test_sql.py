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
from tests.barrier.participants import SqlDesk, backward, forward

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "order-42:reserve"


class Hold(BaseModel):
    """A result with a type that JSON does not have."""

    number: int
    until: datetime


HOLD = Hold(number=7, until=datetime(2030, 1, 2, tzinfo=UTC))


@pytest.fixture
def desk(engine: Engine) -> SqlDesk:
    """A participant with its books."""
    return SqlDesk(engine)


def test_a_result_of_a_type(desk: SqlDesk) -> None:
    """With `returns`, the result is of that type the first time and every time, and in the undo."""
    seen: list[Any] = []
    for _ in range(2):
        with desk.engine.begin() as db:
            seen.append(desk.barrier.do(db, forward(KEY), lambda: HOLD, returns=Hold))
    with desk.engine.begin() as db:
        desk.barrier.undo(db, backward(KEY), seen.append, returns=Hold)
    assert seen == [HOLD] * 3


def test_a_result_without_a_type(desk: SqlDesk) -> None:
    """Without it, the first answer is plain JSON, as all later ones are: nobody is surprised."""
    found = [desk.do(KEY, HOLD), desk.do(KEY)]
    assert found == [{"number": 7, "until": "2030-01-02T00:00:00Z"}] * 2


@pytest.mark.parametrize("bad", [object(), float("nan"), {"hold": object()}])
def test_a_result_that_cannot_be_remembered(desk: SqlDesk, bad: Any) -> None:
    """What has no JSON is refused, and the effect with it."""
    with pytest.raises(OutputInvalid, match="the result under 'order-42:reserve'"):
        desk.do(KEY, bad)
    assert desk.books(KEY) == (0, 0)
    assert desk.do(KEY, "good") == "good"


def failing(error: BaseException) -> Callable[[], None]:
    """Something that raises."""

    def fail() -> None:
        raise error

    return fail


ERRORS = (ConnectionError("away"), Abort("sold out", effect=False), KeyboardInterrupt())


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_effect_that_fails_has_not_happened(desk: SqlDesk, error: BaseException) -> None:
    """An effect that raises is rolled back with its mark, and the next attempt tries it again."""
    desk.during = failing(error)
    with pytest.raises(type(error)):
        desk.do(KEY, "first")
    desk.during = lambda: None
    assert desk.do(KEY, "second") == "second"
    desk.during = failing(error)
    with pytest.raises(type(error)):
        desk.undo(KEY)
    desk.during = lambda: None
    assert desk.do(KEY) == "second"
    assert desk.undo(KEY) is True
    assert desk.books(KEY) == (1, 1)


def test_an_error_that_is_swallowed_leaves_no_mark(desk: SqlDesk) -> None:
    """Whoever commits although the effect failed has at least no mark that says it succeeded."""
    with desk.engine.begin() as db, pytest.raises(ConnectionError):
        desk.barrier.do(db, forward(KEY), failing(ConnectionError()))
    assert desk.do(KEY, "done") == "done"
    with desk.engine.begin() as db, pytest.raises(ConnectionError):
        desk.barrier.undo(db, backward(KEY), lambda _: failing(ConnectionError())())
    assert desk.undo(KEY) is True


def test_several_effects_of_a_step(desk: SqlDesk) -> None:
    """Each part of a step is done and undone for itself."""
    with desk.engine.begin() as db:
        for part in ("stock", "points", "stock"):
            assert desk.barrier.do(db, forward(KEY), lambda p=part: p, part=part) == part
    seen: list[str] = []
    with desk.engine.begin() as db:
        assert desk.barrier.undo(db, backward(KEY), seen.append, part="stock")
        assert not desk.barrier.undo(db, backward(KEY), seen.append, part="card")
    assert seen == ["stock"]


def test_a_session_and_its_objects(desk: SqlDesk) -> None:
    """A Session, or a scoped one, commits effect and mark together."""
    with Session(desk.engine) as session:
        desk.barrier.do(session, forward(KEY), lambda: desk.write(session, "do", KEY, 1))
        session.rollback()
    assert desk.books(KEY) == (0, 0)
    scoped = scoped_session(sessionmaker(desk.engine))
    desk.barrier.do(scoped, forward(KEY), lambda: desk.write(scoped, "do", KEY, 2))
    scoped.commit()
    scoped.remove()
    assert desk.do(KEY) == 2
    assert desk.books(KEY) == (1, 0)


def test_a_step_does_and_a_compensation_undoes(desk: SqlDesk) -> None:
    """Step and compensation have the same key: the wrong verb is refused at once."""
    with desk.engine.begin() as db:
        with pytest.raises(CommandRefused, match=r"call barrier\.undo there"):
            desk.barrier.do(db, backward(KEY), failing(AssertionError()))
        with pytest.raises(CommandRefused, match=r"call barrier\.do there"):
            desk.barrier.undo(db, forward(KEY), lambda _: failing(AssertionError())())
    assert desk.do(KEY, 1) == 1


@pytest.mark.parametrize("how", ["engine", "connection"])
def test_a_connection_that_commits_by_itself(url: str, how: str) -> None:
    """Without a transaction there is no barrier: it says so instead of seeming to work."""
    level: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"}
    engine = create_engine(url, **level) if how == "engine" else create_engine(url)
    desk = SqlDesk(engine if how == "engine" else engine.execution_options(**level))
    with pytest.raises(ConfigurationError, match="needs a transaction"):
        desk.do(KEY)
    with pytest.raises(ConfigurationError, match="needs a transaction"):
        desk.undo(KEY)
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


def test_forgetting(desk: SqlDesk) -> None:
    """Keys older than what is asked for are removed; a forgotten key is as if it had never been."""
    for key in ("old", "undone", "young"):
        desk.do(key, key)
    desk.undo("undone")
    table = desk.barrier.table
    week = 7 * 86_400_000
    with desk.engine.begin() as db:
        old = table.update().where(table.c.key.in_(["old", "undone"]))
        db.execute(old.values(at=table.c.at - week))
        assert desk.barrier.forget(db, older_than="8d") == 0
        assert desk.barrier.forget(db, older_than="6d") == 2
        assert db.execute(select(table.c.key)).scalars().all() == ["young"]
    assert desk.do("undone", "again") == "again"


def test_keys_can_be_read_by_people(desk: SqlDesk) -> None:
    """The table says which key each row is about."""
    desk.do(KEY, {"hold": 7})
    with desk.engine.begin() as db:
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
