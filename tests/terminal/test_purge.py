"""`saga purge`: runs at rest go before their time, and only those that were meant."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine.archive import JsonLines
from celeriac.settings import read_settings
from celeriac.store import Query
from tests.terminal import driven_runs, shop

if TYPE_CHECKING:
    from pathlib import Path

    from celeriac.engine.archive import ArchivedRun
    from tests.redis_server import RedisServer
    from tests.terminal.conftest import Cli, Ended

ALL = ("purge", "--older-than", "0.001s")  # the shortest that may be given


def left() -> set[str]:
    """The runs that there are."""
    return {run.id for run in shop.sagas.runs().runs}


@pytest.fixture
def cli(cli: Cli) -> Cli:
    """The command line, called once every run that has ended did so a moment ago."""

    def call(*words: str) -> Ended:
        store = shop.sagas.runtime.engine.store
        last = max((run.ended_at for run in store.find(Query()).runs), default=0)
        while store.read("").now <= last + 1:
            pass  # a millisecond or two
        return cli(*words)

    return call  # type: ignore[return-value]  # with words alone


@pytest.fixture
def runs(cli: Cli) -> None:  # noqa: ARG001 -- it empties the shop
    """A run of each kind."""
    driven_runs.completed("done")
    driven_runs.compensated("undone")
    driven_runs.failed("owing")
    shop.ping.start(id="live")


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the shop's runs are archived."""
    path = tmp_path / "runs.jsonl"
    setting(monkeypatch, archive=JsonLines(path))
    return path


def setting(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    """Change the shop's settings for a test."""
    known = {name: value for name, value in shop.app.conf.items() if name.startswith("saga_")}
    changed = read_settings({**known, **{f"saga_{name}": v for name, v in values.items()}})
    monkeypatch.setattr(shop.sagas.runtime, "_settings", changed)
    monkeypatch.setattr(shop.sagas.runtime, "_archive", None)


@pytest.mark.usefixtures("runs")
def test_what_is_settled_is_removed(cli: Cli) -> None:
    """Everything at rest goes; what is owed and what is at work stays."""
    ended = cli(*ALL, "--yes")
    assert (ended.code, ended.out) == (0, "Removed 2 runs.\n")
    assert left() == {"owing", "live"}


@pytest.mark.usefixtures("runs")
def test_nothing_is_removed_that_ended_later(cli: Cli) -> None:
    """Age counts from the end of a run."""
    ended = cli("purge", "--older-than", "1h", "--yes")
    assert (ended.code, ended.out) == (0, "Removed 0 runs.\n")
    assert len(left()) == 4


@pytest.mark.usefixtures("runs")
def test_filters_narrow_a_purge(cli: Cli) -> None:
    """By status and by saga."""
    assert cli(*ALL, "--saga", "ping", "--yes").out == "Removed 0 runs.\n"
    assert cli(*ALL, "--status", "compensated", "--yes").out == "Removed 1 run.\n"
    assert left() == {"done", "owing", "live"}


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("status", ["failed", "running", "compensating"])
def test_what_is_live_or_owed_is_refused(cli: Cli, status: str) -> None:
    """It says what to do instead, and nothing is removed."""
    ended = cli(*ALL, "--status", "completed", "--status", status, "--yes")
    assert ended.code == 2
    assert f"not {status}" in ended.err
    assert "waived" in ended.err
    assert len(left()) == 4


@pytest.mark.usefixtures("runs")
def test_a_purge_asks(cli: Cli) -> None:
    """It says how many runs it is about; where nobody can be asked it takes --yes."""
    ended = cli(*ALL)
    assert ended.code == 2
    assert "1  place_order completed" in ended.err
    assert "1  place_order compensated" in ended.err
    assert "2 runs" in ended.err
    assert "--yes" in ended.err
    assert len(left()) == 4


@pytest.mark.usefixtures("runs")
def test_a_dry_run_changes_nothing(cli: Cli) -> None:
    """It counts exactly, or names the runs."""
    assert cli(*ALL, "--dry-run").out == "Would remove 2 runs.\n"
    assert set(cli(*ALL, "--dry-run", "-o", "ids").lines) == {"done", "undone"}
    assert json.loads(cli(*ALL, "--dry-run", "-o", "json").out) == {"would_remove": 2}
    assert len(left()) == 4


@pytest.mark.usefixtures("runs")
def test_programs_are_told_how_many(cli: Cli) -> None:
    """As a document; among ids there is nothing to say."""
    assert cli(*ALL, "--saga", "ping", "--yes", "-o", "ids").out == ""
    assert json.loads(cli(*ALL, "--yes", "-o", "json").out) == {"removed": 2}


@pytest.mark.usefixtures("runs")
def test_the_archive_gets_them_first(cli: Cli, archive: Path) -> None:
    """With who asked, and why: a run that is gone has no history."""
    cli(*ALL, "--status", "completed", "--yes", "--reason", "moved house", "--by", "ada")
    [line] = [json.loads(text) for text in archive.read_text().splitlines()]
    assert line["id"] == "done"
    assert line["removed"] == {"what": "purge", "by": "ada", "why": "moved house"}
    assert line["events"][0]["event"] == "started"
    assert "payloads" not in line


@pytest.mark.usefixtures("runs")
def test_an_archive_that_fails_ends_a_purge(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is told, and how far it came."""
    taken: list[str] = []

    def take(run: ArchivedRun) -> None:
        if taken:
            raise OSError("the disk is full")
        taken.append(run.state.id)

    setting(monkeypatch, archive=take)
    ended = cli(*ALL, "--yes")
    assert ended.code == 1
    assert "the disk is full" in ended.err
    assert ended.out == "Removed 1 run.\n"
    assert len(left()) == 3
    assert not left() & set(taken)


@pytest.mark.parametrize("age", ["", "long", "-3d", "2025-01-01"])
def test_an_age_that_makes_no_sense_is_refused(cli: Cli, age: str) -> None:
    """It says what an age looks like."""
    ended = cli("purge", "--older-than", age, "--yes")
    assert ended.code == 2
    assert "--older-than" in ended.err


def test_an_age_must_be_given(cli: Cli) -> None:
    """Nobody removes everything by leaving something out."""
    assert cli("purge", "--yes").code == 2


def test_progress_is_shown(cli: Cli) -> None:
    """Where nobody watches, by a line now and then."""
    for n in range(45):
        driven_runs.completed(f"order-{n:02}")
    ended = cli(*ALL, "--yes", "--rps", "100000")
    assert ended.out == "Removed 45 runs.\n"
    assert "purge: 40 of 45" in ended.err


def test_a_purge_can_be_stopped(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal ends it in good order: what it has begun is done, and how far it came is told."""
    for n in range(45):
        driven_runs.completed(f"order-{n:02}")
    setting(monkeypatch, archive=lambda _: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr(signal, "SIG_DFL", signal.SIG_IGN)  # a second one would end the tests
    ended = cli(*ALL, "--yes", "--rps", "100000")
    assert (ended.code, ended.out) == (1, "Removed 20 runs.\n")
    assert len(left()) == 25


# --- the sweep ---------------------------------------------------------------------------------


def test_a_sweep_archives_what_has_expired(cli: Cli, server: RedisServer, archive: Path) -> None:
    """`saga sweep` does what the sweep of a worker does, with the same archive."""
    driven_runs.completed("old")
    driven_runs.completed("new")
    with server.client() as client:
        key = shop.sagas.runtime.engine.store._keys.of("old").expire  # type: ignore[attr-defined]
        client.zadd(key, {"old": 1})
    assert cli("sweep").code == 0
    assert left() == {"new"}
    assert json.loads(archive.read_text())["removed"] == {"what": "retention"}


def test_an_archive_that_cannot_be_found_keeps_everything(
    cli: Cli, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep says so and does the rest of its work; a purge does nothing at all."""
    driven_runs.completed("old")
    setting(monkeypatch, archive="tests.terminal.shop.nothing")
    with server.client() as client:
        key = shop.sagas.runtime.engine.store._keys.of("old").expire  # type: ignore[attr-defined]
        client.zadd(key, {"old": 1})
    assert cli("sweep").code == 0
    assert cli(*ALL, "--yes").code == 1
    assert left() == {"old"}
