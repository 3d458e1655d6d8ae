"""`celery -A app saga doctor` on a terminal and for programs.

Owns: forms, exit codes and options of the verb.  Refuses to know: what checks find.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import pytest
from celery.bin.base import CLIContext
from click.testing import CliRunner

from celeriac.doctor import CHECKS
from celeriac.terminal.cli import saga
from celeriac.terminal.completion import suggestions
from celeriac.workers import urls
from tests.doctor.examined_app import build
from tests.doctor.processes import environment
from tests.house.sources import ROOT

if TYPE_CHECKING:
    from celery import Celery

    from tests.doctor.conftest import Serve
    from tests.redis_server import RedisServer


class Ended(NamedTuple):
    """How the verb ended."""

    code: int
    out: str
    err: str


def doctor(app: Celery, *words: str) -> Ended:
    """Call the verb in this process."""
    context = CLIContext(app=app, no_color=False, workdir=None)
    ran = CliRunner().invoke(saga, ["doctor", *words], obj=context)
    app.celeriac.runtime.close()
    app.close()
    return Ended(ran.exit_code, ran.stdout, ran.stderr)


def ill(server: RedisServer, **conf: Any) -> Celery:
    """The clinic with something to say about it."""
    return build(server.url, server.url, conf=conf)


CHEAP = tuple(part for check in ("lease", "eager", "prefetch") for part in ("--only", check))


def test_all_is_well(clean: RedisServer) -> None:
    """Nothing to say is said in a line."""
    ended = doctor(ill(clean), *CHEAP)
    assert ended == (0, "3 ok.\n", "")


def test_a_table(clean: RedisServer) -> None:
    """The worst comes first, each with what to do; what is well is folded."""
    app = ill(clean, saga_lease=3, task_always_eager=True)
    ended = doctor(app, *CHEAP)
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert [line.split()[:2] for line in lines if "→" not in line] == [
        ["error", "eager"],
        ["warning", "lease"],
        ["1", "error,"],
    ]
    assert sum("→" in line for line in lines) == 2
    assert lines[-1] == "1 error, 1 warning, 1 ok."


def test_warnings_are_no_failure(clean: RedisServer) -> None:
    """Only errors end with 1."""
    assert doctor(ill(clean, saga_lease=3), *CHEAP).code == 0


def test_verbose(clean: RedisServer) -> None:
    """With -v, what is well is shown too."""
    ended = doctor(ill(clean), *CHEAP, "-v")
    assert ended.out.count("\nok ") + ended.out.startswith("ok ") == 3
    assert CHECKS["lease"].about in ended.out


def test_json(clean: RedisServer) -> None:
    """One document, with every finding, also of what is well."""
    ended = doctor(ill(clean, saga_lease=3), *CHEAP, "-o", "json")
    document = json.loads(ended.out)
    assert document["summary"] == "1 warning, 2 ok"
    assert document["findings"][0] == {
        "check": "lease",
        "severity": "warning",
        "found": "it is 3 s: a worker that pauses that long counts as dead",
        "advice": CHECKS["lease"].advice,
    }
    assert {each["check"] for each in document["findings"]} == {"lease", "eager", "prefetch"}
    assert document["findings"][1]["advice"] is None


def test_lines_of_json(clean: RedisServer) -> None:
    """A line for each finding."""
    ended = doctor(ill(clean, task_always_eager=True), *CHEAP, "-o", "jsonl")
    assert ended.code == 1
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["severity"] for line in lines] == ["error", "ok", "ok"]


def test_leaving_out(clean: RedisServer) -> None:
    """--skip leaves out what is known, and wins over --only."""
    app = ill(clean, task_always_eager=True)
    assert doctor(app, *CHEAP, "--skip", "eager") == (0, "2 ok.\n", "")


@pytest.mark.parametrize("option", ["--only", "--skip"])
def test_a_check_that_is_none(app: Celery, option: str) -> None:
    """A misspelt check is refused, with the nearest."""
    ended = doctor(app, option, "evicton")
    assert ended.code == 2
    assert "did you mean eviction?" in ended.err
    assert doctor(app, option, "xyzzy").code == 2


def test_completing_a_check() -> None:
    """A shell offers the checks."""
    context = click.Context(click.Command("doctor"))
    assert suggestions("check", context, "evi") == ["eviction", "evicted"]


def test_nobody_there() -> None:
    """Redis out of reach ends with 5, as with other verbs, after all that could be seen."""
    ended = doctor(build("redis://127.0.0.1:1/0", conf={"saga_lease": 3}))
    assert ended.code == 5
    assert "the state Redis at 127.0.0.1:1 cannot be reached" in ended.out
    assert "pauses that long counts as dead" in ended.out
    assert ended.err == ""


def test_a_check_that_needs_who_is_away() -> None:
    """One check alone says why it could not be made, and ends with 5 as well."""
    ended = doctor(build("redis://127.0.0.1:1/0"), "--only", "eviction")
    assert ended.code == 5
    assert "eviction  could not be checked: the state Redis at 127.0.0.1:1" in ended.out
    assert doctor(build("redis://127.0.0.1:1/0"), "--only", "lease").code == 0


def test_no_broker(clean: RedisServer) -> None:
    """The broker out of reach ends with 5 too, and the state Redis is examined all the same."""
    ended = doctor(build("redis://127.0.0.1:1/0", clean.url), "-v")
    assert ended.code == 5
    assert "ok         aof " in ended.out
    assert "error      broker" in ended.out


def test_no_password_is_shown(serve: Serve) -> None:
    """Whatever goes wrong, no password of any URL is printed."""
    server = serve()
    with server.client() as client:
        client.config_set("requirepass", "right")
    broker = f"redis://:brok%3Asecret@127.0.0.1:{server.port}/1?password=inquery"
    state = f"redis://user:topsecret@127.0.0.1:{server.port}/0"
    for form in ("table", "json"):
        ended = doctor(build(broker, state), "-v", "-o", form)
        assert ended.code == 5
        for secret in ("brok%3Asecret", "brok:secret", "inquery", "topsecret"):
            assert secret not in ended.out + ended.err


def test_the_real_command(clean: RedisServer) -> None:
    """The command as it is typed, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "tests.doctor.examined_app", "saga", "doctor", "-v"],
        cwd=ROOT,
        env=environment(broker=clean.url, state=clean.url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1  # nobody works there
    assert "no worker answered" in ran.stdout
    assert "it has never been through" in ran.stdout
    assert ran.stderr == ""


def test_no_redis_at_all() -> None:
    """An app that says nowhere to keep runs is told what to set."""
    ended = doctor(build("amqp://guest@127.0.0.1:1//"))
    assert ended.code == 1
    assert "saga_redis_url" in ended.err


# --- places --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://h:6379/0", "h:6379/0"),
        ("redis://user:secret@h:6379", "h:6379/0"),
        ("rediss://:secret@h:6380/3?ssl_cert_reqs=none", "h:6380/3"),
        ("redis://h?db=4", "h:6379/4"),
        ("unix://:secret@/run/redis.sock?db=2", "/run/redis.sock db 2"),
        ("redis+socket:///run/redis.sock?virtual_host=2", "/run/redis.sock db 2"),
        ("redis://a:1/0;redis://b:1/0", "an address that cannot be read"),
        ("redis://:sec/ret@h:6379/0", "an address that cannot be read"),
        ("redis://:sec[ret@h:6379/0", "an address that cannot be read"),
    ],
)
def test_a_place(url: str, place: str) -> None:
    """A server is named by where it is, and never by how one gets in."""
    assert urls.place(url) == place


def test_hiding() -> None:
    """A password is hidden wherever it is set and however spelled, unless too short to be one."""
    conf = {
        "broker_url": ["redis://u:p%40ssword@h/0", "redis://:x@h/0", "redis://:bare/slash@h:1/0"],
        "saga_redis_url": "redis://h/0?password=other&ssl_password=keyfile&ssl_ciphers=ALL",
        "result_backend": None,
        "broker_password": "apart",
        "broker_use_ssl": {"ssl_password": b"in options", "ssl_keyfile": "/key", "ssl_cert": None},
        "broker_transport_options": {"sentinel_kwargs": {"password": "deep"}, "visibility": 3600},
    }
    told = "p%40ssword p@ssword bare/slash other keyfile apart in options deep x ALL /key 3600"
    hidden = urls.masked(told, urls.secrets_of(conf))
    assert hidden == "**** " * 8 + "x ALL /key 3600"
