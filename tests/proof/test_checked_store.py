"""The checker over a real store: indexes that were tampered with, starts, strays, and its command.

Owns: keys doctored in Redis, and what a client was told against what there is.  Refuses to know:
the laws of a single history (`test_checker`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import Flow, Saga, Sagas
from celeriac.engine.engine import Engine
from celeriac.machine.commands import Claim, Complete, Fail, Start
from celeriac.settings import Terms
from celeriac.store import Lease
from celeriac.store.keys import lease_member
from celeriac.store.redis import RedisStore
from tests.machine.story import saga
from tests.proof import checker, sometimes
from tests.proof.checker import Asked, asked, check_runs
from tests.redis_server import RedisServer
from tests.workers.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celeriac.machine import Phase

PLAN = saga("reserve", "charge")
TERMS = Terms(lease=15_000, grace=5_000, retention=86_400_000, max_payload=10_000, batch=10)
_ROOT = Path(__file__).parents[2]


class TamperedStore:
    """A store with a ledger beside it, and hands that tamper with both."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server, self.redis = server, server.client()
        self.store = RedisStore(server.url, shards=1)
        self.ledger = Ledger(folder / "ledger.db")
        self.engine = Engine(self.store, TERMS)
        self.keys = self.store._keys.shards[0]

    def start(self, run_id: str) -> None:
        """Accept a run."""
        command = Start(run_id, "input", f"call of {run_id}", 5_000, tags=(("shop", "7"),))
        self.engine.start(PLAN, command, {})

    def do(self, run_id: str, name: str, output: str = "1") -> None:
        """Claim a step, let it take effect, and settle it."""
        self.claim(run_id, name)
        self.ledger.do(f"{run_id}:{name}", 1)
        fields = {f"out:{name}": output}
        self.engine.command(run_id, Complete(name, "do", 1, "worker"), fields=fields)

    def claim(self, run_id: str, name: str, phase: Phase = "do") -> None:
        """Claim an attempt, and begin."""
        self.engine.command(run_id, Claim(name, phase, 1, "worker"))
        self.ledger.begin(f"{run_id}:{name}{'' if phase == 'do' else '.undo'}", 1)

    def completed(self, run_id: str) -> None:
        """A run from its start to its end."""
        self.start(run_id)
        self.do(run_id, "reserve")
        self.do(run_id, "charge")

    def found(self, *ids: str, **options: Any) -> list[tuple[str, str]]:
        """What the checker finds: run and law."""
        told = check_runs(self.store, self.ledger, ids or None, **options)
        return [(each.run_id, each.law) for each in told]

    def close(self) -> None:
        """Give back connections."""
        self.redis.close()
        self.store.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for this file."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
def tampered(server: RedisServer, tmp_path: Path) -> Iterator[TamperedStore]:
    """Three runs in order: one has ended, one is at work, one was undone in part."""
    made = TamperedStore(server, tmp_path)
    made.redis.flushall()
    made.completed("done")
    made.start("busy")
    made.claim("busy", "reserve")
    made.start("back")
    made.do("back", "reserve")
    made.claim("back", "charge")
    made.engine.command("back", Fail("charge", "do", 1, "worker", kind="abort", error="Abort"))
    yield made
    made.close()


def test_nothing_is_found_where_all_is_well(tampered: TamperedStore) -> None:
    """Runs at rest, at work and on their way back are in order, and so is the rest of the store."""
    assert tampered.found() == []


# --- indexes -------------------------------------------------------------------------------------


def _forgotten(tampered: TamperedStore) -> None:
    tampered.redis.zrem(tampered.keys.wake, "busy")


def _without_lease(tampered: TamperedStore) -> None:
    tampered.redis.zrem(tampered.keys.wake, lease_member(Lease("busy", "reserve", "do", 1)))


def _old_lease(tampered: TamperedStore) -> None:
    tampered.redis.zadd(tampered.keys.wake, {lease_member(Lease("done", "charge", "do", 1)): 1})


def _awake(tampered: TamperedStore) -> None:
    tampered.redis.zadd(tampered.keys.wake, {"done": 1})


def _nobody(tampered: TamperedStore) -> None:
    tampered.redis.zadd(tampered.keys.wake, {"nobody": 1})


def _unlisted(tampered: TamperedStore) -> None:
    [entry] = tampered.redis.zrange(tampered.keys.runs("place_order:completed"), 0, -1)
    tampered.redis.zrem(tampered.keys.runs("place_order:completed"), str(entry))


def _listed_twice(tampered: TamperedStore) -> None:
    [entry] = tampered.redis.zrange(tampered.keys.runs("place_order:completed"), 0, -1)
    tampered.redis.zadd(tampered.keys.runs("place_order:running"), {str(entry): 0})


def _without_tag(tampered: TamperedStore) -> None:
    tampered.redis.delete(tampered.keys.tag("shop", "7"))


def _never_expires(tampered: TamperedStore) -> None:
    tampered.redis.zrem(tampered.keys.expire, "done")


def _expires_at_work(tampered: TamperedStore) -> None:
    tampered.redis.zadd(tampered.keys.expire, {"busy": 1})


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (_forgotten, {("busy", "I13")}),
        (_without_lease, {("busy", "I13")}),
        (_old_lease, {("done", "I13")}),
        (_awake, {("done", "I13")}),
        (_nobody, {("nobody", "I13")}),
        (_unlisted, {("done", "I12")}),
        (_listed_twice, {("done", "I12")}),
        (_without_tag, {("done", "I12"), ("busy", "I12"), ("back", "I12")}),
        (_never_expires, {("done", "I12")}),
        (_expires_at_work, {("busy", "I12")}),
    ],
)
def test_a_doctored_index_is_found(
    tampered: TamperedStore, tamper: Callable[[TamperedStore], None], expected: set[tuple[str, str]]
) -> None:
    """An index that does not fit its runs is found, whichever it is."""
    ids = {run_id for run_id, _ in tampered.found()} | {"done", "busy", "back"}
    tamper(tampered)
    # A run that is not listed is found by who knows that it was started.
    assert set(tampered.found()) | set(tampered.found(*sorted(ids))) == expected


# --- starts, ends, strays ------------------------------------------------------------------------


def test_a_lost_start_is_found(tampered: TamperedStore) -> None:
    """A run that was accepted and is not there is found (D1)."""
    assert tampered.found(starts=[Asked("gone", "input")]) == [("gone", "D1")]
    assert tampered.found("gone", "done") == [("gone", "D1")]
    assert tampered.found(starts=[Asked("gone", "input", "unknown")]) == []


def test_starts_that_were_told_something_else_are_found(tampered: TamperedStore) -> None:
    """Joining with another input, and being refused with the same one, are found (I10)."""
    assert tampered.found(starts=[Asked("done", "input"), Asked("done", "other", "refused")]) == []
    assert tampered.found(starts=[Asked("done", "other")]) == [("done", "I10")]
    assert tampered.found(starts=[Asked("done", "input", "refused")]) == [("done", "I10")]


def test_asked_tells_inputs_apart_as_a_start_does() -> None:
    """What a client notes of its start has the digest that the run is started with."""
    sagas = Sagas(Celery("app", broker="memory://", set_as_current=False))

    def shop(flow: Flow, order: dict[str, int]) -> Any:
        return flow.step(step, order)

    @sagas.step
    def step(order: dict[str, int]) -> int:
        return order["n"]

    made: Saga[Any, Any] = sagas.saga(shop)
    start, _ = made._prepare(({"n": 1},), {}, "id", None, "join", "")
    assert asked(made, {"n": 1}, "id") == Asked("id", start.digest)
    assert asked(made, {"n": 2}, "id").digest != start.digest


def test_runs_that_do_not_rest_are_found(tampered: TamperedStore) -> None:
    """Where all must have come to rest, the ones that have not are found (L1)."""
    assert sorted(tampered.found(at_rest=True)) == [("back", "L1"), ("busy", "L1")]


def test_an_effect_of_no_run_is_found(tampered: TamperedStore) -> None:
    """What was done under a key of no run is found, if all runs are looked at."""
    tampered.ledger.do("nobody:reserve", 1)
    assert tampered.found("done", "busy") == []
    assert tampered.found() == [("nobody", "I2")]


def test_an_output_that_changed_is_found(tampered: TamperedStore) -> None:
    """A step that was given something else than what is recorded is found (I15)."""
    tampered.ledger.saw("done:charge", 1, json.dumps({"reserve": 1}))
    assert tampered.found() == []
    tampered.ledger.saw("done:charge", 1, json.dumps({"reserve": 2}))
    assert tampered.found() == [("done", "I15")]


def test_a_step_without_a_ledger_is_let_off(tampered: TamperedStore) -> None:
    """Steps that keep no ledger have no effect to be missed."""
    tampered.start("quiet")
    for name in ("reserve", "charge"):
        tampered.engine.command("quiet", Claim(name, "do", 1, "worker"))
        tampered.engine.command("quiet", Complete(name, "do", 1, "worker"))
    assert tampered.found() == [("quiet", "I1"), ("quiet", "I1")]
    assert tampered.found(silent=("reserve", "charge")) == []


# --- the command ---------------------------------------------------------------------------------


def test_the_command_prints_stories(tampered: TamperedStore) -> None:
    """It prints a story for each violation and ends with 1; with 0 if there is none."""

    def command(*more: str) -> subprocess.CompletedProcess[str]:
        words = [
            "--redis",
            tampered.server.url,
            "--ledger",
            tampered.ledger.path,
            "--shards",
            "1",
            *more,
        ]
        return subprocess.run(
            [sys.executable, "-m", "tests.proof.checker", *words],
            cwd=_ROOT,
            env={"PYTHONPATH": "worker:."},
            capture_output=True,
            text=True,
            check=False,
        )

    fine = command()
    assert (fine.returncode, fine.stdout) == (0, "0 violations\n"), fine.stderr
    tampered.ledger.undo("done:reserve", 1)
    found = command("done")
    assert found.returncode == 1
    assert "I1 · run done: it completed, but 'reserve' was undone" in found.stdout
    assert "I3 · run done: undo 'reserve' #1 was at work, but never claimed" in found.stdout
    assert "history  reserve #1 completed" in found.stdout
    assert "done:reserve #1 undo (process" in found.stdout
    assert "charge" not in found.stdout
    assert found.stdout.endswith("2 violations\n")


def test_the_command_counts(tampered: TamperedStore, capsys: pytest.CaptureFixture[str]) -> None:
    """`--at-rest` counts what is still under way."""
    words = ["--redis", tampered.server.url, "--ledger", tampered.ledger.path, "--shards", "1"]
    assert checker.main([*words, "--at-rest"]) == 1
    assert capsys.readouterr().out.endswith("2 violations\n")


# --- sometimes -----------------------------------------------------------------------------------


def test_what_happened_sometimes_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind is noted with its test, counted over all tests, and missed if it never happened."""
    path = tmp_path / "sometimes"
    monkeypatch.delenv(sometimes.VARIABLE, raising=False)
    sometimes.seen(sometimes.NOSCRIPT)
    assert not path.exists()
    monkeypatch.setenv(sometimes.VARIABLE, str(path))
    sometimes.seen(sometimes.NOSCRIPT, 3)
    sometimes.seen(sometimes.NOSCRIPT, where="elsewhere")
    sometimes.seen(sometimes.LATE_SUCCESS, 0)
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["test"].endswith("test_what_happened_sometimes_is_counted")
    assert second == {"kind": "NOSCRIPT", "count": 1, "test": "elsewhere"}
    assert sometimes.counts(path) == {"NOSCRIPT": 4}
    assert sometimes.missing(path) == [k for k in sometimes.KINDS if k != sometimes.NOSCRIPT]
    with pytest.raises(ValueError, match="is none of"):
        sometimes.seen("earthquake")
