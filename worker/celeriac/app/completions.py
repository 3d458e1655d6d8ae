"""Finding the steps that wait for a result from outside.

Owns: which runs are read for it, and how many at a time.  Refuses to know: which step waits so
(`views`), and how a result is brought (`results`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.machine import RunStatus
from celeriac.views import completions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celeriac.app.pages import Page
    from celeriac.views import Completion

#: A run may do something else beside.
_STATUSES = (RunStatus.WAITING.value, RunStatus.RUNNING.value, RunStatus.PAUSED.value)
_AT_ONCE = 200  # runs that are read in one go
_ROUNDS = 3  # … for one page
_MOST = 50  # steps on a page, and those of one round more


@dataclass(frozen=True, slots=True)
class Completions:
    """Steps that wait for a result from outside.  `cursor` leads further; None: these were all."""

    found: tuple[Completion, ...]
    cursor: str | None

    def __iter__(self) -> Iterator[Completion]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


def find_completions(find: Callable[..., Page], cursor: str | None) -> Completions:
    """Return a page of them; *find* returns runs.

    No index knows them, so runs are read: so many for a page that it may hold few, or none.
    """
    found: list[Completion] = []
    for _ in range(_ROUNDS):
        runs = find(status=_STATUSES, limit=_AT_ONCE, cursor=cursor)
        for state in runs.states(failures=False):
            found += completions_of(state)
        cursor = runs.cursor
        if cursor is None or len(found) >= _MOST:
            break
    return Completions(tuple(found), cursor)
