"""Which types prove that JSON carries their values whole, so that these need not be read back.

Owns: making, of Pydantic's own description of a type (its core schema), a quick look at a value
that proves that reading it back would give the same.  Refuses to know: functions, and how a value
is written.

A proof is cautious: whatever is not known here (validators, serializers, aliases of several forms,
settings of a model) is not proven, and its values are read back where they are written.  A value
that was validated may still hold an instance that was not: Pydantic takes models and dataclasses
as they are, also one of a subclass, changed since, or made by `model_construct`.
"""

from __future__ import annotations

import datetime as dt
import enum
import math
from typing import TYPE_CHECKING, Any

from celeriac.authoring.unreadable_types import FIELD_LISTS, named_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from celeriac.authoring.unreadable_types import Schema

    Proof: TypeAlias = Callable[[Any], bool]


def proof_of(schema: Any, *, nulls: bool = False) -> Proof | None:
    """Return what proves of a validated value that JSON carries it whole; None if nothing can.

    A proof that says False says nothing: the value has to be read back.  With *nulls* it also
    holds for a value whose JSON has a null in it: Pydantic writes so, without a word, what is
    not a number, and None where an instance holds it against its class.
    """
    return _Prover(nulls=nulls).prove(schema, held=False)


def always(_: object) -> bool:
    """Prove any value of a type that has no value which gets lost."""
    return True


def is_plain(value: Any) -> bool:
    """Return whether *value* is the same as JSON and without a type: what `Any` can carry."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    if kind in _PLAIN:
        return True
    if kind is list:
        return all(map(is_plain, value))
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(is_plain, value.values()))
    return False


_PLAIN = frozenset({str, int, bool, type(None)})

# --- what is proven ----------------------------------------------------------------------------

# What a description may say without a value getting lost.
_REMARKS = frozenset({"type", "metadata", "ref"})
_CONSTRAINTS = frozenset(
    {"gt", "ge", "lt", "le", "multiple_of", "max_digits", "decimal_places"}
    | {"min_length", "max_length", "pattern"}
)
_ALWAYS = frozenset({"str", "int", "float", "bool", "none", "decimal", "uuid", "timedelta"})
_TIMES = frozenset({"date", "datetime", "time"})
_IN_UNIONS = frozenset({"str", "int", "float", "bool", "none"})  # told apart by their JSON
_MAY_BE_NONE = frozenset({"none", "nullable", "default", "any", "definitions", "definition-ref"})
_CONFIG = frozenset(
    {"title", "frozen", "hide_input_in_errors", "cache_strings", "from_attributes"}
    | {"extra_fields_behavior", "validate_default", "loc_by_alias", "validate_by_alias"}
    | {"validate_by_name", "serialize_by_alias"}
)
_OF_MODELS = _REMARKS | {
    *("cls", "schema", "config", "custom_init", "root_model", "frozen", "generic_origin"),
    "revalidate_instances",
}
_OF_DATACLASSES = _REMARKS | {
    *("cls", "schema", "config", "fields", "frozen", "generic_origin", "slots", "post_init"),
}
_OFFIELD_LISTS = _REMARKS | {
    *("fields", "computed_fields", "model_name", "dataclass_name", "cls", "cls_name", "config"),
    *("total", "extra_behavior", "collect_init_only", "from_attributes"),
}
_OF_FIELDS = _REMARKS | {
    *("schema", "name", "validation_alias", "serialization_alias", "frozen", "kw_only"),
    *("init", "init_only", "required"),
}


class _Prover:
    """One walk that puts a proof together.

    `held` is true inside an instance, which Pydantic takes as it is: what its description asks of
    a value (a least number, a pattern) need not hold there.
    """

    def __init__(self, *, nulls: bool) -> None:
        self._nulls = nulls
        self._definitions: dict[str, Schema] = {}
        self._open: list[str] = []

    def prove(self, schema: Schema, *, held: bool) -> Proof | None:
        """Return the proof for a type, `always`, or None."""
        kind, proof = schema["type"], self._prove(schema, held=held)
        if proof is None or not self._nulls or kind in _MAY_BE_NONE:
            return proof
        if kind == "float":
            return _is_finite
        if kind == "decimal":
            return _is_finite_decimal
        if kind == "union":
            may_be_none = any(each["type"] == "none" for each in schema["choices"])
            return _is_finite_or_none if may_be_none else _is_finite_if_number
        return _is_there if held and proof is always else proof

    def _prove(self, schema: Schema, *, held: bool) -> Proof | None:  # noqa: PLR0911 -- by kind
        kind = schema["type"]
        if "serialization" in schema:
            return None
        if kind in _ALWAYS:
            return always if _says(schema, _REMARKS | {"microseconds_precision"}, held) else None
        if kind in _TIMES:
            return _TIME_PROOFS[kind] if _says(schema, _TIME_REMARKS, held) else None
        if kind == "any":
            return is_plain
        if kind in ("literal", "enum"):
            return _of_choices(schema, held) if _has_plain_choices(schema) else None
        if kind == "nullable":
            return _or_none(self.prove(schema["schema"], held=held))
        if kind == "default":
            known = schema.get("on_error", "raise") == "raise"
            return self.prove(schema["schema"], held=held) if known else None
        if kind == "definitions":
            self._definitions |= {each["ref"]: each for each in schema["definitions"]}
            return self.prove(schema["schema"], held=held)
        if kind == "definition-ref":
            return self._by_reference(schema["schema_ref"], held=held)
        walk = _WALKS.get(kind)
        return walk(self, schema, held) if walk else None

    def _by_reference(self, ref: str, *, held: bool) -> Proof | None:
        if ref in self._open or ref not in self._definitions:
            return None  # a type that holds itself has no end to a proof
        self._open.append(ref)
        try:
            return self.prove(self._definitions[ref], held=held)
        finally:
            self._open.pop()

    def _items(self, schema: Schema, held: bool) -> Proof | None:
        if not _says(schema, _REMARKS | {"items_schema"}, held):
            return None
        if "items_schema" not in schema:
            return _each(is_plain)
        return _each(self.prove(schema["items_schema"], held=held))

    def _tuple(self, schema: Schema, held: bool) -> Proof | None:
        known = _REMARKS | {"items_schema", "variadic_item_index"}
        if not _says(schema, known, held):
            return None
        proofs = [self.prove(each, held=held) for each in schema["items_schema"]]
        if None in proofs:
            return None
        if all(each is always for each in proofs):
            return always
        if "variadic_item_index" in schema:
            return _each(proofs[0]) if len(proofs) == 1 else None
        return _in_places(tuple(each for each in proofs if each))

    def _dict(self, schema: Schema, held: bool) -> Proof | None:
        if not _says(schema, _REMARKS | {"keys_schema", "values_schema", "strict"}, held):
            return None
        keys = schema.get("keys_schema", {"type": "any"})
        values = self.prove(schema.get("values_schema", {"type": "any"}), held=held)
        if schema.get("strict") or values is None:
            return None
        if keys["type"] == "any":
            return _dict_of(values, only_text=True)
        plain_keys = keys["type"] in ("str", "int", "uuid") and self.prove(keys, held=held)
        return _dict_of(values, only_text=False) if plain_keys else None

    def _union(self, schema: Schema, held: bool) -> Proof | None:
        members = schema["choices"]
        kinds = [each["type"] for each in members if isinstance(each, dict)]
        plain = _IN_UNIONS.issuperset(kinds) and len(set(kinds)) == len(members)
        if not plain or not _says(schema, _REMARKS | {"choices"}, held):
            return None
        return always if all(self.prove(each, held=held) for each in members) else None

    def _model(self, schema: Schema, _: bool) -> Proof | None:
        cls = schema["cls"]
        if (
            not _says(schema, _OF_MODELS, held=True)
            or schema.get("custom_init")
            or cls.__private_attributes__
            or not _is_usual(schema)
        ):
            return None
        if schema.get("root_model"):
            root = self.prove(schema["schema"], held=True)
            return root and _instance_of(cls, {"root": root})
        return self._fields(cls, schema["schema"])

    def _dataclass(self, schema: Schema, _: bool) -> Proof | None:
        if (
            not _says(schema, _OF_DATACLASSES, held=True)
            or schema.get("post_init")
            or schema.get("slots")
            or not _is_usual(schema)
        ):
            return None
        return self._fields(schema["cls"], schema["schema"])

    def _fields(self, cls: type, schema: Schema) -> Proof | None:
        proofs = self._proofs_of_fields(schema, held=True)
        return None if proofs is None else _instance_of(cls, proofs)

    def _typed_dict(self, schema: Schema, held: bool) -> Proof | None:
        proofs = self._proofs_of_fields(schema, held=held) if _is_usual(schema) else None
        if proofs is None:
            return None
        looks = {name: each for name, each in proofs.items() if each is not always}
        return lambda value: (
            isinstance(value, dict)
            and all(look(value[name]) for name, look in looks.items() if name in value)
        )

    def _proofs_of_fields(self, schema: Schema, *, held: bool) -> dict[str, Proof] | None:
        if (
            schema["type"] not in FIELD_LISTS
            or not _says(schema, _OFFIELD_LISTS, held=True)
            or schema.get("extra_behavior") == "allow"
            or not _names_are_apart(schema)
        ):
            return None
        found = {}
        for name, field in named_fields(schema):
            ordinary = field.get("init", True) and not field.get("init_only")
            proof = self.prove(field["schema"], held=held)
            if not ordinary or proof is None or not _says(field, _OF_FIELDS, held=True):
                return None
            found[name] = proof
        return found


_WALKS: dict[str, Callable[[_Prover, Schema, bool], Proof | None]] = {
    "list": _Prover._items,  # noqa: SLF001 -- its own table
    "set": _Prover._items,  # noqa: SLF001
    "frozenset": _Prover._items,  # noqa: SLF001
    "tuple": _Prover._tuple,  # noqa: SLF001
    "dict": _Prover._dict,  # noqa: SLF001
    "union": _Prover._union,  # noqa: SLF001
    "model": _Prover._model,  # noqa: SLF001
    "dataclass": _Prover._dataclass,  # noqa: SLF001
    "typed-dict": _Prover._typed_dict,  # noqa: SLF001
}


def _says(schema: Schema, known: frozenset[str], held: bool) -> bool:
    """True if a description says no more than *known*, and constraints where they must hold."""
    return schema.keys() <= (known if held else known | _CONSTRAINTS)


def _is_usual(schema: Schema) -> bool:
    """True if the settings of a class change nothing in how its values are written and read."""
    config = schema.get("config") or {}
    return config.keys() <= _CONFIG and config.get("extra_fields_behavior") != "allow"


def _names_are_apart(schema: Schema) -> bool:
    """True if each field is read under the name it is written with, and no other field is."""
    taken: set[str] = set()
    for name, field in named_fields(schema):
        alias = field.get("validation_alias", name)
        if not isinstance(alias, str):
            return False
        names = {name, alias}
        if field.get("serialization_alias", name) not in names or taken & names:
            return False
        taken |= names
    return True


def _has_plain_choices(schema: Schema) -> bool:
    if schema["type"] == "literal":
        kinds = {type(each) for each in schema["expected"]}
        return kinds <= {str, int} or kinds <= {str, bool}
    kinds = {type(each.value) for each in schema["members"]}
    return not issubclass(schema["cls"], enum.Flag) and kinds <= {str, int}


# --- looks at values ---------------------------------------------------------------------------


def _of_choices(schema: Schema, held: bool) -> Proof:
    if schema["type"] == "enum" or not held:
        return always
    expected = {(type(each), each) for each in schema["expected"]}
    return lambda value: (type(value), value) in expected


def _is_told(value: Any) -> bool:
    """JSON writes the distance to UTC in minutes; local times of long ago have seconds."""
    if value.tzinfo is None:
        return not value.fold  # which JSON does not tell
    offset: dt.timedelta | None = value.utcoffset()
    return offset is not None and not (offset.seconds % 60 or offset.microseconds)


_TIME_REMARKS = _REMARKS | {"microseconds_precision"}
_TIME_PROOFS: dict[str, Proof] = {
    "date": lambda value: type(value) is dt.date,  # a datetime is one too
    "datetime": _is_told,
    "time": _is_told,
}


def _is_there(value: Any) -> bool:
    return value is not None


def _is_finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _is_finite_decimal(value: Any) -> bool:
    # No math.isfinite: it raises for a signalling NaN.
    return value is not None and bool(value.is_finite())


def _is_finite_if_number(value: Any) -> bool:
    return value is not None and _is_finite_or_none(value)


def _is_finite_or_none(value: Any) -> bool:
    return type(value) is not float or math.isfinite(value)


def _or_none(proof: Proof | None) -> Proof | None:
    if proof is None or proof is always:
        return proof
    if proof is _is_there:
        return always
    return lambda value: value is None or proof(value)


def _each(proof: Proof | None) -> Proof | None:
    if proof is None or proof is always:
        return proof
    return lambda values: all(map(proof, values))


def _in_places(proofs: tuple[Proof, ...]) -> Proof:
    return lambda values: all(proof(each) for proof, each in zip(proofs, values, strict=False))


def _dict_of(values: Proof, *, only_text: bool) -> Proof:
    if only_text:
        return lambda found: (
            all(type(key) is str for key in found) and all(map(values, found.values()))
        )
    return always if values is always else lambda found: all(map(values, found.values()))


def _instance_of(cls: type, proofs: Mapping[str, Proof]) -> Proof:
    """Prove an instance of just this class, with all of its fields and nothing else."""
    names = frozenset(proofs)
    looks = tuple((name, each) for name, each in proofs.items() if each is not always)

    def proof(value: Any) -> bool:
        if type(value) is not cls:
            return False
        held = value.__dict__
        if held.keys() != names:
            return False
        return all(look(held[name]) for name, look in looks) if looks else True

    return proof
