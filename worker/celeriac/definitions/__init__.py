"""Definitions in files: a saga as YAML, read into the plan that Python would have made, and back.

Owns: what may stand in such a file, where in it a mistake is, and writing a plan as a file.
Refuses to know: apps and their tasks, which are lent to it (`World`), runs, and where files are
kept.

Nothing in a file is evaluated: it is parsed, then values are put into the tree, once.

Its files, from the ground up::

    problems < trees < scalars | templates | kinds | emitting < fields < policies | gates
    | variables < documents < values | ordering < arguments < waits < actions < compiling | spelling
    < writing
"""

from __future__ import annotations

from celeriac.definitions.arguments import World
from celeriac.definitions.compiling import plan_file
from celeriac.definitions.scalars import read_given
from celeriac.definitions.trees import LARGEST
from celeriac.definitions.writing import write_plan

__all__ = ["LARGEST", "World", "plan_file", "read_given", "write_plan"]
