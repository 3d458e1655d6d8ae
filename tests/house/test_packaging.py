"""What is shipped.

Owns: what the wheel, the source archive and the lock hold.  Refuses to know: what the code does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from typing import TYPE_CHECKING

import pytest

from tests.house.sources import PACKAGE, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def build(target: str, folder: Path) -> Path:
    """Build one archive from this tree, with nothing from outside."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this tree."""
    return zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel")))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """An installation brings `celeriac` with its scripts and types, and pytest's way to its lab."""
    info = f"celeriac-{PROJECT['version']}.dist-info"
    names = {name for name in wheel.namelist() if not name.startswith(f"{info}/")}
    expected = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    demo = {
        f"celeriac/_demo/{path.relative_to(ROOT)}"
        for path in (ROOT / "workflows").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected | demo | {"celeriac_pytest.py"}
    assert {"celeriac/store/commit.lua", "celeriac/py.typed"} <= names


def test_the_wheel_tells_celery_and_the_shell_of_the_commands(wheel: zipfile.ZipFile) -> None:
    """`celery -A app saga` and `celeriac` are there after an installation."""
    entries = ConfigParser()
    info = f"celeriac-{PROJECT['version']}.dist-info"
    entries.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    assert dict(entries["celery.commands"]) == {"saga": "celeriac.terminal.cli:saga"}
    assert dict(entries["pytest11"]) == {"celeriac": "celeriac_pytest"}
    assert dict(entries["console_scripts"]) == {"celeriac": "celeriac.terminal.cli:main"}
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_the_page_of_the_package_has_no_link_that_leads_nowhere(wheel: zipfile.ZipFile) -> None:
    """What PyPI shows is the README, whose links to files are absolute there."""
    info = f"celeriac-{PROJECT['version']}.dist-info"
    metadata = wheel.read(f"{info}/METADATA").decode()
    source = PROJECT["urls"]["Source"]
    assert f"Project-URL: Source, {source}" in metadata
    shown = set(re.findall(r"\]\(([^)]+)\)", metadata))
    written = set(re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {link for link in shown if not link.startswith(("https://", "#"))} == set()
    for link in written - shown:  # those that were relative
        assert {f"{source}/blob/main/{link}", f"{source}/raw/main/{link}"} & shown
        assert (ROOT / link.partition("#")[0]).exists()


def test_the_demo_works_from_the_wheel_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """`celeriac demo` finds the reference saga that was installed with it, not a checkout's."""
    wheel.extractall(tmp_path)  # noqa: S202 -- the wheel of this tree
    code = (
        "import sys\n"
        "from celeriac.terminal.cli import main\n"
        "try: main(['demo', '--help'])\n"
        "finally: print(sys.modules['workflows.demo'].ORDERS)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "usage: celeriac demo" in done.stdout
    orders = tmp_path / "celeriac" / "_demo" / "workflows" / "data" / "orders.jsonl"
    assert done.stdout.splitlines()[-1] == str(orders)
    assert orders.exists()


def test_the_source_archive_can_be_tested(tmp_path: Path) -> None:
    """Whoever packages the project gets the tests, the reference sagas and the lock with it."""
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "LICENSE",
        "Makefile",
        "docker-compose.yml",
        "ops/redis.conf",
        "requirements.lock",
        "tests/house/test_packaging.py",
        "worker/celeriac/store/commit.lua",
    }
    assert wanted - names == set()
    assert not any("__pycache__" in name or name.startswith(".venv") for name in names)


def test_the_lock_names_exact_versions_and_no_place() -> None:
    """Each line is a name and one version: where it comes from is the machine's own business."""
    lines = [line for line in LOCK.splitlines() if line]
    exact = re.compile(r"[a-z0-9-]+==[\w.]+( ; [\w .'<>=!()]+)?")
    assert [line for line in lines if not exact.fullmatch(line)] == []
    assert "://" not in LOCK


def test_the_lock_covers_all_that_is_asked_for() -> None:
    """Every dependency, of the package and of its extras, is in the lock (`make lock`)."""
    extras = PROJECT["optional-dependencies"].values()
    asked = [*PROJECT["dependencies"], *(each for extra in extras for each in extra)]
    names = {re.split(r"[\[<>=~! ]", each)[0].lower() for each in asked}
    assert names - {line.partition("==")[0] for line in LOCK.splitlines()} == set()
