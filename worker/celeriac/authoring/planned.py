"""What planning gives: the plan of a saga, and the tasks behind its steps.

Owns: `Planned`.  Refuses to know: how it is made (`building`).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac.authoring.adopted import settled_plan
from celeriac.authoring.codecs import ANYTHING, Codec, write
from celeriac.errors import InputInvalid, OutputInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.authoring.signal import Signal
    from celeriac.authoring.signatures import Shape
    from celeriac.machine import Plan


@dataclass(frozen=True, eq=False)
class Planned:
    """What planning a saga's function gave."""

    draft: Plan  # without the policies of tasks that are only promised so far
    shape: Shape  # the inputs, and the type of the result
    steps: Mapping[str, Any]  # name in the plan -> Step, or the Celery task that was adopted
    adopted: tuple[Any, ...]  # existing Celery tasks, forward and backward, each once
    answers: Codec | None = None  # what `Abort(answer=)` may say; None: any plain JSON
    signals: dict[str, Signal[Any]] = field(default_factory=dict)  # that it waits for, by name
    children: dict[str, Planned] = field(default_factory=dict)  # the runs that are its steps

    @property
    def name(self) -> str:
        """The saga's name."""
        return self.draft.saga

    @property
    def descendants(self) -> Iterator[str]:
        """The runs that are steps of it, at any depth, by what follows its id in theirs."""
        for name, child in self.children.items():
            yield name
            yield from (f"{name}.{deeper}" for deeper in child.descendants)

    @cached_property
    def plan(self) -> Plan:
        """The plan; asked for the first time, it keeps the promises of tasks."""
        children = {name: each.plan for name, each in self.children.items()}
        return settled_plan(self.draft, self.adopted, children)

    def dump_answer(self, answer: Any) -> str:
        """An answer to the caller as JSON text; raises OutputInvalid for one that does not fit."""
        what = f"the answer to who started {self.name}"
        if self.answers is None:
            return write(ANYTHING.adapter, answer, what, OutputInvalid)
        return self.answers.dump(answer, what, OutputInvalid)

    def answer(self, text: str) -> Any:
        """An answer to the caller, from JSON; as it is, if it does not fit what is declared now."""
        if self.answers is not None:
            with suppress(InputInvalid):
                return self.answers.load(text, "the answer")
        return json.loads(text)

    def result(self, text: str | bytes) -> Any:
        """The result of a run, from JSON, in the type that the saga says, or else its step."""
        return self.shape.load_result(text)
