"""What of YAML is not read: whatever makes a small file large, or runs code."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from celeriac import FileInvalid
from celeriac.definitions.templates import Reference, parts_of, written
from tests.definitions.conftest import problems
from tests.definitions.shop import sagas

if TYPE_CHECKING:
    from pathlib import Path

    from tests.definitions.conftest import Read

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def told(path: Path, content: str | bytes) -> str:
    """What is said of a file that is refused."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(FileInvalid) as caught:
        sagas.load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("saga: !!python/object/apply:os.system ['touch pwned']", "tags are not read"),
        ("saga: !ruby/object:Gem {}", "tags are not read"),
        ("saga: !!binary aGVsbG8=", "tags are not read"),
        (BOMB, "aliases are not read"),
        ("saga: &x trip\nsteps: {}", "anchors are not read"),
        ("base: {a: 1}\nsaga: {<<: {a: 1}}", "merges are not read"),
        ("saga: a\nsaga: b\n", "2:1: 'saga' stands here twice, first in line 1"),
        ("saga: a\n---\nsaga: b\n", "a second document"),
        ("%YAML 1.1\n---\nsaga: a\n", "directives"),
        ("? [a, b]\n: c\n", "a key is a text"),
        ("[" * 5000, "nested more than 40 deep"),
        ("steps: [" + "x, " * 30_000 + "]", "values at most"),
        ("#" * 300_000, "bytes long"),
        (b"saga: \xff\xfe", "not UTF-8"),
        ("saga: \x07", "a character that YAML does not allow"),
        ("saga: [a", "trip.yaml:1:9: is not valid YAML"),
        ("saga: {a: 1", "is not valid YAML"),
        ("", "is empty"),
        ("- a\n", "a definition is a mapping"),
        ("just text", "a definition is a mapping"),
    ],
)
def test_what_is_not_read(tmp_path: Path, content: str, words: str) -> None:
    """Each is refused with its place, at once, and nothing happens."""
    file = tmp_path / "trip.yaml"
    assert words in told(file, content)
    assert not os.path.exists("pwned")  # noqa: PTH110


@pytest.mark.parametrize(
    "text",
    [
        "{{ 7 * 7 }}",
        "{% for x in y %}",
        "${7 * 7}",
        "${vars.a + 1}",
        "${vars.a | upper}",
        "${vars.__class__.__mro__}",
        "${env.HOME}",
        "${HOME}",
        "$HOME `id` $(id)",
        "__import__('os').system('id')",
        "${steps.x.input}",
        "${vars.a",
    ],
)
def test_nothing_is_evaluated(read: Read, text: str) -> None:
    """A text is a text, or it is refused; no language is hidden in it."""
    steps = f"""
pay:
  task: tests.definitions.shop.charge
  kwargs: {{amount: "1", note: "{text}"}}
"""
    if "${" in text:
        [(line, column, said)] = problems(read, steps, vars="{a: x}")
        assert (line, column) == (6, 33)
        assert "is no" in said or "has no" in said
    else:
        node = read(steps, vars="{a: x}").planned.plan.nodes[0]
        assert node.args["note"].value == text  # type: ignore[union-attr]


def test_an_expression_can_be_meant_as_a_text(read: Read) -> None:
    """`$${` is a text that begins with `${`, wherever it stands."""
    steps = "pay: {task: tests.definitions.shop.charge, kwargs: {amount: 1, note: 'a$${b}'}}"
    assert read(steps).planned.plan.nodes[0].args["note"].value == "a${b}"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("$$${vars.a}", ["$", Reference("vars", "a")]),
        ("$$$${vars.a}", ["$${vars.a}"]),
        ("$$$$${vars.a}$", ["$$", Reference("vars", "a"), "$"]),
        ("$$ and {$}", ["$$ and {$}"]),
        ("$" * 100_000, ["$" * 100_000]),
    ],
)
def test_two_dollars_before_a_brace_are_one(text: str, parts: list[str | Reference]) -> None:
    """A price can stand before an expression, and is written as it is read."""
    assert parts_of(text) == parts
    assert written(parts) == text


def test_without_the_extra_it_says_what_to_install() -> None:
    """PyYAML is asked for by name, and only by who reads a file."""
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from celery import Celery; from celeriac import Sagas, ConfigurationError\n"
        "import tempfile, pathlib\n"
        "file = pathlib.Path(tempfile.mkdtemp()) / 'a.yaml'; file.write_text('saga: a')\n"
        "try: Sagas(Celery('x')).load(file)\n"
        "except ConfigurationError as error: print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "install celeriac[yaml]" in ended.stdout
