"""The tree of errors, as drawn and as it is.

Owns: that the drawing in `errors.py` is the hierarchy of classes, and that the words for programs
are all documented.  Refuses to know: when they are raised.
"""

from __future__ import annotations

import ast
import inspect
import re

from celeriac import errors
from tests.house.sources import modules


def drawn() -> dict[str, str | None]:
    """Each class in the drawing, with the one it hangs from."""
    found: dict[str, str | None] = {}
    above: list[str] = []
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        match = re.match(r"^    ((?:[│ ]   )*)((?:[├└]── )?)([A-Z]\w+)", line)
        if match:
            depth = len(match[1]) // 4 + bool(match[2])
            above = [*above[:depth], match[3]]
            found[match[3]] = above[depth - 1] if depth else None
    return found


def defined() -> dict[str, str | None]:
    """Each class in the module, with the error it is a kind of."""
    return {
        name: None if kind is errors.SagaError else kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.SagaError)
    }


def test_the_drawing_is_the_tree() -> None:
    """A reader of the drawing knows every error, and what catches it."""
    assert drawn() == defined()


def test_every_error_has_a_code_of_its_own() -> None:
    """A program can tell errors apart by `code`; an abort's is given by whoever raises it."""
    codes = {
        name: kind.code
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.SagaError) and kind is not errors.Abort
    }
    assert len(set(codes.values())) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes.values())


def test_every_reason_of_a_refusal_is_documented() -> None:
    """A program that looks at `reason` finds each word in the docs, and none that is never used."""
    used = {
        str(call.args[0].value)
        for module in modules().values()
        for call in ast.walk(module.tree)
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant)
        if ast.unparse(call.func) in ("CommandRefused", "draft.refuse")
    }
    told = re.findall(r"`(\w+)`", inspect.getdoc(errors.CommandRefused) or "")
    assert used == set(told) - {"reason", "do", "undo"}
