"""The demo as a whole, with fewer orders: real Redis, real worker processes, a real SIGKILL.

Owns: that it works from anywhere with either Redis, and that it finds out a shop that cheats.
Refuses to know: how long two hundred orders take.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import redis

import celeriac
from celeriac.testing.servers import LocalRedis, find_embedded_binary
from workflows.demo import ORDERS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """Twenty-four orders, of which none waits for a ferry."""
    lines = ORDERS.read_text(encoding="utf-8").splitlines()
    quick = [line for line in lines if '"ferry"' not in line and '"tok_down' not in line]
    path = tmp_path / "orders.jsonl"
    path.write_text("\n".join(quick[:24]), encoding="utf-8")
    return path


def run_demo(
    folder: Path, *arguments: str, root: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the demo of the project at *root* with all its files in *folder*."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    package = Path(celeriac.__file__).parents[1]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CELER", "SHOP_"))}
    return subprocess.run(
        [sys.executable, "-m", "workflows.demo", *arguments],
        cwd=folder,
        env={
            **inherited,
            "PYTHONPATH": os.pathsep.join([str(root), str(package)]),
            "TMPDIR": str(scratch),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_survives_a_kill_and_leaves_nothing(tmp_path: Path, orders: Path) -> None:
    """It ends with the books right after a process was killed, and its folder is gone."""
    done = run_demo(tmp_path, "--orders", str(orders))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed with SIGKILL: process" in done.stdout
    assert "its work was taken up" in done.stdout
    assert "Right     every order ended as it demands" in done.stdout
    assert "a trip (completed): side by side" in done.stdout
    assert list((tmp_path / "scratch").iterdir()) == []


def test_it_runs_on_the_embedded_redis(tmp_path: Path, orders: Path) -> None:
    """Without a Redis on PATH it brings the one of the extra."""
    if find_embedded_binary() is None:
        pytest.skip("the extra celeriac[embedded] is not installed")
    empty = tmp_path / "bin"
    empty.mkdir()
    done = run_demo(tmp_path, "--orders", str(orders), "--no-kill", PATH=str(empty))
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(find_embedded_binary()) in done.stdout


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
