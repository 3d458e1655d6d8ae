"""Tags of a run that its steps give it: labels by which people find it.

Owns: what a tag may be, how many there are, and that only an attempt that counts gives any.
Refuses to know: how runs are found by them (`store`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from celeriac.errors import InputInvalid
from celeriac.machine.attempts import check
from celeriac.machine.events import EventKind

if TYPE_CHECKING:
    from celeriac.machine.commands import Tag
    from celeriac.machine.draft import Draft

#: Tags that a run may have before its steps can add no more.
MOST_TAGS = 50
_LONGEST_TAG = 100  # characters of a name, or a value


def checked_tags(tags: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Return tags in the order of their names; raise InputInvalid for what cannot be one."""
    if tags is not None and not isinstance(tags, Mapping):
        raise InputInvalid(f"tags: give a mapping, such as {{'region': 'eu'}}, not {tags!r}")
    for key, value in (tags or {}).items():
        for text in (key, value):
            if not isinstance(text, str) or not text.isprintable() or len(text) > _LONGEST_TAG:
                raise InputInvalid(
                    f"tags: names and values are printable text of at most {_LONGEST_TAG} "
                    f"characters, not {text!r}"
                )
        if not key or "=" in key:
            raise InputInvalid(f"tags: a name is not empty and has no '=', not {key!r}")
    return tuple(sorted((tags or {}).items()))


def tag(draft: Draft, command: Tag) -> None:
    """Give the run tags, in place of those of the same names; those it has change nothing."""
    check(draft, command)
    with draft.about(0):  # an undo of an earlier try tags the run, as any attempt does
        known = dict(draft.run.tags)
        new = {name: value for name, value in command.tags if known.get(name) != value}
        if not new:
            return
        if len(known | new) > max(MOST_TAGS, len(known)):
            raise draft.refuse(
                "too_many_tags", f"it has {len(known)} tags, and at most {MOST_TAGS} are allowed"
            )
        token = (command.step, command.phase, command.attempt)
        draft.add(EventKind.TAGGED, *token, tags=sorted(new.items()))
