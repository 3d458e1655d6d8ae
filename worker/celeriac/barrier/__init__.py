"""The participant's half of a safe undo: key and tombstone in the effect's own transaction.

Owns: what holds for every barrier: what a step may ask when, what is remembered of a result, and
the errors.  Refuses to know: where it is kept (`sql`, `redis`), and the engine: a barrier lives in
the participant's database, never in the state Redis.

Four laws, for each idempotency key:

1. the first `do` takes effect, and its result is remembered with it;
2. another `do` returns what is remembered, without taking effect again;
3. `undo` undoes an effect that was there, once, and leaves a tombstone whether it was there or not;
4. after a tombstone `do` raises `Abort(code="undone", effect=False)`.

So an attempt that comes back from the dead after its step was undone does no harm, and an undo
need not know whether there is anything to undo.  The idea is known as the sub-transaction barrier
of DTM (dtm.pub) and the TCC fence of Seata (seata.apache.org).  What a tombstone prevents is
called *suspension* there, and an undo that finds no effect a *null compensation*.

Its files, from the ground up::

    remembered < redis | sql
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from celeriac.barrier.redis import RedisBarrier
from celeriac.barrier.remembered import BarrierBusy

if TYPE_CHECKING:
    from celeriac.barrier.sql import SqlBarrier

__all__ = ["BarrierBusy", "RedisBarrier", "SqlBarrier"]


def __getattr__(name: str) -> Any:
    # SQLAlchemy is an extra: who keeps effects in Redis does not need it.
    if name != "SqlBarrier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module("celeriac.barrier.sql").SqlBarrier
    except ModuleNotFoundError as error:
        if error.name != "sqlalchemy":
            raise
        raise ModuleNotFoundError(
            "SqlBarrier needs SQLAlchemy 2: pip install 'celeriac[sqlalchemy]'", name=error.name
        ) from None
