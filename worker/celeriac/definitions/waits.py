"""Steps of a file that no worker runs: they wait for a signal, or for a time.

Owns: what may be said of a wait.  Refuses to know: what is checked of one (`authoring`).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac.authoring import UNSAID, Placeholder, Question, Signal, StepOptions
from celeriac.definitions.arguments import Arguments, seconds
from celeriac.definitions.fields import Fields
from celeriac.definitions.trees import Mapped, Scalar
from celeriac.errors import DefinitionError

if TYPE_CHECKING:
    from celeriac.definitions.documents import StepText

_WAIT = (
    "signal",
    "timeout",
    "on_timeout",
    "default",
    "title",
    "summary",
    "about",
    "not_by_starter",
)


class Waits(Arguments):
    """A plan in the making, in which some steps wait."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._signals: dict[str, Signal[Any]] = {}  # that the file declares

    def _wait(self, step: StepText, name: str, given: StepOptions) -> Placeholder | None:
        fields = step.fields
        if step.work == "sleep":
            length = fields.duration("sleep")
            if length is None:
                return None
            return self._once(step, lambda: self._builder.sleep(length / 1000, given, name))
        if step.work == "sleep_until":
            said = fields.of_kind("sleep_until", Scalar, "2027-01-31T12:00:00Z")
            if said is None:
                return None
            if "${" in said.text:
                moment: Any = self._values.of(said, datetime, self)
            else:
                moment = fields.read("sleep_until", datetime, "2027-01-31T12:00:00Z")
            if moment is None or moment is self._values.anything:
                return None
            return self._once(step, lambda: self._builder.sleep_until(moment, given, name))
        return self._signal(step, name, given)

    def _signal(self, step: StepText, name: str, given: StepOptions) -> Placeholder | None:
        tree = step.fields.tree("wait")
        if isinstance(tree, Scalar):
            tree = Mapped(tree.mark, {"signal": tree}, {"signal": tree.mark})
        if not isinstance(tree, Mapped):
            self._problems.add(
                step.fields.mark_of("wait"), "wait is a signal, or {signal: approved}"
            )
            return None
        said = Fields(tree, self._problems, _WAIT, "wait")
        signal = self._known_signal(said)
        timeout = seconds(said.duration("timeout"))
        on_timeout: Any = said.one_of("on_timeout", ("abort", "continue"), "abort")
        if signal is None:
            return None
        about = said.of_kind("about", Mapped, "{amount: ${vars.amount}}")
        question = Question(
            said.read("title", str, "Approve the expense", ""),
            said.read("summary", str, "Is it within the budget?", ""),
            None if about is None else self._values.of(about, UNSAID, self),
            said.read("not_by_starter", bool, "true", False),
        )
        default = said.tree("default")
        if default is not None:
            if on_timeout == "abort":
                self._problems.add(said.mark_of("default"), "default needs on_timeout: continue")
            on_timeout = self._values.of(default, signal.payload, self)
        return self._once(
            step, lambda: self._builder.wait(signal, timeout, on_timeout, question, given, name)
        )

    def _known_signal(self, said: Fields) -> Signal[Any] | None:
        scalar = said.of_kind("signal", Scalar, "approved")
        if scalar is None:
            self._problems.add(said.mark, "wait names a signal: {signal: approved}")
            return None
        name, declared = scalar.text, self._document.signals
        known = self._world.signals.get(name) or self._signals.get(name)
        if name in declared and known is None:
            try:
                known = self._signals[name] = Signal(name, declared[name])
            except DefinitionError as error:
                self._tell(error, scalar.mark)
                return None
        if known is None:
            there = ", ".join((*self._world.signals, *declared)) or "none"
            text = f"there is no signal {name!r} ({there}): declare it, signals: {{{name}: object}}"
            self._problems.add(scalar.mark, text)
        return known
