"""Chaos on the command line: `python -m tests.chaos --minutes 5 --seed 7 [--json FILE]`.

Owns: words, exit status, and where the artefacts are.  Refuses to know: what chaos is.

The same seed gives the same schedule of faults (where clocks cannot be set, one without these);
what they meet differs from time to time, since processes, sockets and clocks are real.  Exit
status 1: something is wrong, and everything that is needed to find out (logs, journals, ledger,
AOF) is kept in the folder that is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos import clock
from tests.chaos.planted import BUGS
from tests.chaos.report import as_json, text
from tests.chaos.run import chaos
from tests.chaos.schedule import BY_NAME, schedule

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> int:
    """Run chaos, print its report, and return the exit status."""
    given = _parser().parse_args(words)
    seconds = given.minutes * 60
    _say(f"seed {given.seed}, {seconds:g} s")
    if given.schedule:
        clocks = clock.possible() and not given.cluster
        for planned in schedule(given.seed, seconds, given.only, clocks=clocks):
            _say(str(planned))
        return 0
    folder = Path(given.folder or tempfile.mkdtemp(prefix=f"chaos-{given.seed}-"))
    options = {"only": given.only, "bug": given.plant, "cluster": given.cluster}
    figures = chaos(folder, given.seed, seconds, **options, tell=_say)
    _say("\n" + text(figures))
    if given.json:
        Path(given.json).write_text(json.dumps(as_json(figures), indent=2) + "\n")
    if not figures.passed:
        _say(f"artefacts are in {folder}")
        return 1
    if not given.folder:
        shutil.rmtree(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Kill, stop and cut off everything, heal it, and check every run.",
    )
    seed = random.SystemRandom().randrange(10_000)
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="of faults (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=seed, help="of the schedule (default: any)")
    parser.add_argument(
        "--cluster", action="store_true", help="the run state is in a cluster of three primaries"
    )
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    parser.add_argument("--only", action="append", default=[], choices=sorted(BY_NAME))
    parser.add_argument("--schedule", action="store_true", help="show what would strike, and end")
    parser.add_argument("--plant", default="", choices=["", *BUGS], help="a bug, in the workers")
    parser.add_argument("--folder", help="for all that is left; kept (default: one for the time)")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 -- a program for a terminal


if __name__ == "__main__":
    sys.exit(main())
