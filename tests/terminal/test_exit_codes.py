"""How the verbs end when something is wrong: one line on stderr, and the right code."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from celeriac import (
    CommandRefused,
    ConfigurationError,
    Event,
    EventKind,
    Flow,
    InputInvalid,
    PayloadTooLarge,
    ResultTimeout,
    RunConflict,
    RunExists,
    RunNotFound,
    RunStatus,
    SagaError,
    Sagas,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from celeriac.machine.runs import Run
from celeriac.observing.observers import log, observed
from celeriac.terminal.cli import saga
from celeriac.terminal.exit_codes import Exit, error_boundary, exit_of_error, exit_of_outcome
from celeriac.testing.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.terminal.conftest import Cli


def lonely_app() -> Celery:
    """An app with sagas whose Redis is not there."""
    app = Celery("lonely", broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False)
    sagas = Sagas(app)

    @sagas.step
    def tick() -> None:
        """Nothing."""

    @sagas.saga
    def ping(flow: Flow) -> None:
        """No input."""
        flow.step(tick)

    assert sagas.defined == {"ping": ping}
    return app


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputInvalid("x"), 2),
        (PayloadTooLarge("x", 2, 1), 2),
        (RunNotFound("x"), 3),
        (RunExists("x", "running"), 4),
        (RunConflict("x", "is another"), 4),
        (CommandRefused("stale", "x"), 4),
        (StoreUnavailable("x"), 5),
        (OperationalError("x"), 5),
        (StoreFull("x"), 1),
        (StoreError("x"), 1),
        (ResultTimeout("x"), 1),
        (ConfigurationError("x"), 1),
        (SagaError("x"), 1),
        (KeyError("x"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_have_exit_codes(error: Exception, code: int) -> None:
    """A script can tell what went wrong without reading it."""
    assert exit_of_error(error) == code


def test_outcomes_have_exit_codes() -> None:
    """Every way in which a run may come to rest has a code of its own."""
    codes = {status: exit_of_outcome(status) for status in RunStatus if status.at_rest}
    assert codes == {"completed": 0, "compensated": 10, "failed": 11, "terminated": 13}


def test_help_tells_every_exit_code() -> None:
    """Whoever writes a script finds the codes in the help."""
    words = {word.strip(":") for word in (saga.epilog or "").split()}
    assert {str(int(code)) for code in Exit} <= words


@pytest.mark.parametrize(
    "words",
    [
        ("start", "ping"),
        ("list",),
        ("show", "o-1"),
        ("history", "o-1"),
        ("cancel", "o-1"),
        ("terminate", "o-1", "--reason", "x"),
        ("retry", "o-1"),
        ("waive", "o-1", "charge", "--reason", "x"),
        ("sweep",),
    ],
)
def test_redis_out_of_reach_is_told_soon(cli: Cli, words: tuple[str, ...]) -> None:
    """No verb hangs when Redis is away: it says so within seconds."""
    begin = time.monotonic()
    ended = cli(*words, app=lonely_app())
    assert (ended.code, ended.out) == (5, "")
    assert "cannot be reached" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert time.monotonic() - begin < 10


def test_an_app_without_sagas_is_told_what_to_write(cli: Cli) -> None:
    """The first mistake of all: the app has no Sagas, or another app was asked."""
    ended = cli("list", app=Celery("bare", set_as_current=False))
    assert ended.code == 1
    assert "the app 'bare' has no sagas" in ended.err
    assert "sagas = Sagas(app)" in ended.err


def test_sagas_are_found_in_the_modules_of_the_app(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sagas may be defined where a worker finds tasks: in what the app includes."""
    (tmp_path / "far_app.py").write_text(
        "from celery import Celery\n"
        "app = Celery('far', include=['far_sagas'], broker='memory://', set_as_current=False)\n"
    )
    (tmp_path / "far_sagas.py").write_text(
        "from celeriac import Sagas\nfrom far_app import app\nsagas = Sagas(app)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import far_app  # type: ignore[import-not-found]  # noqa: PLC0415 -- written just now

    ended = cli("start", "ping", app=far_app.app)
    assert ended.code == 3
    assert "this app has none" in ended.err


def test_a_module_that_cannot_be_imported_is_an_error(cli: Cli) -> None:
    """What is wrong in the app itself is a line too, with a hint how to see more."""
    app = Celery("broken", include=["no_such_module"], set_as_current=False)
    ended = cli("list", app=app)
    assert (ended.code, ended.out) == (1, "")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in ended.err
    assert "--debug" in ended.err
    assert "Traceback" not in ended.err


def test_a_setting_that_makes_no_sense_is_an_error(cli: Cli) -> None:
    """A state Redis that is none is told by the name of its setting."""
    app = Celery("rabbit", broker="amqp://localhost//", set_as_current=False)
    Sagas(app)
    ended = cli("list", app=app)
    assert ended.code == 1
    assert "saga_redis_url" in ended.err


def test_debug_shows_where_an_error_comes_from(cli: Cli) -> None:
    """With `--debug` there is a traceback as well; the exit code stays."""
    ended = cli("--debug", "show", "nobody")
    assert ended.code == 3
    assert "Traceback (most recent call last)" in ended.err
    assert ended.err.splitlines()[-1].startswith("Error: no run 'nobody'")


@pytest.mark.parametrize(
    ("events", "lines"), [(False, ["news"]), (True, ["p-1 terminated", "news"])]
)
def test_warnings_are_shown(
    events: bool,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What went wrong on the side is told, but what a verb did itself is not told twice."""
    monkeypatch.setattr(log, "propagate", False)
    run = Run("p-1", "ping", "plan", RunStatus.TERMINATED, 0, 0)
    with error_boundary(debug=False, events=events):
        observed(run, [Event(0, EventKind.TERMINATED)])
        log.warning("news")
    assert capsys.readouterr().err.splitlines() == [f"WARNING: {line}" for line in lines]


def test_an_application_keeps_its_own_logging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An app that has set up logging gets the lines there, and only there."""
    monkeypatch.setattr(log, "propagate", False)
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    monkeypatch.setattr(log, "handlers", [handler])
    with error_boundary(debug=False, events=True):
        log.warning("news")
    assert [record.getMessage() for record in records] == ["news"]
    assert capsys.readouterr().err == ""
