"""Pictures of figures: how many runs were started, how old the oldest are, and a run in time.

Owns: what is drawn where, as SVG.  Refuses to know: colours (`static/style.css`), and where the
figures come from.  Every name is escaped; nothing here needs a script.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from celeriac.observing import clean
from celeriac.views import span, times
from celeriac.web.marks import lasted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.views import StartedRuns
    from celeriac.web.attempts import Bar, Row

_HEIGHT = 96  # of the bars of hours
_STEP, _WIDTH = 24, 18  # of an hour, and of its bar
_LINE = 22  # of a row of a timeline
_NAMES = 190  # how wide their names may be
_LONGEST_NAME = 26  # characters
_SPAN = 800  # how wide the time of a run is
_AGES = 330  # … and the longest of the bars of sagas
_BARS = 10  # of them, at most
_EXACT = 10_000  # ms; what is shorter is told in them
_THINNEST = 2.0  # a bar that nobody would see otherwise


#: What stands beside the colours of bars, for whoever tells few of them apart.
_PATTERNS = Markup("<defs>{}</defs>").format(
    Markup("").join(
        Markup(
            '<pattern id="{}" class="{}" width="6" height="6" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate({})"><rect width="6" height="6"/>{}</pattern>'
        ).format(name, tone, turned, Markup(drawn))  # noqa: S704 -- as it stands here
        for name, tone, turned, drawn in (
            ("hatch", "", 45, '<line x1="0" y1="0" x2="0" y2="6"/>'),
            ("undone", "back", 0, '<line x1="0" y1="2" x2="6" y2="2"/>'),
            ("lost", "unsure", 0, '<circle cx="3" cy="3" r="1.7"/>'),
            (
                *("failed", "bad", 45),
                '<line x1="3" y1="0" x2="3" y2="6"/><line x1="0" y1="3" x2="6" y2="3"/>',
            ),
        )
    )
)


def hours(found: Sequence[StartedRuns]) -> Markup:
    """A bar an hour: what was started, with what was undone and what failed of it at the bottom."""
    most = max((each.started for each in found), default=0)
    bars = Markup("").join(_hour(number, each, most or 1) for number, each in enumerate(found))
    total, failed = sum(e.started for e in found), sum(e.failed for e in found)
    told = (
        f"{total:,} runs started in {len(found)} hours, at most {most:,} in one; {failed:,} failed"
    )
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}'
        '<line x1="0" x2="100%" y1="{}" y2="{}"/></svg>'
    ).format(len(found) * _STEP, _HEIGHT + 18, told, _PATTERNS, bars, _HEIGHT, _HEIGHT)


def _hour(number: int, each: StartedRuns, most: int) -> Markup:
    x, parts, y = number * _STEP + 3, Markup(""), float(_HEIGHT)
    rest = each.started - each.failed - each.compensated
    for tone, count in (
        ("failed", each.failed),
        ("compensated", each.compensated),
        ("completed", rest),
    ):
        if count > 0:
            height = max(_THINNEST, count / most * (_HEIGHT - 4))
            y -= height
            parts += Markup(
                '<rect class="{}" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>'
            ).format(tone, x, y, _WIDTH, height)
    hour = f"{each.since:%H}"
    mark = (
        Markup('<text x="{}" y="{}">{}</text>').format(x, _HEIGHT + 14, hour)
        if each.since.hour % 6 == 0
        else ""
    )
    told = f"{each.since:%H:%M} UTC: {each.started:,} started, {each.compensated:,} undone, "
    return Markup("<g><title>{}</title>{}{}</g>").format(
        f"{told}{each.failed:,} failed", parts, mark
    )


def ages(found: Sequence[tuple[str, float]]) -> Markup:
    """A bar a saga: how long its oldest run that is not at rest has been there (seconds)."""
    return _longest("the oldest run of each saga that is not at rest", "waiting", found)


def slowest(found: Sequence[tuple[str, float]]) -> Markup:
    """A bar a saga: what 95 of 100 of its newest runs take at most (seconds)."""
    return _longest("what 95 of 100 runs of each saga take at most", "completed", found)


def _longest(told: str, tone: str, found: Sequence[tuple[str, float]]) -> Markup:
    """The longest first; of many, those."""
    shown = sorted(found, key=lambda each: -each[1])[:_BARS]
    longest = max((length for _, length in shown), default=0.0) or 1.0
    rows = Markup("").join(
        _of_saga(number * _LINE, name, tone, length, length / longest)
        for number, (name, length) in enumerate(shown)
    )
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(_NAMES + _AGES + 60, max(1, len(shown)) * _LINE, told, rows)


def _of_saga(y: int, name: str, tone: str, length: float, share: float) -> Markup:
    width = max(_THINNEST, share * _AGES)
    return Markup(
        '<g><title>{name}: {told}</title><text x="0" y="{text}">{short}</text>'
        '<rect class="{tone}" x="{x}" y="{y}" width="{width}" height="14" rx="3"/>'
        '<text x="{after}" y="{text}">{told}</text></g>'
    ).format(
        name=clean(name),
        short=_short(name),
        told=lasted(length),
        tone=tone,
        text=y + 15,
        x=_NAMES,
        y=y + 4,
        width=f"{width:.1f}",
        after=f"{_NAMES + width + 8:.1f}",
    )


def timeline(rows: Sequence[Row]) -> Markup:
    """A row a step, a bar an attempt; each kind has its pattern and colour."""
    began = min((bar.since for row in rows for bar in row.bars), default=0)
    ended = max((bar.until for row in rows for bar in row.bars), default=1)
    length = max(1, ended - began)
    drawn = Markup("").join(_row(n, row, began, length) for n, row in enumerate(rows))
    return Markup(
        '<svg class="chart wide" viewBox="0 0 {width} {height}" role="img" aria-label="{told}">'
        "{patterns}{rows}"
        '<text x="{names}" y="{y}">{first}</text>'
        '<text class="last" x="{width}" y="{y}">{last}</text></svg>'
    ).format(
        width=_NAMES + _SPAN,
        height=len(rows) * _LINE + 20,
        told=f"{len(rows)} rows in {_length(length)}",
        patterns=_PATTERNS,
        rows=drawn,
        names=_NAMES,
        y=len(rows) * _LINE + 16,
        first=times.exact(began)[11:19],
        last=f"{times.exact(ended)[11:19]}, {_length(length)} later",
    )


def _row(number: int, row: Row, began: int, length: int) -> Markup:
    y = number * _LINE
    bars = Markup("").join(_bars(row.bars, y, began, length))
    return Markup(
        '<g><text x="0" y="{}"><title>{}</title>{}</text>'
        '<line x1="{}" x2="{}" y1="{}" y2="{}"/>{}</g>'
    ).format(
        y + 15, clean(row.name), _short(row.name), _NAMES, _NAMES + _SPAN, y + 11, y + 11, bars
    )


def _bars(bars: Sequence[Bar], y: int, began: int, length: int) -> Iterator[Markup]:
    for bar in bars:
        x = _NAMES + (bar.since - began) / length * _SPAN
        width = max(_THINNEST, (bar.until - bar.since) / length * _SPAN)
        x = min(x, _NAMES + _SPAN - width)
        told = f"{bar.told}, {_length(bar.until - bar.since)}"
        yield Markup(
            '<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="14" rx="3">'
            "<title>{}</title></rect>"
        ).format(bar.tone, x, y + 4, width, told)


def _length(ms: int) -> str:
    return f"{ms} ms" if ms < _EXACT else span(ms / 1000)


def _short(name: str) -> Markup:
    text = clean(name)
    if len(text) <= _LONGEST_NAME:
        return escape(text)
    end = (_LONGEST_NAME - 1) // 2  # names of many steps differ in their numbers
    return escape(f"{text[: _LONGEST_NAME - 1 - end]}…{text[-end:]}")
