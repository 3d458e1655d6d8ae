"""An attempt: what a message says of it, and everything needed to run and settle it.

Owns: these two values.  Refuses to know: how one is granted (`engine`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from celeriac.machine import key_of, may_stand
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.machine import Node, Phase, Plan, Run


class Delivery(NamedTuple):
    """What a message says: a hint that this attempt of this step may be taken."""

    run_id: str
    epoch: int
    step: str
    phase: Phase
    attempt: int
    plan: str  # fingerprint


class Attempt(NamedTuple):
    """An attempt that was granted: everything needed to run and settle it."""

    delivery: Delivery
    holder: str
    plan: Plan
    node: Node
    run: Run
    fields: Mapping[str, str]
    now: int  # ms, the store's clock at the claim
    read_at: float  # s, our clock at the claim
    known: frozenset[str] = frozenset()  # the fields that were read, also those that are not there
    whole: Run | None = None  # the run that `run` is an earlier try of; None: it is the newest

    def arguments(
        self, typed: Callable[[str, str], str] | None = None, most: int = sys.maxsize
    ) -> dict[str, str]:
        """The arguments by parameter name, as JSON text.

        *most* is how many bytes the results of a map may have, else PayloadTooLarge.  *typed* makes
        of a field and its text the text that is to be used.
        """
        fields = self.fields
        if typed is not None:
            fields = {name: typed(name, text) for name, text in fields.items()}
        return payloads.arguments(self.node, self.delivery.phase, fields, self.run, most)

    @property
    def undoes(self) -> dict[str, str]:
        """The keys of the steps that this attempt undoes as one, the last started first."""
        run = self.run
        names = [name for name in self.node.covers if may_stand(run.step(name))]
        names.sort(key=lambda name: run.step(name).order, reverse=True)
        return {name: f"{key_of(run, name)}:{name}" for name in names}

    @property
    def key(self) -> str:
        """The idempotency key: stable over attempts, and the same for step and compensation."""
        return f"{key_of(self.run, self.node.name)}:{self.node.name}"
