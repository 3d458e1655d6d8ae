"""The demo as a whole, with fewer orders: real Redis, real worker processes, a real SIGKILL.

Owns: that it works from anywhere with either Redis, and that it finds out a shop that cheats.
Refuses to know: how long two hundred orders take.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
import redis

import celeriac
from celeriac.testing.servers import LocalRedis, find_embedded_binary
from workflows.demo import ORDERS, WIDTH

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "workflows.demo"]


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """Twenty-four orders, of which none waits for a ferry."""
    lines = ORDERS.read_text(encoding="utf-8").splitlines()
    quick = [line for line in lines if '"ferry"' not in line and '"tok_down' not in line]
    path = tmp_path / "orders.jsonl"
    path.write_text("\n".join(quick[:24]), encoding="utf-8")
    return path


def surroundings(folder: Path, root: Path = ROOT) -> dict[str, str]:
    """The environment of a demo of the project at *root*, with all its files in *folder*."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    package = Path(celeriac.__file__).parents[1]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CELER", "SHOP_"))}
    path = os.pathsep.join([str(root), str(package)])
    return {**inherited, "PYTHONPATH": path, "TMPDIR": str(scratch)}


def run_demo(
    folder: Path, *arguments: str, root: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the demo of the project at *root* with all its files in *folder*."""
    return subprocess.run(
        [*DEMO, *arguments],
        cwd=folder,
        env={**surroundings(folder, root), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_survives_a_kill_and_leaves_nothing(tmp_path: Path, orders: Path) -> None:
    """It ends with the books right after a process was killed, and its folder is gone."""
    done = run_demo(tmp_path, "--orders", str(orders))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIGKILL: process" in done.stdout
    assert "its work was taken up" in done.stdout
    assert "Right     every order ended as it demands" in done.stdout
    assert "a trip (completed): side by side" in done.stdout
    assert "trip-2 is completed" in done.stdout
    assert [line for line in done.stdout.splitlines() if len(line) > WIDTH] == []
    assert list((tmp_path / "scratch").iterdir()) == []


def test_it_runs_on_the_embedded_redis(tmp_path: Path, orders: Path) -> None:
    """Without a Redis on PATH it brings the one of the extra."""
    if find_embedded_binary() is None:
        pytest.skip("the extra celeriac[embedded] is not installed")
    empty = tmp_path / "bin"
    empty.mkdir()
    done = run_demo(tmp_path, "--orders", str(orders), "--no-kill", PATH=str(empty))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of the extra celeriac[embedded], port" in done.stdout


def test_it_uses_a_named_redis_and_cleans_up(tmp_path: Path, orders: Path) -> None:
    """A Redis named by URL is used under keys of the demo's own, and left as it was."""
    with LocalRedis(tmp_path / "redis", socket=True) as server:
        done = run_demo(
            tmp_path, "--orders", str(orders), "--no-kill", CELERIAC_REDIS_URL=server.url
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the one named by CELERIAC_REDIS_URL" in done.stdout
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 0


def test_a_shop_that_cheats_is_found_out(tmp_path: Path, orders: Path) -> None:
    """Where refunds do nothing, the demo says for which orders, and its exit status is 1."""
    shutil.copytree(ROOT / "workflows", tmp_path / "cheat" / "workflows")
    saga = tmp_path / "cheat" / "workflows" / "order.py"
    honest = saga.read_text(encoding="utf-8")
    assert honest.count("bank.refund(key=ctx.idempotency_key)") == 1
    cheating = honest.replace("bank.refund(key=ctx.idempotency_key)", "return")
    saga.write_text(cheating, encoding="utf-8")
    done = run_demo(tmp_path, "--orders", str(orders), "--no-kill", root=tmp_path / "cheat")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "its charge was never undone (left_over)" in done.stdout
    assert "(money_differs)" in done.stdout
    assert "Right" not in done.stdout


def test_it_stays_until_it_is_asked_to_end(tmp_path: Path, orders: Path) -> None:
    """With --stay the dashboard and its question are there until Ctrl-C; then nothing is left."""
    orders.write_text(orders.read_text(encoding="utf-8").splitlines()[0], encoding="utf-8")
    with subprocess.Popen(
        [*DEMO, "--orders", str(orders), "--no-kill", "--stay"],
        cwd=tmp_path,
        env=surroundings(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        told = ""
        for line in demo.stdout:
            told += line
            if "Ctrl-C ends it" in line:
                break
        page = re.search(r"http://\S+/approvals/trip-2/decided", told)
        assert page is not None, told
        with urlopen(page[0], timeout=60) as answer:  # noqa: S310 -- our own
            assert "May this trip be booked?" in answer.read().decode()
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
    assert demo.returncode == 0, told + rest
    assert processes_of(tmp_path) == []
    assert list((tmp_path / "scratch").iterdir()) == []


def processes_of(folder: Path) -> list[str]:
    """The processes that have inherited a demo's environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended, or is another user's
            if str(folder / "scratch").encode() in (process / "environ").read_bytes():
                found.append(process.name)
    return found
