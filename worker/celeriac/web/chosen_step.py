"""The chosen step of a run: what it was given, what came of it, and how it failed.

Owns: which payloads are shown of it, under which headings, and failures as text.  Refuses to know:
who may see payloads, and what is hidden in them (`site`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.observing import clean
from celeriac.views import inputs_of, result_of_step, results_of_map

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.machine import Plan, Run
    from celeriac.views import Redaction, StepView

_MOST = 50  # results of elements


class Part(NamedTuple):
    """A heading, and the text below it."""

    label: str
    text: str


def parts_of(
    plan: Plan, run: Run, step: StepView, payloads: Mapping[str, Any], redaction: Redaction
) -> list[Part]:
    """Return what there is to show of a step, out of its run's *payloads* as they are shown."""
    found = list[Part]()
    if step.attempts and (given := inputs_of(plan, run, step.name, payloads)):
        found.append(Part("Input", _pretty(redaction.of(given))))
    found += [Part("Result", _pretty(each)) for each in result_of_step(step.name, payloads)]
    if step.elements is not None and (several := results_of_map(step.name, payloads)):
        found.append(Part("Results of its elements", _lines(several)))
    confirm = plan.confirmed_by.get(step.name)
    for label, key in (
        ("Error", f"err:{step.name}"),
        ("Error of its confirm", f"err:{confirm}"),
        ("Error of its undo", f"uerr:{step.name}"),
    ):
        if key in payloads:
            found.append(Part(label, failure_text(payloads[key])))
    if (beat := f"beat:{step.name}") in payloads:
        found.append(Part("Last heartbeat", _pretty(payloads[beat])))
    return found


def failure_text(failure: Any) -> str:
    """How an attempt failed, as Python tells it: class, code, message, and where it was raised."""
    if not isinstance(failure, dict):
        return _pretty(failure)
    code = f" [{failure['code']}]" if failure.get("code") else ""
    message = f": {failure['message']}" if failure.get("message") else ""
    effect = "\nIt is proven to have had no effect." if failure.get("effect") is False else ""
    where = f"\n\n{failure['traceback']}" if failure.get("traceback") else ""
    told = f"{failure.get('type', '')}{code}{message}{effect}{where}"
    return "\n".join(clean(line) for line in told.rstrip().split("\n"))


def _lines(several: list[tuple[str, Any]]) -> str:
    """A line an element."""
    told = [f"{clean(name)}: {json.dumps(each, ensure_ascii=False)}" for name, each in several]
    more = len(told) - _MOST
    return "\n".join(told[:_MOST] + ([f"and {more:,} more"] if more > 0 else []))


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
