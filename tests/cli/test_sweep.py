"""`saga sweep`: once, and in the place of beat."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from celeriac import RunStatus
from tests.cli import shop
from tests.cli.conftest import COMMAND
from tests.house.sources import ROOT
from tests.redis_server import RedisServer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Cli

PATIENCE = 30.0  # seconds


@contextmanager
def sweeping(environment: dict[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    """The real command, sweeping ten times a second."""
    process = subprocess.Popen(
        [*COMMAND, "sweep", "--every", "0.1", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "Sweeping every 0.1 s; Ctrl-C ends it.\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_sweep_sees_to_what_is_due(cli: Cli) -> None:
    """One sweep looks at the run whose deadline has passed, and undoes it."""
    run = shop.hurry.start(id="h-1")
    ended = cli("sweep")
    assert (ended.code, ended.out) == (0, "Looked at 1 run.\n")
    assert run.status is RunStatus.COMPENSATED


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_sweep_is_told_to_programs(cli: Cli, form: str) -> None:
    """Programs read how many runs were looked at."""
    assert json.loads(cli("sweep", "-o", form).out) == {"looked_at": 0}


@pytest.mark.parametrize("words", [("--every", "0"), ("--every", "soon"), ("-o", "ids")])
def test_wrong_words_are_refused(cli: Cli, words: tuple[str, ...]) -> None:
    """An interval is more than nothing, and a sweep has no ids to print."""
    assert cli("sweep", *words).code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sweeping_goes_on_until_it_is_ended(
    cli: Cli, environment: dict[str, str], number: signal.Signals
) -> None:
    """Run after run is seen to, without beat; a signal ends it in good order."""
    assert cli("list").code == 0
    with sweeping(environment) as process:
        for run_id in ("h-1", "h-2"):
            assert shop.hurry.start(id=run_id).wait(PATIENCE).status is RunStatus.COMPENSATED
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert out.startswith("Looked at ")
    assert "h-1 compensation started: why deadline" in err  # news that nobody else tells


def test_sweeping_outlives_redis(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """While Redis is away it is said once, and sweeping goes on when it is back."""
    with RedisServer(tmp_path / "redis") as own:
        environment[shop.URL] = own.url
        with sweeping(environment) as process:
            assert process.stderr is not None
            own.kill()
            assert "cannot be reached" in process.stderr.readline()
            own.start()
            assert cli("list").code == 0
            started = subprocess.run(
                [*COMMAND, "start", "hurry", "--wait", "--timeout", str(PATIENCE)],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert started.returncode == 10, started.stderr
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "cannot be reached" not in err


def test_a_sweep_without_a_broker_is_an_error(command: Cli, environment: dict[str, str]) -> None:
    """What cannot be sent is not swept: the broker is named as what is away."""
    environment["CELERY_BROKER_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    ended = command("sweep")
    assert (ended.code, ended.out) == (5, "")
    assert "the broker cannot be reached" in ended.err
