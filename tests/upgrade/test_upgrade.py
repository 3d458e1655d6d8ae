"""Runs that an older version has left in Redis, in the hands of this one.

Owns: that each is shown as it was, that each comes to the end it should, and that its steps are
given what the older version has kept for them.  Refuses to know: how anything is kept.

The files in `fixtures` are loaded as they are, so all times are in the past: leases and delays are
over.  Deadlines and retentions of 100 years keep runs from being turned round or removed before
anybody looks; those of `late`, `overdue` and `brief` have passed, and that is what they are for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from celeriac import RunConflict, RunNotFound
from tests.redis_server import RedisServer
from tests.upgrade.keys import dump, load
from tests.upgrade.processes import Processes
from tests.upgrade.runs import AT_REST, BRIEF, BY_ID, EVERY, LEFT, VIP, Left
from tests.upgrade.shop import calls

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = sorted(file.stem.partition("-")[2] for file in FIXTURES.glob("redis-*.jsonl"))
CONF = {"saga_lease": 2.0, "saga_sweep_interval": 0.2}

each_run = pytest.mark.parametrize("left", EVERY, ids=lambda left: left.id)
each_end = pytest.mark.parametrize("left", LEFT, ids=lambda left: left.id)


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The version that has left the runs."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for all of these, each of which has a database of its own."""
    with RedisServer(tmp_path_factory.mktemp("redis"), options={"appendfsync": "no"}) as found:
        yield found


def handed_over(server: RedisServer, database: int, version: str, folder: Path) -> Processes:
    """The shop over what a version has left, as it was."""
    url = server.url.removesuffix("/0") + f"/{database}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        assert load(client, lines(f"redis-{version}"))
    return Processes(url, folder, trouble=False, conf=CONF)


@pytest.fixture(scope="module")
def taken(
    server: RedisServer, version: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes]:
    """The runs as they were left; nobody works on them."""
    with handed_over(server, 0, version, tmp_path_factory.mktemp("taken")) as processes:
        yield processes


@pytest.fixture(scope="module")
def finished(
    server: RedisServer, version: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes]:
    """The same, after a worker, sweeps and an operator have seen to each of them."""
    with handed_over(server, 1, version, tmp_path_factory.mktemp("finished")) as processes:
        run = processes.shop.sagas.run
        processes.start_worker(3)
        processes.until(
            lambda: run("queued").status.at_rest, "what was sent arrives, without a sweep"
        )
        see_to_all(processes)
        processes.until(
            lambda: all(run(left.id).status == left.ends for left in LEFT),
            "every run ends",
            sweeping=True,
        )
        yield processes


def see_to_all(processes: Processes) -> None:
    """Do what only an operator can."""
    run = processes.shop.sagas.run
    assert run("owing").retry(reason="the shelf is found")
    assert run("owing-too").waive("pack", "kept as a gift")
    assert run("past-pivot").retry()
    assert run("asking").skip("mail", "it has arrived", "she told me")
    assert run("asking-too").retry()
    assert run("asking-back").cancel("it was never asked for")
    assert run("paused").resume()
    assert run("paused-back").resume()
    processes.until(
        lambda: any(event.kind == "overdue" for event in run("overdue").history()),
        "somebody is told that a deadline has passed",
        sweeping=True,
    )
    assert run("overdue").skip("wait", "waited", "long enough")


def lines(name: str) -> list[str]:
    """The lines of a fixture."""
    return (FIXTURES / f"{name}.jsonl").read_text("utf-8").splitlines()


def shown(version: str) -> dict[str, Any]:
    """What the older version has shown of each run."""
    return {row["state"]["id"]: row for row in map(json.loads, lines(f"shown-{version}"))}


def within(known: Any, found: Any) -> bool:
    """True if all of *known* is in *found*, which may know more."""
    if isinstance(known, dict):
        return all(name in found and within(value, found[name]) for name, value in known.items())
    if isinstance(known, list):
        return len(known) == len(found) and all(map(within, known, found))
    return bool(known == found)


def order_of(run_id: str, key: str = "") -> dict[str, Any]:
    """What an order returns."""
    return {
        "booked": {"number": f"B-{run_id}", "shelves": [3, 5]},
        "label": ["label", f"{key or run_id}:label"],
        "box": {"box": "large"},
        "paid": [f"C-{run_id}", "EUR"],
    }


# --- looking -----------------------------------------------------------------------------------


def test_there_is_something_to_try() -> None:
    """Each version has left both files, and each kind of run is among what was left."""
    assert "0.1.0" in VERSIONS
    for each in VERSIONS:
        found = {run_id: row["state"]["status"] for run_id, row in shown(each).items()}
        assert found == {left.id: left.status for left in EVERY}


@each_run
def test_a_run_is_shown_as_it_was(taken: Processes, version: str, left: Left) -> None:
    """State, failures, times, what is owed and what a cancel would undo are the same as before."""
    run, known = taken.shop.sagas.run(left.id), shown(version)[left.id]
    state = run.state()
    found = state.model_dump(mode="json")
    for step, shown_now in zip(known["state"]["steps"], found["steps"], strict=True):
        # What never started, and never will, is called so today.
        if (step["status"], shown_now["status"]) == ("pending", "skipped"):
            assert shown_now["because"]
            step["status"] = "skipped"
    assert within(known["state"], found)
    undo = run.undo_plan().model_dump(mode="json")
    # Why nothing can be undone is told in today's words.
    assert bool(known["undo"].pop("refused", None)) == bool(undo.pop("refused"))
    assert within(known["undo"], undo)
    assert len(run.history()) == known["events"]
    assert len(run.export(payloads=True)["events"]) == known["events"]
    assert (state.status, state.tags) == (left.status, dict(left.tags))


def test_all_of_it_fits_together(taken: Processes) -> None:
    """Each history makes its run exactly, and no index lacks an entry or has one too many."""
    done = taken.shop.sagas.repair(dry_run=True)
    assert (done.looked_at, done.faults) == (len(EVERY), ())


def test_a_history_that_was_changed_is_noticed(
    server: RedisServer, version: str, tmp_path: Path
) -> None:
    """The proof that all fits together is one: an event less, and it fails."""
    with handed_over(server, 2, version, tmp_path) as processes:
        with redis.Redis.from_url(processes.url) as client:
            [log] = client.scan_iter(match="*log:retrying", count=1000)
            client.rpop(log)
        faults = processes.shop.sagas.repair(dry_run=True).faults
        assert [(fault.run_id, fault.what) for fault in faults] == [("retrying", "history differs")]


def test_lists_and_figures_know_them(taken: Processes, version: str) -> None:
    """Runs are listed in order, by status, saga and tag, and counted, as if they were new."""
    sagas = taken.shop.sagas
    known = [row["state"] for row in shown(version).values()]
    in_order = sorted(known, key=lambda state: (state["started_at"], state["id"]), reverse=True)
    assert [run.id for run in sagas.runs(limit=200)] == [state["id"] for state in in_order]
    assert len(sagas.runs(limit=200).states()) == len(EVERY)
    for status in {left.status for left in EVERY}:
        wanted = {left.id for left in EVERY if left.status == status}
        assert {run.id for run in sagas.runs(status=status)} == wanted
    assert {run.id for run in sagas.runs(saga="order", tags=VIP)} == {"at-work", "completed"}
    kinds = [(left.saga, left.status) for left in EVERY]
    assert dict(sagas.counts()) == {kind: kinds.count(kind) for kind in kinds}
    stats, statuses = sagas.stats(), [left.status for left in EVERY]
    assert {each.saga for each in stats.sagas} == {left.saga for left in EVERY}
    assert stats.owed == statuses.count("failed")
    assert stats.active == sum(map(statuses.count, ("running", "compensating", "paused")))


@each_run
def test_a_start_with_the_same_id_joins(taken: Processes, version: str, left: Left) -> None:
    """An id and an input that were accepted are known still, and start nothing."""
    assert left.start(taken.shop).id == left.id
    with pytest.raises(RunConflict):
        left._replace(script={"another": "input"}).start(taken.shop)
    assert len(taken.shop.sagas.run(left.id).history()) == shown(version)[left.id]["events"]


def test_results_are_read(taken: Processes) -> None:
    """What a completed run has returned is made of what its steps had returned."""
    assert taken.shop.sagas.run("completed").result(timeout=0) == order_of("completed")
    assert BRIEF.start(taken.shop).result(timeout=0).number == "T-brief"


# --- finishing ---------------------------------------------------------------------------------

#: The calls that were left to make, in their order; all else had been made by the older version.
CALLED = {
    "never-sent": ["reserve", "label", "pack", "charge"],
    "queued": ["reserve", "label", "pack", "charge"],
    "sent-again": ["reserve", "label", "pack", "charge"],
    "blocked": ["declare"],
    "at-work": ["charge"],
    "lost-once": ["charge"],
    "retrying": ["charge"],
    "again": ["charge"],
    "late": ["take.undo"],
    "undo-at-work": ["charge.undo", "pack.undo", "reserve.undo"],
    "undo-retrying": ["reserve.undo"],
    "cut-off": ["charge.undo", "pack.undo", "reserve.undo"],
    "in-grace": ["take.undo", "weigh.undo"],
    "owing": ["reserve.undo"],
    "past-pivot": ["ship"],
    "asking-too": ["mail"],
    "asking-back": ["mail.undo", "take.undo", "weigh.undo"],
    "paused": ["charge"],
    "paused-back": ["reserve.undo"],
}


@each_end
def test_a_run_ends_as_it_should(finished: Processes, left: Left) -> None:
    """Whatever it was at, it ends, and exactly what was left to do is done, in order."""
    run = finished.shop.sagas.run(left.id)
    assert run.status == left.ends
    made = [call["step"] for call in calls(finished.folder) if call["run"] == left.id]
    if left.saga == "delivery":
        made.sort()  # it is undone all at once
    assert made == CALLED.get(left.id, [])
    if (left.saga, left.ends) == ("order", "completed"):
        key = "again~2" if left.id == "again" else left.id
        assert run.result(timeout=0) == order_of(left.id, key)


@pytest.mark.parametrize("left", AT_REST, ids=lambda left: left.id)
def test_a_run_at_rest_stays_as_it_was(finished: Processes, version: str, left: Left) -> None:
    """Sweeps and workers leave alone what had ended, and it is still joined."""
    known = shown(version)[left.id]
    run = left.start(finished.shop)
    assert within(known["state"], run.state().model_dump(mode="json"))
    assert len(run.history()) == known["events"]


def call(processes: Processes, run_id: str, step: str) -> dict[str, Any]:
    """The one call of a step of a run."""
    every = calls(processes.folder)
    [found] = [each for each in every if (each["run"], each["step"]) == (run_id, step)]
    return found


def test_steps_are_given_what_was_kept_for_them(finished: Processes) -> None:
    """Key, tags, heartbeat of the attempt before, inputs and constants: all are there."""
    charged = call(finished, "at-work", "charge")
    assert (charged["attempt"], charged["key"]) == (2, "at-work:charge")
    assert (charged["left"], charged["tags"]) == ({"page": 7}, VIP)
    assert charged["given"] == {"amount": 12.5}
    assert call(finished, "again", "charge")["key"] == "again~2:charge"
    assert call(finished, "never-sent", "label")["given"] == {
        "lines": ["fragile", "B-never-sent", 3],
        "parcel": {"to": "Žitná 7", "weight": 1.5, "gift": None, "urgent": False},
    }


def test_compensations_are_given_what_was_kept_for_them(finished: Processes) -> None:
    """They get the results of steps that the older version ran; of an unknown outcome, none."""
    refunded = call(finished, "undo-at-work", "charge.undo")
    assert (refunded["attempt"], refunded["key"]) == (2, "undo-at-work:charge")
    assert refunded["given"] == {"result": "C-undo-at-work"}
    given = {"number": "B-undo-at-work", "result": {"box": "large"}}
    assert call(finished, "undo-at-work", "pack.undo")["given"] == given
    booked = {"number": "B-owing", "shelves": [3, 5]}
    assert call(finished, "owing", "reserve.undo")["given"] == {"result": booked}
    assert call(finished, "cut-off", "charge.undo")["given"] == {"result": None}
    assert call(finished, "in-grace", "weigh.undo")["given"] == {"result": None}


def test_what_was_done_fits_what_was_there(finished: Processes) -> None:
    """What two versions have written of a run is one history, and nothing is left to wake."""
    done = finished.shop.sagas.repair(dry_run=True)
    assert (done.looked_at, done.faults) == (len(LEFT), ())
    assert {run.id for run in finished.shop.sagas.runs(limit=200)} == set(BY_ID)
    stats = finished.shop.sagas.stats()
    assert (stats.active, stats.owed, stats.overdue) == (0, 0, 0)


def test_a_worker_understands_what_it_reads(finished: Processes) -> None:
    """No message and no run of the older version makes a worker complain."""
    assert [line for line in finished.log.splitlines() if "ERROR" in line or "Trace" in line] == []


def test_retention_that_was_promised_is_kept(finished: Processes) -> None:
    """A run whose retention is over is removed by the first sweeps; all others stay."""
    with pytest.raises(RunNotFound):
        finished.shop.sagas.run(BRIEF.id)


# --- the form ----------------------------------------------------------------------------------


def test_keys_are_written_as_they_are(server: RedisServer) -> None:
    """Each type of key comes back as it was, byte for byte, also where it is not UTF-8."""
    with redis.Redis.from_url(server.url.removesuffix("/0") + "/3") as client:
        client.set("text", b"\x00\xff\xc5\xbe \n")
        client.hset("hash", mapping={b"\xfe": b"1", "ž": "\x1f"})
        client.rpush("list", "b", b"\x80", "b")
        client.sadd("set", "1", b"\xc3")
        client.zadd(b"zset\xff", {"a": 1_795_927_238_566, "b": 0.5, "c": float("inf")})
        written = list(dump(client, ["*"]))
        client.flushdb()
        assert load(client, written) == 5
        assert client.get("text") == b"\x00\xff\xc5\xbe \n"
        assert client.hgetall("hash") == {b"\xfe": b"1", "ž".encode(): b"\x1f"}
        assert client.zrange(b"zset\xff", 0, -1) == [b"b", b"a", b"c"]
        assert list(dump(client, ["*"])) == written
