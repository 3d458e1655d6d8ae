"""What must happen sometimes, said on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.proof.sometimes import KINDS, main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_never_came_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the kinds that are missing; with all of them it passes."""
    notes = tmp_path / "notes"
    lines = [json.dumps({"kind": kind, "count": 2, "test": "t"}) for kind in KINDS]
    notes.write_text("\n".join(lines[:-1]))
    assert main([str(notes)]) == 1
    assert f"never came to: {KINDS[-1]}" in capsys.readouterr().out
    notes.write_text("\n".join(lines))
    assert main([str(notes)]) == 0
    assert f"{KINDS[0]} 2" in capsys.readouterr().out


def test_without_notes_nothing_came(tmp_path: Path) -> None:
    """A dead system must not pass."""
    assert main([str(tmp_path / "nosuch")]) == 1
