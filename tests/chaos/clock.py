"""Wall clocks that can be set while their processes run: of a Redis server, of a worker.

Owns: building the small library that is preloaded into a process (`clock.c`), and setting what it
adds to the time.  Refuses to know: what a jump leads to.  Where it cannot be done there are no such
clocks, and whoever asks is told so.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from celeriac.testing.servers import find_redis_binary

_SOURCE = Path(__file__).with_name("clock.c")
_COMPILERS = ("cc", "gcc", "clang")


def possible() -> bool:
    """True if clocks can be set here: Linux, a C compiler, and a server that loads libraries."""
    return sys.platform.startswith("linux") and _compiler() is not None and _is_dynamic()


def build(folder: Path) -> Path | None:
    """Make the library in *folder*; None where clocks cannot be set."""
    chosen = _compiler()
    if chosen is None or not possible():
        return None
    made = folder / "clock.so"
    subprocess.run([chosen, "-shared", "-fPIC", "-O1", "-o", made, _SOURCE], check=True)
    return made


def _compiler() -> str | None:
    return next((found for name in _COMPILERS if (found := shutil.which(name))), None)


def _is_dynamic() -> bool:
    """True if the server names a loader, as programs do that libraries are loaded into."""
    with find_redis_binary().open("rb") as program:
        return b"/ld-" in program.read(4096)


class Clock:
    """The clock of the processes that are started with `env`; as the machine's until it is set."""

    def __init__(self, library: Path, name: str) -> None:
        self.seconds = 0.0  # ahead of the machine's clock
        self._library, self._file = library, library.with_name(f"{name}.clock")
        self.set(0.0)

    @property
    def env(self) -> dict[str, str]:
        """What has to be added to a process's environment."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)}

    def set(self, seconds: float) -> None:
        """Put the clock so many seconds ahead of the machine's (or, below zero, behind it)."""
        self.seconds = seconds
        # In place: the processes look into this very file.
        handle = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(handle, struct.pack("=q", int(seconds * 1_000_000)), 0)
        finally:
            os.close(handle)

    def wrap(self, program: Path) -> Path:
        """Return a program that runs *program* by this clock, for those who cannot set `env`."""
        words = " ".join(f"{name}='{value}'" for name, value in self.env.items())
        script = self._file.with_suffix(".sh")
        script.write_text(f'#!/bin/sh\nexec env {words} "{program}" "$@"\n')
        script.chmod(0o700)
        return script
