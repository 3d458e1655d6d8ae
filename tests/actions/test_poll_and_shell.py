"""`poll` asks until something is so; `shell` runs a command and nothing else."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from celeriac import FileInvalid, Sagas
from tests.actions.conftest import SECRETS
from tests.processes import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.actions.conftest import Run
    from tests.actions.server import Server

POLL = """
it:
  poll: {url: URL/builds/7, field: build.state, until: [done], fail: broken, every: 10s}
"""


def test_it_asks_until_it_is_so(run: Run, server: Server) -> None:
    """Each time is no failure and uses no attempt up; a field that is not there yet is not so."""
    answers = iter([{}, {"build": {"state": "busy"}}, {"build": {"state": "done", "n": 3}}])
    server.on["/builds/7"] = lambda _: (200, next(answers))
    ended = run(POLL, "${steps.it.output.body.build.n}")
    assert ended.result() == 3
    assert len(server.asked) == 3


def test_it_fails_when_it_never_will(run: Run, server: Server) -> None:
    """What `fail` names ends it at once."""
    server.on["/builds/7"] = lambda _: (200, {"build": {"state": "broken"}})
    ended = run(POLL)
    assert ended.status == "compensated"
    assert ended.state().failure.code == "poll_failed"  # type: ignore[union-attr]
    assert len(server.asked) == 1


def test_a_command_gets_its_arguments_as_they_are(run: Run) -> None:
    """No shell reads them, whatever they hold; the environment is small."""
    hostile = "$(id); rm -rf / 'x' \"y\" \n *"
    code = (
        "import sys, os, json; "
        "print(json.dumps([sys.argv[1:], sys.stdin.read(), sorted(os.environ), os.environ['A']]))"
    )
    steps = f"""
it:
  shell:
    command: ["{sys.executable}", -c, "{code}", "${{vars.x}}", "a ${{vars.x}}"]
    env: {{A: "${{secrets.TOKEN}}"}}
    stdin: "in ${{vars.x}}"
"""
    os.environ["OUR_OWN"] = "1"
    ended = run(steps, "${steps.it.output.stdout}", x=hostile)
    argv, stdin, names, masked = json.loads(ended.result())
    assert argv == [hostile, f"a {hostile}"]
    assert stdin == f"in {hostile}"
    assert set(names) <= {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SAGA_KEY", "A"}
    assert masked == "•••"
    assert SECRETS["TOKEN"] not in ended.result()


def test_a_command_that_fails_is_not_tried_again(run: Run, tmp_path: Path) -> None:
    """Unless the file says so: it honours no key."""
    count = tmp_path / "count"
    steps = f"it: {{shell: [sh, -c, 'echo x >> {count}; echo no >&2; exit 3']"
    ended = run(steps + "}")
    assert ended.status == "compensated"
    assert ended.state().failure.code == "exit_3"  # type: ignore[union-attr]
    assert "ended with 3: no" in ended.state().failure.message  # type: ignore[union-attr]
    assert count.read_text() == "x\n"
    run(steps + ", retry: {max_attempts: 2}}")
    assert count.read_text() == "x\n" * 3


def test_the_whole_group_is_ended_when_the_time_is_over(run: Run, tmp_path: Path) -> None:
    """Also what the command has started; nobody knows what it did, so the run asks."""
    pid = tmp_path / "pid"
    command = f"sleep 60 & echo $! > {pid}; wait"
    ended = run(f"it: {{shell: [sh, -c, '{command}'], timeout: 500ms}}")
    assert ended.status == "failed"
    assert ended.state().asking
    child = int(pid.read_text())
    until(lambda: not _lives(child), "it has ended with its group", timeout=10)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_output_has_a_limit(run: Run) -> None:
    """What is more is read, so that the command goes on, and not kept."""
    command = f"['{sys.executable}', -c, 'print(500_000 * chr(120))']"
    steps = f"it: {{shell: {{command: {command}, max_bytes: 100}}}}"
    found = run(steps, "${steps.it.output}").result()
    assert found.model_dump() == {"code": 0, "stdout": "x" * 100, "stderr": "", "truncated": True}


def test_a_program_that_is_not_there(run: Run) -> None:
    """It had no effect."""
    ended = run("it: {shell: [no-such-program]}")
    failure = ended.state().failure
    assert failure is not None
    assert (failure.code, failure.effect) == ("not_started", False)


UNTIL = "url: 'http://127.0.0.1', until: [b]"


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ("it: {shell: git push}", "shell is such as [git, push]"),
        ('it: {shell: [echo, "${secrets.TOKEN}"]}', "put secrets into env"),
        ('it: {shell: {command: [ls], cwd: "${secrets.TOKEN}"}}', "put secrets into env"),
        ("it: {shell: [ls], timeout: 2h}", "an attempt at shell takes 60 minutes at most"),
        ("it: {http: {urll: 'http://x'}}", "'urll' is no field of http: did you mean url?"),
        ("it: {http: {method: GET}}", "http has no url"),
        ("it: {http: {url: 'http://x', method: FETCH}}", "should be"),
        ("it: {http: {url: 'http://x'}, effect: sure}", "effect is one of none, keyed"),
        ("it: {shell: [ls], effect: keyed}", "the effect of shell is not for a file"),
        ("it: {poll: {url: 'http://x', field: a, until: b}}", "may ask for ever"),
        ("it: {http: {url: 'http://x'}, compensate: {shell: [ls]}}", "it is {http: …}"),
        ("it: {http: {url: 'http://x', json: '${secrets.A.b}'}}", "is no expression"),
        ("it: {http: {url: 'http://x/${secrets.A}'}}", "'x' is no host of saga_http_allow"),
        ("it: {http: {url: 'ftp://127.0.0.1'}}", "a URL begins with https:// or http://"),
        ("it: {http: {url: ''}}", "a URL begins with https:// or http://"),
        ("it: {http: {url: 'http://u:p@127.0.0.1'}}", "a URL holds no user"),
        ("it: {http: {url: 'http://127.0.0.1', text: x, json: x}}", "json or text, and not both"),
        ("it: {http: {url: 'http://127.0.0.1', headers: {a b: x}}}", "headers.a b"),
        ("it: {http: {url: 'http://127.0.0.1', key_header: a b}}", "key_header"),
        (f"it: {{poll: {{{UNTIL}, field: a, every: soon}}}}", "every: Value error, 'soon' is not"),
        (f"it: {{poll: {{{UNTIL}, field: a, every: 0s}}}}", "a duration must be positive"),
        (f"it: {{poll: {{{UNTIL}, field: ''}}}}", "field: String should have at least 1"),
    ],
)
def test_mistakes_in_actions(sagas: Sagas, tmp_path: Path, steps: str, words: str) -> None:
    """They are told with their place."""
    file = tmp_path / "a.yaml"
    file.write_text(f"saga: a\nsteps:\n  {steps}\n")
    with pytest.raises(FileInvalid) as caught:
        sagas.from_file(file)
    assert words in str(caught.value)
    assert all(each.line == 3 for each in caught.value.problems)


def test_actions_are_off_unless_they_are_named(tmp_path: Path) -> None:
    """Nothing of them is there: no task, and an error that says what to set."""
    from celery import Celery  # noqa: PLC0415

    app = Celery("inactive", broker="memory://", set_as_current=False)
    app.conf.saga_actions = ("poll",)
    file = tmp_path / "a.yaml"
    file.write_text("saga: a\nsteps:\n  it: {shell: [ls]}\n")
    with pytest.raises(FileInvalid, match="the action shell is off"):
        Sagas(app).load(file)
    assert not [name for name in app.tasks if name.startswith("celeriac.shell")]


def test_actions_come_back(sagas: Sagas, tmp_path: Path) -> None:
    """A plan with actions is written as a file that is read as the same plan."""
    text = """
saga: pipeline
deadline: 1h
vars: {ref: main, regions: {type: 'list[string]'}}
steps:
  build:
    http:
      method: POST
      url: https://ci.example.com/${vars.ref}/builds
      headers: {Authorization: "Bearer ${secrets.TOKEN}", X: "a $${b} ${vars.ref}"}
      json: {ref: "${vars.ref}", n: 1.50, deep: [{a: "${secrets.OTHER}"}]}
    effect: keyed
    compensate: {http: {method: DELETE, url: "https://ci.example.com/${steps.build.output.body.id}"}}
  wait:
    poll: {url: "https://x.org/${steps.build.output.body.id}", field: state, until: [done, true, 3]}
  release:
    foreach: ${vars.regions}
    as: region
    shell: {command: [echo, "${vars.region}", "to ${vars.region}"], env: {T: "${secrets.TOKEN}"}}
    timeout: 5s
    retry: {max_attempts: 4}
    depends_on: [wait]
"""
    file = tmp_path / "a.yaml"
    file.write_text(text)
    first = sagas.from_file(file)
    file.write_text(first.as_yaml())
    assert sagas.from_file(file).planned.plan == first.planned.plan, first.as_yaml()
