"""What a client noted: which starts it asked for, and which were accepted.

Owns: a file of lines that outlives the client, one write for each.  Refuses to know: what starts
are.  A client that was killed is told by it what it must ask again; the checks are told which
runs there must be.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

REFUSED_CLAIMS = "refused-claims"  # a file of workers' notes: reason, run and step
TRIED, ACCEPTED, REFUSED, AGAIN, BROKEN = "tried", "accepted", "refused", "again", "broken"
REWOUND, SIGNALLED = "rewound", "signalled"


class Journal:
    """The notes of one client, in a file that its successors go on with."""

    def __init__(self, folder: Path, client: str) -> None:
        self.client = client
        self._path = folder / f"{client}.journal"

    def note(self, what: str, about: str) -> None:
        """Write a line; it is there when this returns, whatever happens to us."""
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{what} {about}\n".encode())
        finally:
            os.close(handle)

    def noted(self, what: str) -> list[str]:
        """What was noted under this word, in order."""
        return [about for word, about in self._lines() if word == what]

    def asked(self) -> list[str]:
        """The runs whose start was asked for, in order."""
        return list(dict.fromkeys(self.noted(TRIED)))

    def open(self) -> list[str]:
        """Those of them that have no answer yet."""
        accepted = set(self.noted(ACCEPTED))
        return [run_id for run_id in self.asked() if run_id not in accepted]

    def next(self) -> int:
        """The number of the next start."""
        return max((int(run_id.rpartition("-")[2]) for run_id in self.asked()), default=-1) + 1

    def _lines(self) -> list[tuple[str, str]]:
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        found = [line.partition(" ") for line in text.splitlines()]
        return [(word, about) for word, _, about in found]


def journals(folder: Path) -> list[Journal]:
    """The journals of all clients in *folder*."""
    return [Journal(folder, path.stem) for path in sorted(folder.glob("*.journal"))]
