"""The archive: what it is given, and the one that is shipped.

Owns: the path by which users import these names.  Refuses to know: what they do (`engine.archive`).
"""

from __future__ import annotations

from celeriac.engine import Archive, ArchivedRun, JsonLines, load_archive

__all__ = ["Archive", "ArchivedRun", "JsonLines", "load_archive"]
