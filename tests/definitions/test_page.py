"""The files in `docs/definitions.md` are right, and say what the page says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import FileInvalid
from celeriac.testing import Lab
from tests.house.examples import BLOCK
from tests.house.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "definitions.md").read_text()
FILES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def travel() -> dict[str, Any]:
    """The module that the page writes."""
    code = "".join(match["text"] for match in BLOCK.finditer(PAGE) if match["name"] == "travel")
    space: dict[str, Any] = {"__name__": "travel_of_the_page"}
    exec(compile(code.replace("from __future__", "#"), "definitions.md", "exec"), space)  # noqa: S102
    return space


def test_the_trip_is_booked(travel: dict[str, Any], tmp_path: Path) -> None:
    """The first file is loaded and runs."""
    file = tmp_path / "trip.yaml"
    file.write_text(FILES[0])
    assert travel["load"](file) == "book_trip"
    lab = Lab()
    run = lab.start(travel["sagas"].defined["book_trip"], nights=4)
    lab.run()
    assert run.result() == ["ann: see you in Berlin", "bob: see you in Berlin"]
    assert run.state().step("ask_bank").status == "completed"


def test_the_other_files_are_right(travel: dict[str, Any], tmp_path: Path) -> None:
    """Nothing is wrong with any of them."""
    for number, text in enumerate(FILES[1:]):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert travel["sagas"].from_file(file).planned.plan.nodes


def test_mistakes_look_as_on_the_page(travel: dict[str, Any], tmp_path: Path) -> None:
    """The messages are those that are printed."""
    file = tmp_path / "trip.yaml"
    text = FILES[0].replace("task: travel.reserve", "task: travel.reserv", 1)
    file.write_text(text.replace("${vars.nights}", "${vars.night}").replace("book_trip", "other"))
    with pytest.raises(FileInvalid) as caught:
        travel["sagas"].load(file)
    told = [f"trip.yaml:{each.line}:{each.column}: {each.text}" for each in caught.value.problems]
    assert "\n".join(told) in PAGE
