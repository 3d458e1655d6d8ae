"""Built-in actions: what a step from a file may do without a task of its own.

Owns: HTTP requests, asking until something is so, and commands; whom they may reach, how long they
may take, and how much may come back.  Refuses to know: runs, files, and how a step is registered.

Its files, from the ground up::

    requests < secrets | addresses < connecting | filling | performing < http < poll | shell
"""

from __future__ import annotations

from celeriac.actions.filling import Hole
from celeriac.actions.http import check_url, do_http, undo_http
from celeriac.actions.poll import do_poll
from celeriac.actions.requests import (
    Allowance,
    HttpRequest,
    HttpResult,
    PollRequest,
    ShellRequest,
    ShellResult,
)
from celeriac.actions.secrets import find_provider
from celeriac.actions.shell import do_shell, undo_shell

__all__ = [
    "Allowance",
    "Hole",
    "HttpRequest",
    "HttpResult",
    "PollRequest",
    "ShellRequest",
    "ShellResult",
    "check_url",
    "do_http",
    "do_poll",
    "do_shell",
    "find_provider",
    "undo_http",
    "undo_shell",
]
