"""The archive: who gets a run before it is removed, and what of it.

Owns: what an archive is given, finding the one that a setting names, and the one that is shipped:
JSON Lines in a file.  Refuses to know: which runs are removed, and when (`retention`).

An archive is anything that can be called with an `ArchivedRun`.  It returns once the run is kept;
what it raises means that it is not, and the run stays where it is.  If it has a method `flush`,
that is called after some runs and before they are removed.  A run may be given twice: when the
process dies in between.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from celeriac.errors import ConfigurationError
from celeriac.views import event_document, run_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.machine import Event
    from celeriac.views import RunState


@dataclass(frozen=True, slots=True)
class ArchivedRun:
    """A run that is about to be removed: all that was known of it."""

    state: RunState
    history: tuple[Event, ...]
    #: What was recorded as JSON text, by its name: `in:order`, `out:reserve`, `err:charge`.  None
    #: without `saga_archive_payloads`: it may hold secrets.
    payloads: Mapping[str, str] | None = None
    cause: Mapping[str, str] | None = None  # why it goes: `what` (retention or purge), `by`, `why`

    def document(self) -> dict[str, Any]:
        """The run as programs get it: as `saga show -o json` and `saga history -o json` tell it."""
        found = {
            **run_document(self.state),
            "events": [event_document(event) for event in self.history],
            "removed": dict(self.cause or {}),
        }
        if self.payloads is not None:
            found["payloads"] = {name: _value(text) for name, text in self.payloads.items()}
        return found


def _value(text: str) -> Any:
    """What a payload's JSON text holds; what an observer noted may be no JSON, and stays text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


Archive = Callable[[ArchivedRun], object]


def load_archive(named: str | Archive) -> Archive:
    """Return the archive that `saga_archive` names: a dotted path, or the thing itself.

    A class is called to get one.  Raises ConfigurationError.
    """
    found = find_archive(named)
    return _callable(found(), named) if isinstance(found, type) else found


def find_archive(named: str | Archive) -> Archive:
    """Return what `saga_archive` names, a class as it is; raise ConfigurationError otherwise."""
    return _callable(_imported(named) if isinstance(named, str) else named, named)


def _callable(found: Any, named: str | Archive) -> Archive:
    if not callable(found):
        raise ConfigurationError(
            f"saga_archive: {named!r} cannot be called: name a function that takes an ArchivedRun"
        )
    return found  # type: ignore[no-any-return]  # whatever it is, it is called with a run


def _imported(path: str) -> Any:
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"saga_archive: {path!r} cannot be imported ({error}): give package.module.name"
        ) from error


class JsonLines:
    """An archive in a file at *path*: a line of JSON for each run.

    Any number of processes may write to the file at once, and whoever rotates it may rename it at
    any time: the next line goes to a new one.  *sync* says when lines are forced to the disk:
    before their runs are removed (`batch`), at once (`line`) or when the system likes (`never`).
    A line that was cut short by a crash or a full disk spoils no other line.

    The file is readable by its owner only.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, sync: Literal["batch", "line", "never"] = "batch"
    ) -> None:
        if sync not in ("batch", "line", "never"):
            raise ConfigurationError(f"JsonLines: sync is batch, line or never, not {sync!r}")
        self.path = Path(path)
        self.sync = sync
        self._file: int | None = None
        self._owner = 0  # the process that opened it
        self._unsaved = False
        self._alone = threading.Lock()

    def __repr__(self) -> str:
        return f"JsonLines({str(self.path)!r})"

    def __call__(self, run: ArchivedRun) -> None:
        """Append a run; raise OSError if that fails."""
        line = json.dumps(run.document(), separators=(",", ":")).encode() + b"\n"
        with self._alone, self._locked() as file:
            _append(file, line)
            self._unsaved = self.sync != "never"
            if self.sync == "line":
                self._save()

    def flush(self) -> None:
        """Force to the disk what was appended; raise OSError if that fails."""
        with self._alone:
            self._save()

    def close(self) -> None:
        """Close the file; the next run opens it again."""
        with self._alone:
            self._close()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, ours alone for the time being, among all processes."""
        while True:
            file = self._open()
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if self._is_current(file):
                    yield file
                    return
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
            self._close()

    def _open(self) -> int:
        if self._owner != os.getpid():
            # A file that came with a fork shares its lock with whoever forked.
            self._leave()
        if self._file is not None and not self._is_current(self._file):
            self._close()  # it was rotated
        if self._file is None:
            # Read too: the end of the file tells whether the last line is whole.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o600)
            self._owner = os.getpid()
        return self._file

    def _is_current(self, file: int) -> bool:
        """True if *file* is still what the path leads to."""
        try:
            return os.path.samestat(os.fstat(file), self.path.stat())
        except FileNotFoundError:
            return False

    def _save(self) -> None:
        if self._unsaved and self._file is not None and self._owner == os.getpid():
            os.fsync(self._file)
            _save_entry(self.path)
        self._unsaved = False

    def _close(self) -> None:
        self._save()
        self._leave()

    def _leave(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._unsaved = None, False


def _append(file: int, line: bytes) -> None:
    """Append a line, whole or not at all; to be called under the lock."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        line = b"\n" + line  # somebody died while writing: what is there is no line of ours
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
    except OSError:
        os.ftruncate(file, size)  # a full disk: the half line goes again
        raise


def _save_entry(path: Path) -> None:
    """Force the file's name to the disk: without it, what is in a new file may be lost."""
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
