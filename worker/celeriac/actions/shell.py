"""`shell`: a command, which is a list of arguments and never a line for a shell.

Owns: starting it in a process group of its own with an environment of its own, ending the whole
group when the time is over, and keeping no more of its output than is allowed.  Refuses to know:
what the command does: it honours no key.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from celeriac.actions.filling import filled
from celeriac.actions.performing import key_of, told_without
from celeriac.actions.requests import ShellRequest, ShellResult
from celeriac.actions.secrets import Secrets
from celeriac.errors import Abort, ActionFailed

if TYPE_CHECKING:
    from celeriac.actions.filling import Hole
    from celeriac.actions.requests import Allowance
    from celeriac.context import StepContext

_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")
_TOLD = 500  # characters of stderr, in a message


def do_shell(
    ctx: StepContext,
    asked: dict[str, Any],
    holes: list[Hole],
    allowed: Allowance,
    *,
    undo: Any = None,
) -> ShellResult:
    """Run the command, and return what it printed; raises ActionFailed unless it ends with 0."""
    secrets = Secrets(allowed)
    with told_without(secrets):
        request = ShellRequest.model_validate(filled(asked, holes, secrets, undo))
        return _run(request, key_of(ctx, undo), secrets)


def undo_shell(
    ctx: StepContext, asked: dict[str, Any], holes: list[Hole], allowed: Allowance, result: Any
) -> None:
    """Run the command that undoes another one."""
    do_shell(ctx, asked, holes, allowed, undo={} if result is None else result)


def _run(request: ShellRequest, key: str, secrets: Secrets) -> ShellResult:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {"SAGA_KEY": key, **request.env}
    try:
        process = subprocess.Popen(  # noqa: S603 -- a list of arguments, which no shell reads
            request.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=request.cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise Abort(
            f"{request.command[0]!r} could not be started: {error}",
            code="not_started",
            effect=False,
        ) from None
    try:
        printed = _communicate(process, request, request.max_bytes + secrets.longest)
        code = process.wait()
    finally:
        _end(process)
    # Cut when they are masked: half a secret is not found.
    out, err = (secrets.text_of(each, request.max_bytes) for each in printed)
    if code != 0:
        raise ActionFailed(f"the command ended with {code}: {err[-_TOLD:]}", code=f"exit_{code}")
    truncated = any(len(each) > request.max_bytes for each in printed)
    return ShellResult(code=code, stdout=out, stderr=err, truncated=truncated)


def _communicate(
    process: subprocess.Popen[bytes], request: ShellRequest, most: int
) -> tuple[bytes, bytes]:
    """Feed the command and read all it prints, but keep no more than one byte over *most*."""
    until, rest = time.monotonic() + request.seconds, request.stdin.encode()
    fed: Any = process.stdin
    kept: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for printed in kept:
            selector.register(printed, selectors.EVENT_READ)
        _feed_or_close(selector, fed, rest)
        while selector.get_map():
            left = until - time.monotonic()
            if left <= 0:
                raise ActionFailed(
                    f"the command took longer than {request.seconds:g} s, and was ended",
                    code="timeout",
                    unknown=True,
                )
            for each, _ in selector.select(left):
                stream: Any = each.fileobj
                if stream is fed:
                    rest = _feed(stream, rest)
                    if not rest:
                        selector.unregister(stream)
                        stream.close()
                elif chunk := os.read(stream.fileno(), 65_536):
                    kept[stream] += chunk[: most + 1 - len(kept[stream])]
                else:
                    selector.unregister(stream)
    return bytes(kept[process.stdout]), bytes(kept[process.stderr])


def _feed_or_close(selector: selectors.BaseSelector, stream: IO[bytes] | None, rest: bytes) -> None:
    assert stream is not None
    if rest:
        os.set_blocking(stream.fileno(), False)
        selector.register(stream, selectors.EVENT_WRITE)
    else:
        stream.close()


def _feed(stream: Any, rest: bytes) -> bytes:
    """Write some of what is to be read; return what is left."""
    try:
        return rest[os.write(stream.fileno(), rest) :]
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return b""  # it does not read


def _end(process: subprocess.Popen[bytes]) -> None:
    """End all that is left of the command and of what it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(OSError):
                stream.close()
