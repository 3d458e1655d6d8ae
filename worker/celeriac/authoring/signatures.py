"""What a function asks for and returns, and the JSON of those values.

Owns: reading a signature, binding arguments to it, and who else has to be able to read what is
written for it.  Refuses to know: how a value is written (`codecs`), what the function is for, and
where the JSON goes.

A *key* names an argument wherever it is stored: the parameter's name, `*name` for a variable
number of positional arguments (a list), `**name` for any keyword arguments (a mapping).
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any

from celeriac.authoring.annotations import UNSAID
from celeriac.authoring.celery_values import can_differ, marked
from celeriac.authoring.codecs import Codec
from celeriac.context import StepContext
from celeriac.errors import DefinitionError, InputInvalid, OutputInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

RETURNS = "return"  # the key of the result; no parameter can be called so
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARS: dict[inspect._ParameterKind, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function.

    The annotation is that of the stored value: of the list for `*name`, of the mapping for
    `**name`; `Any` if there is none.  `said` is the same, with `UNSAID` where there is none.
    """

    name: str
    annotation: Any
    said: Any
    required: bool
    kind: inspect._ParameterKind
    default: Any = None

    @property
    def key(self) -> str:
        """The name under which its argument is stored."""
        return _STARS.get(self.kind, "") + self.name


@dataclass(frozen=True, eq=False)
class Shape:
    """What a function asks for and returns."""

    name: str
    context: str | None  # the parameter that takes the StepContext
    parameters: dict[str, Parameter]  # by key, without the context
    returns: Any
    said: Any  # the same, with `UNSAID` where the function does not say what it returns
    _codecs: dict[str, Codec] = dataclass_field(default_factory=dict, repr=False)
    _readers: dict[str, tuple[Shape, str]] = dataclass_field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, function: Callable[..., Any], *, bound: bool = False, strict: bool = True) -> Shape:
        """Return the shape of *function*; *bound* leaves out its first parameter.

        Raises DefinitionError for an annotation that cannot be resolved, unless *strict* is
        False: it counts as `Any` then.
        """
        name = getattr(_innermost(function), "__name__", repr(function))
        hints = _hints(function, name, strict=strict)
        declared = list(_signature(function, name))[1 if bound else 0 :]
        context = _context_of(declared, hints)
        found = [_parameter(each, hints) for each in declared if each.name != context]
        returns, said = hints.get(RETURNS, Any), hints.get(RETURNS, UNSAID)
        return cls(name, context, {each.key: each for each in found}, returns, said)

    def returning(self, annotation: Any) -> Shape:
        """The shape of the same function, if it said that it returns *annotation*."""
        return Shape(self.name, self.context, self.parameters, annotation, annotation)

    # --- arguments ---

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments given, by key; defaults are left out.

        Raises DefinitionError, with the parameter, for what is missing, unknown or given twice.
        """
        values, rest = self._bind_positional(args), dict(kwargs)
        for each in self.parameters.values():
            if each.kind is inspect.Parameter.VAR_KEYWORD:
                continue
            if each.name in rest and each.kind not in (
                inspect.Parameter.POSITIONAL_ONLY,
                inspect.Parameter.VAR_POSITIONAL,
            ):
                if each.key in values:
                    raise DefinitionError("is given twice", parameter=each.name)
                values[each.key] = rest.pop(each.name)
        self._bind_rest(values, rest)
        self._check_required(values)
        return values

    def _bind_positional(self, args: Sequence[Any]) -> dict[str, Any]:
        takers = [each for each in self.parameters.values() if each.kind in _POSITIONAL]
        values = {each.key: value for each, value in zip(takers, args, strict=False)}
        extra = list(args[len(takers) :])
        catcher = self._catcher(inspect.Parameter.VAR_POSITIONAL)
        if extra and catcher is None:
            raise DefinitionError(
                f"{self.name} takes {len(takers)} positional arguments, {len(args)} were given; "
                f"it asks for {listed(self.parameters)}"
            )
        if extra and catcher is not None:
            values[catcher.key] = extra
        return values

    def _bind_rest(self, values: dict[str, Any], rest: dict[str, Any]) -> None:
        catcher = self._catcher(inspect.Parameter.VAR_KEYWORD)
        if rest and catcher is None:
            raise DefinitionError(
                f"{self.name} does not ask for it by this name; it asks for "
                f"{listed(self.parameters)}",
                parameter=next(iter(rest)),
            )
        if rest and catcher is not None:
            values[catcher.key] = rest

    def _check_required(self, values: Mapping[str, Any]) -> None:
        for key, each in self.parameters.items():
            if each.required and key not in values:
                raise DefinitionError(f"{self.name} needs it, and it is missing", parameter=key)

    def _catcher(self, kind: inspect._ParameterKind) -> Parameter | None:
        return next((each for each in self.parameters.values() if each.kind is kind), None)

    def given_by_name(self, kwargs: Iterable[str]) -> tuple[str, ...]:
        """Return which of the names in *kwargs* are those of parameters that have a position."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return tuple(
            name for name, each in self.parameters.items() if each.kind is kind and name in kwargs
        )

    def arguments(
        self,
        context: StepContext | None,
        values: Mapping[str, Any],
        keywords: Collection[str] = (),
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return `(args, kwargs)` that call the function with *values*, which are by key.

        Those in *keywords* are given by name; defaults only where what follows needs its place.
        Raises InputInvalid if the values are of another signature than this one: the run was
        planned with an older definition.
        """
        unknown = values.keys() - self.parameters.keys()
        if unknown:
            raise self._outdated(min(unknown), "does not take it any more")
        args: list[Any] = [] if self.context is None else [context]
        kwargs: dict[str, Any] = {}
        in_place = self._in_place(values, keywords)
        for key, each in self.parameters.items():
            if each.kind is inspect.Parameter.VAR_POSITIONAL:
                args.extend(values.get(key, ()))
            elif each.kind is inspect.Parameter.VAR_KEYWORD:
                kwargs.update(values.get(key, {}))
            elif key not in values and each.required:
                raise self._outdated(key, "asks for it now")
            elif key in in_place:
                args.append(values.get(key, each.default))
            elif key in values:
                kwargs[key] = values[key]
        return args, kwargs

    def _in_place(self, values: Mapping[str, Any], keywords: Collection[str]) -> list[str]:
        """The parameters to be given by position: all up to the last one that has to be."""
        found = [key for key, each in self.parameters.items() if each.kind in _POSITIONAL]
        catcher = self._catcher(inspect.Parameter.VAR_POSITIONAL)
        if catcher is not None and values.get(catcher.key):
            return found
        while found and (found[-1] not in values or found[-1] in keywords):
            found.pop()
        return found

    def _outdated(self, key: str, problem: str) -> InputInvalid:
        return InputInvalid(
            f"argument {key!r} of {self.name}: the run was planned with another definition, and "
            f"{self.name} {problem}; give new parameters a default, and keep old ones while runs "
            "are in flight"
        )

    def call(
        self, function: Callable[..., Any], context: StepContext | None, values: Mapping[str, Any]
    ) -> Any:
        """Call *function*, which has this shape, with *values* by key; return what it returns."""
        args, kwargs = self.arguments(context, values)
        return function(*args, **kwargs)

    # --- JSON ---

    def load(self, key: str, text: str | bytes) -> Any:
        """Return the argument under *key*, read from JSON and validated by its annotation.

        Raises InputInvalid if it does not validate, here or where it is to be read as well.
        """
        if key not in self.parameters:
            raise self._outdated(key, "does not take it any more")
        found = self._codec(key).load(text, f"argument {key!r} of {self.name}")
        self._check_readers(key, text, InputInvalid)
        return found

    def load_result(self, text: str | bytes) -> Any:
        """Return a result, read from JSON and validated by the return annotation."""
        return self._codec(RETURNS).load(text, f"the result of {self.name}")

    def dump(self, value: Any) -> str:
        """Return a result as JSON, validated by the return annotation if there is one.

        Raises OutputInvalid for what does not fit the annotation, has no form in JSON, would come
        back as another value, or cannot be read where it is to be read as well.
        """
        text = self._codec(RETURNS).dump(value, f"what {self.name} returned", OutputInvalid)
        self._check_readers(RETURNS, text, OutputInvalid)
        return text

    def dump_argument(self, key: str, value: Any) -> str:
        """Return the argument under *key* as JSON.

        Raises InputInvalid if it does not validate, or would come back as another value.
        """
        return self._codec(key).dump(value, f"argument {key!r} of {self.name}", InputInvalid)

    def same(self, texts: Mapping[str, str], others: Mapping[str, str]) -> bool:
        """Return whether two calls, as JSON by key, are given equal values.

        The texts may differ, as those of sets do from one process to the next; what one of the
        two does not have counts with its default.
        """
        return {*texts, *others} <= self.parameters.keys() and all(
            self._same(key, texts.get(key), others.get(key)) for key in self.parameters
        )

    def _same(self, key: str, text: str | None, other: str | None) -> bool:
        each = self.parameters[key]
        if (text is None or other is None) and (each.required or each.kind in _STARS):
            return text is other
        ours, theirs = (
            self.dump_argument(key, each.default) if found is None else found
            for found in (text, other)
        )
        return self._codec(key).same(ours, theirs)

    def read_by(self, key: str, reader: Shape, parameter: str) -> None:
        """Note that what is stored under *key* is also read as a *parameter* of *reader*."""
        self._readers[key] = (reader, parameter)

    def _check_readers(
        self, key: str, text: str | bytes, kind: type[InputInvalid | OutputInvalid]
    ) -> None:
        if key in self._readers:
            reader, parameter = self._readers[key]
            try:
                reader.load(parameter, text)
            except InputInvalid as error:
                raise kind(f"{self.name} could not be undone: {error}") from None

    def encode(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, str]:
        """Return all arguments of a call as JSON, by key, defaults included.

        Raises InputInvalid for everything that is wrong with them.
        """
        try:
            values = self.bind(args, kwargs)
        except DefinitionError as error:
            raise InputInvalid(f"{self.name}: {error}") from None
        for key, each in self.parameters.items():
            if not each.required and each.kind not in _STARS:
                values.setdefault(key, each.default)
        return {key: self.dump_argument(key, value) for key, value in values.items()}

    def prepare(self) -> None:
        """Build all codecs now; raise DefinitionError for a type that JSON cannot carry."""
        for key in (*self.parameters, RETURNS):
            self._codec(key)

    def marked(self, key: str, text: str) -> str:
        """Return the JSON of an argument or the result as an adopted task is to be given it."""
        each = self.parameters.get(key)
        annotation = self.returns if key == RETURNS else each.annotation if each else Any
        return marked(self._codec(key).adapter, text) if can_differ(annotation) else text

    def _codec(self, key: str) -> Codec:
        found = self._codecs.get(key)
        if found is None:
            annotation = self.returns if key == RETURNS else self.parameters[key].annotation
            found = self._codecs[key] = Codec(annotation, key)
        return found


def listed(names: Iterable[str]) -> str:
    """Return *names* for an error message."""
    return ", ".join(names) or "nothing"


# --- reading a signature -----------------------------------------------------------------------


def _innermost(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not isinstance(function, type):
        function = getattr(function, "__call__", function)  # noqa: B004 -- the method is wanted
    return function


def _signature(function: Callable[..., Any], name: str) -> Iterable[inspect.Parameter]:
    try:
        return inspect.signature(function).parameters.values()
    except (TypeError, ValueError, NameError) as error:
        raise DefinitionError(
            f"the signature of {name} cannot be read ({error}); wrap it in a function that "
            "names its parameters"
        ) from error


def _hints(function: Callable[..., Any], name: str, *, strict: bool) -> dict[str, Any]:
    inner = _innermost(function)
    try:
        return typing.get_type_hints(inner, include_extras=True)
    except Exception:  # noqa: BLE001 -- an annotation is code and may raise anything
        annotations = getattr(inspect.unwrap(inner), "__annotations__", {})
    space = getattr(inspect.unwrap(inner), "__globals__", {})
    return {key: _hint(key, raw, space, name, strict) for key, raw in annotations.items()}


def _hint(key: str, raw: Any, space: dict[str, Any], name: str, strict: bool) -> Any:
    def probe() -> None: ...

    probe.__annotations__ = {key: raw}
    try:
        return typing.get_type_hints(probe, globalns=space, include_extras=True)[key]
    except Exception as error:
        if not strict:
            return Any
        raise DefinitionError(
            f"the annotation {raw!r} of {name} cannot be resolved ({error}); annotations are read "
            "when the program runs: import and define their names at module level, not only "
            "under TYPE_CHECKING",
            parameter=key,
        ) from error


def _context_of(declared: Sequence[inspect.Parameter], hints: Mapping[str, Any]) -> str | None:
    found = [each.name for each in declared if _is_context(hints.get(each.name))]
    if not found:
        return None
    first = declared[0]
    if found != [first.name] or first.kind not in _POSITIONAL:
        raise DefinitionError(
            "the StepContext is the first parameter, positional, and there is one at most",
            parameter=found[-1],
        )
    return first.name


def _is_context(annotation: Any) -> bool:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return isinstance(annotation, type) and issubclass(annotation, StepContext)


def _parameter(each: inspect.Parameter, hints: Mapping[str, Any]) -> Parameter:
    annotation, said = hints.get(each.name, Any), hints.get(each.name, UNSAID)
    missing = each.default is inspect.Parameter.empty
    return Parameter(
        name=each.name,
        annotation=_stored_type(each.kind, annotation),
        said=_stored_type(each.kind, said),
        required=missing and each.kind not in _STARS,
        kind=each.kind,
        default=None if missing else each.default,
    )


def _stored_type(kind: inspect._ParameterKind, annotation: Any) -> Any:
    if kind is inspect.Parameter.VAR_POSITIONAL:
        return types.GenericAlias(list, (annotation,))
    if kind is not inspect.Parameter.VAR_KEYWORD:
        return annotation
    if typing.get_origin(annotation) is typing.Unpack:  # **options: Unpack[SomeTypedDict]
        return typing.get_args(annotation)[0]
    return types.GenericAlias(dict, (str, annotation))
