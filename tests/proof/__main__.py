"""The whole proof, part by part: `python -m tests.proof [PART …]`, or `make prove`.

Owns: the parts (docs/proof.md), in which order and with how much patience
each runs, the one table at the end, and the page that keeps its figures.  Refuses to know: what a
part tests.

A part that fails does not keep the others from running; the exit status is 1 then.  The last part
asks whether the accidents that the programme is about have happened at all: a system in which
nothing goes wrong proves nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

from tests.proof.sometimes import KINDS, VARIABLE, counts, missing

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "proof.md"
_SEEDS = "3000"  # storms in the lab, unless the environment says otherwise
_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"


class Part(NamedTuple):
    """One part of the proof."""

    name: str
    what: str  # what it shows, in a few words
    tests: tuple[str, ...] = ()  # for pytest
    jobs: int = 1  # tests at a time; those that watch the clock want the machine for themselves
    program: tuple[str, ...] = ()  # or a program that writes JSON


PARTS = (
    Part(
        "machine",
        "every order of events in small worlds; bad variants found",
        ("tests/machine",),
        2,
    ),
    Part("model", "stored state equals the pure one; no torn script", ("tests/model",), 2),
    Part(
        "lab",
        "the real engine, every crash point in virtual time",
        ("tests/testing", "tests/engine"),
        2,
    ),
    Part("effects", "key and tombstone in the participant's transaction", ("tests/barrier",), 2),
    Part("crash", "real processes die at every named point", ("tests/crash", "tests/proof")),
    Part("durability", "what a killed or cut Redis keeps", ("tests/durability",), 2),
    Part("upgrade", "runs of an older version, read and finished", ("tests/upgrade",)),
    Part(
        "brokers",
        "RabbitMQ, files, and a broker with the limits of SQS",
        ("tests/workers/test_rabbitmq.py", "tests/workers/test_transports.py"),
    ),
    Part("security", "forged messages, secrets, nothing evaluated", ("tests/security",), 2),
    Part("celery", "Celery's own tests, with every task adopted", ("tests/celery_suite",)),
    Part("chaos", "everything at once, then healed and checked", program=("tests.chaos",)),
    Part(
        "chaos-cluster",
        "the same, with the state in a cluster whose nodes die",
        program=("tests.chaos", "--cluster"),
    ),
    Part("mutants", "planted bugs, each caught", program=("tests.mutants",)),
)


class Row(NamedTuple):
    """How a part went."""

    name: str
    what: str
    cases: int
    failed: int
    seconds: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Something was tried, and nothing failed."""
        return self.cases > 0 and not self.failed


def main(words: Sequence[str] | None = None) -> int:
    """Run the parts, print the table, and return the exit status."""
    given = _parser().parse_args(words)
    chosen = [part for part in PARTS if not given.parts or part.name in given.parts]
    with tempfile.TemporaryDirectory(prefix="proof-") as folder:
        notes = Path(folder) / "sometimes"
        rows = []
        for part in chosen:
            _say(f"--- {part.name}: {part.what}")
            rows.append(_run(part, Path(folder), notes, given.minutes))
        if not given.parts:
            rows.append(_sometimes(notes))
    text = table(rows)
    _say(f"\n{text}")
    if given.page and all(row.passed for row in rows):
        write_page(text)
    return 0 if all(row.passed for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description="Prove it all.")
    parser.add_argument("parts", nargs="*", choices=[[], *(part.name for part in PARTS)])
    parser.add_argument("--minutes", type=float, default=3.0, help="of chaos (default %(default)s)")
    parser.add_argument("--page", action="store_true", help="keep the table in docs/proof.md")
    return parser


# --- a part ------------------------------------------------------------------------------------


def _run(part: Part, folder: Path, notes: Path, minutes: float) -> Row:
    began = time.monotonic()
    environment = {"LAB_SEEDS": _SEEDS, **os.environ, "PROVE": "1", VARIABLE: str(notes)}
    told = folder / f"{part.name}.report"
    command = [sys.executable, "-m", *_words(part, told, minutes)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    cases, failed, note = _figures(part, told)
    if ended.returncode and not failed:  # it broke before it could say what was wrong
        failed = 1
    return Row(part.name, part.what, cases, failed, time.monotonic() - began, note)


def _words(part: Part, told: Path, minutes: float) -> list[str]:
    if not part.program:
        return ["pytest", "-q", "-n", str(part.jobs), f"--junitxml={told}", *part.tests]
    more = ["--minutes", str(minutes)] if part.name.startswith("chaos") else []
    return [*part.program, "--json", str(told), *more]


def _figures(part: Part, told: Path) -> tuple[int, int, str]:
    """Cases, failures, and what else there is to say."""
    if not told.exists():
        return 0, 1, "it broke: see above"
    if part.program:
        return _OF_PROGRAMS[part.name](json.loads(told.read_text()))
    suites = list(ET.parse(told).getroot().iter("testsuite"))  # noqa: S314 -- pytest's own
    total, bad, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites for name in names)
        for names in (("tests",), ("failures", "errors"), ("skipped",))
    )
    return total - skipped, bad, f"{skipped} skipped" if skipped else ""


def _of_chaos(found: dict[str, Any]) -> tuple[int, int, str]:
    wrong = len(found["violations"]) + len(found["stuck"]) + len(found["problems"])
    faults = sum(found["faults"].values())
    slowest = max((each["max"] for each in found["recovery"].values()), default=0.0)
    note = f"seed {found['seed']}, {faults} faults, slowest recovery {slowest:.1f} s"
    return sum(found["runs"].values()), wrong or int(not found["passed"]), note


def _of_mutants(found: dict[str, Any]) -> tuple[int, int, str]:
    survived = [each["name"] for each in found["mutants"] if not each["caught_by"]]
    return len(found["mutants"]), len(survived), ", ".join(survived)


_OF_PROGRAMS = {"chaos": _of_chaos, "chaos-cluster": _of_chaos, "mutants": _of_mutants}


def _sometimes(notes: Path) -> Row:
    found, never = counts(notes), missing(notes)
    told = ", ".join(f"{kind} {found[kind]}" for kind in KINDS)
    return Row("sometimes", "the accidents it is about did happen", len(KINDS), len(never), 0, told)


# --- telling -----------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """The figures of all parts, as a table that reads well as text and as Markdown."""
    cells = [
        ("part", "what it shows", "cases", "failed", "time", "note"),
        *(
            (row.name, row.what, f"{row.cases:,}", str(row.failed), _span(row.seconds), row.note)
            for row in rows
        ),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    seconds = sum(row.seconds for row in rows)
    verdict = "Everything held" if all(row.passed for row in rows) else "NOT PROVEN"
    return "\n".join([*lines, "", f"{verdict}, in {_span(seconds)}."])


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def write_page(text: str) -> None:
    """Put the table into the page, in the place of the one before."""
    page = PAGE.read_text()
    kept = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.DOTALL)
    PAGE.write_text(kept.sub(lambda _: f"{_BEGIN}\n\n{text}\n\n{_END}", page))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
