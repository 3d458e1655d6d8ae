"""The pages of this folder that are drawn from the code: `make docs` writes them again.

Owns: which pages these are, and how each is made.  Refuses to know: anything the code does not
say itself; a test compares each committed page with what is made here.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from celeriac.doctor import CHECKS
from celeriac.observing.metrics import METRICS, Metric
from celeriac.settings import PREFIX, Settings
from docs.diagram import states_page
from docs.rooms import picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic.fields import FieldInfo

FOLDER = Path(__file__).resolve().parent

SETTINGS = """\
<!-- Drawn from worker/celeriac/settings.py by `make docs`: change it there. -->
# Settings

Set them on `app.conf`, for example `app.conf.saga_lease = 30`.  The defaults suit most
applications.  An unknown name or an impossible value raises ConfigurationError when the
application starts.  Durations are in seconds.

| setting | type | default | meaning |
|---|---|---|---|
{rows}
"""


DOCTOR = """\
<!-- Drawn from worker/celeriac/doctor/ by `make docs`: change it there. -->
# The doctor

`celery -A app saga doctor` looks for anything that endangers runs: in the app's configuration, the
state Redis, the broker, the workers and the sweep.  It changes nothing and prints no password.  It
takes a few seconds, even if a server does not answer.  Each finding says what to do.

- Exit codes: 0 no errors (there may be warnings), 1 errors, 5 Redis or the broker is out of reach.
- `-v` also shows the checks that passed; `-o json` and `-o jsonl` are for programs; `--only ID` and
  `--skip ID` choose checks, and may be repeated.
- `--acl` prints the users that the state Redis and the broker need, with the least rights, as lines
  of an ACL file ([security](security.md)); put passwords in place of `change-me`.
- If a server hides a value (an ACL, a managed Redis without CONFIG), the check is listed as
  `unchecked`, with where to look by hand.  That is not an error.
- Each worker runs the checks of the app and the state Redis once, at its start, and logs findings.
- It scans nothing: about 400 runs, from both ends of each index, show which plans are live.

An **error** means that a promise does not hold, or that runs do not move.  A **warning** means that
it holds until something else goes wrong.  **Info** is good to know.  The table shows the usual
severity; a finding may be milder or worse.

| check | area | severity | what should be so | what to do if not | by hand |
|---|---|---|---|---|---|
{rows}
"""


def doctor_page() -> str:
    """The page of the doctor: one row for each check, in the order in which they are made."""
    rows = (
        (f"`{row.id}`", row.area, row.severity.value, row.about, row.advice, row.by_hand)
        for row in CHECKS.values()
    )
    return DOCTOR.format(rows="\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def settings_page() -> str:
    """The page of settings: one row for each, in the order of the table in the code."""
    return SETTINGS.format(rows="\n".join(_row(*each) for each in Settings.model_fields.items()))


def _row(name: str, field: FieldInfo) -> str:
    cells = (f"`{PREFIX}{name}`", _type(field.annotation), _default(field), field.description)
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _type(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_type(each) for each in get_args(annotation))
    return "`None`" if annotation is type(None) else f"`{annotation.__name__}`"


def _default(field: FieldInfo) -> str:
    return f"`{field.default!r}`"


def observability_page() -> str:
    """The page about watching: its prose as it is, and the table of metrics in its place."""
    return _with_block("observability.md", "metrics", _metrics())


def tour_page() -> str:
    """The tour: its prose as it is, and the picture of the rooms in its place."""
    return _with_block("tour.md", "rooms", picture())


def _with_block(name: str, block: str, drawn: str) -> str:
    """The page as it is, with what is drawn between the markers of the block."""
    page = (FOLDER / name).read_text(encoding="utf-8")
    before, begin, rest = page.partition(f"<!-- {block}: ")
    said, _, after = rest.partition("-->")
    _, end, after = after.partition(f"<!-- end of {block} -->")
    assert begin, f"{name} does not say where {block} begin"
    assert end, f"{name} does not say where {block} end"
    return f"{before}{begin}{said}-->\n{drawn}\n{end}{after}"


def _metrics() -> str:
    head = "| metric | kind | meaning |\n|---|---|---|"
    return "\n".join([head, *(_metric(metric) for metric in METRICS)])


def _metric(metric: Metric) -> str:
    labels = f"{{{','.join(metric.labels)}}}" if metric.labels else ""
    kind = metric.kind if metric.source == "process" else f"{metric.kind}, {metric.source}"
    if metric.buckets:
        kind = f"{kind}, {_span(metric.buckets[0])} to {_span(metric.buckets[-1])}"
    return f"| `{metric.name}{labels}` | {kind} | {metric.meaning} |"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds * 1000:g} ms"


# Each page by its name in this folder.
PAGES: dict[str, Callable[[], str]] = {
    "observability.md": observability_page,
    "settings.md": settings_page,
    "states.md": states_page,
    "doctor.md": doctor_page,
    "tour.md": tour_page,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
