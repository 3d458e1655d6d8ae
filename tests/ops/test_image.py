"""The image can be made from what its build is given.

Owns: what can be seen of ops/Dockerfile without an engine.  Refuses to know: how it is run.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "ops" / "Dockerfile").read_text()


def copied() -> list[str]:
    """The paths that are copied out of this repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return [word for line in lines for word in line.split()[:-1]]


def test_everything_that_is_copied_is_there() -> None:
    """Each COPY names a file or folder of the repository."""
    assert copied()
    assert [path for path in copied() if not (ROOT / path).exists()] == []


def test_everything_that_is_copied_is_sent_to_the_build() -> None:
    """The .dockerignore lets through what is copied, so the build finds it."""
    lines = (ROOT / ".dockerignore").read_text().split()
    admitted = [line[1:] for line in lines if line.startswith("!")]
    missing = [path for path in copied() if not any(fnmatch.fnmatch(path, a) for a in admitted)]
    assert missing == []


def test_the_package_can_be_built_of_what_is_copied(tmp_path: Path) -> None:
    """The first stage has all that the package is made of."""
    first = DOCKERFILE.split("\nFROM ")[1]
    for line in re.findall(r"^COPY (.+)$", first, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            to = tmp_path / (target if len(sources) == 1 and target != "./" else source)
            to.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, to)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_has_what_its_commands_need() -> None:
    """Tables on a terminal, dashboard, Flower and figures."""
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', DOCKERFILE)
    assert set(extras.split(",")) >= {"cli", "flower", "prometheus", "web"}


def test_the_image_has_a_python_that_the_package_names() -> None:
    """The base image's Python is one of the versions in the package's classifiers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = set(re.findall(r"^FROM python:(\d+\.\d+)", DOCKERFILE, re.MULTILINE))
    assert len(versions) == 1
    assert versions <= {c.rpartition(" ")[2] for c in project["classifiers"]}
