"""Whether another process lives, asked of the system: the dead, the living, the unburied."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from celeriac.engine.processes import Process, is_gone, this_process
from tests.processes import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

WAITS = "import sys; sys.stdin.read()"


def test_this_process_lives() -> None:
    """Whoever asks is there, and knows where and since when."""
    here = this_process()
    assert here.pid == os.getpid()
    assert here.place
    assert here.born > 0
    assert not is_gone(here)


def test_another_process_lives_until_it_has_ended() -> None:
    """Dead is also who has ended while its parent has not noticed."""
    place = this_process().place
    with subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE) as child:
        born = _born(child.pid)
        assert not is_gone(Process(place, child.pid, born))
        child.kill()
        until(lambda: is_gone(Process(place, child.pid, born)), "it is seen that it has ended")
        assert child.returncode is None
    assert is_gone(Process(place, child.pid, born))


def test_an_id_that_was_given_to_another_process() -> None:
    """A process is told from a later one with the same id by when it began."""
    here = this_process()
    assert is_gone(here._replace(born=here.born - 1))


@pytest.mark.parametrize("place", ["", "another machine pid:[1]"])
def test_nobody_can_tell_from_elsewhere(place: str) -> None:
    """On another machine, or in another container, an id says nothing."""
    assert not is_gone(Process(place, 2**22 - 1, 1))


def _born(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
