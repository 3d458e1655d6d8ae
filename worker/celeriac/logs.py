"""Logging formats and filters that name the run at work: what an application may set up by itself.

Owns: the path by which users import these names.  Refuses to know: what they do (`observing.logs`).
"""

from __future__ import annotations

from celeriac.observing import LINE, AttemptFilter, JsonFormatter

__all__ = ["LINE", "AttemptFilter", "JsonFormatter"]
