"""The fixtures of the tests that crash processes at named points.

Owns: `crash_world`, which stays up from test to test and is mended before each, until the next test
is not from this folder; `split_crash_world`, whose runs are in another Redis than its messages;
`ahead_crash_world`, whose workers run ahead.  With `PROVE=1` every case is tried, else the
representative ones (`environment.everything`).  Refuses to know: the cases.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.environment import CrashWorld
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Generator

_FOLDER = Path(__file__).parent
_open = ExitStack()
_worlds: dict[str, CrashWorld] = {}


def _crash_world(name: str, folder: Path, *more: str, ahead: int = 0) -> CrashWorld:
    """The world of this name, with all its workers up."""
    if name not in _worlds:
        broker = _open.enter_context(RedisServer(folder / "broker"))
        others = [_open.enter_context(RedisServer(folder / each)) for each in more]
        made = CrashWorld(folder, broker, *others, ahead=ahead)
        _open.callback(_worlds.pop, name)
        _open.callback(made.close)
        _worlds[name] = made
    _worlds[name].mend()
    return _worlds[name]


@pytest.fixture
def crash_world(tmp_path_factory: pytest.TempPathFactory) -> CrashWorld:
    """A world with all its workers up."""
    return _crash_world("crash_world", tmp_path_factory.mktemp("crash_world"))


@pytest.fixture
def split_crash_world(tmp_path_factory: pytest.TempPathFactory) -> CrashWorld:
    """A world whose broker stays up while something is done to the Redis of the runs."""
    return _crash_world("split", tmp_path_factory.mktemp("split"), "state")


@pytest.fixture
def ahead_crash_world(tmp_path_factory: pytest.TempPathFactory) -> CrashWorld:
    """A world whose workers run ahead."""
    return _crash_world("ahead", tmp_path_factory.mktemp("ahead"), ahead=5)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Generator[None]:
    """After the last test of this folder, hold all runs to the laws once more, and end all."""
    yield
    if nextitem is None or _FOLDER not in nextitem.path.parents:
        _open.close()


def pytest_sessionfinish() -> None:
    """Leave nothing running when the tests were stopped before the last one."""
    _open.close()
