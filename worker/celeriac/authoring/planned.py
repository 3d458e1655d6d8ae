"""What planning gives: the plan of a saga, and the tasks behind its steps.

Owns: `Planned`.  Refuses to know: how it is made (`building`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac.authoring.adopted import settled_plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.authoring.signatures import Shape
    from celeriac.machine import Plan


@dataclass(frozen=True, eq=False)
class Planned:
    """What planning a saga's function gave."""

    draft: Plan  # without the policies of tasks that are only promised so far
    shape: Shape  # the inputs, and the type of the result
    steps: Mapping[str, Any]  # name in the plan -> Step, or the Celery task that was adopted
    adopted: tuple[Any, ...]  # existing Celery tasks, forward and backward, each once

    @property
    def name(self) -> str:
        """The saga's name."""
        return self.draft.saga

    @cached_property
    def plan(self) -> Plan:
        """The plan; asked for the first time, it keeps the promises of tasks."""
        return settled_plan(self.draft, self.adopted)

    def result(self, text: str | bytes) -> Any:
        """The result of a run, from JSON, in the type that the saga says, or else its step."""
        return self.shape.load_result(text)
