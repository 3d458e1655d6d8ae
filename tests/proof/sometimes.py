"""What must have happened sometimes: a system in which nothing ever goes wrong proves nothing.

Owns: the kinds of accident that a run of the whole suite must have met at least once, and the file
they are noted in, one JSON line each.  Refuses to know: how each test comes by them, and whether
anybody looks (`missing` tells whoever does).

The file is the one that the environment names in `SOMETIMES_FILE`; without it nothing is noted.
Tests and the processes they start write to it at the same time: a line is one write.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

VARIABLE = "SOMETIMES_FILE"

LATE_SUCCESS = "late success"
STALE_DELIVERY = "stale delivery"
REFUSED_CLAIM = "refused claim"
NOSCRIPT = "NOSCRIPT"
DOUBLE_SWEEP = "double sweep"
#: An attempt that was given up succeeded after all; a message came for an attempt that is over; a
#: claim was refused; Redis had forgotten a script; two sweeps took the same entry.
KINDS = (LATE_SUCCESS, STALE_DELIVERY, REFUSED_CLAIM, NOSCRIPT, DOUBLE_SWEEP)


def seen(kind: str, count: int = 1, where: str = "") -> None:
    """Note that *kind* happened *count* times; *where* is the test at work, if not given.

    Raises ValueError for a kind that nobody asks for.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    path = os.environ.get(VARIABLE)
    if not path or count <= 0:
        return
    test = where or os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    line = json.dumps({"kind": kind, "count": count, "test": test}) + "\n"
    # Appending one short line is one write: lines of several processes do not mix.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def counts(path: Path | str) -> Counter[str]:
    """How often each kind was noted in the file at *path*; nothing if there is none."""
    found: Counter[str] = Counter()
    file = Path(path)
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        row = json.loads(line)
        found[row["kind"]] += row["count"]
    return found


def missing(path: Path | str) -> list[str]:
    """The kinds that never happened, in the order of `KINDS`."""
    found = counts(path)
    return [kind for kind in KINDS if not found[kind]]


def main(words: list[str]) -> int:
    """Say how often each kind was noted in the file that is named; 1 if one never was."""
    (path,) = words
    found, never = counts(path), missing(path)
    told = ", ".join(f"{kind} {found[kind]}" for kind in KINDS)
    sys.stdout.write(f"what must happen sometimes: {told}\n")
    if never:
        sys.stdout.write(f"it never came to: {', '.join(never)}\n")
    return 1 if never else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
