"""Steps and compensations as the plain functions they were made of, which a unit test calls.

Owns: looking like the function, and refusing to be called while a saga is planned.  Refuses to
know: what a step is.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from celeriac.authoring.placeholders import Placeholder
from celeriac.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_planning: ContextVar[str | None] = ContextVar("celeriac_planning", default=None)


@contextmanager
def planning(saga: str) -> Iterator[None]:
    """While a saga is planned, calling a step runs nothing but is an error."""
    token = _planning.set(saga)
    try:
        yield
    finally:
        _planning.reset(token)


def refuse_call(name: str, instead: str, args: Any, kwargs: Any) -> None:
    """Raise DefinitionError while a saga is planned, or for a placeholder as an argument."""
    saga = _planning.get()
    given = (*args, *kwargs.values())
    if saga is not None or any(isinstance(each, Placeholder) for each in given):
        raise DefinitionError(
            f"is called while the saga is planned, which would run it now: {instead}",
            saga=saga,
            step=name,
        )


def wear(wrapper: Any, function: Callable[..., Any]) -> None:
    """Take over what documentation and inspection look at, but not the function's attributes."""
    functools.update_wrapper(wrapper, function, updated=())
