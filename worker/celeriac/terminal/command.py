"""A verb as a click command: what it is called with, and how its errors end it.

Owns: making the printer and the exit code of each verb.  Refuses to know: the verbs.

Celery loads this file for each of its own commands, whatever the application: so nothing slow is
imported here before a verb is really called.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from celeriac.terminal.invocation import Invocation
    from celeriac.terminal.printing import Printer


class Verb(click.Command):
    """A verb: its function gets what does it, and its errors are a line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the verb's function."""
        # What follows loads Pydantic and redis-py: only now is it sure that they are needed.
        from celeriac.terminal.exit_codes import error_boundary  # noqa: PLC0415
        from celeriac.terminal.printing import Printer  # noqa: PLC0415

        options = dict(ctx.params)
        form = options.pop("form", "table")
        if options.get("timeout") is not None and not options["wait"]:
            raise click.UsageError("--timeout says how long to --wait: give both", ctx)
        debug = any(each.params.get("debug") for each in _above(ctx))
        with error_boundary(debug=debug, events=self.name == "sweep"):
            colour = not (ctx.obj.no_color or os.environ.get("NO_COLOR"))
            printer = Printer(form=form, colour=colour, saga=_called(ctx))
            assert self.callback is not None  # a verb has a function
            return ctx.invoke(self.callback, self.called_on(ctx.obj.app, printer), **options)

    def called_on(self, app: Celery, printer: Printer) -> Invocation:
        """Return what does the verb: the first argument of its function."""
        raise NotImplementedError


def _above(ctx: click.Context) -> Iterator[click.Context]:
    """The groups that a verb stands in."""
    while ctx.parent is not None:
        ctx = ctx.parent
        yield ctx


def _called(ctx: click.Context) -> str:
    """How this command line was called, for commands that are to be copied."""
    app = ctx.find_root().params.get("app")
    return f"celery -A {shlex.quote(app if isinstance(app, str) else ctx.obj.app.main)} saga"
