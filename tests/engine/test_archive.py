"""The archive that is shipped, a line of JSON for each run; and finding one by its name."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import stat
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine.archive import ArchivedRun, JsonLines, load_archive
from celeriac.errors import ConfigurationError
from celeriac.failure import Failure
from celeriac.machine.events import Event, EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import StepStatus
from celeriac.settings import read_settings
from celeriac.views.state import RunState, StepView

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
SPAWNED = multiprocessing.get_context("spawn")
FORKED = multiprocessing.get_context("fork")


def a_run(run_id: str = "order-42", payloads: Mapping[str, str] | None = None) -> ArchivedRun:
    """A run that was undone."""
    step = StepView(
        name="charge",
        task="shop.charge",
        status=StepStatus.COMPENSATED,
        attempts=1,
        undo_attempts=1,
        failure=Failure(type="BankDown", message="card 4711"),
    )
    state = RunState(
        id=run_id,
        saga="place_order",
        version=3,
        status=RunStatus.COMPENSATED,
        started_at=NOON,
        deadline=None,
        changed_at=NOON,
        ended_at=NOON,
        tags={"tenant": "acme"},
        steps=(step,),
        why="failed",
        reason=None,
        failure=None,
        owed=(),
    )
    event = Event(1_735_732_800_000, EventKind.STARTED, data={"saga": "place_order"})
    return ArchivedRun(state, (event,), payloads, {"what": "retention"})


def lines(path: Path) -> list[dict[str, Any]]:
    """What is in the archive, line by line; each must be JSON."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the archive is."""
    return tmp_path / "runs.jsonl"


# --- what is kept ------------------------------------------------------------------------------


def test_a_run_is_a_line(path: Path) -> None:
    """State and events as the command line tells them to programs, and why the run went."""
    keep = JsonLines(path)
    keep(a_run())
    keep(a_run("line\nbreak"))
    first, second = lines(path)
    assert first["id"] == "order-42"
    assert first["status"] == "compensated"
    assert first["tags"] == {"tenant": "acme"}
    assert first["steps"][0]["failure"] == {"type": "BankDown", "code": None, "effect": None}
    assert first["events"][0]["event"] == "started"
    assert first["removed"] == {"what": "retention"}
    assert "payloads" not in first
    assert second["id"] == "line\nbreak"
    keep.close()


def test_payloads_are_kept_as_what_they_are() -> None:
    """JSON as JSON; what somebody noted otherwise, as text."""
    kept = a_run(payloads={"in:order": '{"sku":"pen"}', "mark": "00-ab-cd"}).document()
    assert kept["payloads"] == {"in:order": {"sku": "pen"}, "mark": "00-ab-cd"}


def test_only_its_owner_may_read_it(path: Path) -> None:
    """It may hold secrets."""
    keep = JsonLines(path)
    keep(a_run())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keep.close()


# --- several at once ---------------------------------------------------------------------------


def _write(path: Path, name: str, count: int) -> None:
    keep = JsonLines(path, sync="never")
    for number in range(count):
        keep(a_run(f"{name}-{number}", {"out": json.dumps("x" * 20_000)}))
    keep.close()


def test_several_processes_write_whole_lines(path: Path) -> None:
    """Lines longer than any buffer do not mix, whoever writes."""
    writers = [SPAWNED.Process(target=_write, args=(path, f"w{n}", 40)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert {line["id"] for line in lines(path)} == {
        f"w{n}-{i}" for n in range(3) for i in range(40)
    }


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # pytest may have threads
def test_threads_and_forks_share_an_archive(path: Path) -> None:
    """An open archive may be used by several threads, and goes on in a child."""
    keep = JsonLines(path, sync="line")
    keep(a_run("first"))

    def more(name: str) -> None:
        for number in range(30):
            keep(a_run(f"{name}-{number}", {"out": json.dumps("x" * 20_000)}))

    child = FORKED.Process(target=more, args=("child",))
    child.start()
    threads = [threading.Thread(target=more, args=(f"t{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child.join(60)
    assert child.exitcode == 0
    assert len({line["id"] for line in lines(path)}) == 91
    keep.close()


# --- trouble -----------------------------------------------------------------------------------


def test_a_half_line_spoils_no_other(path: Path) -> None:
    """Whoever died while writing leaves half a line; the next one is whole."""
    path.write_text('{"id":"whole"}\n{"id":"ha')
    keep = JsonLines(path)
    keep(a_run("next"))
    whole, half, after = path.read_text().splitlines()
    assert (whole, half) == ('{"id":"whole"}', '{"id":"ha')
    assert json.loads(after)["id"] == "next"
    keep.close()


def test_a_full_disk_leaves_no_half_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written of a line goes again, and the error is told; later it works."""
    keep = JsonLines(path)
    keep(a_run("first"))
    write = os.write
    room = [100]

    def cramped(file: int, text: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = write(file, bytes(text[: room[0]]))
        room[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", cramped)
        with pytest.raises(OSError, match="No space left"):
            keep(a_run("second"))
    keep(a_run("third"))
    assert [line["id"] for line in lines(path)] == ["first", "third"]
    keep.close()


def test_a_write_in_pieces_is_finished(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take less than it was given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, text: write(file, bytes(text[:7])))
    keep = JsonLines(path)
    keep(a_run())
    assert lines(path)[0]["id"] == "order-42"
    keep.close()


def test_a_rotated_file_is_left_alone(path: Path) -> None:
    """Once the file was renamed, or removed, the next run goes to a new one."""
    keep = JsonLines(path)
    keep(a_run("old"))
    path.rename(path.with_suffix(".1"))
    keep(a_run("new"))
    assert [line["id"] for line in lines(path.with_suffix(".1"))] == ["old"]
    assert [line["id"] for line in lines(path)] == ["new"]
    path.unlink()
    keep(a_run("newest"))
    assert [line["id"] for line in lines(path)] == ["newest"]
    keep.close()


def test_a_rotation_while_waiting_for_the_lock_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may rename the file between opening and locking it."""
    lock = fcntl.flock
    rotated: list[Path] = []

    def rotating(file: int, how: int) -> None:
        lock(file, how)
        if not rotated:
            rotated.append(path.rename(path.with_suffix(".1")))

    monkeypatch.setattr(fcntl, "flock", rotating)
    keep = JsonLines(path)
    keep(a_run())
    assert lines(path.with_suffix(".1")) == []
    assert [line["id"] for line in lines(path)] == ["order-42"]
    keep.close()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        JsonLines(tmp_path / "nowhere" / "runs.jsonl")(a_run())


# --- the disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sync", "after_two", "after_flush"),
    [
        ("batch", 0, 1),
        ("line", 2, 2),
        ("never", 0, 0),
    ],
)
def test_lines_are_forced_to_the_disk_when_asked(
    path: Path, monkeypatch: pytest.MonkeyPatch, sync: Any, after_two: int, after_flush: int
) -> None:
    """Before their runs are removed, at once, or never: and nothing is forced twice."""
    forced: list[int] = []
    fsync = os.fsync

    def noted(file: int) -> None:
        if stat.S_ISREG(os.fstat(file).st_mode):
            forced.append(file)
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted)
    keep = JsonLines(path, sync=sync)
    keep.flush()
    keep(a_run())
    keep(a_run())
    assert len(forced) == after_two
    keep.flush()
    keep.flush()
    assert len(forced) == after_flush
    keep.close()


def test_what_was_rotated_away_is_forced_to_the_disk_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch may lie in two files."""
    forced: list[int] = []
    fsync = os.fsync

    def noted(file: int) -> None:
        forced.append(os.fstat(file).st_ino)
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted)
    keep = JsonLines(path)
    keep(a_run("old"))
    old = path.rename(path.with_suffix(".1"))
    keep(a_run("new"))
    keep.flush()
    assert {old.stat().st_ino, path.stat().st_ino} <= set(forced)
    keep.close()


def test_an_unknown_way_to_sync_is_refused(path: Path) -> None:
    """At once, not when the first run goes."""
    with pytest.raises(ConfigurationError, match="batch, line or never"):
        JsonLines(path, sync="sometimes")  # type: ignore[arg-type]  # on purpose


# --- naming one --------------------------------------------------------------------------------


def keep_nothing(_run: ArchivedRun) -> None:
    """An archive in a module."""


class Nothing:
    """An archive that is made by its class."""

    def __call__(self, _run: ArchivedRun) -> None:
        """Keep nothing."""


NUMBER = 7


@pytest.mark.parametrize("sign", [".", ":"])
def test_an_archive_is_found_by_its_path(sign: str) -> None:
    """As a function, or as a class, which is called to get one."""
    assert load_archive(f"{__name__}{sign}keep_nothing") is keep_nothing
    assert isinstance(load_archive(f"{__name__}{sign}Nothing"), Nothing)


def test_an_archive_may_be_given_itself(path: Path) -> None:
    """As any object that can be called."""
    keep = JsonLines(path)
    assert load_archive(keep) is keep
    assert read_settings({"saga_archive": keep}).archive is keep


@pytest.mark.parametrize(
    "named", ["", "nothing", "no.such.module.keep", f"{__name__}.nothing", f"{__name__}.NUMBER"]
)
def test_what_is_no_archive_is_told(named: str) -> None:
    """The error names the setting, and says what to give."""
    with pytest.raises(ConfigurationError, match=r"saga_archive: .+ (give|name) "):
        load_archive(named)


def test_a_setting_that_can_be_no_archive_is_refused() -> None:
    """Before anything is archived."""
    with pytest.raises(ConfigurationError, match="saga_archive"):
        read_settings({"saga_archive": 7})
