"""What must not be in any file.

Owns: the patterns.  Refuses to know: how it could have got there.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.house.sources import ROOT

# Written in pieces, so that this file is as clean as the others.
PLACES = {
    "a folder of somebody's machine": r"(?<![\w.~-])/(?:work|root|home|Users)/",
    "a package registry": "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("deb", "debian", "org"),
            ("security", "debian", "org"),
        )
    ),
}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Every text file that is or will be tracked, by its path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607  # PATH's
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is no checkout: only git knows which files are tracked")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    readable = {path: path.read_bytes() for path in paths if path.is_file()}
    return {
        path.relative_to(ROOT).as_posix(): data.decode()
        for path, data in readable.items()
        if b"\0" not in data
    }


@pytest.mark.parametrize("what", PLACES)
def test_no_file_names(what: str, texts: dict[str, str]) -> None:
    """The project works anywhere, so no file says where it was made."""
    assert texts
    pattern = re.compile(PLACES[what])
    found = [
        f"{name}:{number}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_text_files_end_as_text_files_do(texts: dict[str, str]) -> None:
    """Files end with a newline and have no trailing blanks or carriage returns."""
    ends = re.compile(r"[ \t\r]$", re.MULTILINE)
    untidy = [
        name
        for name, text in texts.items()
        if text and (not text.endswith("\n") or ends.search(text))
    ]
    assert untidy == []
