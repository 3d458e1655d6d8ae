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


def test_nothing_is_told_at_length(tmp_path: Path) -> None:
    """What is wrong is named, and not repeated: a file may be large."""
    assert len(told(tmp_path / "a.yaml", f"saga: a\nsteps: {{}}\n{'x' * 190}: {'y' * 9_000}")) < 900
    kinds = f"vars: {{b: {{type: {'list[' * 2_000}any}}}}"
    assert len(told(tmp_path / "b.yaml", f"saga: b\nsteps: {{a: 1}}\n{kinds}")) < 1_500


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
        ("saga: a\nsteps: {b: \x07}", "2:12: holds a character that YAML does not allow"),
        ("saga: a # b\u2028steps: {}", "1:12: holds '\\u2028', a line break that editors do not"),
        ("saga: a # b\x85steps: {}", "1:12: holds '\\x85', a line break"),
        ("saga: a\r\n# b\rsteps: {}", "2:4: holds '\\r', a line break"),
        (f"saga: a\nvars: {{b: {'9' * 5_000}}}", "2:11: the default of b is a number of 5000"),
        (f"saga: a\nvars: {{b: {{type: any, default: {'9' * 500}}}}}", "is a number of 500"),
        ("saga: a\nvars: {b: [1e999]}", "is 1e999, which is more than a number can be"),
        ("saga: a\ndeadline: 1_000", "2:11: deadline is a duration"),
        ("saga: a\ndeadline: \u0663", "2:11: deadline is a duration"),
        (f"saga: a\nversion: {2**53 + 1}", "version is a whole number up to"),
        (f'saga: a\nvars: {{b: {{type: "{"list[" * 999}any{"]" * 999}"}}}}', "is no type"),
        ("saga: a\nvars: {self: {type: any}}", "already means something else"),
        ("saga: a\nsteps: {}\n" + "".join(f"x{n}: 1\n" for n in range(999)), "900 more are wrong"),
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


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("'${vars.a}': 1", "7:12: '${vars.a}': a key holds no value of a run"),
        ("b: {'x ${vars.a}': 1}", "7:16: 'x ${vars.a}': a key holds no value of a run"),
        ("'${vars.a': 1", "7:12: '${vars.a' has no end"),
        (f"b: '${{vars.a{'.x' * 41}}}'", "a place is 40 deep inside of a value at most"),
    ],
)
def test_a_key_is_a_constant(read: Read, given: str, told: str) -> None:
    """What looks like a value there would stay as it is, without a word."""
    steps = f"pay:\n  task: post.mail\n  args:\n  - {{{given}}}"
    found = [f"{each[0]}:{each[1]}: {each[2]}" for each in problems(read, steps, vars="{a: x}")]
    assert told.partition(": ")[2] in "\n".join(found), found


def test_a_key_can_be_meant_as_a_text(read: Read) -> None:
    """As a value can, and it is written so."""
    saga = read("pay: {task: post.mail, args: [{'$${a}': 1, '$$either': 2, '$a': 3}]}")
    value = {"${a}": 1, "$either": 2, "$a": 3}
    assert saga.planned.plan.nodes[0].args["to"].value == value  # type: ignore[union-attr]
    assert "$${a}" in saga.as_yaml()


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
