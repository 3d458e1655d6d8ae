"""A definition as it stands in its file: what it says of the saga and its steps.

Owns: which fields there are.  Refuses to know: tasks, and what comes of it (`compiling`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from celeriac.authoring import checked_name
from celeriac.definitions.fields import Fields
from celeriac.definitions.gates import read_gates
from celeriac.definitions.policies import read_retry
from celeriac.definitions.templates import Reference, parts_of
from celeriac.definitions.trees import Listed, Mapped, Scalar
from celeriac.definitions.variables import read_signals, read_variables
from celeriac.errors import DefinitionError
from celeriac.machine import Choice, CompensationOrder, OnDeadline, Plan, RetryRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.definitions.gates import GateText
    from celeriac.definitions.problems import Mark, Problems
    from celeriac.definitions.trees import Tree
    from celeriac.definitions.variables import Variable

HEAD = (
    *("saga", "version", "description", "deadline", "on_deadline", "compensation_order"),
    *("retention", "max_steps", "retries", "retry_delay", "limit"),
    *("vars", "signals", "steps", "groups", "two_phase", "result"),
)
ACTIONS = ("http", "poll", "shell")
WORK = ("task", "child", *ACTIONS, "wait", "sleep", "sleep_until", "steps")
STEP = (
    *WORK,
    *("args", "kwargs", "depends_on", "when", "foreach", "as", "concurrency", "timeout"),
    *("give_up_after", "expires", "retry", "queue", "priority", "compensate", "effect"),
    *("limit", "breaker", "undoes", "choice", "result", "description"),
)


@dataclass(frozen=True)
class Condition:
    """What an earlier step has to have answered; no labels: the yes of a bool, or its no (but)."""

    mark: Mark
    step: str
    labels: tuple[str, ...] | None = None
    but: bool = False


@dataclass
class StepText:
    """A step, as it stands in the file."""

    name: str
    mark: Mark
    fields: Fields
    work: str = ""  # which of WORK it has
    depends_on: list[Scalar] = field(default_factory=list)
    when: list[Condition] = field(default_factory=list)
    exactly_when: bool = False  # `when` is a list: there are no other conditions than these
    undoes: list[Scalar] = field(default_factory=list)
    retry: RetryRule | None = None
    choice: Choice | None = None
    gates: list[GateText] = field(default_factory=list)
    inner: dict[str, StepText] = field(default_factory=dict)

    @property
    def element(self) -> str | None:
        """The name that the element of a list has in this step."""
        found = self.fields.tree("as")
        return found.text if isinstance(found, Scalar) else None

    def trees(self) -> Iterator[Tree]:
        """What may hold expressions."""
        for name in ("args", "kwargs", "foreach", "result", "compensate", "wait", *ACTIONS):
            if (tree := self.fields.tree(name)) is not None:
                yield tree
        yield from (gate.key for gate in self.gates if gate.key is not None)

    def uses(self) -> Iterator[tuple[str, Mark]]:
        """The steps that it names anywhere, also for those inside of it."""
        for scalar in self.depends_on:
            yield scalar.text, scalar.mark
        for condition in self.when:
            yield condition.step, condition.mark
        undo = self.fields.tree("compensate")
        for tree in self.trees():
            own = {*self.inner, self.name} if tree is undo else self.inner.keys()
            for reference, mark in references(tree):
                if reference.kind == "steps" and reference.name not in own:
                    yield reference.name, mark
        for each in self.inner.values():
            for name, mark in each.uses():
                if name not in self.inner:
                    yield name, mark


@dataclass(frozen=True)
class GroupText:
    """A group of a saga, as it stands in the file."""

    mark: Mark
    steps: dict[str, StepText]


@dataclass
class Document:
    """A definition, as it stands in its file."""

    mark: Mark
    name: str
    fields: Fields
    head: dict[str, Any]
    variables: dict[str, Variable]
    steps: dict[str, StepText]  # also those of groups
    groups: dict[str, GroupText]  # in order; none: the saga has none
    two_phase: list[Scalar]
    result: Tree | None
    signals: dict[str, Any]  # the type of each that it declares
    gates: list[GateText]  # of all its runs


def references(tree: Tree) -> Iterator[tuple[Reference, Mark]]:
    """The expressions in a tree, as far as they can be read."""
    if isinstance(tree, Scalar):
        try:
            found = parts_of(tree.text)
        except ValueError:
            return  # told where it is put into its place
        yield from ((each, tree.mark) for each in found if isinstance(each, Reference))
        return
    for each in tree.items if isinstance(tree, Listed) else tree.entries.values():
        yield from references(each)


def read_document(tree: Tree, problems: Problems) -> Document | None:
    """What a file says; what is wrong is added to *problems*."""
    if not isinstance(tree, Mapped):
        problems.add(tree.mark, "a definition is a mapping: saga: NAME, and steps: of it")
        return None
    fields = Fields(tree, problems, HEAD, "a definition")
    name = fields.read("saga", str, "book_trip", "")
    if not name or not name.isprintable():
        problems.add(fields.mark_of("saga"), "saga: names the saga, with printable text")
    head: dict[str, Any] = {
        "version": fields.whole("version") or 1,
        "deadline": fields.duration("deadline"),
        "on_deadline": fields.one_of("on_deadline", get_args(OnDeadline), "compensate"),
        "compensation_order": fields.one_of(
            "compensation_order", get_args(CompensationOrder), "reverse"
        ),
        "retention": fields.duration("retention"),
        "max_steps": fields.whole("max_steps"),
        "retries": fields.whole("retries", least=0) or 0,
        "retry_delay": fields.delay("retry_delay", Plan.model_fields["retry_delay"].default),
    }
    groups = _groups(fields, problems, name)
    return Document(
        mark=tree.mark,
        name=name,
        fields=fields,
        head=head,
        variables=read_variables(fields, problems),
        steps=_all_steps(fields, groups, problems, name),
        groups=groups,
        two_phase=fields.names("two_phase"),
        result=fields.tree("result"),
        signals=read_signals(fields, problems),
        gates=read_gates(fields, name, problems),
    )


# --- steps -------------------------------------------------------------------------------------


def _groups(fields: Fields, problems: Problems, saga: str) -> dict[str, GroupText]:
    """The groups of a saga; all their steps have names of their own."""
    mapped = fields.of_kind("groups", Mapped, "entry: {ask: {task: shop.ask}}")
    if mapped and not mapped.entries:
        problems.add(mapped.mark, "groups: has no groups, each of which is a mapping of its steps")
    found: dict[str, GroupText] = {}
    homes: dict[str, str] = {}  # the group of each step
    for group, tree in mapped.entries.items() if mapped else ():
        mark = mapped.marks[group] if mapped else fields.mark
        try:
            checked_name(group)
        except DefinitionError as error:
            problems.add(mark, f"group {error.problem}")
        if not isinstance(tree, Mapped) or not tree.entries:
            problems.add(mark, f"group {group!r} has no steps: write each by its name")
            continue
        steps = _steps(tree, problems, saga)
        for name in [each for each in steps if each in homes]:
            twice = f"{name!r} is a step of group {homes[name]!r} already: give it another name"
            problems.add(tree.marks[name], twice)
            del steps[name]
        homes |= dict.fromkeys(steps, group)
        found[group] = GroupText(mark, steps)
    return found


def _all_steps(
    fields: Fields, groups: dict[str, GroupText], problems: Problems, saga: str
) -> dict[str, StepText]:
    """The steps of a saga, or of its groups."""
    mapped = fields.of_kind("steps", Mapped, "reserve: {task: shop.reserve}")
    if "groups" in fields and "steps" in fields:
        text = "a saga has steps or groups: a run begins with the first group and ends in one"
        problems.add(fields.mark_of("steps"), text)
    elif not ("groups" in fields or (mapped and mapped.entries)):
        text = "has no steps: write steps:, and each by its name"
        problems.add(fields.mark_of("steps"), text)
    found = _steps(mapped, problems, saga) if mapped else {}
    return {name: step for group in groups.values() for name, step in group.steps.items()} | found


def _steps(
    mapped: Mapped, problems: Problems, saga: str, *, inside: bool = False
) -> dict[str, StepText]:
    found = {}
    for name, tree in mapped.entries.items():
        mark = mapped.marks[name]
        try:
            for part in name.split("."):
                checked_name(part)
        except DefinitionError as error:
            problems.add(mark, error.problem)
            continue
        if isinstance(tree, Mapped):
            found[name] = step = _step(name, mark, tree, problems, inside=inside)
            step.gates = read_gates(step.fields, f"{saga}.{name}", problems)
            inner = step.fields.of_kind("steps", Mapped, "label: {task: shop.label}")
            if inner is not None:
                step.inner = _steps(inner, problems, saga, inside=True)
        else:
            problems.add(mark, f"{name}: a step is a mapping, such as {{task: shop.reserve}}")
    return found


def _step(name: str, mark: Mark, tree: Mapped, problems: Problems, *, inside: bool) -> StepText:
    fields = Fields(tree, problems, STEP, f"the step {name}")
    found = StepText(name, mark, fields)
    there = [word for word in WORK if word in fields]
    if len(there) == 1:
        found.work = there[0]
    else:
        several = f", not {' and '.join(there)}" if there else ""
        problems.add(mark, f"{name}: a step has one of {', '.join(WORK)}{several}")
    found.depends_on = fields.names("depends_on")
    found.undoes = fields.names("undoes")
    found.when, found.exactly_when = _conditions(fields, problems)
    found.retry = read_retry(fields, problems)
    choice = fields.of_kind("choice", Mapped, "{labels: [small, large]}")
    if choice is not None:
        said = Fields(choice, problems, tuple(Choice.model_fields), "choice")
        labels = tuple(each.text for each in said.names("labels"))
        found.choice = Choice(labels=labels, default=said.read("default", bool, "true", False))
    _check_step(found, problems, inside=inside)
    return found


#: Fields that belong to some steps only: the work, or the field, that they go with.
_ONLY = {
    **dict.fromkeys(("args", "kwargs"), ("task", "child")),
    **dict.fromkeys(("as", "concurrency"), ("foreach",)),
    "undoes": ("task",),
    **dict.fromkeys(("effect", "limit", "breaker"), ACTIONS),
    "result": ("steps",),
    "steps": ("foreach",),
    **dict.fromkeys(("compensate", "queue", "priority", "expires"), ("task", *ACTIONS)),
    **dict.fromkeys(("give_up_after", "retry", "timeout"), ("task", "child", *ACTIONS)),
    "choice": ("task", *ACTIONS),
    "foreach": ("task", "steps", *ACTIONS),
}


def _check_step(step: StepText, problems: Problems, *, inside: bool) -> None:
    for name, needs in _ONLY.items():
        if name in step.fields and not any(each in step.fields for each in needs):
            problems.add(step.fields.mark_of(name), f"{name} belongs to {' or '.join(needs)}")
    if inside and "foreach" in step.fields:
        text = "foreach inside of foreach: make one list in a step"
        problems.add(step.fields.mark_of("foreach"), text)


_OF = ("of", "is", "is_not")
_WHEN = "${steps.check.output}, or {of: ${steps.check.output}, is: small}"


def _conditions(fields: Fields, problems: Problems) -> tuple[list[Condition], bool]:
    tree = fields.tree("when")
    several = isinstance(tree, Listed)
    trees = tree.items if isinstance(tree, Listed) else [tree] if tree is not None else []
    found = [_condition(each, problems) for each in trees]
    return [each for each in found if each is not None], several


def _condition(tree: Tree, problems: Problems) -> Condition | None:
    if isinstance(tree, Scalar):
        step = _asked(tree, problems)
        return Condition(tree.mark, step) if step else None
    if not isinstance(tree, Mapped):
        problems.add(tree.mark, f"when is {_WHEN}")
        return None
    fields = Fields(tree, problems, _OF, "a condition")
    of = fields.of_kind("of", Scalar, "${steps.check.output}")
    wanted = fields.tree("is") or fields.tree("is_not")
    if of is None or wanted is None or ("is" in fields and "is_not" in fields):
        problems.add(tree.mark, f"a condition is {_WHEN}")
        return None
    step = _asked(of, problems)
    return _answered(tree.mark, step, wanted, "is_not" in fields, problems) if step else None


def _answered(
    mark: Mark, step: str, wanted: Tree, but: bool, problems: Problems
) -> Condition | None:
    several = wanted.items if isinstance(wanted, Listed) else [wanted]
    labels = [each for each in several if isinstance(each, Scalar)]
    texts = tuple(each.text for each in labels)
    if len(labels) < len(several) or not labels:
        problems.add(wanted.mark, "an answer is true, false or a text, or a list of texts")
        return None
    if texts in (("true",), ("false",)) and labels[0].plain:
        return Condition(mark, step, None, (texts == ("false",)) is not but)
    return Condition(mark, step, texts, but)


def _asked(scalar: Scalar, problems: Problems) -> str | None:
    """The step that a condition asks."""
    try:
        parts = parts_of(scalar.text)
    except ValueError as error:
        problems.add(scalar.mark, str(error))
        return None
    match parts:
        case [Reference("steps", name, ())]:
            return name
    problems.add(
        scalar.mark,
        "a condition asks a step that returns a bool, and nothing is computed here: "
        f"when: {_WHEN}, not {scalar.text!r}",
    )
    return None
