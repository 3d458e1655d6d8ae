"""What callers may give: ids, tags, filters, cursors, and input as JSON text.

Owns: checking them, with a message that says what to give instead.  Refuses to know: runs.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from celeriac.definitions import read_given
from celeriac.errors import DefinitionError, InputInvalid, RunNotFound
from celeriac.machine import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celeriac.authoring import Shape

_LONGEST_REASON = 2_000  # characters
_LONGEST_ID = 200
_LIKE_A_SECOND_LIFE = re.compile(r"~[0-9]+\Z")  # see `Run.key`


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562): ids in the order of their making."""
    stamp = time.time_ns() // 1_000_000
    value = (stamp & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))


def inputs_of(shape: Shape, text: str) -> dict[str, Any]:
    """Return the inputs in JSON text, by parameter name and validated; raise InputInvalid."""
    if len(shape.parameters) == 1:
        (key,) = shape.parameters
        return {key: shape.load(key, text)}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputInvalid(f"the input of {shape.name} is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        names = ", ".join(shape.parameters) or "none"
        raise InputInvalid(f"the input of {shape.name} is one JSON object, by parameter: {names}")
    known = shape.parameters  # an unknown name is refused where all names are looked at
    return {
        key: shape.load(key, json.dumps(value)) if key in known else value
        for key, value in found.items()
    }


def inputs_of_texts(shape: Shape, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the inputs in texts by parameter name, each read by its type; raise InputInvalid."""
    found = {}
    for name, text in given.items():
        known = shape.parameters.get(name)
        try:
            found[name] = text if known is None else read_given(text, known.annotation)
        except DefinitionError as error:
            raise InputInvalid(f"input {name!r} of {shape.name} {error.problem}") from None
    return found


def checked_text(name: str, value: object) -> str:
    """Return the id of something that is sent, as it is; raise InputInvalid otherwise."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID or not _is_text(value):
        raise InputInvalid(f"{name}: 1 to {_LONGEST_ID} characters, not {_shown(value)}")
    return value


def check_words(command: object) -> None:
    """Raise InputInvalid for a reason, or who gives it, that no history could hold or show.

    Also for a step that is called by no text.
    """
    step = getattr(command, "step", None)
    if step is not None:
        checked_step(step)
    for name in ("reason", "by"):
        checked_words(name, getattr(command, name, ""))


def checked_words(name: str, words: object) -> None:
    """Raise InputInvalid for what no history could hold or show."""
    if not isinstance(words, str) or len(words) > _LONGEST_REASON or not _is_text(words):
        raise InputInvalid(
            f"{name}: text of at most {_LONGEST_REASON} characters, not {_shown(words)}"
        )


def checked_step(step: object) -> str:
    """Return what a step may be called; InputInvalid for what is no text."""
    if not isinstance(step, str):
        raise InputInvalid(f"step: give the name of a step as text, not {step!r}")
    return step


def _shown(value: object) -> str:
    """The beginning of what was given in the place of a text."""
    return ascii(value[:40] if isinstance(value, str) else value)


def _is_text(words: str) -> bool:
    try:
        words.encode()
    except UnicodeEncodeError:  # half of a character
        return False
    return True


def checked_id(run_id: object) -> str:
    """Return an id that a run may have; raise InputInvalid otherwise."""
    if (
        not isinstance(run_id, str)
        or not 0 < len(run_id) <= _LONGEST_ID
        or not run_id.isprintable()
    ):
        raise InputInvalid(
            f"id: 1 to {_LONGEST_ID} printable characters, not {run_id!r}; an order number or a "
            "UUID as text is a good id"
        )
    if run_id in (".", "..") or "/" in run_id:
        raise InputInvalid(
            f"id: {run_id!r} means folders in every address, and proxies take it apart: write "
            "another character for the slash, such as ':'"
        )
    if _LIKE_A_SECOND_LIFE.search(run_id):
        raise InputInvalid(
            f"id: {run_id!r} ends as the keys of a run do that was started anew: the effects of "
            "the two would be taken for one; put something else behind the '~'"
        )
    return run_id


def looked_up(run_id: object) -> str:
    """Return the id of a run that may exist; RunNotFound for a text that no run can have.

    Raises InputInvalid for what is no text.
    """
    if not isinstance(run_id, str):
        raise InputInvalid(f"id: give the id of a run as text, not {run_id!r}")
    try:
        run_id.encode()
    except UnicodeEncodeError:  # half of a character, as undecodable bytes on a command line are
        raise RunNotFound(run_id) from None
    return run_id


def checked_statuses(status: str | Iterable[str] | None) -> frozenset[RunStatus]:
    """Return the statuses named, one or several; none is any.  Raises InputInvalid."""
    if status is not None and not hasattr(status, "__iter__"):
        raise InputInvalid(f"status is a name or several, not {status!r}")
    names = [] if status is None else [status] if isinstance(status, str) else list(status)
    known = {each.value: each for each in RunStatus}
    if wrong := [repr(name) for name in names if name not in known]:
        raise InputInvalid(f"status must be one of {', '.join(known)}, not {', '.join(wrong)}")
    return frozenset(known[name] for name in names)


def check_names(**filters: str | None) -> None:
    """Raise InputInvalid for a filter that names nothing, as an unset variable of a shell does.

    Taken for one that was left out, it would find all runs.
    """
    for name, value in filters.items():
        if value is not None and not (isinstance(value, str) and value):
            raise InputInvalid(f"{name} is a name, not {value!r}: leave it out if you mean all")


def moment_ms(value: datetime | timedelta | None) -> int | None:
    """Return a time, or how long ago, in ms since the epoch.  Raises InputInvalid."""
    if isinstance(value, timedelta):
        value = datetime.now(UTC) - value
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InputInvalid(f"since and until are datetimes or timedeltas, not {value!r}")
    return int(value.timestamp() * 1000)


def asked_ms(asked: datetime | None, step: str | None) -> int:
    """Return when a question was asked, in ms since the epoch; 0: that was not said."""
    if asked is None:
        return 0
    if step is None:
        raise InputInvalid("asked: name the wait too, as step")
    if not isinstance(asked, datetime) or asked.tzinfo is None:
        raise InputInvalid(f"asked: give the `since` of the question, not {asked!r}")
    return round(asked.timestamp() * 1000)


def dump_cursor(started_at: int, run_id: str) -> str:
    """Return where a page ended, as text that says nothing to people."""
    return base64.urlsafe_b64encode(json.dumps([started_at, run_id]).encode()).decode().rstrip("=")


def load_cursor(cursor: str | None) -> tuple[int, str] | None:
    """Return where the page before ended; raise InputInvalid for anything else."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        started_at, run_id = json.loads(base64.urlsafe_b64decode(padded))
        return int(started_at), str(run_id)
    except (ValueError, TypeError, binascii.Error):
        raise InputInvalid(f"cursor: give the one of the page before, not {cursor!r}") from None
