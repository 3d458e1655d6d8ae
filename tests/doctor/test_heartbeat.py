"""The file that says a worker is alive: real workers, stopped, cut off and ended.

Owns: when the file is touched and when it grows old.  Refuses to know: Kubernetes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from celeriac.errors import ConfigurationError
from celeriac.settings import read_settings
from celeriac.terminal.cli import main
from celeriac.workers.heartbeat import INTERVAL, age
from tests.doctor.processes import environment
from tests.house.sources import ROOT
from tests.processes import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doctor.conftest import Serve
    from tests.doctor.processes import ExaminedProcesses
    from tests.processes import Process
    from tests.redis_server import RedisServer

OLD = 2.5 * INTERVAL  # a living worker's file is younger


def test_an_option_of_the_worker(
    clean: RedisServer, processes: ExaminedProcesses, tmp_path: Path
) -> None:
    """The file of a command line wins: each of several workers on a machine has its own."""
    conf = {"saga_heartbeat_file": str(tmp_path / "set")}
    option = f"--saga-heartbeat-file={tmp_path / 'told-%n'}"
    processes.worker("w1", option, broker=clean.url, state=clean.url, conf=conf)
    until(lambda: young(tmp_path / "told-w1"), "a touch")
    assert not (tmp_path / "set").exists()


def test_a_broker_without_an_event_loop(
    clean: RedisServer, processes: ExaminedProcesses, tmp_path: Path
) -> None:
    """Where a worker waits for messages in another way, its loop touches the file all the same."""
    folders = {name: str(tmp_path / "spool") for name in ("data_folder_in", "data_folder_out")}
    conf = {
        "saga_heartbeat_file": str(tmp_path / "alive"),
        "broker_transport_options": folders | {"control_folder": str(tmp_path / "control")},
    }
    (tmp_path / "spool").mkdir()
    processes.worker("w1", broker="filesystem://", state=clean.url, conf=conf)
    until(lambda: young(tmp_path / "alive"), "a touch")
    first = (tmp_path / "alive").stat().st_mtime
    until(lambda: (tmp_path / "alive").stat().st_mtime > first, "another touch")


def worker(processes: ExaminedProcesses, server: RedisServer, file: Path, *args: str) -> Process:
    """Start a worker that keeps *file*."""
    conf = {"saga_heartbeat_file": str(file)}
    return processes.worker("w1", *args, broker=server.url, state=server.url, conf=conf)


def young(file: Path) -> bool:
    """True if the file was touched a moment ago."""
    seconds = age(file)
    return seconds is not None and seconds < INTERVAL / 2


def old(file: Path) -> bool:
    """True if a touch is overdue."""
    seconds = age(file)
    return seconds is not None and seconds > OLD


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_that_lives(
    clean: RedisServer, processes: ExaminedProcesses, tmp_path: Path, pool: str
) -> None:
    """The file appears when the worker is ready, is touched again and again, and goes with it."""
    file = tmp_path / "alive"
    file.touch()
    os.utime(file, (1, 1))  # what a worker before it has left
    process = worker(processes, clean, file, "-P", pool)
    until(lambda: young(file), "a touch")
    first = file.stat().st_mtime
    until(lambda: file.stat().st_mtime > first, "another touch")
    process.signal(SIGTERM)
    assert process.wait(30) == 0
    assert not file.exists()


def test_a_worker_that_hangs(
    clean: RedisServer, processes: ExaminedProcesses, tmp_path: Path
) -> None:
    """A main process that stands still touches nothing, and goes on when it can."""
    file = tmp_path / "alive"
    process = worker(processes, clean, file)
    until(lambda: young(file), "a touch")
    process.signal(SIGSTOP)
    until(lambda: old(file), "old age")
    process.signal(SIGCONT)
    until(lambda: young(file), "a touch again")


def test_a_broker_that_is_gone(serve: Serve, processes: ExaminedProcesses, tmp_path: Path) -> None:
    """A worker without its broker grows old, and is young again once it is back."""
    server, file = serve(), tmp_path / "alive"
    worker(processes, server, file)
    until(lambda: young(file), "a touch")
    server.kill()
    until(lambda: old(file), "old age")
    server.start()
    until(lambda: young(file), "a touch again", 60)


def test_a_file_that_cannot_be_written(
    clean: RedisServer, processes: ExaminedProcesses, tmp_path: Path
) -> None:
    """A worker works all the same, and says once what is wrong."""
    process = worker(processes, clean, tmp_path / "missing" / "alive")
    process.await_text("saga_heartbeat_file cannot be written")
    (tmp_path / "missing").mkdir()
    until(lambda: young(tmp_path / "missing" / "alive"), "a touch")
    assert process.text().count("cannot be written") == 1


def test_a_worker_that_keeps_none(
    clean: RedisServer, processes: ExaminedProcesses, tmp_path: Path
) -> None:
    """Without the setting there is no file, and no part of the worker for it."""
    before = set(tmp_path.iterdir())
    process = processes.worker("w1", broker=clean.url, state=clean.url)
    made = {path.name for path in set(tmp_path.iterdir()) - before}
    assert made == {process.log.name}


def test_a_name_that_is_empty() -> None:
    """An empty name is refused, and not taken for the folder the worker runs in."""
    with pytest.raises(ConfigurationError, match="saga_heartbeat_file"):
        read_settings({"saga_heartbeat_file": ""})


# --- celeriac alive ------------------------------------------------------------------------------


def test_asking(tmp_path: Path) -> None:
    """`celeriac alive` ends with 0 while the file is young, and says why when it ends with 1."""
    file = tmp_path / "alive"
    missing = CliRunner().invoke(main, ["alive", str(file)])
    assert (missing.exit_code, "not there" in missing.stderr) == (1, True)
    file.touch()
    assert CliRunner().invoke(main, ["alive", str(file), "--within", "30"]).exit_code == 0
    now = file.stat().st_mtime
    os.utime(file, (now - 40, now - 40))
    hung = CliRunner().invoke(main, ["alive", str(file)])
    assert (hung.exit_code, "hangs" in hung.stderr) == (1, True)
    assert CliRunner().invoke(main, ["alive", str(file), "--within", "60"]).exit_code == 0
    os.utime(file, (now + 500, now + 500))  # a clock that was put back
    assert CliRunner().invoke(main, ["alive", str(file)]).exit_code == 0


@pytest.mark.parametrize("words", [["--within", "0"], ["--within", "-1"], ["--within", "soon"]])
def test_an_age_that_makes_no_sense(tmp_path: Path, words: list[str]) -> None:
    """What is no age is wrong usage, and not a dead worker."""
    assert CliRunner().invoke(main, ["alive", str(tmp_path), *words]).exit_code == 2


def test_asking_from_a_shell(tmp_path: Path) -> None:
    """The real script says the same."""
    file = tmp_path / "alive"
    command = [
        sys.executable,
        "-c",
        "from celeriac.terminal.cli import main; main()",
        "alive",
        str(file),
    ]
    for code in (1, 0):
        ran = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, timeout=60, check=False
        )
        assert ran.returncode == code, ran.stderr
        file.touch()
