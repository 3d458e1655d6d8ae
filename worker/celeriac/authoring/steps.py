"""Steps: functions that became Celery tasks, with the checks of their making.

Owns: `Step`, and what it and its compensation may be made of.  Refuses to know: sagas and their
plans, and how a Celery task is registered; that is a callable given to it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, get_args, overload

from celeriac.authoring.calling import refuse_call, wear
from celeriac.authoring.compensations import (
    OUTCOME,
    RESULT,
    C,
    Compensation,
    Confirm,
    R,
    check_types,
    note_readers,
    wanted,
)
from celeriac.authoring.gates import gates_of_step
from celeriac.authoring.options import (
    COMPENSATION,
    STEP,
    check_flags,
    check_named,
    check_task_options,
    checked_routes,
    optional_ms,
    retry_rule,
)
from celeriac.authoring.signatures import Shape
from celeriac.errors import DefinitionError
from celeriac.machine import Duration, Effect, OnUnknown, RetryRule

if TYPE_CHECKING:
    from celeriac.machine import Expression, Retry, Rule

P = ParamSpec("P")  # what a step asks for, without the context
U = ParamSpec("U")  # what the function of a compensation asks for
S = TypeVar("S")

Register = Callable[[Callable[..., Any], str | None, Mapping[str, Any]], Any]
"""Makes a Celery task of `(function, name, options)`; without a name, Celery gives it one.

Among the options is `saga_shape`, the shape of the function.
"""


class Step(Generic[P, C, R]):
    """A step: a real Celery task, which you can still call as the plain function it was made of.

    Everything not defined here (`delay`, `apply_async`, `s`, its queue …) is that of the task.
    """

    def __init__(  # noqa: PLR0913 -- all that was said where it was defined
        self,
        function: Callable[C, R],
        *,
        name: str,
        task: Any,
        shape: Shape,
        retry: RetryRule,
        timeout: int | None,
        effect: Effect,
        on_unknown: OnUnknown,
        pivot: bool,
        ahead: bool,
        give_up_after: int | None,
        expires: int | None,
        routes: tuple[str, ...],
        gates: tuple[tuple[str, Rule, str | Expression | None], ...] = (),
        register: Register,
    ) -> None:
        self.function, self.name, self.task, self.shape = function, name, task, shape
        self.timeout, self.effect, self.pivot, self.ahead = timeout, effect, pivot, ahead
        self.give_up_after, self.expires, self.routes = give_up_after, expires, routes
        self.gates = gates
        self.retry = retry.model_copy(update={"after_loss": on_unknown == "retry"})
        self.on_unknown = "operator" if on_unknown == "operator" else "compensate"
        self.undo: Compensation[..., Any] | None = None
        self.confirmation: Confirm[..., Any] | None = None
        self.planned_in: list[str] = []  # sagas whose plan is made, with the undo as it was then
        self._register = register
        wear(self, function)

    def __call__(self, *args: C.args, **kwargs: C.kwargs) -> R:
        """Call the plain function, as a unit test does."""
        refuse_call(self.name, f"write flow.step({self.shape.name}, …)", args, kwargs)
        return self.function(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "task" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.task, name)

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    @overload
    def compensation(self, function: Callable[U, S], /) -> Compensation[U, S]: ...

    @overload
    def compensation(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        ahead: bool = True,
        give_up_after: Duration | None = None,
        **options: Any,
    ) -> Callable[[Callable[U, S]], Compensation[U, S]]: ...

    def compensation(
        self,
        function: Callable[U, S] | None = None,
        /,
        *,
        name: str | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        ahead: bool = True,
        give_up_after: Duration | None = None,
        **options: Any,
    ) -> Compensation[U, S] | Callable[[Callable[U, S]], Compensation[U, S]]:
        """Make a function the compensation of this step.  Its parameter names say what it needs.

        It may ask for the step's parameters, `result` (None if the outcome is unknown), `error`
        (`Failure | None`) and, first, the StepContext.  With `ahead=False` it always gets a message
        of its own.  `give_up_after` is how long all attempts may take together: then it is owed.
        Raises DefinitionError.
        """
        made = functools.partial(
            self._compensate,
            name=name,
            timeout=timeout,
            retry=retry,
            ahead=ahead,
            give_up_after=give_up_after,
            options=options,
        )
        return made if function is None else made(function)

    def _compensate(
        self, function: Callable[U, S], give_up_after: Duration | None, **said: Any
    ) -> Compensation[U, S]:
        self._check_free("compensation", self.undo)
        all_attempts = optional_ms("give_up_after", give_up_after, self.name)
        made: Compensation[U, S] = self._beside(Compensation, "compensation", function, **said)
        made.give_up_after = all_attempts
        self.undo = made
        return made

    @overload
    def confirm(self, function: Callable[U, S], /) -> Confirm[U, S]: ...

    @overload
    def confirm(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        ahead: bool = True,
        **options: Any,
    ) -> Callable[[Callable[U, S]], Confirm[U, S]]: ...

    def confirm(
        self,
        function: Callable[U, S] | None = None,
        /,
        *,
        name: str | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        ahead: bool = True,
        **options: Any,
    ) -> Confirm[U, S] | Callable[[Callable[U, S]], Confirm[U, S]]:
        """Make a function the confirm of this step, which takes part in `flow.two_phase()` then.

        It may ask for the step's parameters, `result` and, first, the StepContext.  It is tried
        again until it succeeds, whatever `max_attempts` says; after an Abort an operator acts.
        Raises DefinitionError.
        """
        made = functools.partial(
            self._confirm,
            name=name,
            timeout=timeout,
            retry=retry,
            ahead=ahead,
            options=options,
        )
        return made if function is None else made(function)

    def _confirm(self, function: Callable[U, S], **said: Any) -> Confirm[U, S]:
        self._check_free("confirm", self.confirmation)
        made: Confirm[U, S] = self._beside(Confirm, "confirm", function, **said)
        made.retry = made.retry.model_copy(update={"max_attempts": None})  # it has no last try
        self.confirmation = made
        return made

    def _beside(
        self,
        kind: type[Any],
        word: str,
        function: Callable[..., Any],
        *,
        name: str | None,
        timeout: Duration | None,
        retry: Retry | None,
        ahead: bool,
        options: Mapping[str, Any],
    ) -> Any:
        """Make what belongs to a step of a function, which is given what the step was given."""
        check_named(name, step=self.name)
        check_flags(self.name, ahead=ahead)
        _check_function(function, f"the {word} of step {self.name}")
        shape = _named_shape(function, self.name)
        beside = OUTCOME if word == "compensation" else RESULT
        wants = wanted(self.name, self.shape, shape, word=word, beside=beside)
        check_types(self.name, self.shape, shape, word)
        check_task_options(options, COMPENSATION, self.name)
        rule, limit = retry_rule(retry, self.name), optional_ms("timeout", timeout, self.name)
        if self.effect == "none":  # what belongs to it honours no key either
            rule = rule.model_copy(update={"after_loss": self.retry.after_loss})
        task = self._register(function, name, {**options, "saga_shape": shape})
        note_readers(self.shape, shape)
        return kind(
            function,
            name=name or task.name,
            task=task,
            shape=shape,
            retry=rule,
            timeout=limit,
            wants=wants,
            ahead=ahead,
        )

    def _check_free(self, word: str, there: Compensation[..., Any] | None) -> None:
        if there is not None:
            raise DefinitionError(
                f"has a {word} already ({there.name}); it is one function, which may call others",
                step=self.name,
            )
        if self.planned_in:
            raise DefinitionError(
                f"is planned in saga {self.planned_in[0]!r} already, without a {word}; "
                "define it before the saga, or the saga would not know it",
                step=self.name,
            )


# --- making them -------------------------------------------------------------------------------


def define_step(  # noqa: PLR0913 -- all that can be said of a step
    function: Callable[C, R],
    *,
    name: str | None,
    register: Register,
    timeout: Duration | None = None,
    retry: Retry | None = None,
    effect: Effect = "keyed",
    on_unknown: OnUnknown | None = None,
    pivot: bool = False,
    ahead: bool = True,
    give_up_after: Duration | None = None,
    expires: Duration | None = None,
    routes: tuple[str, ...] = (),
    limit: Any = None,
    breaker: Any = None,
    options: Mapping[str, Any] | None = None,
) -> Step[Any, C, R]:
    """Make a step of *function* and register its Celery task; raise DefinitionError otherwise.

    *register* gets the function, its name (None: Celery's own choice) and Celery's options.
    """
    label = str(name) if name else str(getattr(function, "__name__", function))
    check_named(name, step=label)
    check_flags(label, pivot=pivot, ahead=ahead)
    _check_function(function, f"step {label}")
    if effect not in get_args(Effect):
        raise DefinitionError(
            f"effect must be one of {get_args(Effect)}, not {effect!r}", step=label
        )
    if on_unknown is None:
        on_unknown = "operator" if effect == "none" else "retry"
    elif on_unknown not in get_args(OnUnknown):
        raise DefinitionError(
            f"on_unknown must be one of {get_args(OnUnknown)}, not {on_unknown!r}", step=label
        )
    shape = _named_shape(function, label)
    check_task_options(options or {}, STEP, label)
    rule, longest = retry_rule(retry, label), optional_ms("timeout", timeout, label)
    all_attempts = optional_ms("give_up_after", give_up_after, label)
    expires_in, routes = optional_ms("expires", expires, label), checked_routes(routes, label)
    gates = gates_of_step(limit, breaker, label, shape.parameters)
    task = register(function, name, {**(options or {}), "saga_shape": shape})
    return Step(
        function,
        name=name or task.name,
        task=task,
        shape=shape,
        retry=rule,
        timeout=longest,
        effect=effect,
        on_unknown=on_unknown,
        pivot=pivot,
        ahead=ahead,
        give_up_after=all_attempts,
        expires=expires_in,
        routes=routes,
        gates=gates,
        register=register,
    )


def is_celery_task(value: Any) -> bool:
    """True for a Celery task or a promise of one, not for our steps, nor for signatures."""
    if isinstance(value, Step | Compensation | type):
        return False
    return isinstance(getattr(value, "name", None), str) and callable(getattr(value, "run", None))


# --- the checks --------------------------------------------------------------------------------


def check_plain(function: Any, what: str) -> None:
    """Raise DefinitionError unless *function* is a named, synchronous function."""
    if not inspect.isroutine(function):
        raise DefinitionError(f"{what} is made of a function, not of {function!r}")
    if function.__name__ == "<lambda>":
        raise DefinitionError(f"{what} is a lambda, which has no name: write a function with def")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(
            f"{what} is async, and Celery runs plain functions: write def, and asyncio.run(…) "
            "inside where you need it"
        )
    if inspect.isgeneratorfunction(function):
        raise DefinitionError(f"{what} is a generator: return one value, a list for example")


def _check_function(function: Any, what: str) -> None:
    if is_celery_task(function):
        raise DefinitionError(
            f"{what} is already a Celery task: pass it to flow.step as it is, and give it an undo "
            "with sagas.compensate(task, undo_task)"
        )
    if isinstance(function, Step | Compensation):
        raise DefinitionError(f"{what} is {function!r} already: decorate a function once")
    check_plain(function, what)


def _named_shape(function: Callable[..., Any], label: str) -> Shape:
    try:
        return Shape.of(function)
    except DefinitionError as error:
        raise DefinitionError(error.problem, step=label, parameter=error.parameter) from error
