"""`saga ui`: what it serves to whom, as the real command, and what it refuses to begin with.

Owns: its options and its end.  Refuses to know: the routes.
"""

from __future__ import annotations

import re
import signal
import subprocess
from typing import TYPE_CHECKING

import httpx2
import pytest

from celeriac.testing.servers import free_port
from tests.house.sources import ROOT
from tests.terminal import shop
from tests.terminal.conftest import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from tests.terminal.conftest import Cli

PATIENCE = 60  # seconds


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("login", [False, True])
def test_it_serves_until_a_signal(
    environment: dict[str, str], tmp_path: Path, *, login: bool
) -> None:
    """It says where, and to whom; a start over HTTP is a run like any other."""
    port = free_port()
    file = tmp_path / "people"
    file.write_text("# people\nada:secret:operator\n", encoding="utf-8")
    words = [*COMMAND, "ui", "--port", str(port), *(["--basic-auth", str(file)] if login else [])]
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as ui:
        assert ui.stderr is not None
        line = ui.stderr.readline()
        assert f"http://127.0.0.1:{port}" in line
        assert ("this machine only" in line) is not login
        base = f"http://127.0.0.1:{port}"
        with httpx2.Client(
            base_url=base,
            timeout=PATIENCE,
            auth=("ada", "secret") if login else None,
            transport=httpx2.HTTPTransport(retries=10),
        ) as client:
            assert client.get("/health/ready").json() == {"status": "ok"}
            asked = {"saga": "ping", "id": "o-1"}
            assert client.post("/api/runs", json=asked).status_code == 202
            assert re.search("o-1", client.get("/runs").text)
            examined = client.get("/system", params={"doctor": "1"})
            assert (examined.status_code, "errors" in examined.text) == (200, True)  # no worker
        assert httpx2.get(f"{base}/api/runs").status_code == (401 if login else 200)
        ui.send_signal(signal.SIGTERM)
        assert ui.wait(PATIENCE) == 0
    assert shop.sagas.run("o-1").status == "running"


def test_it_does_not_begin_without_a_login_for_others(cli: Cli) -> None:
    """An address that others reach needs one."""
    ended = cli("ui", "--host", "0.0.0.0")  # noqa: S104
    assert ended.code == 1
    assert "without a login" in ended.err


def test_a_password_as_an_argument_is_refused_and_not_repeated(cli: Cli) -> None:
    """Everybody on the machine can read the arguments of a program."""
    ended = cli("ui", "--basic-auth", "ada:secret:admin")
    assert ended.code == 2
    assert "it takes a file" in ended.err
    assert "secret" not in ended.err


def test_a_role_that_is_none_is_refused(cli: Cli) -> None:
    """With those there are."""
    ended = cli("ui", "--proxy-peer", "10.0.0.5", "--proxy-role", "boss")
    assert ended.code == 2
    assert "approver, viewer, operator, admin" in ended.err
