"""What a function asks for and returns, and how those values are written as JSON.

Owns: reading a signature, binding arguments to it, and turning arguments and results into JSON
and back with Pydantic.  Refuses to know: what the function is for, and where the JSON goes.

A *key* names an argument wherever it is stored: the parameter's name, `*name` for a variable
number of positional arguments (a list), `**name` for any keyword arguments (a mapping).
"""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from celeriac.context import StepContext
from celeriac.errors import DefinitionError, InputInvalid, OutputInvalid, SagaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

RETURNS = "return"  # the key of the result; no parameter can be called so
_COMPLAINTS = 5  # so many are shown; a list of a thousand wrong items has a thousand
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARS: dict[inspect._ParameterKind, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function.

    The annotation is that of the stored value: of the list for `*name`, of the mapping for
    `**name`; `Any` if there is none.
    """

    name: str
    annotation: Any
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
    _adapters: dict[str, TypeAdapter[Any]] = dataclass_field(default_factory=dict, repr=False)

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
        return cls(name, context, {each.key: each for each in found}, hints.get(RETURNS, Any))

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

    def arguments(
        self, context: StepContext | None, values: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return `(args, kwargs)` that call the function with *values*, which are by key.

        Raises InputInvalid if the values are of another signature than this one: the run was
        planned with an older definition.
        """
        unknown = values.keys() - self.parameters.keys()
        if unknown:
            raise self._outdated(min(unknown), "does not take it any more")
        args: list[Any] = [] if self.context is None else [context]
        kwargs: dict[str, Any] = {}
        for key, each in self.parameters.items():
            if each.kind is inspect.Parameter.VAR_POSITIONAL:
                args.extend(values.get(key, ()))
            elif each.kind is inspect.Parameter.VAR_KEYWORD:
                kwargs.update(values.get(key, {}))
            elif key not in values and each.required:
                raise self._outdated(key, "asks for it now")
            elif each.kind in _POSITIONAL:
                # Defaults are written out, so that what follows keeps its position.
                args.append(values.get(key, each.default))
            elif key in values:
                kwargs[key] = values[key]
        return args, kwargs

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
        """Return the argument under *key*, read from JSON and validated by its annotation."""
        if key not in self.parameters:
            raise self._outdated(key, "does not take it any more")
        return self._load(key, text, f"argument {key!r} of {self.name}")

    def load_result(self, text: str | bytes) -> Any:
        """Return a result, read from JSON and validated by the return annotation."""
        return self._load(RETURNS, text, f"the result of {self.name}")

    def _load(self, key: str, text: str | bytes, what: str) -> Any:
        try:
            # By name too: a field with only a validation alias is dumped under its name.
            return self._adapter(key).validate_json(text, by_alias=True, by_name=True)
        except ValidationError as error:
            raise InputInvalid(f"{what} does not validate: {complaints(error)}") from None

    def dump(self, value: Any) -> str:
        """Return a result as JSON, validated by the return annotation if there is one.

        Raises OutputInvalid for what does not fit the annotation or has no form in JSON.
        """
        return write(self._adapter(RETURNS), value, f"what {self.name} returned", OutputInvalid)

    def dump_argument(self, key: str, value: Any) -> str:
        """Return the argument under *key* as JSON; raise InputInvalid if it does not validate."""
        what = f"argument {key!r} of {self.name}"
        return write(self._adapter(key), value, what, InputInvalid)

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
        """Build all adapters now; raise DefinitionError for a type that JSON cannot carry."""
        for key in (*self.parameters, RETURNS):
            self._adapter(key)

    def _adapter(self, key: str) -> TypeAdapter[Any]:
        found = self._adapters.get(key)
        if found is None:
            annotation = self.returns if key == RETURNS else self.parameters[key].annotation
            found = self._adapters[key] = adapter_for(annotation, key)
        return found


def adapter_for(annotation: Any, key: str | None = None) -> TypeAdapter[Any]:
    """Return Pydantic's adapter for *annotation*; DefinitionError if there can be none."""
    try:
        return TypeAdapter(annotation)
    except (PydanticUserError, TypeError, NameError) as error:
        reason = str(error).partition("\n")[0]
        raise DefinitionError(
            f"values of type {annotation!r} cannot be carried as JSON ({reason}); use a Pydantic "
            "model, a dataclass or plain values, and pass references to anything else",
            parameter=key,
        ) from error


def write(adapter: TypeAdapter[Any], value: Any, what: str, kind: type[SagaError]) -> str:
    """Return *value* as JSON, by alias; raise *kind* if it does not validate or has no JSON."""
    try:
        valid = adapter.validate_python(value, by_alias=True, by_name=True)
        # round_trip: what is written must be readable by the same annotation.
        text = adapter.dump_json(valid, by_alias=True, round_trip=True, warnings="error")
    except ValidationError as error:
        raise kind(f"{what} does not validate: {complaints(error)}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise kind(f"{what} cannot be written as JSON: {error}") from error
    # Pydantic writes NaN as null, silently; only then is a closer look worth its price.
    if any(mark in text for mark in (b"null", b"NaN", b"Infinity")):
        _refuse_not_finite(adapter.dump_python(valid, warnings=False), what, kind)
    return text.decode()


def _refuse_not_finite(value: Any, what: str, kind: type[SagaError]) -> None:
    for each in _leaves(value):
        if isinstance(each, float | Decimal) and not math.isfinite(each):
            raise kind(f"{what} cannot be written as JSON: it holds {each!r}; use None instead")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def complaints(error: ValidationError) -> str:
    """Return what Pydantic found, on one line and without the offending values."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    rows = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}".lstrip(": ") for each in found]
    more = len(rows) - _COMPLAINTS
    return "; ".join(rows[:_COMPLAINTS]) + (f"; and {more} more" if more > 0 else "")


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
    annotation = hints.get(each.name, Any)
    if each.kind is inspect.Parameter.VAR_POSITIONAL:
        annotation = types.GenericAlias(list, (annotation,))
    elif each.kind is inspect.Parameter.VAR_KEYWORD:
        annotation = _keywords_type(annotation)
    missing = each.default is inspect.Parameter.empty
    return Parameter(
        name=each.name,
        annotation=annotation,
        required=missing and each.kind not in _STARS,
        kind=each.kind,
        default=None if missing else each.default,
    )


def _keywords_type(annotation: Any) -> Any:
    if typing.get_origin(annotation) is typing.Unpack:  # **options: Unpack[SomeTypedDict]
        return typing.get_args(annotation)[0]
    return dict[str, annotation]
