"""A store that tells how long it took, and what went wrong.

Owns: timing the calls of any `Store`.  Refuses to know: what they do, and who listens.  Only where
somebody counts is a store watched: elsewhere it costs nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from celeriac.errors import SagaError
from celeriac.observing.observers import Asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.observing.observers import Observers
    from celeriac.store import Store

# Not questions to a server: arithmetic, closing, and asking to be told later.
_NOT_TIMED = ("shards", "shard_of", "close", "add_waiter", "remove_waiter")


def watched(store: Store, observers: Observers) -> Store:
    """Return *store*, with *observers* told of every call."""
    return cast("Store", _Watched(store, observers))


class _Watched:
    """Passes on everything; what is a question to the server, with a look at the clock."""

    def __init__(self, store: Store, observers: Observers) -> None:
        self._store, self._observers = store, observers

    def __getattr__(self, name: str) -> Any:
        """The store's own attribute; found once, then kept."""
        found = getattr(self._store, name)
        if not name.startswith("_") and name not in _NOT_TIMED and callable(found):
            found = self._timed(name, found)
        self.__dict__[name] = found
        return found

    def _timed(self, op: str, ask: Callable[..., Any]) -> Callable[..., Any]:
        tell = self._observers.tell

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                answer = ask(*args, **kwargs)
            except SagaError as error:
                tell(Asked(op, time.perf_counter() - began, error.code))
                raise
            lost = op == "commit" and answer is False
            tell(Asked(op, time.perf_counter() - began, conflict=lost))
            return answer

        return timed
