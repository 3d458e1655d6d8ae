"""The payloads that commands bring along, each with a number of its own.

Owns: what a caller hands to the engine with a command, and which of it must be stored then.
Refuses to know: how it is stored.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from celeriac.engine.answers import Deferred, Ends, Goes, Skips
from celeriac.engine.children import fields_of_report
from celeriac.engine.tokens import Said, fields_of_result
from celeriac.failure import Failure
from celeriac.machine.commands import (
    CheckAttempt,
    Claim,
    Command,
    Complete,
    Defer,
    Expire,
    Fail,
    Report,
    Signal,
    Skip,
    Start,
    Tag,
)
from celeriac.machine.events import EventKind
from celeriac.store.payloads import (
    RESULT,
    beat_field,
    error_field,
    input_field,
    output_field,
    progress_field,
    signal_field,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.engine.answers import Output
    from celeriac.engine.attempts import Attempt
    from celeriac.engine.engine import Engine
    from celeriac.machine import Phase
    from celeriac.machine.events import Event
    from celeriac.machine.transitions import Transition

INPUT = {"order": '"tea"', "items": "[1,2,3]"}


def token(command: Command) -> tuple[Any, ...]:
    """Whose attempt a command speaks of; empty if of nobody's."""
    if not isinstance(command, Claim | Complete | Fail | Defer | CheckAttempt | Tag):
        return ()
    if is_outside(command):
        return ()
    return (command.epoch, command.step, command.phase, command.attempt, command.holder)


def is_outside(command: Command) -> bool:
    """True for what somebody says who has the token of an attempt."""
    return isinstance(command, Complete | Fail) and command.outside


def said(command: Complete | Fail, number: int) -> Said:
    """What somebody outside brings."""
    if isinstance(command, Complete):
        return Said(json.dumps(number))
    return Said(_failure(number).model_dump_json(exclude_none=True), command.error)


def report(engine: Engine, attempt: Attempt, command: Command, number: int) -> None:
    """Tell the engine how an attempt fares, as a worker does."""
    if isinstance(command, Tag):
        engine.tag(attempt, command.tags)
    elif isinstance(command, Complete):
        engine.complete(attempt, _output(command, number))
    elif isinstance(command, Defer):
        engine.complete(attempt, Deferred(command.delay))
    elif isinstance(command, Fail):
        engine.fail(attempt, command, _failure(number))
    else:  # as often as it takes: how far it is would be told once, and again when it has gone on
        engine._say(attempt, _said_at_work(number), json.dumps(number))


def heard(command: Report, number: int, done: Transition) -> dict[str, str]:
    """What the report of a child brings, given what it leads to."""
    return fields_of_report(done, command.step, json.dumps(number), _failure(number))


def fields_told(command: Command, number: int) -> dict[str, str]:
    """What a command that no attempt stands behind brings along."""
    if isinstance(command, CheckAttempt):
        return {_said_at_work(number)(command.step, command.phase): json.dumps(number)}
    if isinstance(command, Expire):
        return {error_field(command.step, command.phase): _failure(number).model_dump_json()}
    if isinstance(command, Signal):
        return {signal_field(command.key): json.dumps(number)}
    return {output_field(command.step): json.dumps(number)} if isinstance(command, Skip) else {}


def fields_left(
    command: Command, number: int, events: Sequence[Event], *, granted: bool
) -> Mapping[str, str]:
    """The payloads that a command must have left, given what it led to."""
    happened = {event.kind for event in events}
    if isinstance(command, Start):
        return {input_field(name): text for name, text in INPUT.items()} if events else {}
    if isinstance(command, Complete | Fail) and is_outside(command):
        return fields_of_result(events, command.step, said(command, number))
    # What was said outside before counts, and whatever the body brings is dropped.
    granted = granted and not any("kept" in event.data for event in events)
    if isinstance(command, Complete) and granted:
        used = command.phase == "do" and EventKind.COMPLETED in happened and not command.route
        if used and command.ends:
            return {RESULT: json.dumps(number)}
        return {output_field(command.step): json.dumps(command.choice or number)} if used else {}
    if isinstance(command, Fail) and granted:
        text = _failure(number).model_dump_json(exclude_none=True)
        used = EventKind.FAILED in happened
        return {error_field(command.step, command.phase): text} if used else {}
    told = fields_told(command, number)
    return told if events or isinstance(command, CheckAttempt) else {}


def _said_at_work(number: int) -> Callable[[str, Phase], str]:
    """The field of what is said at work: one in two says how far it is."""
    return progress_field if number % 2 else beat_field


def _output(command: Complete, number: int) -> Output:
    """What an attempt leaves: its choice, a number, the end of the run, or nothing."""
    if command.ends:
        return Ends(json.dumps(number))
    if command.route:
        return Goes(command.route)
    return Skips() if command.skips else json.dumps(command.choice or number)


def _failure(number: int) -> Failure:
    return Failure(type="BankDown", message=str(number))
