"""Times in words: one form for people, wherever they meet a time, and one for programs.

Owns: both forms, how long ago something was, and lengths of time.  Refuses to know: what happened
at these times, and where they are printed.

    people     2026-11-29 11:36:54Z, 3 min ago
    histories  2026-11-29 11:36:54.123Z
    programs   2026-11-29T11:36:54.123Z
"""

from __future__ import annotations

from datetime import UTC, datetime

_MINUTE = 60_000
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def moment(ms: int) -> datetime:
    """The time that is *ms* after the epoch."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def iso(time: datetime | None) -> str | None:
    """A time as programs read it: in UTC, to the millisecond."""
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(time: datetime | None, now: datetime | None = None) -> str:
    """A time that has passed, as people read it: in UTC, and how long ago.

    *now* is by the clock that told the time; left out, it is ours.
    """
    if time is None:
        return ""
    return f"{_clock(time)}Z, {age(time, now)} ago"


def due(time: datetime | None) -> str:
    """A time that may be still to come, as people read it: in UTC, and in how long."""
    if time is None or time < datetime.now(UTC):
        return when(time)
    return f"{_clock(time)}Z, in {span((time - datetime.now(UTC)).total_seconds())}"


def left(time: datetime) -> str:
    """In how long a time is; nothing, if it has passed."""
    seconds = (time - datetime.now(UTC)).total_seconds()
    return span(seconds) if seconds > 0 else ""


def exact(ms: int) -> str:
    """A time as people compare it, in UTC to the millisecond; *ms* is since the epoch."""
    return f"{_clock(moment(ms))}.{ms % 1000:03}Z"


def _clock(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def age(time: datetime, now: datetime | None = None) -> str:
    """How long ago a time was: `12 s`, `3 min`, `2 h`, `4 d`."""
    return span(((now or datetime.now(UTC)) - time).total_seconds())


def span(seconds: float) -> str:
    """A length of time: `32 s`, `5 min`; of what is negative, `0 s`."""
    whole = max(0, int(seconds))
    for size, unit in _UNITS:
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def exact_span(ms: int) -> str:
    """A length of time that somebody watches: `3.4 s`, `5 min 07 s`, `2 h 03 min`."""
    seconds = max(0, ms) / 1000
    minutes, rest = divmod(int(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s"
    hours, over = divmod(minutes, 60)
    return f"{hours} h {over:02} min" if hours else f"{minutes} min {rest:02} s"


def after(ms: int) -> str:
    """How long after the start of a run."""
    if ms < _MINUTE:
        return f"+{ms / 1000:.3f} s"
    minutes, rest = divmod(ms, _MINUTE)
    return f"+{minutes // 60}:{minutes % 60:02}:{rest // 1000:02}"
