"""What a step was given, and what came of the elements of a map: values out of a run's payloads.

Owns: which payloads these are.  Refuses to know: who may see them (`redaction`), and how they look.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from celeriac.errors import OutputInvalid, PayloadTooLarge
from celeriac.machine import instance_of
from celeriac.store import payloads
from celeriac.views.redaction import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.machine import Plan, Run

_MOST = 65_536  # bytes of a list of results
_LONG = "a list that is too long to be shown here"


def inputs_of(plan: Plan, run: Run, step: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """What attempts of a step are given, by parameter, out of the payloads of its run.

    What is hidden in *found* is hidden in what is made of it, whatever the parameter is called.
    """
    node = plan.node(step)
    wanted = payloads.wanted(node, "do", run)
    fields = {name: json.dumps(found[name]) for name in wanted if name in found}
    reader, given = payloads.Reader(step, _MOST), dict[str, Any]()
    for name, expression in node.args.items():
        try:
            given[name] = json.loads(payloads.resolve(expression, fields, run, reader))
        except OutputInvalid:  # a part of what is hidden as a whole
            given[name] = HIDDEN
        except PayloadTooLarge:
            given[name] = _LONG
    return given


def result_of_step(step: str, found: Mapping[str, Any]) -> tuple[Any, ...]:
    """The result of a step, or of an element of a map; empty while it has none."""
    name = payloads.output_field(step)
    return (found[name],) if name in found else ()


def results_of_map(name: str, found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What came of each element of a map that is done, by the names of their steps, in order."""
    steps = ((each, instance_of(each)) for each in found if payloads.step_of_output(each) == each)
    own = sorted((of.number, of.rest, each) for each, of in steps if of and of.map == name)
    return [(each, found[each]) for _, _, each in own]
