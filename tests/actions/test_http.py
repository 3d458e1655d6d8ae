"""`http`: one request in one attempt, to whom it may go, and what its answer means."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from celeriac.actions import Allowance, HttpRequest
from celeriac.actions.addresses import allowed_addresses, check_host
from celeriac.actions.http import send
from celeriac.errors import Abort, ActionFailed

if TYPE_CHECKING:
    from tests.actions.conftest import Run
    from tests.actions.server import Server

HERE = Allowance(hosts=("127.0.0.1",))


def test_a_request_and_its_answer(run: Run, server: Server) -> None:
    """Method, body, headers, and the key of the step; the answer's body is what its JSON says."""
    server.on["/builds"] = lambda _: (201, {"id": 7, "tags": ["a"]}, {"Location": "/builds/7"})
    ended = run(
        """
build:
  http:
    method: POST
    url: URL/builds
    headers: {X-Ref: "ref ${vars.n}"}
    params: {country: NO}
    json: {ref: "${vars.ref}", version: 1.10, at: 08:30, deep: ["${vars.n}"]}
""",
        "${steps.build.output}",
        ref='a"b\n${secrets.TOKEN}',
        n=3,
    )
    assert ended.result().model_dump() == {
        "status": 201,
        "headers": {"content-type": "application/json", "location": "/builds/7"},
        "body": {"id": 7, "tags": ["a"]},
    }
    [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/builds?country=NO")
    assert asked.headers["idempotency-key"] == f"{ended.id}:build"
    assert asked.headers["x-ref"] == "ref 3"
    body = {"ref": 'a"b\n${secrets.TOKEN}', "version": 1.1, "at": "08:30", "deep": [3]}
    assert json.loads(asked.body) == body


def test_a_value_in_a_url_stays_one_value(run: Run, server: Server) -> None:
    """It is quoted, so that it leads nowhere else; `..` is refused."""
    steps = "it: {http: {url: 'URL/orders/${vars.order}?x=${vars.order}'}}"
    assert run(steps, order="a/../../b?c#d e").status == "completed"
    quoted = "a%2F..%2F..%2Fb%3Fc%23d%20e"
    assert server.asked[0].path == f"/orders/{quoted}?x={quoted}"
    ended = run(steps, order="..")
    assert ended.status == "compensated"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "times", "method"),
    [
        *[(status, 1, "POST") for status in (301, 400, 401, 404, 422)],
        *[(status, 3, "POST") for status in (408, 409, 425, 429, 500, 503)],
        (500, 3, "GET"),
    ],
)
def test_what_an_answer_means(
    run: Run, server: Server, status: int, times: int, method: str
) -> None:
    """What the client has done wrong, it would do wrong again; all else may be tried again."""
    server.on["/x"] = lambda _: (status, {})
    ended = run(f"it: {{http: {{url: URL/x, method: {method}}}}}")
    assert ended.status == "compensated"
    assert len(server.asked) == times
    assert ended.state().failure.code == f"http_{status}"  # type: ignore[union-attr]


def test_a_redirect_is_not_followed(run: Run, server: Server) -> None:
    """Wherever it leads: nobody asks there."""
    server.on["/x"] = lambda _: (302, {}, {"Location": f"{server.url}/inside"})
    assert run("it: {http: {url: URL/x}}").status == "compensated"
    assert [asked.path for asked in server.asked] == ["/x"]


def test_no_answer_is_an_unknown_outcome(run: Run, server: Server) -> None:
    """What was sent and honours no key is not sent again: the run asks; a key may be repeated."""
    server.on["/x"] = server.hang
    ended = run("it: {http: {url: URL/x, method: POST}, timeout: 200ms}")
    assert ended.status == "failed"
    assert ended.state().asking
    assert len(server.asked) == 1
    ended = run(
        "it: {http: {url: URL/x, method: POST}, timeout: 100ms, effect: keyed, "
        "retry: {max_attempts: 2}}"
    )
    assert ended.status == "compensated"
    assert len(server.asked) == 3
    keys = {asked.headers["idempotency-key"] for asked in server.asked[1:]}
    assert keys == {f"{ended.id}:it"}


def test_what_was_never_sent_had_no_effect() -> None:
    """A port where nobody listens: it failed, and provably did nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ActionFailed) as caught:
        send(HttpRequest(url=f"http://127.0.0.1:{port}/", method="POST"), "k", HERE)
    assert (caught.value.effect, caught.value.unknown) == (False, False)


def test_an_answer_has_a_limit(server: Server) -> None:
    """No more is read than is allowed."""
    server.on["/x"] = server.drip
    with pytest.raises(Abort, match="more than 1000 bytes"):
        send(HttpRequest(url=f"{server.url}/x", max_bytes=1000), "k", HERE)


def test_the_whole_request_has_a_time(server: Server) -> None:
    """Not each read alone: a server that drips is left as well."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def drip() -> None:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(100):
            if server.released.wait(0.05):
                break
            try:
                connection.sendall(b"x")
            except OSError:
                break
        connection.close()

    thread = threading.Thread(target=drip)
    thread.start()
    with pytest.raises(ActionFailed, match="no answer came"):
        send(HttpRequest(url=f"http://127.0.0.1:{port}/", seconds=0.3), "k", HERE)
    server.released.set()
    thread.join()
    listener.close()


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("http://127.0.0.1:1/", ()),
        ("http://127.0.0.1:1/", ("example.com",)),
        (
            "http://localhost:1/",
            ("localhost",),
        ),  # a name that is allowed, at an address that is not
        ("http://127.1:1/", ("127.0.0.1",)),
        ("http://2130706433/", ("127.0.0.1",)),
        ("http://[::ffff:127.0.0.1]:1/", ("10.0.0.0/8",)),
        ("http://169.254.169.254/latest/meta-data", ("*.example.com", "example.com")),
        ("http://example.com.evil.org/", ("example.com", "*.example.com")),
        ("http://user@127.0.0.1:1/", ("127.0.0.1",)),
        ("http://example.com\\@127.0.0.1:1/", ("example.com",)),
        ("http://example\u3002com/", ("example.com",)),
        ("http://example.com:99999/", ("example.com",)),
        ("http://[example.com/", ("example.com",)),
        ("file:///etc/passwd", ("127.0.0.1",)),
        ("ftp://127.0.0.1/", ("127.0.0.1",)),
        ("http:///x", ("127.0.0.1",)),
        ("127.0.0.1", ("127.0.0.1",)),
    ],
)
def test_who_may_not_be_asked(url: str, hosts: tuple[str, ...]) -> None:
    """Hosts by a list, addresses by what they are; nothing is sent, and there is no effect."""
    with pytest.raises((Abort, ActionFailed)) as caught:
        send(HttpRequest(url=url), "k", Allowance(hosts=hosts))
    error = caught.value
    assert isinstance(error, Abort | ActionFailed)
    assert error.effect is False
    assert error.code == ("host_refused" if isinstance(error, Abort) else "unreached")


PRIVATE = (
    *("10.0.0.1", "169.254.169.254", "127.0.0.1", "::1", "fe80::1%eth0", "::ffff:10.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b:1::a9fe:a9fe", "::7f00:1", "::ffff:0:7f00:1", "fec0::1"),
    *("100.64.0.1", "fd00::1", "224.0.0.1", "2002:0a00:0001::", "0.0.0.0"),  # noqa: S104 -- refused
)


def test_the_address_is_checked_where_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """One private address among several is enough to refuse, and IPv6 has no back door."""

    def found(*addresses: str) -> None:
        answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)

    found("93.184.216.34")
    assert allowed_addresses("example.com", 80, ("example.com",)) == ["93.184.216.34"]
    for address in PRIVATE:
        found("93.184.216.34", address)
        with pytest.raises(Abort, match="no public address"):
            allowed_addresses("example.com", 80, ("example.com",))
    found("64:ff9b::5db8:d822", "2606:4700::1111")  # a public address behind a translator
    assert len(allowed_addresses("example.com", 80, ("example.com",))) == 2
    found("10.1.2.3")
    assert allowed_addresses("ci.internal", 80, ("ci.internal", "10.1.0.0/16")) == ["10.1.2.3"]


@pytest.mark.parametrize("host", ["a.example.com", "A.Example.com.", "b.a.example.com"])
def test_hosts_by_pattern(host: str) -> None:
    """`*.` stands for any name before it."""
    check_host(host, ("*.example.com",))
    with pytest.raises(Abort):
        check_host("example.com", ("*.example.com",))


def test_an_action_is_undone_by_one(run: Run, server: Server) -> None:
    """With what it gave, and a key of its own; not by guessing, if it gave nothing."""
    server.on["/deploys"] = lambda _: (200, {"id": "d/1"})
    server.on["/fail"] = lambda _: (400, {})
    steps = """
deploy:
  http: {method: POST, url: URL/deploys, json: {ref: main}}
  compensate:
    http:
      method: DELETE
      url: URL/deploys/${steps.deploy.output.body.id}
      json: {id: "${steps.deploy.output.body.id}", all: "${steps.deploy.output.body}"}
check: {http: {url: URL/fail}, depends_on: [deploy]}
"""
    ended = run(steps)
    assert ended.status == "compensated"
    undo = server.asked[-1]
    assert (undo.method, undo.path) == ("DELETE", "/deploys/d%2F1")
    assert undo.headers["idempotency-key"] == f"{ended.id}:deploy:undo"
    assert json.loads(undo.body) == {"id": "d/1", "all": {"id": "d/1"}}


def test_an_action_for_each_element(run: Run, server: Server) -> None:
    """`as` names the element."""
    steps = """
release:
  foreach: ${vars.regions}
  as: region
  http: {method: PUT, url: "URL/regions/${vars.region}", json: {name: "${vars.region}"}}
"""
    assert run(steps, regions=["eu", "us"]).status == "completed"
    assert sorted(asked.path for asked in server.asked) == ["/regions/eu", "/regions/us"]


def test_a_header_holds_no_line_break(run: Run, server: Server) -> None:
    """Nothing is sent, and the error does not repeat the value."""
    ended = run("it: {http: {url: URL/x, headers: {A: '${vars.a}'}}}", a="x\r\nB: y")
    failure = ended.state().failure
    assert failure is not None
    assert (failure.code, failure.effect) == ("value_refused", False)
    assert "B: y" not in failure.message
    assert server.asked == []
