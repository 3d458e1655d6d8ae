"""Times as people type them: how long ago, or an ISO time.

Owns: reading them, and the usage error for what is neither.  Refuses to know: the verbs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from celeriac.errors import DefinitionError
from celeriac.machine import duration_ms

if TYPE_CHECKING:
    from collections.abc import Mapping


def bounded(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters with times for what was typed as times."""
    times = {name: moment(f"--{name}", filters[name]) for name in ("since", "until")}
    return {**filters, **times}


def age(option: str, text: str) -> timedelta:
    """How long ago *text* says."""
    try:
        return timedelta(milliseconds=duration_ms(text))
    except (DefinitionError, OverflowError):
        raise click.BadParameter(
            f"give how long ago (12h, 30d), not {text!r}", param_hint=option
        ) from None


def moment(option: str, text: str | None) -> datetime | None:
    """The time that *text* means: so long ago, or an ISO time."""
    if text is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(milliseconds=duration_ms(text))
    except (DefinitionError, OverflowError):
        pass  # then it must be a time
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"give how long ago (30m, 2h, 7d) or an ISO time (2025-12-31T18:00, UTC unless it says "
            f"otherwise), not {text!r}",
            param_hint=option,
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
