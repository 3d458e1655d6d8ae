"""A client process: `python -m tests.chaos.client NAME RATE MOST`.

Owns: starting runs at a steady rate, asking again under the same id for what has no answer, also
what a client before it left, signals, results from outside, rewinding those that are to be, and
waiting while too many runs are under way.  Refuses to know: what happens to it: it may be killed at
any instruction, or be cut off.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from contextlib import suppress
from itertools import chain, count
from typing import TYPE_CHECKING

from celeriac import CommandRefused, RunConflict, RunStatus, SagaError, StoreError
from celeriac.errors import TokenRefused
from tests.chaos.journal import (
    ACCEPTED,
    AGAIN,
    BROKEN,
    REFUSED,
    REWOUND,
    SIGNALLED,
    TRIED,
    Journal,
)
from tests.chaos.load import shape_of
from tests.workers.kit import Trip
from tests.workers.worker_app import kit

if TYPE_CHECKING:
    from typing import Any

    from celeriac import RunHandle, Saga

_LOOKS = 4  # runs looked at between two starts
_REPEATED = 5  # one start in so many is made again, and with another input


def main(name: str, rate: float, most: int) -> None:
    """Start runs for ever."""
    journal = Journal(kit.folder, name)
    under_way: deque[RunHandle[Any]] = deque()
    for run_id in chain(journal.open(), (f"{name}-{n}" for n in count(journal.next()))):
        time.sleep(1 / rate)
        while _too_many(journal, under_way, most):
            time.sleep(1 / rate)
        journal.note(TRIED, run_id)
        under_way.append(_insist(journal, run_id))
        if shape_of(run_id).saga == "approving":
            _signal(journal, under_way[-1])
        journal.note(ACCEPTED, run_id)
        if int(run_id.rpartition("-")[2]) % _REPEATED == 0:
            _start_again(journal, run_id)


def _saga(run_id: str) -> Saga[Trip, Any]:
    found: Saga[Trip, Any] = getattr(kit, shape_of(run_id).saga)
    return found


def _insist(journal: Journal, run_id: str) -> RunHandle[Any]:
    """Start a run, again and again until it is accepted."""
    while True:
        try:
            return _saga(run_id).start(Trip(script=shape_of(run_id).script), id=run_id)
        except StoreError as error:
            journal.note(REFUSED, f"{run_id} {error.code}")
            time.sleep(0.1)
        except Exception as error:
            journal.note(BROKEN, f"{run_id} start raised {type(error).__name__}: {error}")
            raise


def _start_again(journal: Journal, run_id: str) -> None:
    """The same start is the same run, and another input under its id is refused (I10)."""
    run = _insist(journal, run_id)
    journal.note(AGAIN, run_id)
    if run.id != run_id:
        journal.note(BROKEN, f"{run_id} was started again as {run.id}")
    try:
        _saga(run_id).start(Trip(script={"other": ["input"]}), id=run_id)
    except (RunConflict, StoreError):
        return
    journal.note(BROKEN, f"{run_id} was started with another input, and not refused")


def _signal(journal: Journal, run: RunHandle[Any]) -> None:
    """Send a run its signal, again and again until that has an answer; the same click each time."""
    while True:
        try:
            run.signal("approved", {"number": run.id}, id="click")
        except StoreError as error:
            journal.note(REFUSED, f"{run.id} {error.code}")
            time.sleep(0.1)
        except CommandRefused:
            return  # it is being undone, or was
        else:
            journal.note(SIGNALLED, run.id)
            return


def _brings(run: RunHandle[Any]) -> None:
    """Bring the result that the newest attempt of a run has asked for; once more does no harm."""
    tokens = sorted(kit.folder.glob(f"{run.id}.token.*"), key=lambda path: int(path.suffix[1:]))
    with suppress(TokenRefused, StoreError):
        for token in tokens[-1:]:
            kit.sagas.complete(token.read_text(), {"number": run.id})


def _goes_back(journal: Journal, run: RunHandle[Any]) -> bool:
    """Rewind a run that has completed, if it is one of those, once; True if it goes on so."""
    to = shape_of(run.id).rewinds_to
    if not to or run.id in journal.noted(REWOUND):
        return False
    state = run.state()
    if state.status is not RunStatus.COMPLETED or state.rewinds:
        return False
    try:
        # If the answer is lost, and it goes on all the same, it has been rewound by then.
        run.rewind(to=to, reason="the wrong card")
    except CommandRefused as refused:
        journal.note(BROKEN, f"{run.id} was not rewound: {refused}")
    journal.note(REWOUND, run.id)
    return True


def _too_many(journal: Journal, under_way: deque[RunHandle[Any]], most: int) -> bool:
    """Look at a few runs; True while too many are under way."""
    for _ in range(min(_LOOKS, len(under_way))):
        run = under_way.popleft()
        try:
            if shape_of(run.id).saga == "outside":
                _brings(run)
            over = run.status.at_rest and not _goes_back(journal, run)
        except SagaError:
            over = False  # nobody knows just now
        if not over:
            under_way.append(run)
    return len(under_way) >= most


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
