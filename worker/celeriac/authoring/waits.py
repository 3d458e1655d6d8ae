"""Waits: for a signal, and for a time.

Owns: the checks of both, and the nodes that come of them.  Refuses to know: how steps are added
(`building`), and what happens while a run waits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import AwareDatetime

from celeriac.authoring.annotations import described, plain
from celeriac.authoring.choosing import Chooser
from celeriac.authoring.options import StepOptions, optional_ms, required_ms
from celeriac.authoring.placeholders import Placeholder, annotation_of, express, is_json
from celeriac.authoring.signal import Signal
from celeriac.errors import DefinitionError, InputInvalid
from celeriac.machine import UNTIL, FromStep, Node, Wait

if TYPE_CHECKING:
    from celeriac.authoring.planned import Planned
    from celeriac.authoring.signatures import Shape
    from celeriac.machine import Duration, Expression

# Whoever shows a time can show this one, in any time zone.
_LATEST = round(datetime(9999, 1, 1, tzinfo=UTC).timestamp() * 1000)


class Question(NamedTuple):
    """What a wait asks people, as the author of a saga has said it."""

    title: Any
    summary: Any
    about: Any  # what they are shown beside it: values by their labels
    not_by_starter: Any = False

    def words(self) -> dict[str, Any]:
        """The texts, and who may answer; raise DefinitionError if they are none."""
        if not isinstance(self.not_by_starter, bool):
            raise DefinitionError(f"not_by_starter is True or False, not {self.not_by_starter!r}")
        found = {"title": self.title, "summary": self.summary}
        for name, text in found.items():
            if not isinstance(text, str):
                raise DefinitionError(
                    f"{name} is a text that is written in the saga, not {text!r}: show what is "
                    "known only in a run with about={'label': value}"
                )
        return {**found, "not_by_starter": self.not_by_starter}

    def entries(self) -> Mapping[str, Any]:
        """What is shown, by its label; raise DefinitionError if it is no mapping."""
        if self.about is None:
            return {}
        if isinstance(self.about, Mapping) and all(
            isinstance(label, str) and label.strip() for label in self.about
        ):
            return self.about
        raise DefinitionError(
            f"about takes values by the labels that people read, not {self.about!r}: "
            "about={'amount': expense.amount}"
        )


class Waiter(Chooser):
    """A plan in the making, in which some nodes wait for a signal or a time."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._signals: dict[str, Signal[Any]] = {}

    def wait(
        self,
        signal: Any,
        timeout: Duration | None,
        on_timeout: Any,
        question: Question,
        given: StepOptions,
        exactly: str | None = None,
    ) -> Placeholder:
        """Add a wait for a signal; return the placeholder of its payload.

        *exactly* is the whole name, where that is not for the author to say.
        """
        if not isinstance(signal, Signal):
            raise DefinitionError(
                f"flow.wait takes a signal, not {signal!r}: approved = Signal('approved', "
                "Approval) in the module, then flow.wait(approved)",
                saga=self.saga,
            )
        if self._signals.setdefault(signal.name, signal) is not signal:
            raise DefinitionError(
                f"waits for two signals that are both called {signal.name!r}: a run knows them by "
                "their names, so give one another name",
                saga=self.saga,
            )
        name = self._name_of(signal.name, given, exactly)
        try:
            wait, annotation = _wait_for(signal, timeout, on_timeout)
            wait = wait.model_copy(update=question.words())
        except DefinitionError as error:
            raise self.at(name, None, error) from error.__cause__
        return self._add_wait(name, wait, given, annotation, self._about(name, question))

    def _about(self, name: str, question: Question) -> dict[str, Expression]:
        """What people are shown beside a question, by its label."""
        try:
            entries = question.entries().items()
            return {label: express(value, Any, self, as_json=True) for label, value in entries}
        except DefinitionError as error:
            raise self.at(name, "about", error) from error.__cause__

    def sleep(
        self, duration: Duration, given: StepOptions, exactly: str | None = None
    ) -> Placeholder:
        """Add a wait of some length."""
        name = self._name_of("sleep", given, exactly)
        if isinstance(duration, Placeholder):
            raise DefinitionError(
                f"flow.sleep takes a duration that is written in the saga, and {duration!r} is "
                "known only in a run: compute the time in a step, and flow.sleep_until(…) that",
                saga=self.saga,
                step=name,
            )
        length = required_ms("flow.sleep", duration, name)
        return self._add_wait(name, Wait(timeout=length, on_timeout="continue"), given, None)

    def sleep_until(
        self, moment: Any, given: StepOptions, exactly: str | None = None
    ) -> Placeholder:
        """Add a wait until a moment, which may be known only in a run."""
        name = self._name_of("sleep", given, exactly)
        if isinstance(moment, Placeholder):
            wait = Wait(reads=True, on_timeout="continue")
            return self._add_wait(name, wait, given, None, {UNTIL: self._moment(name, moment)})
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            naive = isinstance(moment, datetime)
            raise DefinitionError(
                f"flow.sleep_until takes an aware datetime, not {moment!r}"
                + (": give it a time zone, tzinfo=UTC" if naive else ""),
                saga=self.saga,
                step=name,
            )
        try:
            until = round(moment.timestamp() * 1000)
        except OverflowError:
            until = _LATEST
        if until >= _LATEST:
            raise DefinitionError(
                "flow.sleep_until takes a moment before the year 9999",
                saga=self.saga,
                step=name,
            )
        return self._add_wait(name, Wait(until=until, on_timeout="continue"), given, None)

    def _moment(self, name: str, moment: Placeholder) -> Expression:
        """Where the moment is to be found; raise DefinitionError if it is surely none."""
        kind = annotation_of(moment)
        known = plain(kind)
        aware = isinstance(known, type) and issubclass(known, datetime)
        aware = aware or known in (Any, AwareDatetime)
        if not (aware or (is_json(moment) and known is str)):
            raise DefinitionError(
                f"flow.sleep_until takes an aware datetime, and {moment!r} is {described(kind)}",
                saga=self.saga,
                step=name,
            )
        try:
            return express(moment, kind, self, as_json=is_json(moment))
        except DefinitionError as error:
            raise self.at(name, None, error) from None

    def _name_of(self, kind: str, given: StepOptions, exactly: str | None) -> str:
        self._check_open()
        name = exactly or self.name_of(kind, given)
        wrong = next(iter(given.of_attempts), None)
        if wrong is not None:
            raise DefinitionError(
                f"no worker runs a wait, so it has no {wrong}: options of a wait are name and after"
                + (", and flow.wait(…, timeout=)" if wrong == "timeout" else ""),
                saga=self.saga,
                step=name,
            )
        return name

    def _add_wait(
        self,
        name: str,
        wait: Wait,
        given: StepOptions,
        annotation: Any,
        about: Mapping[str, Expression] | None = None,
    ) -> Placeholder:
        shown = dict(about or {})
        after, guards = self.placed(name, shown, given.after), self.blocks.guards
        self.nodes.append(
            Node(name=name, task="", after=after, args=shown, wait=wait, guards=guards)
        )
        self.steps[name] = wait
        return Placeholder(FromStep(step=name), annotation, self, as_json=False)

    def close(self, plan: Mapping[str, Any], shape: Shape, returned: Any) -> Planned:
        """Take no more steps, and put the plan together."""
        deadline = plan.get("deadline")
        if deadline and plan.get("on_deadline") == "compensate":
            self._check_lengths(deadline)
        schemas = {name: each.schema for name, each in self._signals.items()}
        made = super().close({**plan, "signals": schemas}, shape, returned)
        made.signals.update(self._signals)
        return made

    def _check_lengths(self, deadline: int) -> None:
        """Raise DefinitionError for a wait that the deadline would always end."""
        for node in self.nodes:
            if node.wait and node.wait.timeout and node.wait.timeout > deadline:
                raise DefinitionError(
                    f"waits for {node.wait.timeout / 1000:g} s, and the run has a deadline of "
                    f"{deadline / 1000:g} s: wait less long, or give it more time",
                    saga=self.saga,
                    step=node.name,
                )


def _wait_for(signal: Signal[Any], timeout: Duration | None, on_timeout: Any) -> tuple[Wait, Any]:
    """The wait for a signal, and the type of its result."""
    length, kind = optional_ms("timeout", timeout), signal.payload
    if isinstance(on_timeout, str) and on_timeout == "abort":
        return Wait(signal=signal.name, timeout=length), kind
    if length is None:
        raise DefinitionError(
            "on_timeout says what follows when the time is over, and there is no timeout: "
            "flow.wait(…, timeout='1d', on_timeout=…)"
        )
    if isinstance(on_timeout, str) and on_timeout == "continue":
        return Wait(signal=signal.name, timeout=length, on_timeout="continue"), kind | None
    if isinstance(on_timeout, Placeholder):
        raise DefinitionError(
            f"on_timeout is 'abort', 'continue' or a constant payload, not {on_timeout!r}"
        )
    try:
        default = json.loads(signal.dump(on_timeout))
    except InputInvalid as error:
        raise DefinitionError(
            f"on_timeout is 'abort', 'continue' or a payload of {signal.name!r}: {error}"
        ) from None
    return Wait(signal=signal.name, timeout=length, on_timeout="continue", default=default), kind
