"""What `complete` does: the result of a step, or how it failed, brought from outside.

Owns: telling the two apart.  Refuses to know: how it is typed (`result_commands`).
"""

from __future__ import annotations

import json
from typing import Any

import click

from celeriac.terminal.invocation import Invocation


class Results(Invocation):
    """Verbs of those who hold a token."""

    def complete(
        self,
        token: str,
        text: str | None,
        *,
        message: str | None,
        code: str | None,
        no_effect: bool,
        retry: bool,
        by: str,
    ) -> None:
        """Bring the result that JSON *text* holds, or with *message* a failure."""
        sagas = self._sagas()
        if message is None:
            if code is not None or no_effect or retry:
                raise click.UsageError("--code, --no-effect and --retry go with --fail")
            sagas.complete(token, _read("null" if text is None else text), by=by)
        elif text is not None:
            raise click.UsageError("give either --result or --fail")
        else:
            effect = False if no_effect else None
            sagas.fail(token, message, code=code, effect=effect, retry=retry, by=by)
        what = "result" if message is None else "failure"
        table = self._print.form == "table"
        click.echo(f"{what} taken" if table else json.dumps({"taken": True}))


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"invalid JSON: {error}", param_hint="--result") from None
