"""The real commands: `celery -A app saga …` and `celeriac …`, as they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

import celeriac as celeriac_package
from celeriac.terminal import cli as module
from celeriac.testing.servers import free_port
from tests.house.sources import ROOT
from tests.terminal import driven_runs, shop
from tests.terminal.conftest import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from tests.terminal.conftest import Cli

CELERIAC = (
    sys.executable,
    "-c",
    "from celeriac.terminal.cli import main; main(prog_name='celeriac')",
)


def celeriac(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script `celeriac` somewhere."""
    return subprocess.run(
        [*CELERIAC, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "worker")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_celery_finds_the_verbs() -> None:
    """The installed package tells Celery where `saga` is, and the shell where `celeriac` is."""
    (saga,) = metadata.entry_points(group="celery.commands", name="saga")
    (script,) = metadata.entry_points(group="console_scripts", name="celeriac")
    assert (saga.load(), script.load()) == (module.saga, module.main)


def test_a_run_from_its_start_to_its_end(command: Cli) -> None:
    """The verbs work through Celery's own command, each in a process of its own."""
    started = command("start", "place_order", "--input", "-", "--id", "o-1", stdin='{"sku": "pen"}')
    assert (started.code, started.lines) == (0, ["o-1: accepted", "o-1: running"]), started.err
    driven_runs.do("o-1", "reserve")
    cancelled = command("cancel", "o-1", "--reason", "a test", "-o", "json")
    assert json.loads(cancelled.out)["changed"] is True
    assert cancelled.err == ""  # what was done is said once
    driven_runs.undo("o-1", "reserve")
    shown = command("show", "o-1")
    assert "o-1: place_order (version 1), compensated" in shown.out


def test_advice_can_be_copied(command: Cli) -> None:
    """The commands that `show` proposes name the app as it was named."""
    driven_runs.failed("o-1")
    assert "celery -A tests.terminal.shop saga retry o-1 charge" in command("show", "o-1").out


def test_exit_codes_reach_the_shell(command: Cli) -> None:
    """Celery passes our exit codes on."""
    driven_runs.failed("o-1")
    # One that click gives, and one of ours; which is given when is the subject of test_exit_codes.
    codes = {
        ("list", "--limit", "0"): 2,
        ("waive", "o-1", "reserve", "--reason", "x"): 4,
    }
    assert {words: command(*words).code for words in codes} == codes


@pytest.mark.usefixtures("empty")
def test_a_start_waits_for_the_end(environment: dict[str, str]) -> None:
    """`--wait` is woken by the end of the run, and the exit code says which end it was."""
    words = ("start", "place_order", "--input", '{"sku": "pen"}', "--id", "o-1", "--wait")
    with subprocess.Popen(
        [*COMMAND, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "o-1: accepted\n"
        driven_runs.do("o-1", "reserve")
        driven_runs.fail("o-1", "charge", effect=False)
        driven_runs.undo("o-1", "reserve")
        assert process.stdout.read() == "o-1: compensated\n"
        assert process.wait(30) == 10


def test_a_start_without_a_broker_is_accepted(command: Cli, environment: dict[str, str]) -> None:
    """The state has the run, so it is accepted; that its message was not sent is a warning."""
    environment["CELERY_BROKER_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    ended = command("start", "ping", "--id", "p-1")
    assert (ended.code, ended.lines) == (0, ["p-1: accepted", "p-1: running"])
    assert "not sent" in ended.err
    assert "the sweep will send it" in ended.err
    assert shop.sagas.run("p-1").status == "running"


def test_celery_gets_no_slower() -> None:
    """Every `celery` command loads our verbs; what they need is loaded when one is called."""
    code = "import sys, celeriac.terminal.cli; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "worker",
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    working = ("inspection", "control", "maintenance", "printing", "exit_codes", "completion")
    own = {f"celeriac.terminal.{name}" for name in working}
    assert loaded & {"rich", "flower", "django"} == set()
    assert own & set(ran.stdout.split()) == set()


def test_the_script_tells_its_version(tmp_path: Path) -> None:
    """`celeriac version` is the version that is installed."""
    ran = celeriac("version", folder=tmp_path)
    assert ran.stdout == f"celeriac {metadata.version('celeriac')}\n"
    assert celeriac_package.__version__ == metadata.version("celeriac")


def test_the_demo_runs_from_anywhere(tmp_path: Path) -> None:
    """`celeriac demo` is the reference demo, with its own options, wherever it is typed."""
    ran = celeriac("demo", "--help", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "--keep" in ran.stdout


def test_flower_is_told_of_its_configuration(tmp_path: Path) -> None:
    """`--conf=$(celeriac flowerconfig)` names the file that is shipped."""
    ran = celeriac("flowerconfig", folder=tmp_path)
    assert ran.stdout == f"{ROOT / 'worker' / 'celeriac' / 'flowerconfig.py'}\n", ran.stderr
