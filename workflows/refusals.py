"""How a partner's definite no ends a step.

Owns: the translation of `Refused`, which the services raise, into Celeriac's `Abort`; all reference
sagas share it.  Refuses to know: who refused what.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from celeriac import Abort
from workflows.services.ledger import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def definite() -> Iterator[None]:
    """A definite no is final: no other attempt, and nothing of this step to undo."""
    try:
        yield
    except Refused as refusal:
        raise Abort(str(refusal), code=refusal.code, effect=False) from None
