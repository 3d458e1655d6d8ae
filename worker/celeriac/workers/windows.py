"""Which attempts travel in one chain.

Owns: where a chain ends.  Refuses to know: how messages are made (`canvas`), and what may be done
(`transitions`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine import Dispatch, one_by_one

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine import Plan, Run


def window(
    plan: Plan, run: Run, first: Dispatch, most: int, *, ahead: bool = False
) -> Iterator[Dispatch]:
    """The attempts that travel in one chain, *most* of them, beginning with *first*.

    With *ahead*, up to the first that its worker may take up without a message: what that does not,
    it sends itself.
    """
    yield first
    for count, name in enumerate(one_by_one(plan, run, first.step, first.phase), start=2):
        node = plan.node(name)
        # A chain passes no priority on: a step that has one is sent by itself.
        if count > most or (first.phase == "do" and node.priority is not None):
            return
        if ahead and node.runs_ahead(first.phase):
            return
        attempt = run.step(name).direction(first.phase).attempt + 1
        yield Dispatch(name, first.phase, attempt, first.at)
