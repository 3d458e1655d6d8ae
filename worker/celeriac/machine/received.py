"""A signal that a run has accepted.

Owns: what is kept of one beside its payload.  Refuses to know: which wait may take it (`draft`).
"""

from __future__ import annotations

from typing import NamedTuple


class Received(NamedTuple):
    """A signal that was accepted: it is taken by one wait, or still there in the end."""

    key: str  # of its id: the same id counts once
    name: str
    taken_by: str = ""  # the step that waited for it; empty: nobody yet
