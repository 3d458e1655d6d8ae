"""What the shell offers while a verb is typed: runs, steps, sagas and statuses, asked of the app.

Owns: where suggestions come from, and that a shell never waits for them or sees an error.  Refuses
to know: the verbs.  A completion is a convenience: whatever goes wrong, there is none.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from celery.app.utils import find_app

from celeriac.doctor import CHECKS
from celeriac.machine import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from celeriac.sagas import Sagas

_MOST = 50
_SECONDS = 1.0  # a Redis that is away must not hold up the shell


def suggestions(what: str, ctx: click.Context, begun: str) -> list[str]:
    """The words that may stand here and begin with *begun*."""
    found: list[str] = []
    with contextlib.suppress(Exception):
        found = [word for word in _OFFERS[what](ctx) if word.startswith(begun)]
    return found


def _sagas(ctx: click.Context) -> Sagas:
    app = find_app(ctx.find_root().params["app"])
    app.loader.import_default_modules()
    found: Sagas = app.celeriac
    found.runtime.engine.patience = _SECONDS
    return found


def _runs(ctx: click.Context) -> list[str]:
    return [run.id for run in _sagas(ctx).runs(limit=_MOST)]


def _steps(ctx: click.Context) -> list[str]:
    state = _sagas(ctx).run(ctx.params["run_id"]).state()
    return [step.name for step in state.steps]


_OFFERS: dict[str, Callable[[Any], list[str]]] = {
    "run": _runs,
    "step": _steps,
    "run or saga": lambda ctx: [*sorted(_sagas(ctx).defined), *_runs(ctx)],
    "breaker": lambda ctx: [each.name for each in _sagas(ctx).gates() if each.state],
    "bulk": lambda ctx: [each.id for each in _sagas(ctx).bulks()],
    "schedule": lambda ctx: [each.name for each in _sagas(ctx).schedules()],
    "saga": lambda ctx: sorted(_sagas(ctx).defined),
    "status": lambda _: list(RunStatus),
    "check": lambda _: list(CHECKS),
}
