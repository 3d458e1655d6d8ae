"""Which types can never be read back from the JSON that is written of them, or only as a whole.

Owns: finding them in Pydantic's own description of a type (its core schema), so that they are
refused where they are defined, with the way out.  Refuses to know: values.

Only what is sure is found: whatever a validator or serializer of theirs may set right is left to
be read back where it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema: TypeAlias = Mapping[str, Any]

FIELD_LISTS = frozenset({"model-fields", "dataclass-args", "typed-dict"})


class Hopeless(NamedTuple):
    """What in a type can never be read back, and the way out."""

    path: str  # of the field; empty for the value itself
    problem: str


def hopeless(schema: Any) -> Hopeless | None:
    """Return what in a type can never be read back from the JSON that is written of it."""
    return next(_Search().visit(schema, "", renamed=False), None)


def serializes(schema: Any, field: str | None = None) -> bool:
    """Return whether something decides what is written of a type, or of one of its fields.

    A serializer does, and so do `Json` and, for a field, the settings of its model.
    """
    definitions: dict[str, Schema] = {}
    settings: Schema = _NOTHING
    while True:
        if "serialization" in schema or (schema["type"] == "json" and field is None):
            return True
        settings = schema.get("config") or settings
        if schema.get("root_model") and field is not None:
            return _writes_otherwise(settings, schema["schema"]) or serializes(schema["schema"])
        if schema["type"] in FIELD_LISTS and field is not None:
            schema = dict(named_fields(schema)).get(field, {}).get("schema", _NO_KEYS)
            if _writes_otherwise(settings, schema):
                return True
            field = None
            continue
        definitions |= {each["ref"]: each for each in schema.get("definitions", ())}
        inner = definitions.get(schema.get("schema_ref", ""), schema.get("schema"))
        if inner is None or (field is None and schema["type"] not in _TRANSPARENT):
            return False
        schema = inner


def _writes_otherwise(settings: Schema, schema: Schema) -> bool:
    """Whether a model's settings have another form for a field than its type has by itself."""
    kinds = frozenset().union(*(kinds for name, kinds in _SET.items() if name in settings))
    return bool(kinds) and any(each["type"] in kinds for each in _parts_of(schema))


def _parts_of(schema: Schema) -> Iterator[Schema]:
    """A description and those inside it, as far as the settings of the same model are theirs."""
    yield schema
    if schema["type"] in ("model", "dataclass", "typed-dict"):
        return
    for value in schema.values():
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, dict) and isinstance(each.get("type"), str):
                yield from _parts_of(each)


def named_fields(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Each field that a description lists (one of `FIELD_LISTS`), by name."""
    fields = schema["fields"]
    if isinstance(fields, dict):
        yield from fields.items()
    else:
        for each in fields:
            yield each["name"], each


_MASKED = (
    "is a secret, which Pydantic writes as asterisks: pass a reference to where the secret is "
    "kept, or let the field be written (@field_serializer(…, when_used='json')); it is then kept "
    "in Redis as plain text"
)
_KEYS = "has keys that JSON cannot carry, since they are text there: use text, or a list of pairs"
_EXCLUDED = (
    "is left out of what is written (exclude=True) and has no default, so it cannot be read back: "
    "give it a default, or do not exclude it"
)
_NEVER_KEYS = frozenset(
    {"tuple", "named-tuple", "none", "list", "set", "frozenset", "model", "dataclass", "dict"}
)
_NO_KEYS = {"type": "str"}
_NOTHING: Schema = {}
_TIMES = frozenset({"datetime", "date", "time", "timedelta"})
# Settings of a model, and the types that they write in another form.
_SET = {
    "ser_json_bytes": frozenset({"bytes"}),
    "val_json_bytes": frozenset({"bytes"}),
    "ser_json_temporal": _TIMES,
    "val_temporal_unit": _TIMES,
    "ser_json_timedelta": frozenset({"timedelta"}),
    "ser_json_inf_nan": frozenset({"float"}),
}
_TRANSPARENT = frozenset(
    {"default", "nullable", "definitions", "definition-ref"}
    | {"function-before", "function-after", "function-wrap"}
)
_SEES_FIRST = frozenset({"function-before", "function-wrap"})


class _Search:
    """One walk in search of what can never be read back."""

    def __init__(self) -> None:
        self._definitions: dict[str, Schema] = {}
        self._seen: set[str] = set()

    def visit(self, schema: Schema, path: str, *, renamed: bool) -> Iterator[Hopeless]:
        """Look at a type and all inside it; *renamed*: a validator sees its fields first."""
        if "serialization" in schema:
            if _hides(schema["serialization"]):
                yield Hopeless(path, _MASKED)
            return  # whoever writes it in a way of his own may well read it so
        if schema["type"] in FIELD_LISTS:
            for name, field in named_fields(schema):
                yield from self._visit_field(schema, name, field, path, renamed=renamed)
            return
        if schema.get("keys_schema", _NO_KEYS)["type"] in _NEVER_KEYS:
            yield Hopeless(path, _KEYS)
        for inner, first in self._inside(schema):
            yield from self.visit(inner, path, renamed=renamed or first)

    def _inside(self, schema: Schema) -> Iterator[tuple[Schema, bool]]:
        """The types inside one, and whether a validator sees a value before they do."""
        kind = schema["type"]
        if kind == "definitions":
            self._definitions |= {each["ref"]: each for each in schema["definitions"]}
        if kind == "definition-ref":
            ref = schema["schema_ref"]
            if ref in self._definitions and ref not in self._seen:
                self._seen.add(ref)
                yield self._definitions[ref], False
        items = schema.get("items_schema", [])
        for each in items if isinstance(items, list) else [items]:
            yield each, False
        if "values_schema" in schema:
            yield schema["values_schema"], False
        if "lax_schema" in schema:
            yield schema["lax_schema"], False
        if "schema" in schema and kind != "json":
            yield schema["schema"], kind in _SEES_FIRST

    def _visit_field(
        self, fields: Schema, name: str, field: Schema, path: str, *, renamed: bool
    ) -> Iterator[Hopeless]:
        here = f"{path}.{name}".lstrip(".")
        if field.get("serialization_exclude"):
            if _is_required(fields, field) and not renamed:
                yield Hopeless(here, _EXCLUDED)
            return
        alias = field.get("serialization_alias", name)
        if alias not in _read_names(name, field) and not renamed:
            yield Hopeless(here, _one_way(name, alias))
        yield from self.visit(field["schema"], here, renamed=False)


def _hides(serialization: Schema) -> bool:
    function = serialization.get("function")
    name = str(getattr(function, "__name__", "")).lower()
    return getattr(function, "__module__", "") == "pydantic.types" and "secret" in name


def _one_way(name: str, alias: str) -> str:
    return (
        f"is written as {alias!r} and read as {name!r}, so it cannot be read back: write "
        f"alias={alias!r} in place of the serialization_alias, or add "
        f"validation_alias=AliasChoices({name!r}, {alias!r})"
    )


def _read_names(name: str, field: Schema) -> set[str]:
    """The names under which a field is read; ours is always one (`by_name`)."""
    alias = field.get("validation_alias")
    if isinstance(alias, str):
        return {name, alias}
    paths = alias or []
    if paths and not isinstance(paths[0], list):  # one AliasPath, and no choice of several
        paths = [paths]
    return {name, *(each[0] for each in paths if len(each) == 1)}


def _is_required(fields: Schema, field: Schema) -> bool:
    if "required" in field:  # of a typed dictionary
        return bool(field["required"])
    if fields["type"] == "typed-dict":
        return bool(fields.get("total", True))
    return bool(field["schema"]["type"] != "default")
