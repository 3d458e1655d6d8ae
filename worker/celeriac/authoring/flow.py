"""The flow: the words in which a saga's function says what is done, and what it waits for.

Owns: `Flow` and the views of it, with their types.  Refuses to know: how a plan comes of it
(`building`, `blocks`).  The file is long because a word with several types is told once for each.
"""

from __future__ import annotations

from enum import Enum
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypeVar,
    overload,
)

from celeriac.authoring.options import StepOptions
from celeriac.authoring.waits import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from celeriac.authoring.children import Startable
    from celeriac.authoring.compensations import R
    from celeriac.authoring.mapping import Mapper
    from celeriac.authoring.signal import Signal
    from celeriac.authoring.steps import P, Step
    from celeriac.machine import Duration, Retry


A = TypeVar("A")
B = TypeVar("B")
D = TypeVar("D")
Q = ParamSpec("Q")
L = TypeVar("L", bound=str | Enum)


class _Adding:
    """What adds steps and waits."""

    def __init__(self, builder: Mapper, options: StepOptions) -> None:
        self._builder, self._options = builder, options

    @overload
    def step(self, task: Step[P, ..., R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def step(self, task: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def step(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Add a step that runs after the previous one; return a placeholder for its result.

        *task* is a step, or an existing Celery task, which runs unmodified.  Arguments are inputs
        of the saga, results of steps, fields of either, constants, or lists and mappings of them.
        Raises DefinitionError.
        """
        return self._builder.step(task, args, kwargs, self._options)

    @overload
    def wait(
        self,
        signal: Signal[A],
        /,
        *,
        timeout: Duration | None = None,
        on_timeout: Literal["abort"] = "abort",
        title: str = "",
        summary: str = "",
        about: Mapping[str, object] | None = None,
        not_by_starter: bool = False,
    ) -> A: ...

    @overload
    def wait(
        self,
        signal: Signal[A],
        /,
        *,
        timeout: Duration,
        on_timeout: Literal["continue"],
        title: str = "",
        summary: str = "",
        about: Mapping[str, object] | None = None,
        not_by_starter: bool = False,
    ) -> A | None: ...

    @overload
    def wait(
        self,
        signal: Signal[A],
        /,
        *,
        timeout: Duration,
        on_timeout: A,
        title: str = "",
        summary: str = "",
        about: Mapping[str, object] | None = None,
        not_by_starter: bool = False,
    ) -> A: ...

    def wait(
        self,
        signal: Signal[Any],
        /,
        *,
        timeout: Duration | None = None,
        on_timeout: Any = "abort",
        title: str = "",
        summary: str = "",
        about: Mapping[str, object] | None = None,
        not_by_starter: bool = False,
    ) -> Any:
        """Wait for a signal; return a placeholder for its payload.

        One that came early is kept: each wait takes the oldest of its name that nobody took.  If
        *timeout* (seconds, or text such as "1d") is over first, *on_timeout* says what follows:
        "abort" fails the run, which is undone; with "continue" the result is None; anything else
        is the result in place of the payload.  Meanwhile the run is `waiting`, and costs nothing.
        Where people answer, *title* and *summary* are the question in words, and *about* is what
        they are shown beside it, by its label: whoever may answer sees that.  With
        *not_by_starter*, whoever started the run (`start(…, started_by=)`) may not answer.  Raises
        DefinitionError.
        """
        question = Question(title, summary, about, not_by_starter)
        return self._builder.wait(signal, timeout, on_timeout, question, self._options)

    def sleep(self, duration: Duration, /) -> None:
        """Wait for so long (seconds, or text such as "1h"); no worker is kept busy.

        Time in which the run is paused does not count.  Raises DefinitionError.
        """
        self._builder.sleep(duration, self._options)

    def sleep_until(self, moment: datetime, /) -> None:
        """Wait until *moment*, an aware datetime; one that has passed is no wait.

        It may be an input, a result or a field of one: it is read when the turn of the wait comes.
        Raises DefinitionError.
        """
        self._builder.sleep_until(moment, self._options)

    @overload
    def child(self, saga: Startable[A, B], input: A, /, **named: Any) -> B: ...

    @overload
    def child(
        self, saga: Startable[Any, B], first: Any, second: Any, /, *others: Any, **named: Any
    ) -> B: ...

    @overload
    def child(self, saga: Startable[Any, B], /, **named: Any) -> B: ...

    def child(self, saga: Any, /, *inputs: Any, **named: Any) -> Any:
        """Add a run of another saga as a step; return a placeholder for its result.

        The run is called `<parent>.<step>` and names its parent.  Undone, it has failed the step;
        to undo the step, it is cancelled, also if it has completed, and awaited.  What it owes, its
        parent owes.  Options: `timeout` is its deadline, `retry` starts another one after the
        old has undone itself.  Raises DefinitionError.
        """
        return self._builder.child(saga, inputs, named, self._options)

    @overload
    def map(
        self,
        task: Callable[Concatenate[Flow, A, Q], B],
        items: list[A] | tuple[A, ...],
        /,
        *args: Q.args,
        **kwargs: Q.kwargs,
    ) -> list[B]: ...

    @overload
    def map(
        self,
        task: Step[Concatenate[A, Q], ..., R],
        items: list[A] | tuple[A, ...],
        /,
        *args: Q.args,
        **kwargs: Q.kwargs,
    ) -> list[R]: ...

    @overload
    def map(
        self,
        task: Callable[Concatenate[A, Q], R],
        items: list[A] | tuple[A, ...],
        /,
        *args: Q.args,
        **kwargs: Q.kwargs,
    ) -> list[R]: ...

    @overload
    def map(
        self,
        task: Callable[Concatenate[Flow, A, ...], B],
        items: list[A] | tuple[A, ...],
        /,
        *args: Any,
        concurrency: int,
        **kwargs: Any,
    ) -> list[B]: ...

    @overload
    def map(
        self,
        task: Step[Concatenate[A, ...], ..., R],
        items: list[A] | tuple[A, ...],
        /,
        *args: Any,
        concurrency: int,
        **kwargs: Any,
    ) -> list[R]: ...

    @overload
    def map(
        self,
        task: Callable[Concatenate[A, ...], R],
        items: list[A] | tuple[A, ...],
        /,
        *args: Any,
        concurrency: int,
        **kwargs: Any,
    ) -> list[R]: ...

    def map(
        self, task: Any, items: Any, /, *args: Any, concurrency: Any = 10, **kwargs: Any
    ) -> Any:
        """Run *task* once for each element of a list; return a placeholder for the list of results.

        The element is its first argument, and the results are in the order of the elements, None
        for one that skipped itself.  *items* is an input, a result or a field of one: a list or a
        tuple.  *concurrency* is how many elements are at work at the same time, forward and back.
        *task* may be a plain function of a flow and an element, which adds several steps.  When an
        element fails, no other is begun, and the run is undone.  Raises DefinitionError.
        """
        flow = Flow(self._builder)
        return self._builder.map(task, items, args, kwargs, concurrency, self._options, flow)


class Cases(Generic[L]):
    """A choice between cases: what `flow.choose` returns."""

    def __init__(self, builder: Mapper, router: str) -> None:
        self._builder, self._router = builder, router

    def case(self, *labels: L) -> AbstractContextManager[None]:
        """Do what is inside only if the answer is one of these labels."""
        return self._builder.case(self._router, labels)

    def default(self) -> AbstractContextManager[None]:
        """Do what is inside only if there is no case for the answer; comes last."""
        return self._builder.default(self._router)


class FlowOptions(_Adding):
    """A view of a flow, whose steps have what `flow.options` was given."""


class Flow(_Adding):
    """The first parameter of a saga's function, which adds steps with it."""

    def __init__(self, builder: Mapper) -> None:
        super().__init__(builder, StepOptions())

    def options(
        self,
        *,
        name: str | None = None,
        after: Sequence[Any] = (),
        timeout: Duration | None = None,
        retry: Retry | None = None,
        queue: str | None = None,
        priority: int | None = None,
        give_up_after: Duration | None = None,
        expires: Duration | None = None,
    ) -> FlowOptions:
        """Return a view of the flow whose steps have these options, in this saga alone.

        *name* is what the step is called in the saga, *after* names steps to wait for (their
        results, or their names) besides those it waits for anyway.  *timeout* (seconds, or text
        such as "30s") and *retry* take the place of the step's own; *queue* and *priority* (0 to
        255) are those of its messages.  *give_up_after* is how long all of its attempts may take
        together, from the first on; *expires* is how long it may wait to be taken up for the first
        time: then it has failed, without any effect.  Raises DefinitionError.
        """
        limits = {"give_up_after": give_up_after, "expires": expires}
        given = StepOptions(name, after, timeout, retry, queue, priority, **limits)
        return FlowOptions(self._builder, given.checked())

    def parallel(self) -> AbstractContextManager[None]:
        """Do side by side what is directly inside, step or block; the block ends when all has.

        If a branch fails, none starts anything new; what is at work is waited for, and the run is
        undone.
        """
        return self._builder.blocks.region("parallel")

    def sequence(self) -> AbstractContextManager[None]:
        """Do one after the other what is inside: a branch of several steps."""
        return self._builder.blocks.region("sequence")

    def graph(self) -> AbstractContextManager[None]:
        """Let each step inside wait only for what it uses, and for `flow.options(after=…)`."""
        return self._builder.blocks.region("graph")

    @overload
    def when(
        self, predicate: Step[P, ..., bool], /, *args: P.args, **kwargs: P.kwargs
    ) -> AbstractContextManager[None]: ...

    @overload
    def when(
        self, predicate: Callable[P, bool], /, *args: P.args, **kwargs: P.kwargs
    ) -> AbstractContextManager[None]: ...

    def when(self, predicate: Any, /, *args: Any, **kwargs: Any) -> AbstractContextManager[None]:
        """Do what is inside only if *predicate* says so, given these arguments.

        It is a function of a module that returns bool.  A worker runs it, as a step of its own name
        that is tried again like any other and has nothing to undo; its answer is in the history.
        Raises DefinitionError.
        """
        return self._builder.when(predicate, args, kwargs)

    def otherwise(self) -> AbstractContextManager[None]:
        """Do what is inside only if the predicate of the block just before said no."""
        return self._builder.otherwise()

    @overload
    def choose(self, router: Step[P, ..., L], /, *args: P.args, **kwargs: P.kwargs) -> Cases[L]: ...

    @overload
    def choose(self, router: Callable[P, L], /, *args: P.args, **kwargs: P.kwargs) -> Cases[L]: ...

    def choose(self, router: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Ask *router* which of several cases is to be done; it answers with a label.

        It is a function of a module that returns `str`, a `Literal` of text or an `Enum` of text,
        run like a predicate.  For the last two, a case that is missing or impossible is an error
        here; a label without a case fails the run.  Raises DefinitionError.
        """
        return Cases(self._builder, self._builder.choose(router, args, kwargs))

    @overload
    def either(self, first: A, second: B, /) -> A | B: ...

    @overload
    def either(self, first: A, second: B, third: D, /) -> A | B | D: ...

    @overload
    def either(self, *values: A) -> A: ...

    def either(self, *values: Any) -> Any:
        """Return the first of these values that exists: its step has completed, even with None.

        So values leave the conditions they are made in.  The last may be a constant.  Raises
        DefinitionError if there is a way through the saga in which none of them exists.
        """
        return self._builder.either(values)

    @overload
    def undone_by(
        self, task: Step[P, ..., Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> AbstractContextManager[None]: ...

    @overload
    def undone_by(
        self, task: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> AbstractContextManager[None]: ...

    def undone_by(self, task: Any, /, *args: Any, **kwargs: Any) -> AbstractContextManager[None]:
        """Let *task*, given these arguments, undo all steps inside, in place of their own undos.

        It runs once if any of them may have had an effect, in the place of the first that was
        started, after all that came after them is undone.  It is a step or a Celery task without
        a compensation, and is retried, owed and waived like one, under a name like a step's.  What
        is inside comes one after the other.  Raises DefinitionError.
        """
        return self._builder.undone_by(task, args, kwargs)

    def two_phase(self) -> AbstractContextManager[None]:
        """Prepare the steps inside, then confirm all of them in order, or cancel all of them.

        A step with `@step.confirm` takes part; if one step fails, those before it are undone like
        any others, in reverse.  The decision to confirm is the pivot of the saga: nothing before is
        undone, and each confirm is tried again until it succeeds or an operator acts.  What is
        inside comes one after the other.  Raises DefinitionError.
        """
        return self._builder.two_phase()

    def group(self, name: str) -> AbstractContextManager[None]:
        """Make what is inside a group, which a step may leave: `raise Route("manual")`.

        A run begins with the first, and ends with one that no step leaves.  Nothing is outside of
        them; a value of another group may be None.  Raises DefinitionError.
        """
        return self._builder.group(name)

    def named(self, prefix: str) -> AbstractContextManager[None]:
        """Put *prefix* and a dot before the names of the steps inside: `billing.charge`.

        Directly inside of a parallel block it is one branch.
        """
        return self._builder.named(prefix)
