"""The pictures of the dashboard: all of them are there, light enough, and shown.

Owns: that, and what `make pictures` says where it cannot work.  Refuses to know: what is on them.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from docs.take_pictures import FOLDER, MOST_BYTES, PICTURES
from tests.house.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("name", "height"), [(name, height) for name, _, height in PICTURES])
def test_a_picture_is_light_and_shown(name: str, height: int) -> None:
    """README shows each, as large as it is taken now, and it is quick to load."""
    data = (FOLDER / f"{name}.png").read_bytes()
    assert len(data) <= MOST_BYTES
    assert struct.unpack(">I", data[20:24]) == (height,)
    assert f"](docs/pictures/{name}.png)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_there_is_no_other_picture() -> None:
    """One that is not taken any more would show how it was once."""
    assert {path.stem for path in FOLDER.iterdir()} == {name for name, _, _ in PICTURES}


def test_without_chromium_it_says_what_to_install(tmp_path: Path) -> None:
    """No picture is taken, and nothing is started for it."""
    done = subprocess.run(
        [sys.executable, "-m", "docs.take_pictures"],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "apt-get install chromium" in done.stderr
