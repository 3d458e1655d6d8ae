"""Serving the application by itself, until a signal ends it: `celery -A app saga ui`.

Owns: the server and its settings.  Refuses to know: what is served, and how it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn

from celeriac.errors import ConfigurationError
from celeriac.web.login import is_loopback_host

if TYPE_CHECKING:
    from fastapi import FastAPI

_LAST_SECONDS = 3  # that open streams get at the end


def serve(app: FastAPI, host: str, port: int, root_path: str = "") -> None:
    """Serve *app*, which `create_app` made, until SIGINT or SIGTERM.

    *root_path* is where a proxy has it, such as `/sagas`.  Raises ConfigurationError for a host
    that others reach while there is no login.
    """
    if not app.state.site.login.asks and not is_loopback_host(host):
        raise ConfigurationError(
            f"--host {host}: others would get in without a login; set one up with --basic-auth or "
            "--proxy-peer, or leave --host out"
        )
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        root_path=root_path,
        log_level="warning",
        access_log=False,  # a path may name an order
        proxy_headers=False,  # who a request comes from decides who it is
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    uvicorn.Server(config).run()
