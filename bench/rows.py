"""The table: each figure, what it must be, what it should be, and whether it is.

Owns: the bounds, and which figures a row is made of.  Refuses to know: how they were measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bench.costs import Cost
from bench.web import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LEAST, MOST = ">=", "<="
#: Whose CPU time: that of worker, children and beat together comes first.
_CPU = {"celery": "", "redis": " of Redis", "client": " of the client"}
_LARGE = 100
_HEADS = ("", "chain", "saga", "today", "must", "aim", "")


class Bound(NamedTuple):
    """What a figure must be, and what it should be."""

    sign: str  # LEAST or MOST
    must: float
    aim: float | None = None

    def holds(self, value: float) -> bool:
        """True if *value* is what it must be."""
        return value >= self.must if self.sign == LEAST else value <= self.must


class Row(NamedTuple):
    """One line of the table; `unit` is that of `value`, "x" for a ratio to the chain."""

    part: str
    name: str
    value: float
    unit: str
    chain: float | None = None
    saga: float | None = None
    bound: Bound | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the bound holds; None where there is none."""
        return self.bound.holds(self.value) if self.bound else None

    def document(self) -> dict[str, Any]:
        """Return the row for programs."""
        bound = self.bound._asdict() if self.bound else None
        return {**self._asdict(), "bound": bound, "holds": self.holds}


def rows_of(figures: Mapping[str, Any]) -> list[Row]:
    """Return the rows of what was measured; a part that was left out has none."""
    return [
        *_worker_rows(figures.get("ahead", {}), _AHEAD),
        *_worker_rows(figures.get("off", {}), _OFF),
        *_other_rows(figures),
        *_waking_rows(figures.get("waking")),
        *_gate_rows(figures.get("gates")),
        *_line_rows(figures.get("lines")),
        *_web_rows(figures.get("web")),
    ]


#: By configuration: what its rows begin with, and their bounds.
_AHEAD: tuple[str, Mapping[str, Bound]] = (
    "",
    {
        "per_second 3": Bound(LEAST, 2.0, 2.6),
        "failing": Bound(LEAST, 2.5, 4.5),
        "cpu 3": Bound(MOST, 0.6, 0.35),
        "cpu 100": Bound(MOST, 0.2, 0.07),
        "p50": Bound(MOST, 0.6, 0.4),
        "p99": Bound(MOST, 0.6, 0.4),
    },
)
_OFF: tuple[str, Mapping[str, Bound]] = (
    "not ahead: ",
    {"per_second 3": Bound(LEAST, 0.92, 1.0), "growth": Bound(MOST, 20, 0)},
)


def _worker_rows(found: Mapping[str, Any], kind: tuple[str, Mapping[str, Bound]]) -> Iterator[Row]:
    """The rows of both sides beside each other, of one configuration of the worker."""
    before, bounds = kind
    lengths = found.get("throughput", {})
    for length, sides in lengths.items():
        chain, saga = sides["chain"]["per_second"], sides["saga"]["per_second"]
        bound = bounds.get(f"per_second {length}")
        yield _ratio("throughput", f"{before}{length} steps, runs/s", chain, saga, bound)
    if failing := found.get("failing"):
        chain, saga = failing["chain"]["per_second"], failing["saga"]["per_second"]
        name = f"{before}failing, two undone, runs/s"
        yield _ratio("failing", name, chain, saga, bounds.get("failing"))
    for length, sides in lengths.items():
        chain, saga = (sides[side]["cpu_ms_a_step"] for side in ("chain", "saga"))
        for who, what in _CPU.items():
            if who == "celery" or length in {"3", "100"}:
                name = f"{before}{length} steps, CPU{what}, ms a step"
                most = bounds.get(f"cpu {length}") if who == "celery" else None
                yield _ratio("throughput", name, chain[who], saga[who], most)
    if {"3", "100"} <= lengths.keys():
        chain, saga = (_growth(lengths, side) for side in ("chain", "saga"))
        name = f"{before}growth of ms a step, 3 to 100"
        yield Row("throughput", name, saga, "%", chain, saga, bounds.get("growth"))
    for cut in ("p50", "p95", "p99") if "latency" in found else ():
        chain, saga = (found["latency"][side][cut] for side in ("chain", "saga"))
        name = f"{before}one unloaded run, {cut}, ms"
        yield _ratio("latency", name, chain, saga, bounds.get(cut))


def _other_rows(figures: Mapping[str, Any]) -> Iterator[Row]:
    for length, limit in (("3", 1500), ("100", 12_000)):
        if length in figures.get("memory", {}):
            value = figures["memory"][length]
            name = f"Redis memory of a finished run, {length} steps"
            yield Row("memory", name, value, "bytes", saga=value, bound=Bound(MOST, limit))
    if found := figures.get("recovery"):
        value, name = (
            found["seconds"],
            f"all workers killed, {found['in_flight']} in flight: done, s",
        )
        yield Row("recovery", name, value, "s", saga=value, bound=Bound(MOST, 3, 2))
        value, name = found["resumed"], "the first of them done, s"
        yield Row("recovery", name, value, "s", saga=value)
        running, value = found["running"], found["repeated"]  # each child was at one
        name = "attempts repeated then"
        yield Row("recovery", name, value, "", saga=value, bound=Bound(MOST, running))
    if found := figures.get("mixed"):
        alone, beside = found["alone"]["p99"], found["beside"]["p99"]
        name = f"p99 of a short run: among {found['live']}; with {found['long']} of 100 steps, s"
        yield Row("mixed", name, beside / alone, "x", alone, beside, Bound(MOST, 2))
    if found := figures.get("flows"):
        yield from _flow_rows(found)
    for before, way, aim in (("", "ahead", 1), (_OFF[0], "off", 2)):
        if "trips" in figures:
            value, name = (
                figures["trips"][way],
                f"{before}round trips to Redis for each of 10 steps",
            )
            yield Row("trips", name, value, "", saga=value, bound=Bound(MOST, aim + 1, aim))


def _flow_rows(found: Mapping[str, Any]) -> Iterator[Row]:
    """What branches cost beside a chain, and an element among many beside one among few."""
    chain, block = (_cpu(found["branches"][side]) for side in ("chain", "branches"))
    name = f"{_OFF[0]}10 steps, CPU, ms a step: one by one; side by side"
    yield Row("flows", name, block / chain, "x", chain, block, Bound(MOST, 1.05, 1.0))
    for way, lengths in found["maps"].items():
        (few, of_few), (many, of_many) = ((n, _cpu(of)) for n, of in lengths.items())
        name = f"map {way}, CPU, ms an element: of {few}; of {many}"
        yield Row("flows", name, of_many / of_few, "x", of_few, of_many, Bound(MOST, 1.5, 1.0))
    value, name = found["bytes"], "Redis memory of a finished map of 1,000 elements"
    yield Row("flows", name, value, "bytes", saga=value, bound=Bound(MOST, 150_000, 130_000))


def _waking_rows(found: Mapping[str, Any] | None) -> Iterator[Row]:
    """What comes due all at once, and what live runs feel of it."""
    if not found:
        return
    value, name = found["seconds"], f"{found['count']:,} runs due in one second: the last on, s"
    yield Row("waking", name, value, "s", saga=value, bound=Bound(MOST, 10, 8))
    value = 1000 * found["cpu_seconds"] / found["count"]
    yield Row("waking", "CPU of all processes then, ms a run", value, "ms", saga=value)
    alone, beside = found["alone"]["p99"], found["beside"]["p99"]
    name = "p99 of a live run: alone; beside them, s"
    yield Row("waking", name, beside, "s", alone, beside, Bound(MOST, 2, 1))


def _gate_rows(found: Mapping[str, Any] | None) -> Iterator[Row]:
    """What stands in line before one gate, what it costs there, and how soon it has passed."""
    if not found:
        return
    count, live = f"{found['count']:,} in line at a gate", found["live"]
    value = found["count"] / found["seconds"]
    yield Row("gates", f"{count}: passing, a second", value, "", saga=value, bound=Bound(LEAST, 60))
    value = 1000 * found["cpu_seconds"] / found["count"]
    yield Row("gates", "CPU of all processes then, ms a run", value, "ms", saga=value)
    for what, unit in (("commands", "Redis commands a second"), ("cpu", "CPU of all, %")):
        quiet, stands = (float(found[when][what]) for when in ("quiet", "standing"))
        if what == "cpu":
            quiet, stands = 100 * quiet, 100 * stands
        name = f"nobody passes, {unit}: no line; {count}"
        most = Bound(MOST, 1.25 * quiet + 5)
        yield Row("gates", name, stands, "", quiet, stands, most)
    for when, must in (("standing", 1.5), ("passing", 10)):
        before, beside = live["alone"]["p99"], live[when]["p99"]
        name = f"p99 of a live run: alone; while they are {when}, s"
        bound = Bound(MOST, must * max(before, 0.05))
        yield Row("gates", name, beside, "s", before, beside, bound)
    value, name = found["out_of_turn"], "served before or after their turn, by so many places"
    yield Row("gates", name, value, "", saga=value, bound=Bound(MOST, 2 * found["places"]))


#: How many round trips each run in line makes, however many wait there.
_TRIPS = {"joining": 7, "passing": 11}


def _line_rows(found: Mapping[str, Any] | None) -> Iterator[Row]:
    """What a line before a gate costs the Redis it stands in, counted there."""
    if not found:
        return
    count = f"{found['waiting']:,} in line"
    for what, most in _TRIPS.items():
        value = Cost(*found[what]).trips
        bound = Bound(MOST, most)
        yield Row(
            "gates", f"round trips a run, {what}, {count}", value, "", saga=value, bound=bound
        )
    nobody, standing = (Cost(*found[when]).trips for when in ("nobody", "standing"))
    name = f"round trips of a sweep: no line; {count}, nobody passes"
    yield Row("gates", name, standing, "", nobody, standing, Bound(MOST, nobody + 1))
    value = found["overtaken"]
    yield Row("gates", f"overtaken, {count}", value, "", saga=value, bound=Bound(MOST, 0))


def _web_rows(found: Mapping[str, Any] | None) -> Iterator[Row]:
    """What pages cost the server, each by itself, and many that stay open."""
    if not found:
        return
    for page, (title, most) in BOUNDS.items():
        bound = Bound(MOST, most)
        value, name = found[page]["p50"], f"{title} beside {found['runs']:,} at rest, ms"
        yield Row("web", name, value, "ms", saga=value, bound=bound)
        value = found[page]["cpu"]
        yield Row("web", f"{title}: the server's work, ms", value, "ms", saga=value)
    value, name = found["share"], f"{found['open']} open pages, share of a core"
    yield Row("web", name, value, "%", saga=value, bound=Bound(MOST, 20))


def _cpu(side: Mapping[str, Any]) -> float:
    """CPU time of Celery's processes, which others on the machine disturb less than the clock."""
    return float(side["cpu_ms_a_step"]["celery"])


def _ratio(part: str, name: str, chain: float, saga: float, bound: Bound | None) -> Row:
    return Row(part, name, saga / chain if chain else 0.0, "x", chain, saga, bound)


def _growth(lengths: Mapping[str, Any], side: str) -> float:
    """By how many percent a step costs more in a run of 100 than in one of 3."""
    short, long = (float(lengths[each][side]["ms_a_step"]) for each in ("3", "100"))
    return (long / short - 1) * 100


def table(rows: Sequence[Row]) -> str:
    """Return the table as text."""
    lines = [_HEADS, *(_cells(row) for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(_HEADS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n in {0, len(_HEADS) - 1} else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    bound = row.bound
    return (
        row.name,
        _number(row.chain),
        _number(row.saga),
        f"{_number(row.value)}{row.unit if row.unit in {'x', '%'} else ''}",
        f"{bound.sign} {bound.must:g}" if bound else "",
        f"{bound.aim:g}" if bound and bound.aim is not None else "",
        {True: "holds", False: "MISSED", None: ""}[row.holds],
    )


def _number(value: float | None) -> str:
    """Three figures of a number, and all of a large one."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= _LARGE or value == int(value) else f"{value:.3g}"
