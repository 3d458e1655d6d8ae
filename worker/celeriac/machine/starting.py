"""The start of a run: accepted, joined, or refused since the id is taken.

Owns: what becomes of an id that there is a run of.  Refuses to know: the input (a digest stands for
it), and who starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.errors import RunConflict, RunExists
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus

if TYPE_CHECKING:
    from celeriac.machine.commands import Start
    from celeriac.machine.draft import Draft
    from celeriac.machine.runs import Run


def start(draft: Draft, command: Start) -> None:
    """Accept a run, or join the one that there is; an id may also be started anew."""
    old = draft.maybe_run
    if old is not None and old.starter == command.nonce:
        return  # this very call again, its reply was lost
    if old is not None and not _may_restart(old, command):
        return
    plan = draft.plan
    limits = [each for each in (plan.deadline, command.limit) if each]
    draft.add(
        EventKind.STARTED,
        run_id=command.run_id,
        saga=plan.saga,
        plan=plan.fingerprint,
        grace=command.grace,
        digest=command.digest,
        starter=command.nonce,
        tags=command.tags,
        deadline=draft.now + min(limits) if limits else None,
        epoch=old.epoch + 1 if old else None,
        parent=command.parent,
        origin=command.origin,
        reason=command.reason,
        by=command.by,
    )
    for name, choice in command.inherits:
        answers = draft.node(name).choice is not None
        said: dict[str, Any] = {"choice" if answers else "route": choice}
        draft.add(EventKind.INHERITED, name, **said)


def _may_restart(old: Run, command: Start) -> bool:
    """True to start anew, False to join; raises if the id must not be touched."""
    if command.parent is not None:
        if old.parent == command.parent:
            return False
        run, _, step = command.parent
        raise RunConflict(old.id, f"is there, and is not the child of step {step!r} of run {run!r}")
    if command.if_exists == "fail":
        raise RunExists(old.id, old.status)
    if command.if_exists == "restart":
        if old.status is RunStatus.FAILED:
            raise RunConflict(
                old.id, f"still owes {', '.join(old.owed)}: retry, waive or terminate it first"
            )
        if not old.status.at_rest:
            raise RunConflict(old.id, f"has not ended ({old.status}): wait, cancel or terminate it")
        if old.parent is not None:
            raise RunConflict(
                old.id, f"is a child of run {old.parent.run!r}, which alone may start it anew"
            )
        return True
    if old.digest != command.digest:
        raise RunConflict(
            old.id,
            "exists with another input: use another id, or if_exists='restart' once it has ended",
        )
    return False
