"""`saga define`, and everything that takes a file or what was kept of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from celeriac import DefinitionConflict, DefinitionNotFound
from tests.terminal import shop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.terminal.conftest import Cli

TRIP = """\
saga: trip
version: 1
vars:
  region: eu
  seats: {{type: integer}}
  at: {{type: time, default: 08:30}}
steps:
  book:
    task: tests.terminal.shop.{task}
    kwargs: {kwargs}
result: ${{steps.book.output}}
"""


@pytest.fixture
def trip(tmp_path: Path) -> Path:
    """A file that is right."""
    file = tmp_path / "trip.yaml"
    file.write_text(TRIP.format(task="reserve", kwargs='{order: {sku: "${vars.region}"}}'))
    return file


def test_a_definition_is_kept_and_started(cli: Cli, trip: Path) -> None:
    """By name, or by name and version; its variables are read by their types."""
    ended = cli("define", str(trip))
    assert ended.code == 0
    assert ended.out.startswith("trip@1: is kept, 1 step (")
    assert cli("define", str(trip)).code == 0  # the same again is nothing new
    assert cli("definitions").lines == ["trip@1"]
    words = ("--var", "seats=3", "--var", "region=NO", "--id", "t-1")
    assert cli("start", "trip", *words).lines == ["t-1: accepted", "t-1: running"]
    found = shop.sagas.runtime.engine.store.read("t-1", ("in:region", "in:seats", "in:at")).fields
    assert dict(found) == {"in:region": '"NO"', "in:seats": "3", "in:at": '"08:30:00"'}
    assert cli("start", "trip@1", "--var", "seats=4", "--id", "t-2").code == 0
    assert cli("start", "trip@2", "--var", "seats=4").code == 3
    assert shop.sagas.run("t-1").state().saga == "trip"


def test_a_version_never_changes(cli: Cli, trip: Path) -> None:
    """Another content needs another version; what is kept stays as it is."""
    assert cli("define", str(trip)).code == 0
    text = trip.read_text()
    trip.write_text(text.replace("region: eu", "region: us"))
    ended = cli("define", str(trip))
    assert ended.code == 4
    assert "version: 2" in ended.err
    with pytest.raises(DefinitionConflict):
        shop.sagas.define(trip)
    trip.write_text(text.replace("version: 1", "version: 2"))
    assert cli("define", str(trip)).code == 0
    assert cli("definitions").lines == ["trip@2", "trip@1"]
    newest = json.loads(cli("definitions", "-o", "jsonl").lines[0])
    assert newest == {"saga": "trip", "version": 2, "text": trip.read_text()}
    assert shop.sagas.definition("trip").planned.plan.version == 2
    assert shop.sagas.definition("trip", 1).planned.plan.version == 1
    with pytest.raises(DefinitionNotFound, match="there are 2, 1"):
        shop.sagas.definition("trip", 3)


def test_a_file_is_started_as_it_is(cli: Cli, trip: Path) -> None:
    """`start --file` keeps nothing but the run, which has its plan with it."""
    assert cli("start", "--file", str(trip), "--var", "seats=3", "--id", "t-1").code == 0
    assert cli("definitions").lines == []
    assert "book" in cli("show", "t-1").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--var", "seats=many"), 2, "input 'seats' of trip should be int, not many"),
        (("--var", "seat=3"), 2, "seat"),
        ((), 2, "seats"),
        (("--var", "seats"), 2, "give name=value"),
        (("--var", "seats=3", "--input", "{}"), 2, "not both"),
        (("trip", "--var", "seats=3"), 2, "which SAGA?"),
    ],
)
def test_what_is_not_started(
    cli: Cli, trip: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    """Wrong variables are told before anything is written."""
    ended = cli("start", "--file", str(trip), *words)
    assert ended.code == code
    assert said in ended.err


def test_check_tells_all_that_is_wrong(cli: Cli, trip: Path) -> None:
    """A line for each mistake, with its place; nothing is kept."""
    assert cli("define", "--check", str(trip)).out.startswith("trip@1: is right, 1 step (")
    trip.write_text(TRIP.format(task="reserv", kwargs='{order: "${vars.regio}"}'))
    ended = cli("define", "--check", str(trip))
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert [line.removeprefix(str(trip)).partition(" ")[0] for line in lines] == [
        ":9:11:",
        ":10:21:",
    ]
    assert "did you mean tests.terminal.shop.reserve?" in lines[0]
    assert cli("define", str(trip)).code == 2
    assert cli("definitions").lines == []
    assert cli("define", "nowhere.yaml").code == 2


def test_files_and_sagas_are_drawn_and_written(cli: Cli, trip: Path) -> None:
    """`graph` draws a file; `definitions SAGA` writes one, also of a saga in Python."""
    assert "book" in cli("graph", str(trip)).out
    ended = cli("definitions", "place_order")
    assert ended.code == 0
    again = trip.with_name("again.yaml")
    again.write_text(ended.out.replace("saga: place_order", "saga: as_file"))
    assert cli("define", "--check", str(again)).code == 0
    assert cli("definitions", "nobody").code == 3
    assert cli("graph", "nobody").code == 3
