"""How far an attempt says that it is, as people are shown it.

Owns: which of what steps have said is shown, and in which words.  Refuses to know: who keeps it.

It is shown while the attempt that said it is at work, or its result is awaited from outside: of one
that has ended, its end is told.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import Field

from celeriac.machine import PHASES, Frozen, PhaseStatus
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celeriac.machine import Phase, Run


class Progress(Frozen):
    """How far an attempt says that it is."""

    done: float = Field(description="as the step counts")
    total: float | None = Field(default=None, description="of how many, if the step knows")
    text: str = Field(default="", description="what the step says of it")

    def __str__(self) -> str:
        """In a few words: `3 of 10 labels printed`."""
        total = "" if self.total is None else f" of {self.total:.15g}"
        return f"{self.done:.15g}{total} {self.text}".strip()


_SHOWN = (PhaseStatus.RUNNING, PhaseStatus.DEFERRED)


def progress_fields(run: Run, steps: Iterable[str] | None = None) -> tuple[str, ...]:
    """The payload fields in which attempts that are at work say how far they are."""
    names = run.steps.open if steps is None else steps
    return tuple(
        payloads.progress_field(name, phase)
        for name in names
        for phase in PHASES
        if run.step(name).direction(phase).state in _SHOWN
    )


def progress_of(run: Run, name: str, fields: Mapping[str, str]) -> Progress | None:
    """How far the attempt of a step is that is at work; None if it has not said so."""
    phases: tuple[Phase, ...] = ("undo", "do")
    for phase in phases:
        direction = run.step(name).direction(phase)
        if direction.state not in _SHOWN:
            continue
        text = fields.get(payloads.progress_field(name, phase))
        found = as_told(json.loads(text), direction.attempt) if text else None
        if found is not None:
            return found
    return None


def as_told(told: Any, attempt: int) -> Progress | None:
    """What an attempt has told of itself (number, done, total, text); None if another one did.

    What is of no such form counts as told by nobody.
    """
    try:
        number, done, total, text = told
        return Progress(done=done, total=total, text=text) if number == attempt else None
    except (TypeError, ValueError):  # pydantic's are among them
        return None
