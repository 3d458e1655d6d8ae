"""What the steps of the kit take and return, and how they are tried again.

Owns: these values.  Refuses to know: the steps (`kit`).
"""

from __future__ import annotations

from pydantic import BaseModel

from celeriac import Retry

QUICK = Retry(max_attempts=3, initial_delay=0.1, jitter=False)


class Trip(BaseModel):
    """The input: what each step is to do."""

    script: dict[str, list[str]] = {}


class Ticket(BaseModel):
    """What a step returns."""

    number: str
