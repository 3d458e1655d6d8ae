"""What a user's editor knows of the public names.

Owns: that pyright knows the type of each.  Refuses to know: whether wrong wiring is found, which
is for the samples in tests/typing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import celeriac
from tests.house.sources import PACKAGE, ROOT

OPTIONS = ("--ignoreexternal", "--outputjson")
# Not a blank: the type is inferred where it is assigned, or some part of a part of it is.
INFERRED = ("could be inferred differently", "partially unknown")


@pytest.fixture(scope="module")
def symbols() -> list[dict[str, Any]]:
    """Every public class and function and its public members, as pyright sees the package."""
    asked = subprocess.run(
        [sys.executable, "-m", "pyright", "--verifytypes", "celeriac", *OPTIONS],
        cwd=ROOT,
        env=os.environ
        | {
            # An editable installation is not found by this check; a folder on the path is.
            "PYTHONPATH": str(PACKAGE.parent),
            # It looks for what is installed beside the first `python`: a machine may have none.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(asked.stdout)["typeCompleteness"]
    things = [getattr(celeriac, name) for name in celeriac.__all__]
    # Signals are Celery's, which has no types.
    named = {
        part
        for each in things
        if hasattr(each, "__name__")
        for part in (each.__mro__ if isinstance(each, type) else [each])
        if part.__module__.startswith("celeriac")
    }
    names = {f"{each.__module__}.{each.__name__}" for each in named}
    return [
        symbol
        for symbol in told["symbols"]
        if symbol["name"] in names or symbol["name"].rpartition(".")[0] in names
    ]


def test_every_public_type_is_known(symbols: list[dict[str, Any]]) -> None:
    """No parameter, result or attribute of a public name is a blank in the user's editor."""
    assert {f"celeriac.errors.{kind}" for kind in ("Abort", "SagaError")} <= {
        symbol["name"] for symbol in symbols
    }
    blanks = [
        f"{symbol['name']}: {each['message']}"
        for symbol in symbols
        for each in symbol["diagnostics"]
        if not any(inferred in each["message"] for inferred in INFERRED)
    ]
    assert blanks == []
