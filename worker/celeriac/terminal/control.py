"""What `start`, `cancel`, `retry` and the other verbs do that start runs and steer them.

Owns: seeing what a command changed, in one run or in many, and waiting for the end of a run.
Refuses to know: how it is typed (`control_commands`) and how it is printed (`printing`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from celeriac.app import find_hindrances, give, kinds, matching, that_do_not_ask
from celeriac.errors import ResultTimeout
from celeriac.observing import clean
from celeriac.terminal.exit_codes import Exit, exit_of_outcome
from celeriac.terminal.interrupts import interrupts
from celeriac.terminal.invocation import Invocation, find_saga, tell_unknown
from celeriac.terminal.prompts import ask, progress
from celeriac.terminal.times import bounded, moment
from celeriac.views import BulkOutcome, deed, signalled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.app import IfExists, RunHandle
    from celeriac.machine import Event, RunStatus
    from celeriac.terminal.options import Target
    from celeriac.views import RunState

#: Seconds that `--wait` waits without a word; then it says what the run waits for.
PATIENCE = 10.0


class Control(Invocation):
    """Verbs that start runs and steer them."""

    def start(
        self,
        name: str | None,
        text: str | None,
        *,
        file: str | None = None,
        variables: Mapping[str, str] | None = None,
        run_id: str | None,
        tags: Mapping[str, str],
        if_exists: IfExists,
        by: str,
        **waiting: Any,
    ) -> None:
        """Start a run of the saga *name*, or of that in *file*.

        Its input is JSON *text*, or *variables*, each a text that is read by its type.
        """
        sagas = self._sagas()
        saga = sagas.from_file(file) if file else find_saga(sagas, name or "")
        options: Any = {"id": run_id, "tags": tags, "if_exists": if_exists, "started_by": by}
        if variables:
            run = saga.start_vars(variables, **options)
        elif text is None:
            run = saga.start(**options)
        else:
            run = saga.start_json(text, **options)
        self._print.deed(run.id, "joined, since it was there" if run.joined else "accepted")
        self._see_off(run, None, **waiting)

    def fork(
        self,
        run_id: str,
        *,
        at: str,
        given: str | None,
        reason: str | None,
        by: str,
        **waiting: Any,
    ) -> None:
        """Start a run that takes over what another one did before the step *at*."""
        run = self._sagas().run(run_id).fork(at, given, reason or "", by=by)
        self._print.deed(run.id, f"accepted, with what {run_id} did before {at}")
        self._see_off(run, None, **waiting)

    def steer(
        self,
        verb: str,
        command: Callable[[RunHandle[Any]], bool],
        by: str,
        *,
        target: Target,
        **waiting: Any,
    ) -> None:
        """Do *command* to one run or to all that a filter finds, and say what it changed."""
        if target.run_id is None:
            self._steer_many(verb, command, target)
        else:
            self._steer_one(target.run_id, command, by, **waiting)

    def _steer_one(
        self, run_id: str, command: Callable[[RunHandle[Any]], bool], by: str, **waiting: Any
    ) -> None:
        run = self._sagas().run(run_id)

        def signed() -> list[Event]:
            return [event for event in run.history() if event.data.get("by") == by]

        before = len(signed())
        command(run)
        # Others may have acted meanwhile; what is ours bears our name.
        ours = signed()[before:]
        self._print.deed(run_id, deed(ours))
        self._see_off(run, changed=bool(ours), **waiting)

    def signal(
        self,
        run_id: str,
        name: str,
        payload: Any,
        *,
        given: str | None,
        step: str | None,
        asked: str | None,
        by: str,
        **waiting: Any,
    ) -> None:
        """Send the signal *name* to a run, and say what became of it."""
        run = self._sagas().run(run_id)
        version = run.look()[1].version
        options: Any = {"id": given, "step": step, "asked": moment("--asked", asked), "by": by}
        answer = run.signal(name, payload, **options)
        changed = run.look()[1].version > version
        self._print.deed(run_id, signalled(name, answer))
        self._see_off(run, changed=changed, **waiting)

    def _steer_many(
        self, verb: str, command: Callable[[RunHandle[Any]], bool], target: Target
    ) -> None:
        sagas = self._sagas()
        found = matching(sagas.runs, bounded(target.filters))
        matched = len(found)
        if not matched:
            tell_unknown(sagas, target.filters["saga"])
        if verb == "retry" and not target.filters["asking"]:
            found = _without_those_that_ask(found)
        if target.dry_run:
            self._print.would(verb, [run.id for run in found], kinds(found))
            return
        if not matched:
            click.echo("No run matches.", err=True)
        elif found and not target.yes:
            ask(verb, kinds(found))
        tally = BulkOutcome(len(found))
        with progress(verb, len(found)) as told, interrupts() as asked:
            for tally in give([sagas.run(run.id) for run in found], command, target.rps):
                told(tally)
                if not asked.empty():
                    break
        self._print.tally(verb, tally)
        if tally.refused or tally.left:
            raise click.exceptions.Exit(Exit.CONFLICT if tally.refused else Exit.ERROR)

    def read_json(self, option: str, text: str) -> Any:
        """The value of an option that holds JSON."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(f"invalid JSON: {error}", param_hint=option) from None

    def _see_off(
        self, run: RunHandle[Any], changed: bool | None, *, wait: bool, timeout: float | None
    ) -> None:
        """Print where a run stands, after waiting for its end if that is wanted."""
        given_up: ResultTimeout | None = None
        status = None
        try:
            status = self._wait(run, timeout) if wait else None
        except ResultTimeout as error:
            given_up = error
        self._print.outcome(run.state(), changed=changed)
        if given_up:
            raise given_up
        if status and exit_of_outcome(status):
            raise click.exceptions.Exit(exit_of_outcome(status))

    def _wait(self, run: RunHandle[Any], timeout: float | None) -> RunStatus:
        """Return the status a run came to rest in; say what it waits for if that takes long."""
        first = PATIENCE if timeout is None else min(timeout, PATIENCE)
        try:
            return run.wait(first).status
        except ResultTimeout:
            left = None if timeout is None else timeout - first
            if left is not None and left <= 0:
                raise
        self._explain(run)
        try:
            return run.wait(left).status
        except ResultTimeout:
            where = f"is {run.status} after {timeout:g} s"
            text = f"run {run.id!r} {where}; it goes on by itself, ask again later"
            raise ResultTimeout(text) from None

    def _explain(self, run: RunHandle[Any]) -> None:
        found = [f"{each.name}: {each.blocked}" for each in run.state().steps if each.blocked]
        celery = self._print.saga.removesuffix(" saga")
        found += [
            each.text + (f" ({celery} {each.command})" if each.command else "")
            for each in find_hindrances(self._sagas().runtime, *run.look())
        ]
        for text in found:
            click.echo(f"{clean(run.id)}: {clean(text)}", err=True)


def _without_those_that_ask(found: list[RunState]) -> list[RunState]:
    """Leave out runs that ask what became of a step, and say so."""
    kept = that_do_not_ask(found)
    if left := len(found) - len(kept):
        click.echo(
            f"{len(kept)} owed, {left} ask: those that ask are left alone, since a retry may do "
            "a second time what was done (an e-mail).  See what became of them, then `skip` or "
            "`retry` each, or say --asking",
            err=True,
        )
    return kept
