"""That type checkers find wrong wiring, and find nothing wrong with right wiring.

Owns: running them over the samples of this folder.  Refuses to know: the wording of errors.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SAMPLES = ("right.py", "wrong.py")

Found = set[tuple[str, int]]  # file and line


def run(*command: str, cwd: Path) -> str:
    """What a checker says; its exit status tells only that it found something."""
    environment = {**os.environ, "MYPYPATH": str(ROOT / "worker")}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy(folder: Path) -> Found:
    """Where mypy finds errors."""
    files = [str(folder / name) for name in SAMPLES]
    # From the root: what the gate's own run has learned about Pydantic and us is used again.
    said = run("mypy", "--no-error-summary", "--follow-imports=silent", *files, cwd=ROOT)
    places = re.findall(r"^(.+?\.py):(\d+): error:", said, re.MULTILINE)
    return {(Path(name).name, int(line)) for name, line in places}


def pyright(folder: Path) -> Found:
    """Where pyright finds errors."""
    settings = {"extraPaths": [str(ROOT / "worker")], "typeCheckingMode": "standard"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    said = run("pyright", "--outputjson", "--pythonpath", sys.executable, cwd=folder)
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in json.loads(said)["generalDiagnostics"]
        if each["severity"] == "error"
    }


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_exactly_the_marked_lines_are_errors(
    checker: Callable[[Path], Found], tmp_path: Path
) -> None:
    """A wrong argument, field or option is found where it is written, and nothing else is."""
    marked: Found = set()
    for name in SAMPLES:
        lines = (HERE / name).read_text(encoding="utf-8").splitlines()
        bare = ["" if re.match(r"# (mypy|pyright): ", line) else line for line in lines]
        (tmp_path / name).write_text("\n".join(bare) + "\n", encoding="utf-8")
        marked |= {(name, n) for n, line in enumerate(lines, 1) if line.endswith("# expect-error")}
    assert len(marked) >= 15
    assert checker(tmp_path) == marked
