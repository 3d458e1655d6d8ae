"""What happens to a run, as a browser hears it: over a real connection.

Owns: which events a stream has, going on after a break, and how many readers there are.  Refuses to
know: what a page does with them.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from celeriac import StoreUnavailable
from celeriac.store import Change, payloads
from celeriac.web.run_watch import _MOST
from tests.web import shop
from tests.web.streams import PATIENCE, listening

if TYPE_CHECKING:
    from celeriac.store.memory import MemoryStore


def test_what_happens_is_told_as_the_history_tells_it(address: str) -> None:
    """The number is the id, the data what `/history` has; two listeners hear the same."""
    shop.running("o-1")
    with listening(address, "o-1") as one, listening(address, "o-1", "?after=0") as two:
        begun = one.next()
        assert (begun["event"], begun["id"]) == ("watching", "2")
        assert [two.next()["id"] for _ in range(2)] == ["1", "2"]
        shop.sagas.run("o-1").pause("lunch", by="ada")
        for stream in (one, two):
            told = stream.next()
            assert (told["event"], told["id"]) == ("event", "3")
            document: Any = json.loads(told["data"])
            listed = httpx2.get(f"{address}/api/runs/o-1/history").json()["events"]
            assert document == listed[2]


def test_whoever_was_cut_off_goes_on_where_it_was(address: str) -> None:
    """`Last-Event-ID` counts before `after`: a browser sends it by itself."""
    shop.completed("o-1")
    events = len(shop.sagas.run("o-1").history())
    with listening(address, "o-1", "?after=0", Last_Event_ID="3") as stream:
        found = [stream.next()["id"] for _ in range(events - 3)]
    assert found == [str(number) for number in range(4, events + 1)]


@pytest.mark.parametrize("seen", ["0", "9999"])
def test_whoever_missed_too_much_looks_again(address: str, seen: str) -> None:
    """So does whoever has seen what is not there: the store was restored from a backup."""
    shop.ping.start(id="o-1")
    for _ in range(_MOST // 2 + 1):
        shop.sagas.run("o-1").pause()
        shop.sagas.run("o-1").resume()
    with listening(address, "o-1", Last_Event_ID=seen) as stream:
        assert stream.next()["event"] == "reload"
        shop.sagas.run("o-1").pause()
        assert stream.next()["event"] == "event"


def test_a_run_that_is_removed_ends_the_stream(address: str, store: MemoryStore) -> None:
    """Its page is told that it is gone."""
    shop.completed("o-1")
    with listening(address, "o-1") as stream:
        assert stream.next()["event"] == "watching"
        del store._records["o-1"]
        assert stream.next()["event"] == "gone"


def test_one_reader_is_enough_and_outlives_an_outage(
    address: str, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many look, the store is asked once for all; when it is back, all go on."""
    for number in range(3):
        shop.ping.start(id=f"o-{number}")
    asked: list[set[str]] = []
    down = threading.Event()
    waited = threading.Event()
    read_all = store.read_all

    def counted(wanted: Any) -> Any:
        asked.append(set(wanted))
        if down.is_set():
            waited.set()
            raise StoreUnavailable("away")
        return read_all(wanted)

    monkeypatch.setattr(store, "read_all", counted)
    with listening(address, "o-0") as one, listening(address, "o-1") as two:
        assert [each.next()["event"] for each in (one, two)] == ["watching"] * 2
        down.set()
        assert waited.wait(PATIENCE)
        shop.sagas.run("o-0").pause()
        shop.sagas.run("o-1").pause()
        down.clear()
        assert [each.next()["id"] for each in (one, two)] == ["2", "2"]
    assert {"o-0", "o-1"} in asked


def test_a_stream_that_is_refused_is_a_problem(address: str) -> None:
    """Before it begins, a stream is answered like everything else."""
    shop.ping.start(id="o-1")
    found = httpx2.get(f"{address}/api/runs/o-1/events?after=here")
    assert (found.status_code, found.json()["code"]) == (422, "input_invalid")


def test_how_far_a_step_is_told_without_an_event(address: str) -> None:
    """The newest alone, without a number; the run itself has it too, and its history does not."""
    shop.running("o-1")
    with listening(address, "o-1") as stream:
        assert stream.next()["event"] == "watching"
        store = shop.sagas.runtime.engine.store
        found = store.read("o-1")
        assert found.run is not None
        fields = {payloads.progress_field("reserve", "do"): json.dumps([1, 3, 10, "<pens>"])}
        assert store.commit(Change(found.run, found.run, (), 1, fields=fields))
        told = stream.next()
        assert (told["event"], "id" in told) == ("progress", False)
        said = {"done": 3, "total": 10, "text": "<pens>"}
        assert json.loads(told["data"]) == {"reserve": said}
    document = httpx2.get(f"{address}/api/runs/o-1").json()
    assert [step["progress"] for step in document["steps"]] == [said, None]
    assert len(httpx2.get(f"{address}/api/runs/o-1/history").json()["events"]) == 2
    page = httpx2.get(f"{address}/runs/o-1").text
    assert "3 of 10 &lt;pens&gt;" in page
    assert '<progress max="10.0" value="3.0"' in page
