"""Starting a run: checking what is given, having the run accepted, sending what is due.

Owns: the three moments of a start, in this order.  Refuses to know: how a caller gives its input,
and the handle that it gets.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, Protocol

from celeriac.app.inputs import check_words, checked_id, uuid7
from celeriac.app.joining import accept
from celeriac.errors import DefinitionError, InputInvalid
from celeriac.machine import Start, checked_tags
from celeriac.points import reached
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.authoring import Planned
    from celeriac.engine import Dispatcher, Engine
    from celeriac.settings import Settings

IfExists = Literal["join", "fail", "restart"]


class Client(Protocol):
    """What starts runs: a process that has an engine and can send messages."""

    @property
    def settings(self) -> Settings:
        """The settings of its app."""

    @property
    def engine(self) -> Engine:
        """What commits the run."""

    @property
    def dispatcher(self) -> Dispatcher:
        """What sends its messages."""

    @property
    def unfit(self) -> Mapping[str, str]:
        """The tasks of its app that could not be made steps, and why."""


def prepare_start(
    client: Client,
    planned: Planned,
    inputs: tuple[Any, ...],
    named: Mapping[str, Any],
    run_id: str | None,
    tags: Mapping[str, str] | None,
    if_exists: IfExists,
    by: str,
) -> tuple[Start, dict[str, str]]:
    """Return the command and the input as JSON by parameter; raise InputInvalid otherwise."""
    if if_exists not in ("join", "fail", "restart"):
        raise InputInvalid(f"if_exists must be 'join', 'fail' or 'restart', not {if_exists!r}")
    saga, settings = planned.plan.saga, client.settings
    _check_tasks(planned, client.unfit)
    texts = planned.shape.encode(inputs, named)
    for parameter, text in texts.items():
        what = f"input {parameter!r} of {saga}"
        payloads.checked(what, text, settings.max_payload)
    start = Start(
        run_id=checked_id(run_id) if run_id is not None else uuid7(),
        digest=payloads.digest(saga, texts),
        nonce=os.urandom(4).hex(),
        grace=settings.grace_ms,
        tags=checked_tags(tags),
        if_exists=if_exists,
        by=by,
    )
    check_words(start)
    return start, texts


def _check_tasks(planned: Planned, unfit: Mapping[str, str]) -> None:
    for name, _ in planned.plan.addresses if unfit else ():
        if name in unfit:
            raise DefinitionError(f"cannot be a step: {unfit[name]}", saga=planned.name, step=name)


def start_run(client: Client, planned: Planned, start: Start, texts: Mapping[str, str]) -> bool:
    """Have a run accepted and its first messages sent; once accepted, it will come to rest.

    Returns True if it was this start that made it, False if it joined one that was there.
    """
    reached("start.asked", start.run_id)
    _, decided, now = accept(client.engine, planned, start, texts)
    reached("start.accepted", start.run_id)
    if decided.events:
        client.engine.send(client.dispatcher, planned.plan, decided.run, decided.dispatches, now)
    reached("start.published", start.run_id)
    return decided.run.starter == start.nonce
