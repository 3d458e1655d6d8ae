"""The points at which tests let processes die.

Owns: that the table and the calls agree, that nothing but a test can arm them, and what they cost.
Refuses to know: what happens at them.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import time
import timeit
from typing import TYPE_CHECKING

from celeriac import points
from tests.house.sources import ROOT, Module, modules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FREE = 1_000  # ns; ten times what it takes on a slow machine


def _calls() -> Iterator[tuple[str, str]]:
    """Each call of a point in the package: its name, and where it stands."""
    for name, module in modules().items():
        short = name.removeprefix("celeriac.")
        if module.path.name != "points.py" and "reached(" in module.path.read_text(
            encoding="utf-8"
        ):
            yield from _in(module.tree, short, ())


def _in(node: ast.AST, module: str, inside: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and ast.unparse(child.func) == "reached":
            yield ast.literal_eval(child.args[0]), f"{module}:{'.'.join(inside)}"
        if isinstance(child, ast.ClassDef | ast.FunctionDef) and not _is_function(inside):
            yield from _in(child, module, (*inside, child.name))
        else:  # a function in a function is called after the one it stands in
            yield from _in(child, module, inside)


def _is_function(inside: tuple[str, ...]) -> bool:
    return bool(inside) and not inside[-1].lstrip("_")[:1].isupper()


def test_each_point_is_where_the_table_says() -> None:
    """Every point of the table is called exactly once, in the function it names; and no other."""
    called = sorted(_calls())
    assert called == sorted((name, point.where) for name, point in points.POINTS.items())


def test_a_point_says_what_is_so() -> None:
    """Each has a name in two words, and a clause that tells a reader where the run stands."""
    for name, point in points.POINTS.items():
        assert len(name.split(".")) == 2, name
        assert point.what, name
        assert point.what[-1] != ".", name


def test_an_unarmed_point_is_free() -> None:
    """A point that nobody has armed costs a step some ten nanoseconds."""
    assert points._listener is None
    rounds = 100_000
    # What it costs this thread: on a busy machine the rest is spent on others.
    used, call = time.thread_time, lambda: points.reached("step.claimed")
    fastest = min(timeit.repeat(call, timer=used, number=rounds, repeat=5))
    nanoseconds = fastest / rounds * 1e9
    print(f"an unarmed point costs {nanoseconds:.0f} ns")  # noqa: T201 -- the figure, with -s
    assert nanoseconds < _FREE


def test_an_armed_point_tells() -> None:
    """In this checkout a test can arm them, hears name and subject, and can disarm them."""
    heard: list[tuple[str, object]] = []
    points.arm(lambda name, about: heard.append((name, about)))
    try:
        points.reached("step.claimed", "order-42")
    finally:
        points.disarm()
    points.reached("step.claimed", "order-43")
    assert heard == [("step.claimed", "order-42")]


def test_no_setting_arms_them() -> None:
    """The file cannot read an environment or a setting, and nobody in the package arms anything."""
    imports = {each.target for each in modules()["celeriac.points"].imports if not each.typing_only}
    assert imports == {"__future__", "pathlib", "typing"}
    armed = [
        module.label
        for module in modules().values()
        if module.path.name != "points.py" and _arms(module)
    ]
    assert armed == []


def _arms(module: Module) -> bool:
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func) in ("arm", "points.arm")
        for node in ast.walk(module.tree)
    )


def test_points_cannot_be_armed_once_installed(tmp_path: Path) -> None:
    """From the wheel, `arm` refuses, also where the program that asks lies in a checkout."""
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site-packages"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)
    asked = subprocess.run(
        [sys.executable, "-c", "from celeriac import points; points.arm(print)"],
        cwd=ROOT,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 1
    assert str(site) in asked.stderr, "it was not the wheel that was asked"
    assert "RuntimeError: points can be armed in a source checkout only" in asked.stderr
