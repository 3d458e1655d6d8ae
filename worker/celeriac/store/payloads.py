"""Payloads: where they are kept with a run, and how arguments are put together from them.

Owns: the names of a run's payload fields, and the evaluation of a plan's expressions over them.
Refuses to know: types.  A payload is JSON text from the moment it is recorded until a step's own
signature validates it; nothing here is ever evaluated.  The file is long because it is two tables:
a short function for each kind of field, and one for each kind of expression.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.errors import OutputInvalid, PayloadTooLarge, SagaError
from celeriac.failure import Failure
from celeriac.machine import (
    Constant,
    DictOf,
    Expression,
    FirstOf,
    FromInput,
    FromItem,
    FromMap,
    FromStep,
    ListOf,
    Node,
    Phase,
    PhaseStatus,
    Plan,
    TextOf,
    as_visited,
    began_once,
    bound,
    epoch_of,
    first_epoch,
    instance_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from celeriac.machine import Run

NULL = "null"
#: How many elements of a map's list are kept in one field: an attempt reads one of these.
_CHUNK = 64
_OUTPUT = "out:"
#: What is kept with a number, of an attempt or of some elements.
_COUNTED = ("tok", "item")
#: What belongs to the run as a whole: its input, signals, and the trace that it is part of.
_GIVEN = ("in:", "sig:", "trace")
#: The failure that made the run turn round.
CAUSE = "cause"
#: The result of a run that one of its steps has ended.
RESULT = "result"


def input_field(parameter: str) -> str:
    """The field of one parameter of the saga."""
    return f"in:{parameter}"


def output_field(step: str) -> str:
    """The field of a step's result; written once.

    That of an element of a map is its name alone: there are many, and each letter counts.
    """
    return step if instance_of(step) else f"{_OUTPUT}{step}"


def step_of_output(field: str) -> str:
    """The step whose result a field holds; empty for any other field."""
    if field.startswith(_OUTPUT):
        return field.removeprefix(_OUTPUT)
    return field if ":" not in field and instance_of(field) else ""


def worth_keeping(fields: Mapping[str, str]) -> dict[str, str]:
    """The payloads without results that are null: what is not there is null.

    Many steps return nothing, and a field costs some 70 bytes.  A result is written once (I15), so
    there is none that this could leave behind.
    """
    return {name: text for name, text in fields.items() if text != NULL or not step_of_output(name)}


def with_nulls(run: Run, fields: Mapping[str, str]) -> dict[str, str]:
    """All payloads of a run, with the results that were not worth keeping."""
    steps = ((name, each) for name, each in run.steps.items() if name not in run.steps.maps)
    done = (name for name, step in steps if step.do.state is PhaseStatus.DONE)
    return {**{output_field(name): NULL for name in done}, **fields}


def in_try(field: str, epoch: int) -> str:
    """A field of another try than the newest: that of *epoch*."""
    return f"~{epoch}:{field}"  # no name begins like that


def epoch_of_field(run: Run, field: str) -> int:
    """The epoch of the try in which a field of a run was written, or will be."""
    return epoch_of(run, _step_of(field)) if run.stands else run.epoch


def field_of(earlier: Run, field: str) -> str:
    """A field of one of a run's earlier tries."""
    return in_try(field, epoch_of_field(earlier, field))


def _step_of(field: str) -> str:
    """The step that a field is about, as an element if it is one; empty if it is about none."""
    kind, found, step = field.partition(":")
    if not found:
        return field if instance_of(field) else ""
    return step.rpartition(":")[0] if kind in _COUNTED else step


def kept_as(field: str, run: Run | None) -> str:
    """The field of a run as it is kept: each try has payloads of its own, but for what was given.

    Those of the first have no mark, so most runs have none.
    """
    marked = field.startswith("~")
    if run is None or (began_once(run) and not marked):
        return field
    number, _, plain = field[1:].partition(":") if marked else ("", "", field)
    epoch = int(number) if marked else epoch_of_field(run, field)
    given = plain.startswith(_GIVEN)
    return plain if given or epoch == first_epoch(run) else in_try(plain, epoch)


def read_as(kept: str, run: Run) -> str:
    """The field that `kept_as` makes *kept* of."""
    marked = kept.startswith("~")
    epoch, _, plain = kept[1:].partition(":") if marked else (first_epoch(run), "", kept)
    if plain.startswith(_GIVEN) or int(epoch) == epoch_of_field(run, plain):
        return plain
    return in_try(plain, int(epoch))


def error_field(step: str, phase: Phase) -> str:
    """The field of the newest failure of a step, or of its compensation."""
    return f"err:{step}" if phase == "do" else f"uerr:{step}"


def words_field(step: str) -> str:
    """The field of what a step has said that skipped itself, for people."""
    return f"said:{step}"


def answer_field(step: str) -> str:
    """The field of what a step that aborted has to say to the caller."""
    return f"ans:{step}"


def beat_field(step: str, phase: Phase) -> str:
    """The field of what the newest attempt said in its last heartbeat."""
    return f"beat:{step}" if phase == "do" else f"ubeat:{step}"


def progress_field(step: str, phase: Phase) -> str:
    """The field of how far the newest attempt has said that it is."""
    return f"prog:{step}" if phase == "do" else f"uprog:{step}"


def again_field(step: str, phase: Phase) -> str:
    """The field of the arguments that an attempt asked to be tried again with."""
    return f"again:{step}" if phase == "do" else f"uagain:{step}"


def signal_field(key: str) -> str:
    """The field of the payload of a signal; written once."""
    return f"sig:{key}"


def signal_key(name: str, given: str) -> str:
    """What stands for the id of a signal: 16 hexadecimal digits.

    Ids are those of the sender, who may well call two signals about one order by its number.
    """
    text = f"{name}\0{given}".encode("utf-8", "backslashreplace")  # no run waits for half a letter
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def token_field(step: str, attempt: int) -> str:
    """The field of the digest of an attempt's token, and that of the result that came with it."""
    return f"tok:{step}:{attempt}"


def kept_field(step: str) -> str:
    """The field of a result from outside that came before its attempt had ended."""
    return f"kept:{step}"


def item_field(name: str, number: int) -> str:
    """The field that holds one element of a map's list, and those beside it."""
    return f"item:{name}:{number // _CHUNK}"


def item_fields(name: str, items: Sequence[Any]) -> dict[str, str]:
    """The list of a map, as it is kept: some elements to a field."""
    starts = range(0, len(items), _CHUNK)
    # Without a space between them: there are many.
    dump = json.JSONEncoder(separators=(",", ":")).encode
    return {item_field(name, n): dump(items[n : n + _CHUNK]) for n in starts}


def fields_of(expression: Expression, run: Run | None = None) -> Iterator[str]:
    """The payload fields an expression needs; those of a map's results only if *run* is given."""
    if isinstance(expression, FromInput):
        yield input_field(expression.input)
    elif isinstance(expression, FromStep):
        yield output_field(expression.step)
    elif isinstance(expression, FromItem) and expression.of is None:
        yield item_field(expression.item, expression.number)
    else:
        if isinstance(expression, FromMap):
            yield output_field(expression.map)
        for each in _inside(expression, run):
            yield from fields_of(each, run)


def _inside(expression: Expression, run: Run | None) -> Iterable[Expression]:
    """The expressions that an expression is made of."""
    if isinstance(expression, FromMap):
        return _elements(expression, run)
    if isinstance(expression, FirstOf):
        return expression.first
    if isinstance(expression, ListOf):
        return expression.items
    if isinstance(expression, DictOf):
        return expression.entries.values()
    if isinstance(expression, TextOf):
        return expression.parts
    return (expression.of,) if isinstance(expression, FromItem) and expression.of else ()


def _elements(expression: FromMap, run: Run | None) -> Iterator[Expression]:
    """What each element of a map gives."""
    counted = run.steps.maps.get(expression.map) if run else None
    for number in range(counted.count if counted else 0):
        yield bound(expression.each, expression.map, number)


def wanted(node: Node, phase: Phase, run: Run | None = None) -> tuple[str, ...]:
    """The payload fields that an attempt of *node* needs; of maps' results, if *run* is given."""
    found = {beat_field(node.name, phase): None}
    for name, expression in node.args.items():
        if phase == "do" or (node.undo and name in node.undo.wants):
            found.update(dict.fromkeys(fields_of(expression, run)))
    if phase == "undo" and node.undo:
        found.update({output_field(node.name): None} if "result" in node.undo.wants else {})
        found.update({CAUSE: None} if "error" in node.undo.wants else {})
    return tuple(found)


def gate_fields(plan: Plan, node: Node) -> tuple[str, ...]:
    """The payload fields by which the gates of a step, and of its run, are counted apart."""
    gates = (*plan.gates, *node.gates)
    return tuple(name for gate in gates if gate.key for name in fields_of(gate.key))


class Reader(NamedTuple):
    """Who is given a value: what is said of it if that is too large."""

    name: str
    most: int  # bytes of a list of results


def arguments(
    node: Node, phase: Phase, fields: Mapping[str, str], run: Run, most: int = sys.maxsize
) -> dict[str, str]:
    """The arguments of an attempt of *run* by parameter name, as JSON text.

    Raises PayloadTooLarge if the results of a map take more than *most* bytes.
    """
    reader = Reader(node.name, most)
    if phase == "do":
        args = node.args.items()
        return {name: resolve(expression, fields, run, reader) for name, expression in args}
    assert node.undo is not None
    found = {}
    for name in node.undo.wants:
        # A forward parameter comes first: a step may well have one that is called `error`.
        if name in node.args:
            found[name] = resolve(node.args[name], fields, run, reader)
        elif name == "result":
            found[name] = fields.get(output_field(node.name), NULL)
        elif name == "error":
            found[name] = fields.get(CAUSE, NULL)
    return found


_ANYBODY = Reader("", sys.maxsize)


def resolve(
    expression: Expression, fields: Mapping[str, str], run: Run, reader: Reader = _ANYBODY
) -> str:
    """The value of an expression in *run* as JSON text; a payload that is not there is null."""
    if isinstance(expression, Constant):
        return json.dumps(expression.value)
    if isinstance(expression, ListOf):
        items = expression.items
        return "[" + ",".join(resolve(item, fields, run, reader) for item in items) + "]"
    if isinstance(expression, DictOf):
        entries = expression.entries.items()
        pairs = (f"{json.dumps(key)}:{resolve(each, fields, run, reader)}" for key, each in entries)
        return "{" + ",".join(pairs) + "}"
    if isinstance(expression, TextOf):
        parts = (resolve(each, fields, run, reader) for each in expression.parts)
        return json.dumps("".join(map(_as_text, parts)))
    if isinstance(expression, FirstOf):
        found = next((each for each in expression.first if _exists(each, fields, run)), None)
        text = NULL if found is None else resolve(found, fields, run, reader)
    elif isinstance(expression, FromMap):
        text = _collected(expression, fields, run, reader)
    elif isinstance(expression, FromItem):
        return _item(expression, fields, run, reader)
    else:
        text = fields.get(next(fields_of(expression)), NULL)
    return _follow(text, expression.path) if expression.path else text


def _as_text(text: str) -> str:
    """What the JSON of a value is inside of a text."""
    value = json.loads(text)
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        kind = "null" if value is None else "a list" if isinstance(value, list) else "an object"
        raise OutputInvalid(
            f"{kind} cannot stand inside of a text: only texts, numbers, true and false can"
        )
    return text


def _item(expression: FromItem, fields: Mapping[str, str], run: Run, reader: Reader) -> str:
    """The element of a map, or what is inside of it."""
    if expression.of is not None:
        text, place = resolve(expression.of, fields, run, reader), expression.number
    else:
        text = fields.get(item_field(expression.item, expression.number), "[]")
        place = expression.number % _CHUNK
    return _follow(text, (place, *expression.path))


def _collected(expression: FromMap, fields: Mapping[str, str], run: Run, reader: Reader) -> str:
    """The results of a map, in the order of its elements: put together here, and never stored."""
    given = fields.get(output_field(expression.map))  # by an operator, who skipped all of it
    if given is not None or expression.map not in run.steps.maps:
        return given or NULL
    texts, size = list[str](), 2
    for each in _elements(expression, run):
        texts.append(resolve(each, fields, run, reader))
        size += len(texts[-1].encode()) + 1
        if size > reader.most:
            what = (
                f"the list of results of the map {expression.map}, up to element {len(texts) - 1}"
            )
            raise PayloadTooLarge(
                f"{what}, for {reader.name}", size, reader.most, "saga_max_collected"
            )
    return "[" + ",".join(texts) + "]"


def _exists(expression: Expression, fields: Mapping[str, str], run: Run) -> bool:
    """True unless it is the result of a step that has none: it was skipped, or left its group."""
    if isinstance(expression, FirstOf):
        return any(_exists(each, fields, run) for each in expression.first)
    if isinstance(expression, FromMap):
        done = run.step(expression.map).do.state is PhaseStatus.DONE
        return done or output_field(expression.map) in fields
    if not isinstance(expression, FromStep):
        return True
    done = run.step(expression.step).do.state is PhaseStatus.DONE
    left = done and any(step == expression.step for step, _ in run.routes)
    return (done and not left) or output_field(expression.step) in fields


def _follow(text: str, path: tuple[str | int, ...]) -> str:
    value: Any = json.loads(text)
    for key in path:
        try:
            # A text has items too, but nobody means its letters.
            value = None if isinstance(value, str) else value
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise OutputInvalid(
                f"there is no {'.'.join(map(str, path))!r} in the recorded value: "
                "does its type still fit the saga?"
            ) from None
    return json.dumps(value)


def choice_of(node: Node, output: str, wrong: type[SagaError]) -> str:
    """What the result of a step (JSON text) chooses, if others are guarded by it; else nothing.

    Raises *wrong* for an answer that there is no case for.
    """
    if node.choice is None:
        return ""
    value = json.loads(output)
    label = value if isinstance(value, str) else output
    if not node.choice.knows(label):
        raise wrong(
            f"{node.name} answered {label!r}; there are cases for "
            f"{', '.join(map(repr, node.choice.labels))}, and no default"
        )
    return label


def result_fields(plan: Plan, run: Run) -> tuple[str, ...]:
    """The payload fields that the result of a run needs."""
    if run.ended_by:
        return (RESULT,)
    return tuple(dict.fromkeys(fields_of(as_visited(plan, run).result, run)))


def result_of(plan: Plan, run: Run, fields: Mapping[str, str], reader: Reader = _ANYBODY) -> str:
    """The result of a run that completed, as JSON text."""
    if run.ended_by:
        return fields.get(RESULT, NULL)
    return resolve(as_visited(plan, run).result, fields, run, reader)


def inherited_fields(
    plan: Plan, run: Run, names: Iterable[str], fields: Mapping[str, str], most: int
) -> dict[str, str]:
    """The payloads of *run*, which are *fields*, that its fork takes over with these steps.

    Raises PayloadTooLarge if the results of a map take more than *most* bytes.
    """
    found = {name: text for name, text in fields.items() if name.startswith("in:")}
    for name in names:
        made = _reading(plan, name) if name in run.steps.maps else None
        if made is not None:
            reader = Reader(f"a fork of {run.id}", most)
            found[output_field(name)] = resolve(made, fields, run, reader)
        elif output_field(name) in fields:
            found[output_field(name)] = fields[output_field(name)]
    return found


def _reading(plan: Plan, name: str) -> FromMap | None:
    """How the results of a map are read by some other step, or by the result; None: by nobody."""
    several = [value for node in plan.all_nodes for value in _values(node)]
    ahead = [*several, plan.result]
    while ahead:
        each = ahead.pop()
        if isinstance(each, FromMap) and each.map == name:
            return FromMap(map=name, each=each.each)
        ahead += _inside(each, None)
    return None


def _values(node: Node) -> list[Expression]:
    return [*node.args.values(), *([node.map.items] if node.map else [])]


def checked(what: str, text: str, limit: int) -> str:
    """Return *text*; raise PayloadTooLarge if it is over *limit* bytes."""
    size = len(text.encode())
    if size > limit:
        raise PayloadTooLarge(what, size, limit)
    return text


def digest(saga: str, inputs: Mapping[str, str]) -> str:
    """16 hexadecimal digits that tell one input from another."""
    canonical = {name: json.loads(text) for name, text in inputs.items()}
    text = json.dumps([saga, canonical], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_failure(text: str | None) -> Failure | None:
    """The failure that was recorded, if one was."""
    return Failure.model_validate_json(text) if text and text != NULL else None
