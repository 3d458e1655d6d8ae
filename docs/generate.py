"""The pages of this folder that are drawn from the code: `make docs` writes them again.

Owns: which pages these are, and how each is made.  Refuses to know: anything the code does not
say itself; a test compares each committed page with what is made here.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from celeriac.settings import PREFIX, Settings
from docs.diagram import states_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic.fields import FieldInfo

FOLDER = Path(__file__).resolve().parent

SETTINGS = """\
<!-- Drawn from worker/celeriac/settings.py by `make docs`: change it there. -->
# Settings

All are attributes of `app.conf`, for example `app.conf.saga_lease = 30`.  Each has a default that
suits most applications; one that makes no sense is refused when the application starts, with its
name in the message.  Durations are seconds.

| setting | type | default | meaning |
|---|---|---|---|
{rows}
"""


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


# Each page by its name in this folder.
PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "states.md": states_page,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
