"""The fixtures of the tests that crash processes at named points.

Owns: `arena`, which stays up from test to test and is mended before each, until the next test is
not from this folder; `split_arena`, whose runs are in another Redis than its messages;
`ahead_arena`, whose workers run ahead.  With
`PROVE=1` every case is tried, else the representative ones (`arena.everything`).  Refuses to know:
the cases.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.environment import Arena
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Generator

_FOLDER = Path(__file__).parent
_open = ExitStack()
_arenas: dict[str, Arena] = {}


def _arena(name: str, folder: Path, *more: str, ahead: int = 0) -> Arena:
    """The arena of this name, with all its workers up."""
    if name not in _arenas:
        broker = _open.enter_context(RedisServer(folder / "broker"))
        others = [_open.enter_context(RedisServer(folder / each)) for each in more]
        made = Arena(folder, broker, *others, ahead=ahead)
        _open.callback(_arenas.pop, name)
        _open.callback(made.close)
        _arenas[name] = made
    _arenas[name].mend()
    return _arenas[name]


@pytest.fixture
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """An arena with all its workers up."""
    return _arena("arena", tmp_path_factory.mktemp("arena"))


@pytest.fixture
def split_arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """An arena whose broker stays up while something is done to the Redis of the runs."""
    return _arena("split", tmp_path_factory.mktemp("split"), "state")


@pytest.fixture
def ahead_arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """An arena whose workers run ahead."""
    return _arena("ahead", tmp_path_factory.mktemp("ahead"), ahead=5)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Generator[None]:
    """After the last test of this folder, hold all runs to the laws once more, and end all."""
    yield
    if nextitem is None or _FOLDER not in nextitem.path.parents:
        _open.close()


def pytest_sessionfinish() -> None:
    """Leave nothing running when the tests were stopped before the last one."""
    _open.close()
