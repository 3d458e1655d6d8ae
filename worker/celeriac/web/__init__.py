"""Runs over HTTP: pages for people, a JSON API for programs, served alone or mounted anywhere.

Owns: pages, routes, their answers, and who may use them.  Refuses to know: what a verb does, and
how runs are found and worded: it gives and shows what `Sagas` and `views` have.

Its files, from the ground up::

    access | problems | forms | guesses | segments | etags | live_looks | kept_figures
    | run_watch < login < site
    < guards | csrf | answers
    | reading_routes | acting_routes | completion_routes | health_routes
    < stream_routes | attempts | chosen_step | marks < charts < rendering | offers
    < approvals | outside | bulk_routes | schedule_routes | breaker_routes | saga_pages | overview
    | system_page < pages
    < application < server
"""

from __future__ import annotations

from importlib.util import find_spec

_NEEDED = ("fastapi", "jinja2", "python_multipart", "sse_starlette", "uvicorn")
_MISSING = [name for name in _NEEDED if find_spec(name) is None]
if _MISSING:
    raise ImportError(
        f"celeriac.web needs {', '.join(_MISSING)}: install the extra, pip install 'celeriac[web]'"
    )

from celeriac.web.access import Caller, Permission, Role  # noqa: E402 -- only if it can be
from celeriac.web.application import create_app  # noqa: E402
from celeriac.web.login import Account, TrustedProxy, read_accounts  # noqa: E402
from celeriac.web.server import serve  # noqa: E402

__all__ = [
    "Account",
    "Caller",
    "Permission",
    "Role",
    "TrustedProxy",
    "create_app",
    "read_accounts",
    "serve",
]
