"""Ids in paths: whatever an id holds, it is one segment of a path.

Owns: a `/` within a segment, which a server hands over as one between two.  Refuses to know: the
routes, and what an id may be.

A server decodes a path before anybody routes it, so `/runs/a%2Fb` arrives as `/runs/a/b`.  What
arrived as well is the path as it was sent.  From that each segment is decoded by itself, with a
mark in place of its slashes; a route of ours puts them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fastapi.routing import APIRoute
from starlette.routing import Match

if TYPE_CHECKING:
    from starlette.types import Scope

_SLASH = "\ue000"  # of private use: no id holds it, since it cannot be printed


def by_segments(scope: Scope) -> str:
    """Return the path of a request, in which `/` stands between segments only."""
    path, raw = str(scope["path"]), scope.get("raw_path")
    if not raw or b"%2f" not in raw.lower():
        return path
    sent = raw.partition(b"?")[0].decode("ascii", "replace")
    if unquote(sent) != path:  # somebody in between has changed it: they know
        return path
    return "/".join(unquote(each).replace("/", _SLASH) for each in sent.split("/"))


def below_root(scope: Scope) -> str:
    """Return the path of a request as the routes know it, wherever we are mounted."""
    return str(scope["path"]).removeprefix(str(scope.get("root_path", "")).rstrip("/"))


class SegmentRoute(APIRoute):
    """A route whose parameters are whole segments."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the route is meant, and its parameters as they were sent."""
        match, found = super().matches(scope)
        if match is not Match.NONE:
            params: dict[str, Any] = found.get("path_params", {})
            own = scope.get("path_params", {})
            for name, value in params.items():
                if isinstance(value, str) and name not in own:
                    params[name] = value.replace(_SLASH, "/")
        return match, found
