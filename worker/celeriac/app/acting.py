"""The built-in actions of one app, as steps.

Owns: their tasks, whose names begin with `celeriac.`, and what the app allows them.  Refuses to
know: how anything is sent or run (`actions`), and files.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac.actions import (  # the signatures of steps are read when they are made
    Allowance,
    Hole,
    HttpRequest,
    HttpResult,
    PollRequest,
    ShellRequest,
    ShellResult,
    check_url,
    do_http,
    do_poll,
    do_shell,
    find_provider,
    undo_http,
    undo_shell,
)
from celeriac.authoring import Step, define_step
from celeriac.context import StepContext  # noqa: TC001 -- as above
from celeriac.errors import Abort, DefinitionError
from celeriac.machine import Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.workers import Runtime


class Acting:
    """The actions of one app, each made when it is first asked for."""

    def __init__(self, runtime: Runtime, register: Callable[..., Any]) -> None:
        self._runtime, self._register = runtime, register
        self._made: dict[str, Step[Any, Any, Any]] = {}

    @cached_property
    def _allowance(self) -> Allowance:
        settings = self._runtime.settings
        if settings.secrets is None:
            return Allowance(settings.http_allow)
        return Allowance(settings.http_allow, find_provider(settings.secrets))

    def ready(self) -> None:
        """Make all that the settings name: a worker must know their tasks before a file does."""
        for kind in self._runtime.settings.actions:
            self._base(kind)

    def step(self, kind: str, *, keyed: bool, undone: bool) -> Step[Any, Any, Any]:
        """The action as a step; DefinitionError if it is off.

        *keyed*: a request may be sent again, since it only looks, or its key is honoured.
        """
        if kind not in self._runtime.settings.actions:
            raise DefinitionError(
                f"the action {kind} is off: app.conf.saga_actions = [{kind!r}] turns it on"
            )
        found = copy.copy(self._base(kind))
        found.undo = copy.copy(found.undo) if undone else None
        found.effect = "keyed" if keyed else "none"
        found.on_unknown = "compensate" if keyed else "operator"
        found.retry = found.retry.model_copy(update={"after_loss": keyed})
        if found.undo is not None:
            found.undo.retry = found.undo.retry.model_copy(update={"after_loss": keyed})
        found.planned_in = []
        return found

    def check_url(self, url: str) -> None:
        """Raise DefinitionError for a URL that no action may ask, as far as it says."""
        try:
            check_url(url, self._allowance)
        except Abort as refused:
            raise DefinitionError(str(refused)) from None

    def named(self, task: str) -> Step[Any, Any, Any] | None:
        """The action of this task, if it was made."""
        return self._made.get(task.removeprefix("celeriac."))

    def _base(self, kind: str) -> Step[Any, Any, Any]:
        if kind not in self._made:
            function, undo = self._functions()[kind]
            retry = Retry(max_attempts=1) if kind == "shell" else None
            made = define_step(
                function,
                name=f"celeriac.{kind}",
                register=self._register,
                retry=retry,
                options={"ignore_result": True},
            )
            if undo is not None:
                made.compensation(name=f"celeriac.{kind}.undo")(undo)
            self._made[kind] = made
        return self._made[kind]

    def _functions(self) -> dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]]:
        def http(
            ctx: StepContext,
            request: HttpRequest,
            holes: list[Hole] = [],  # noqa: B006 -- the default of a signature
            undo: HttpRequest | None = None,
            undo_holes: list[Hole] = [],  # noqa: B006
        ) -> HttpResult:
            del undo, undo_holes  # they are for the compensation
            return do_http(ctx, _asked(request), holes, self._allowance)

        def http_undo(
            ctx: StepContext,
            undo: HttpRequest | None,
            undo_holes: list[Hole],
            result: HttpResult | None,
        ) -> None:
            assert undo is not None
            left = None if result is None else result.model_dump()
            undo_http(ctx, _asked(undo), undo_holes, self._allowance, left)

        def poll(
            ctx: StepContext,
            request: PollRequest,
            holes: list[Hole] = [],  # noqa: B006
        ) -> HttpResult:
            return do_poll(ctx, _asked(request), holes, self._allowance)

        def shell(
            ctx: StepContext,
            request: ShellRequest,
            holes: list[Hole] = [],  # noqa: B006
            undo: ShellRequest | None = None,
            undo_holes: list[Hole] = [],  # noqa: B006
        ) -> ShellResult:
            del undo, undo_holes
            return do_shell(ctx, _asked(request), holes, self._allowance)

        def shell_undo(
            ctx: StepContext,
            undo: ShellRequest | None,
            undo_holes: list[Hole],
            result: ShellResult | None,
        ) -> None:
            assert undo is not None
            left = None if result is None else result.model_dump()
            undo_shell(ctx, _asked(undo), undo_holes, self._allowance, left)

        return {"http": (http, http_undo), "poll": (poll, None), "shell": (shell, shell_undo)}


def _asked(request: HttpRequest | ShellRequest) -> dict[str, Any]:
    return request.model_dump(by_alias=True)
