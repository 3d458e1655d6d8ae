"""What `celery -A app saga ui` does: it serves pages and HTTP API, with the logins asked for.

Owns: what the options and the environment say of logins.  Refuses to know: what is served (`web`).
It is loaded by that verb only, since it needs the extra `web`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from celeriac.observing import clean
from celeriac.terminal.interrupts import interrupts
from celeriac.web import Role, TrustedProxy, create_app, read_accounts, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.sagas import Sagas
    from celeriac.web import Account

#: Accounts, as in the file of --basic-auth: where a container gets its secrets.
VARIABLE = "CELERIAC_BASIC_AUTH"


def serve_ui(  # noqa: PLR0913 -- the options
    sagas: Sagas,
    host: str,
    port: int,
    root_path: str,
    *,
    accounts: str | None,
    peers: Sequence[str],
    proxy_user_header: str,
    proxy_role_header: str | None,
    proxy_role: str,
    origins: Sequence[str],
) -> None:
    """Serve until SIGINT or SIGTERM.  Raises ConfigurationError."""
    if proxy_role not in set(Role):
        raise click.BadParameter(f"one of {', '.join(Role)}", param_hint="--proxy-role")
    role = Role(proxy_role)
    proxy = (
        TrustedProxy(tuple(peers), proxy_user_header, proxy_role_header, role) if peers else None
    )
    app = create_app(sagas, accounts=_accounts(accounts), proxy=proxy, origins=origins)
    sagas.runtime.check()
    shown = f"[{host}]" if ":" in host else host
    whom = "" if app.state.site.login.asks else "; without a login, to this machine only"
    click.echo(f"Serving http://{clean(shown)}:{port}{clean(root_path)}{whom}.", err=True)
    with interrupts():  # which end it in order: its exit code is 0
        serve(app, host, port, root_path)


def _accounts(file: str | None) -> dict[str, Account] | None:
    """Return the accounts of a file or of the environment, if there are any."""
    if file is None:
        lines = os.environ.get(VARIABLE, "").splitlines()
        return read_accounts(lines) if lines else None
    try:
        return read_accounts(Path(file).read_text(encoding="utf-8").splitlines())
    except OSError as error:
        advice = (
            "; it takes a file, since everybody on this machine can read the arguments of a program"
            if ":" in file
            else ""
        )
        # What was meant to be a password is not repeated.
        text = f"it cannot be read ({error.strerror}){advice}"
        raise click.BadParameter(text, param_hint="--basic-auth") from None
