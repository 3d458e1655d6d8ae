"""The engine: all that the state machine does to runs in a store.

Owns: what it is put together from: `committing` (one command), `attempt_work` (the stages of an
attempt), `starting` and `sending` (messages), `children` (what passes between runs).  Refuses to
know: Celery, and who calls the step.
"""

from __future__ import annotations

from celeriac.engine.attempt_work import AttemptWork
from celeriac.engine.children import ChildWork
from celeriac.engine.tokens import TokenWork


class Engine(AttemptWork, ChildWork, TokenWork):
    """The state machine, wired to a store."""
