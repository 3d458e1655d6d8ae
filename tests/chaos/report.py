"""The report: figures as plain tables, and as JSON.

Owns: wording and layout.  Refuses to know: how the figures came about (`figures`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.chaos.load import SHAPES
from tests.chaos.settle import ALLOWANCE, BOUND

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.chaos.figures import StoreStats

_STATUSES = ("completed", "compensated", "failed", "running", "compensating", "terminated")


def text(figures: StoreStats) -> str:
    """The whole report, for a terminal."""
    parts = [*_heading(figures), *_tables(figures), *_stories(figures), _end(figures)]
    return "\n".join(parts)


def as_json(figures: StoreStats) -> dict[str, Any]:
    """The same, for programs."""
    return {
        "seed": figures.seed,
        "seconds": figures.seconds,
        "layout": figures.layout,
        "bug": figures.bug,
        "passed": figures.passed,
        "runs": {f"{shape} {status}": many for (shape, status), many in figures.ended.items()},
        "starts": dict(figures.starts),
        "faults": dict(figures.faults),
        "missed": dict(figures.missed),
        "recovery": {
            kind: dict(zip(("runs", "p50", "p99", "max"), each, strict=True))
            for kind, each in figures.recovery.items()
        },
        "replaced": dict(figures.replaced),
        "bodies": dict(figures.bodies),
        "reports": dict(figures.reports),
        "refused": dict(figures.refused),
        "settled": figures.settled._asdict() if figures.settled else None,
        "violations": [each._asdict() for each in figures.violations],
        "stuck": figures.stuck,
        "problems": figures.problems,
    }


def _heading(figures: StoreStats) -> Iterator[str]:
    yield f"seed {figures.seed}, {figures.seconds:g} s, {figures.layout}"
    if figures.bug:
        yield f"planted in the workers: {figures.bug}"
    end = figures.settled
    if end is not None and end.well_after is not None:
        yield (
            f"all worked again {end.well_after:.1f} s after the last fault, and all was at rest "
            f"{end.rest_after:.1f} s later; no run stood still for longer than {end.stillest:.1f} s"
            f" (bound {BOUND:.1f} s, and {ALLOWANCE:g} s for a busy machine)"
        )


def _tables(figures: StoreStats) -> Iterator[str]:
    statuses = [status for status in _STATUSES if figures.count(status)]
    rows = [[shape, *(str(figures.ended[shape, s]) for s in statuses)] for shape in SHAPES]
    yield _table("runs", ["shape", *statuses], rows)
    yield _counts("starts", figures.starts)
    yield _faults(figures)
    yield _counts("workers and others replaced, by cause", figures.replaced)
    yield _counts("bodies and effects", figures.bodies)
    yield _counts("reports and deliveries", figures.reports)
    yield _counts("claims refused, by reason", figures.refused)


def _faults(figures: StoreStats) -> str:
    rows = []
    for kind in sorted({*figures.faults, *figures.missed}):
        found = figures.recovery.get(kind)
        seconds = [f"{each:.2f}" for each in found[1:]] if found else ["-"] * 3
        runs = str(found.runs) if found else "-"
        rows.append([kind, str(figures.faults[kind]), str(figures.missed[kind]), runs, *seconds])
    head = ["kind", "struck", "missed", "runs under way", "p50 s", "p99 s", "max s"]
    return _table("faults, and recovery from their end", head, rows)


def _counts(title: str, counts: Mapping[str, int]) -> str:
    return _table(title, [], [[name, str(many)] for name, many in counts.items()])


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(line) for line in ([head] if head else [])] + [list(row) for row in rows]
    if not lines:
        return f"\n{title}: none"
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    told = [
        "  " + line[0].ljust(widths[0]) + "".join(f"  {c.rjust(w)}" for c, w in _rest(line, widths))
        for line in lines
    ]
    return "\n".join([f"\n{title}", *told])


def _rest(line: Sequence[str], widths: Sequence[int]) -> Iterable[tuple[str, int]]:
    return zip(line[1:], widths[1:], strict=True)


def _stories(figures: StoreStats) -> Iterator[str]:
    for title, stories in (
        ("violations", [str(each) for each in figures.violations]),
        ("stuck runs", figures.stuck),
        ("problems", figures.problems),
    ):
        yield f"\n{title}: {len(stories) or 'none'}"
        yield from stories


def _end(figures: StoreStats) -> str:
    return f"\n{'passed' if figures.passed else 'FAILED'} (seed {figures.seed})"
