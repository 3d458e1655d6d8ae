"""Metrics of a process of your own.

Owns: the path by which users import these names.  Refuses to know: what they do
(`app.instruments`).
"""

from __future__ import annotations

from celeriac.app import Instruments, count_into, serve_store

__all__ = ["Instruments", "count_into", "serve_store"]
