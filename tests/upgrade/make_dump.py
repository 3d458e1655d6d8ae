"""Makes what the version at hand leaves in Redis, for the versions after it to be tried on.

    python -m tests.upgrade.make_dump

Owns: bringing each run of `runs` where it is to be left, by real workers and public names, and
writing down the keys and what this version shows of them.  Refuses to know: how they are kept.

Before a release it is run once, and the two files it writes are kept for good.  A version that
reads them has to be tried two minutes later at the earliest: leases, delays and deadlines are to
be over by then.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from tests.redis_server import RedisServer
from tests.upgrade.keys import dump
from tests.upgrade.processes import Processes
from tests.upgrade.runs import AT_WORK, BRIEF, BY_ID, EVERY, LEFT, Left

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac import RunHandle

FIXTURES = Path(__file__).parent / "fixtures"
_ROOT = Path(__file__).parents[2]
_QUEUE = "celery"
_PATTERNS = ("celeriac:*", _QUEUE)  # all that is stored of runs, and the messages that wait
# Nobody's lease runs out while all of this is made; and a run keeps its grace, so whoever reads it
# has to wait so long after an outcome that nobody knows.
_CONF = {"saga_lease": 60.0, "saga_grace": 2.0}
_HASTY = {"saga_lease": 2.0, "saga_grace": 2.0}  # where a lease is to run out


def main() -> None:
    """Make both files anew for the version at hand."""
    name = version("celeriac")
    with tempfile.TemporaryDirectory() as folder:
        keys, shown = made(Path(folder))
    FIXTURES.mkdir(exist_ok=True)
    for what, lines in (("redis", keys), ("shown", shown)):
        file = FIXTURES / f"{what}-{name}.jsonl"
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        sys.stderr.write(f"{file.name}: {len(lines)} lines, {file.stat().st_size} bytes\n")


def made(folder: Path) -> tuple[list[str], list[str]]:
    """Return the keys, and what is shown of each run, as lines."""
    with (
        RedisServer(folder / "redis") as server,
        redis.Redis.from_url(server.url) as client,
        Processes(server.url, folder, trouble=True, conf=_CONF) as processes,
    ):
        with Processes(server.url, folder, trouble=True, conf=_HASTY) as hasty:
            _lose_once(hasty)
        _send_again(processes, client)
        processes.start_worker(6)
        _Making(processes).bring_all()
        processes.kill_worker()
        # From here nobody works or sweeps, so nothing changes but by what is said.
        client.delete(_QUEUE)
        BY_ID["never-sent"].start(processes.shop)
        client.delete(_QUEUE)
        BY_ID["queued"].start(processes.shop)
        _forget_who_sent(client)
        found = list(dump(client, _PATTERNS))
        return _placeless(found), _placeless(_shown(processes))


class _Making:
    """The runs on their way, by what clients, operators and accidents do to them."""

    def __init__(self, processes: Processes) -> None:
        self.processes, self.shop = processes, processes.shop

    def bring_all(self) -> None:
        """Bring each run where it is to be left, the ones that cannot wait there last."""
        self._start("late", "overdue", "retrying", "paused", "terminated", "past-pivot")
        self._start("asking", "asking-too", "asking-back")
        self._start("completed", "compensated", "undo-retrying", "paused-back", "owing")
        self._start("owing-too", "undo-at-work", "blocked", "steered", "waived")
        BRIEF.start(self.shop)
        self._again()
        self._turn_round()
        self._steer()
        self._hold()
        self._until("in-grace", self._start("in-grace")["in-grace"], "compensating")
        for left in LEFT:
            if left.id not in ("never-sent", "queued"):
                status = self.shop.sagas.run(left.id).status
                assert status == left.status, f"{left.id} is {status}"

    def _again(self) -> None:
        """Start a run, let it end, and start it anew with another input."""
        first = Left("again", "order", {}, "", "")
        self._until("again", first.start(self.shop), "completed")
        BY_ID["again"].start(self.shop, if_exists="restart")

    def _turn_round(self) -> None:
        """Undo what has to be complete before."""
        back = ["compensated", "waived", "undo-retrying", "paused-back", "owing", "owing-too"]
        back.append("undo-at-work")
        for run_id in ("completed", BRIEF.id, *back):
            self._until(run_id, self.shop.sagas.run(run_id), "completed")
        for run_id in back:
            self.shop.sagas.run(run_id).cancel("sent back", by="Eva")
        for run_id in ("undo-retrying", "paused-back"):
            self._fails(run_id, "reserve", "undo")

    def _steer(self) -> None:
        """Give what an operator says, where that is how a run is left."""
        for run_id in ("retrying", "paused", "terminated", "steered"):
            self._fails(run_id, "charge", "do")
        for run_id in ("late", "overdue"):
            self._fails(run_id, "wait", "do")
        for run_id in ("paused", "paused-back"):
            self.shop.sagas.run(run_id).pause("the bank moves", by="Eva")
        self.shop.sagas.run("terminated").terminate("a test of ours", by="Adam")
        self._see_to("steered", "waived")
        for left in LEFT:
            if left.status in ("failed", "compensated"):
                self._until(left.id, self.shop.sagas.run(left.id), left.status)
        # Owed, tried once more, and owed again.
        owing = self.shop.sagas.run("owing")
        owing.retry(reason="she says it works", by="Adam")
        self.processes.until(
            lambda: owing.state().step("reserve").undo_attempts == 2, "it is tried"
        )
        self._until("owing", owing, "failed")

    def _see_to(self, steered: str, waived: str) -> None:
        """Bring two runs to their end by hand."""
        run = self.shop.sagas.run(steered)
        run.pause("the bank moves", by="Eva")
        run.resume("it has moved", by="Eva")
        run.skip("charge", f"C-{steered}", "paid in cash", by="Adam")
        self._until(steered, run, "completed")
        owing = self.shop.sagas.run(waived)
        self._until(waived, owing, "failed")
        owing.waive("pack", "kept as a gift", by="Adam")

    def _hold(self) -> None:
        """Let attempts be at work, which nobody will see the end of."""
        begun = ("again", "lost-once")
        self._start(*[left.id for left in LEFT if left.script == AT_WORK and left.id not in begun])
        for run_id in ("at-work", "again", "cut-off"):
            self._held(run_id, "charge")
        self._held("undo-at-work", "charge.undo")
        self._blocked("blocked", "declare")
        self.shop.sagas.run("cut-off").cancel("it takes too long", by="Adam")

    # --- waiting -------------------------------------------------------------------------------

    def _start(self, *run_ids: str) -> dict[str, RunHandle[Any]]:
        return {run_id: BY_ID[run_id].start(self.shop) for run_id in run_ids}

    def _until(self, run_id: str, run: RunHandle[Any], status: str) -> None:
        self.processes.until(lambda: run.status == status, f"{run_id} is {status}")

    def _held(self, run_id: str, step: str) -> None:
        mark = self.processes.folder / f"{run_id}.{step}.held"
        self.processes.until(mark.exists, f"{run_id} is at work at {step}")

    def _blocked(self, run_id: str, step: str) -> None:
        run = self.shop.sagas.run(run_id)
        self.processes.until(
            lambda: run.state().step(step).blocked, f"{step} of {run_id} is blocked"
        )

    def _fails(self, run_id: str, step: str, phase: str) -> None:
        def failed() -> bool:
            history = self.shop.sagas.run(run_id).history()
            return any((e.kind, e.step, e.phase) == ("failed", step, phase) for e in history)

        self.processes.until(failed, f"{phase} {step} of {run_id} fails")


def _lose_once(processes: Processes) -> None:
    """Let a worker die at work, and another take the step after that was noticed."""
    mark = processes.folder / "lost-once.charge.held"
    processes.start_worker(1)
    run = BY_ID["lost-once"].start(processes.shop)
    processes.until(mark.exists, "the first is at work")
    processes.kill_worker()
    mark.unlink()
    processes.start_worker(1)
    processes.until(mark.exists, "the second is at work", sweeping=True)
    assert any(event.kind == "lost" for event in run.history())


def _send_again(processes: Processes, client: redis.Redis) -> None:
    """Lose the message of a run, let a sweep send another, and lose that too."""
    run = BY_ID["sent-again"].start(processes.shop)
    client.delete(_QUEUE)
    processes.until(
        lambda: any(event.kind == "dispatched" for event in run.history()),
        "a lost message is sent again",
        sweeping=True,
    )
    client.delete(_QUEUE)


def _shown(processes: Processes) -> list[str]:
    """What this version shows of each run: its state, and what a cancel would undo."""
    lines = []
    for left in EVERY:
        run = processes.shop.sagas.run(left.id)
        row = {
            "state": run.state().model_dump(mode="json", exclude_none=True),
            "undo": run.undo_plan().model_dump(mode="json", exclude_none=True),
            "events": len(run.history()),
        }
        lines.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    return lines


def _forget_who_sent(client: redis.Redis) -> None:
    """Take this machine's name out of the messages that wait."""
    texts = client.lrange(_QUEUE, 0, -1)
    client.delete(_QUEUE)
    for text in texts:
        message = json.loads(text)
        message["headers"]["origin"] = "client@shop"
        client.rpush(_QUEUE, json.dumps(message))


def _placeless(lines: Iterable[str]) -> list[str]:
    """Take the folder of this checkout out of tracebacks."""
    return [line.replace(f"{_ROOT}/", "") for line in lines]


if __name__ == "__main__":
    main()
