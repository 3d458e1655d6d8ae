"""Groups in files: the plan that Python would have made, what is wrong with them, and a run."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import Flow, Route, Sagas
from celeriac.testing import Lab
from tests.definitions.conftest import problems

if TYPE_CHECKING:
    from pathlib import Path

    from celeriac import Saga

TEXT = """\
saga: order
vars: {quantity: {type: integer}}
groups:
  entry:
    look: {task: shop.look, kwargs: {quantity: "${vars.quantity}"}}
    note: {task: shop.note, kwargs: {text: "${steps.look.output}"}}
  manual:
    ask: {task: shop.note, kwargs: {text: "${steps.note.output}"}}
    say: {task: shop.note, kwargs: {text: at hand}, depends_on: [ask]}
result: {noted: "${steps.note.output}", asked: "${steps.ask.output}"}
"""

sagas = Sagas(Celery("grouped", broker="memory://", set_as_current=False))


@sagas.step(name="shop.look", routes=("manual",))
def look(quantity: int) -> str:
    """Look."""
    if quantity > 1:
        raise Route("manual")
    return str(Decimal(quantity))


@sagas.step(name="shop.note")
def note(text: str | None) -> str:
    """Note."""
    return f"noted {text}"


@sagas.saga
def in_python(flow: Flow, quantity: int) -> dict[str, str | None]:
    """The same."""
    with flow.group("entry"):
        noted = flow.step(note, flow.step(look, quantity))
    with flow.group("manual"):
        asked = flow.options(name="ask").step(note, noted)
        flow.options(name="say").step(note, "at hand")
    return {"noted": noted, "asked": asked}


def read(folder: Path, text: str) -> Saga[Any, Any]:
    """What a file with this text is read as."""
    file = folder / "order.yaml"
    file.write_text(text)
    return sagas.from_file(file)


def test_it_is_the_plan_of_python(tmp_path: Path) -> None:
    """Its steps are in groups, and what one gives another may be None."""
    found, plan = read(tmp_path, TEXT), in_python.planned.plan
    assert (found.planned.plan.nodes, found.planned.plan.result) == (plan.nodes, plan.result)
    assert "groups:\n  entry:\n    look:\n      task: shop.look\n" in found.as_yaml()


@pytest.mark.parametrize(
    ("quantity", "noted", "asked"), [(1, "noted 1", None), (2, None, "noted None")]
)
def test_a_run_goes_from_group_to_group(
    tmp_path: Path, quantity: int, noted: str | None, asked: str | None
) -> None:
    """As its steps say."""
    lab = Lab()
    run = lab.start(read(tmp_path, TEXT), quantity=quantity)
    assert run.result(timeout=60) == {"noted": noted, "asked": asked}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  manual:", "  manul:", (5, 5, "there is no group 'manual': the saga has 'entry', 'man")),
        ("[ask]", "[note]", (9, 53, "note is of group 'entry', and no step waits for one of an")),
        ("  manual:", "  a b:", (7, 3, "group a name")),
        ("    ask:", "    note:", (8, 5, "'note' is a step of group 'entry' already")),
        (
            "{text: at hand}",
            '{text: "${steps.ask.output}"}, undoes: [note]',
            (9, 76, "there is no step 'note'"),
        ),
        (
            "steps.look.output",
            "steps.ask.output",
            (6, 44, "ask is a step of group 'manual', which is written behind this one"),
        ),
        ("[ask]", "[asc]", (9, 66, "there is no step 'asc': did you mean ask?")),
        ("result", "steps: {}\nresult", (10, 1, "a saga has steps or groups")),
        ("result", "two_phase: [note, ask]\nresult", (10, 1, "in groups entry and manual")),
        ("result", "two_phase: [nota]\nresult", (10, 13, "there is no step 'nota'")),
    ],
)
def test_what_is_wrong_with_groups(
    tmp_path: Path, old: str, new: str, told: tuple[int, int, str]
) -> None:
    """It is told with its place."""
    found = problems(read, tmp_path, TEXT.replace(old, new, 1))
    line, column, words = told
    assert [words for at, begin, text in found if (at, begin) == (line, column) and words in text]


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ("{}", "has no groups"),
        ("[a]", "groups is a mapping, such as"),
        ("{a: {}}", "group 'a' has no steps"),
        ("{a: [x]}", "group 'a' has no steps"),
        ("{a: {b: {task: shop.nota, args: [x]}}}", "there is no task 'shop.nota'"),
        ("{a: {b: {sleep: 1s}}}", "has no steps"),
    ],
)
def test_a_group_has_steps(tmp_path: Path, groups: str, told: str) -> None:
    """Each of them; what is wrong with one is all that is told."""
    ((_, _, text),) = problems(read, tmp_path, f"saga: a\ngroups: {groups}\n")
    assert told in text


def test_a_condition_asks_a_step_of_its_group(tmp_path: Path) -> None:
    """What was answered in another one may be of another visit."""
    text = """\
saga: a
groups:
  one: {look: {task: shop.note, kwargs: {text: x}, choice: {labels: [a, b]}}}
  two: {then: {task: shop.note, kwargs: {text: x}, when: {of: "${steps.look.output}", is: a}}}
"""
    ((line, _, told),) = problems(read, tmp_path, text)
    assert line == 4, told
    assert "answers in group 'one'" in told
