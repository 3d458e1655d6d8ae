"""`saga sweep`: once, and in the place of beat."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from celeriac.testing.servers import free_port
from tests.house.sources import ROOT
from tests.redis_server import RedisServer
from tests.terminal import shop
from tests.terminal.conftest import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from tests.terminal.conftest import Cli

PATIENCE = 30.0  # seconds
QUEUE = "celery"  # where the messages of steps wait for a worker


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


def sent_twice(broker: redis.Redis, run_id: str) -> bool:
    """True once a run's message, which is lost as soon as it is there, was sent again."""
    found = 0
    while found < 2 and (message := broker.blpop([QUEUE], PATIENCE)):
        found += run_id in str(message)
    return found == 2


def test_a_sweep_sees_to_what_is_due(cli: Cli, server: RedisServer) -> None:
    """One sweep looks at the run whose message was lost, and sends it again."""
    shop.ping.start(id="p-1")
    with server.client() as broker:
        assert broker.lpop(QUEUE)
        ended = cli("sweep")
        assert (ended.code, ended.out) == (0, "Looked at 1 run.\n")
        assert broker.llen(QUEUE) == 1


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_sweep_is_told_to_programs(cli: Cli, form: str) -> None:
    """Programs read how many runs were looked at."""
    assert json.loads(cli("sweep", "-o", form).out) == {"looked_at": 0}


@pytest.mark.parametrize("words", [("--every", "0"), ("--every", "soon"), ("-o", "ids")])
def test_wrong_words_are_refused(cli: Cli, words: tuple[str, ...]) -> None:
    """An interval is more than nothing, and a sweep has no ids to print."""
    assert cli("sweep", *words).code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("empty")
def test_sweeping_goes_on_until_it_is_ended(
    server: RedisServer, environment: dict[str, str], number: signal.Signals
) -> None:
    """Run after run is seen to, without beat; a signal ends it in good order."""
    with sweeping(environment) as process, server.client() as broker:
        for run_id in ("p-1", "p-2"):
            shop.ping.start(id=run_id)
            assert sent_twice(broker, run_id)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("Looked at ")


def test_sweeping_outlives_redis(command: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """While Redis is away it is said once, and sweeping goes on when it is back."""
    with RedisServer(tmp_path / "redis") as own:
        environment[shop.URL] = own.url
        with sweeping(environment) as process:
            assert process.stderr is not None
            own.kill()
            assert "cannot be reached" in process.stderr.readline()
            own.start()
            assert command("start", "ping", "--id", "p-1").code == 0
            with own.client() as broker:
                assert sent_twice(broker, "p-1")
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
