"""One command for many runs: finding them, giving it to each at a pace, and counting what it did.

Owns: the tally and the pace.  Refuses to know: the command, and how people are asked and told.

Each run decides for itself, when its turn comes, whether the command is possible: what was found a
moment ago may have ended meanwhile.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from celeriac.errors import CommandRefused, RunNotFound, StoreError, StoreUnavailable
from celeriac.views import BulkOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from celeriac.app.handles import RunHandle
    from celeriac.app.pages import Page
    from celeriac.views import RunState

_PAGE = 200


def matching(
    find: Callable[..., Page], filters: Mapping[str, Any], most: int | None = None
) -> list[RunState]:
    """Return all runs that *find* (`sagas.runs`) finds by *filters*, newest first.

    If there are more than *most*, so many are returned that this can be seen.
    """
    found: list[RunState] = []
    cursor: str | None = None
    while True:
        page = find(**filters, limit=_PAGE, cursor=cursor)
        found += page.states(failures=False)
        cursor = page.cursor
        if cursor is None or (most is not None and len(found) > most):
            return found


def that_do_not_ask(runs: Sequence[RunState]) -> list[RunState]:
    """Leave out runs whose step may have taken effect and honours no key: a retry repeats it."""
    return [run for run in runs if not run.asking]


def kinds(runs: Sequence[RunState]) -> list[tuple[str, str, int]]:
    """Return how many runs there are of each saga and status, the most first.

    Where some of them owe or ask something, the status says how many: `failed (4 owed, 3 ask)`.
    """
    counted = Counter((run.saga, run.status) for run in runs)
    asking = Counter((run.saga, run.status) for run in runs if run.asking)
    owing = Counter((run.saga, run.status) for run in runs if run.owed and not run.asking)
    found = []
    for kind, count in counted.most_common():
        told = [f"{n} {what}" for n, what in ((owing[kind], "owed"), (asking[kind], "ask")) if n]
        found.append((kind[0], kind[1].value + (f" ({', '.join(told)})" if told else ""), count))
    return found


def give(
    runs: Sequence[RunHandle[Any]], command: Callable[[RunHandle[Any]], bool], rps: float
) -> Iterator[BulkOutcome]:
    """Give *command* to each run, *rps* a second at most; yield the tally after each of them.

    Whoever stops asking stops it: runs that had no turn yet are left as they are.  What is out of
    reach ends it (StoreUnavailable).
    """
    tally = BulkOutcome(len(runs))
    began = time.monotonic()
    for number, run in enumerate(runs):
        early = began + number / rps - time.monotonic()
        if early > 0:
            time.sleep(early)  # the pace that was asked for
        _give(run, command, tally)
        yield tally


def _give(
    run: RunHandle[Any], command: Callable[[RunHandle[Any]], bool], tally: BulkOutcome
) -> None:
    try:
        (tally.changed if command(run) else tally.unchanged).append(run.id)
    except CommandRefused as refused:
        tally.refused[run.id] = str(refused)
    except RunNotFound:
        tally.gone.append(run.id)
    except StoreUnavailable:
        raise
    except StoreError as error:
        tally.refused[run.id] = str(error)  # what is wrong with one must not keep it from others
