"""What is stored is text, and comes out as text: it is never run, filled in, or obeyed (X4).

Owns: the package's source searched for what evaluates, and texts that would do something in some
language, shown everywhere.  Refuses to know: how each place escapes.
"""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import sys
from typing import TYPE_CHECKING

import pytest

from celeriac.machine.commands import Cancel
from celeriac.observing.observers import log
from celeriac.terminal.printing import Printer
from celeriac.views.drawing import draw
from celeriac.views.graph import graph_of
from tests.engine.driver import Shop
from tests.house.sources import PACKAGE, Module, modules
from tests.machine.story import saga, step

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = modules()
# What only runs in the tests of a developer writes programs, and reads nothing that is stored.
SERVING = {name: module for name, module in MODULES.items() if ".testing" not in name}

EVALUATES = {"eval", "exec", "compile", "__import__", "execfile"}
UNPACKS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "jinja2", "mako"}
TEMPLATES = {"Template", "Formatter", "Environment", "Markup"}
# Pages are filled in from the package's own files, escaped; and an error is asked whether it can be
# pickled: nothing is read back.  Of YAML only events are read: nothing is resolved or constructed.
EXCUSED = {
    "celeriac.web.rendering": {"jinja2", "Environment", "Markup"},
    "celeriac.web.charts": {"Markup"},  # of constants, filled in escaped
    "celeriac.web.marks": {"Markup"},  # the same
    "celeriac.failure": {"pickle"},
    "celeriac.definitions.trees": {"yaml"},
}
LOGS = {"debug", "info", "warning", "error", "exception", "critical", "log"}

each_module = pytest.mark.parametrize("module", MODULES.values(), ids=lambda module: module.name)


def calls(module: Module) -> Iterator[ast.Call]:
    """Every call in a file."""
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    """The name that is called: `eval`, or `format` of `text.format(…)`."""
    called = call.func
    return called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")


@each_module
def test_nothing_is_evaluated(module: Module) -> None:
    """No file of the package runs text, or reads a form that can hold more than values."""
    excused = EXCUSED.get(module.name, set())
    run = [
        f"{module.label}:{call.lineno} {name_of(call)}"
        for call in calls(module)
        if isinstance(call.func, ast.Name) and name_of(call) in (EVALUATES | TEMPLATES) - excused
    ]
    assert run == []
    imported = {found.target.partition(".")[0] for found in module.imports}
    assert imported & UNPACKS <= excused


def test_what_is_excused_reads_nothing_back() -> None:
    """Pages come from files of the package, escaped; a pickle is made and never read."""
    text = {name: MODULES[name].path.read_text("utf-8") for name in EXCUSED}
    assert "loader=PackageLoader(" in text["celeriac.web.rendering"]
    assert "autoescape=True" in text["celeriac.web.rendering"]
    assert set(re.findall(r"pickle\.\w+", text["celeriac.failure"])) == {"pickle.dumps"}


@pytest.mark.parametrize("module", SERVING.values(), ids=lambda module: module.name)
def test_no_stored_text_is_a_format(module: Module) -> None:
    """What is filled in or logged is a text of this code: a stored one may hold `{0.__class__}`."""
    wrong = []
    for call in calls(module):
        name, called = name_of(call), call.func
        if name in ("format", "format_map") and isinstance(called, ast.Attribute):
            if not _is_constant(called.value) and ast.unparse(called.value) != "self":
                wrong.append(f"{module.label}:{call.lineno} {ast.unparse(call)[:60]}")
        elif name in LOGS and ast.unparse(called).split(".")[0] in ("log", "_log", "logger"):
            text = call.args[1 if name == "log" else 0]
            if not isinstance(text, ast.Constant):
                wrong.append(f"{module.label}:{call.lineno} {ast.unparse(call)[:60]}")
    assert wrong == []


def _is_constant(text: ast.expr) -> bool:
    """True of a text of this code, also as one of a page (`Markup("<g>{}</g>")`)."""
    if isinstance(text, ast.Call) and ast.unparse(text.func) == "Markup":
        return all(isinstance(each, ast.Constant) for each in text.args)
    return isinstance(text, ast.Constant)


def test_scripts_build_no_code() -> None:
    """What runs inside Redis decodes nothing and loads nothing."""
    scripts = sorted(PACKAGE.rglob("*.lua"))
    assert scripts
    for script in scripts:
        code = re.sub(r"--.*", "", script.read_text(encoding="utf-8"))
        assert not re.search(r"\b(load|loadstring|dofile|setfenv|cjson|cmsgpack|struct)\b", code)


# --- texts that would do something somewhere ---------------------------------------------------

EVIL = (
    "{{7*7}}",
    "{0.__class__}",
    "%s%(name)s%n",
    "${7*7}",
    "[red]x[/red]",
    "[link=file:///etc]x",
    "\x1b[31mred\x1b]0;title\x07",
    "<script>alert(1)</script>",
    'x"]; click A "javascript:alert(1)"',
    "redis.call('FLUSHALL')",
    "two\nlines\r\u2028\u202e",
    "!!python/object/apply:os.abort []",
)
each_evil = pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))


def shop_of(evil: str) -> Shop:
    """A run in which every name is *evil*: more than is accepted from anybody."""
    shop = Shop(saga(step(evil), saga=evil))
    shop.start(evil)
    shop.engine.command(evil, Cancel(evil, evil))
    return shop


@each_evil
def test_logs_and_drawings_show_text(evil: str, caplog: pytest.LogCaptureFixture) -> None:
    """A log line stays one line of text, and a drawing holds no code of its language."""
    caplog.set_level(logging.DEBUG, log.name)
    shop = shop_of(evil)
    assert caplog.records
    for record in caplog.records:
        line = record.getMessage()
        assert line.isprintable()
        assert "49" not in line
    graph = graph_of(shop.plan, shop.run(evil))
    for how in ("ascii", "mermaid", "svg"):
        picture = draw(graph, how)
        assert "".join(picture.splitlines()).isprintable()
        assert "<script>" not in picture or how == "ascii"
        assert not re.search(r"^\s*click ", picture, re.MULTILINE)
        assert '"javascript' not in picture.replace('\\"', "") or how == "ascii"


@each_evil
def test_tables_show_text(
    evil: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal, Rich's markup and control characters are shown, not obeyed."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "400")
    Printer(colour=False)._table(("id", "what"), [(evil, evil)])
    shown = capsys.readouterr().out
    assert "".join(shown.splitlines()).isprintable()
    visible = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in evil)
    assert shown.count(visible) == 2


@each_evil
def test_programs_get_json(evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In JSON a stored text is a string, and nothing of it reaches a terminal raw."""
    Printer(form="json")._document({"id": evil})
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert json.load(io.StringIO(shown)) == {"id": evil}
