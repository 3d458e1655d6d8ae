"""The planted bugs of pages, and of one command for many runs.

Owns: this part of the table.  Refuses to know: the others (`plants`), and how a bug is tried.
"""

from __future__ import annotations

from tests.mutants.planting import Plant

BULKS = "tests/app/test_bulks.py"

PAGES = (
    Plant(
        "many runs are commanded unseen",
        "A run that has become something else since the look gets the command all the same.",
        "app/bulks.py",
        "if _look(state) != member.look or (",
        "if (",
        (f"{BULKS} -k changed_since",),
    ),
    Plant(
        "whoever confirms has counted nothing",
        "A command is begun for another number of runs than was seen.",
        "app/bulks.py",
        "if expected != record.matched:",
        "if expected < 0:",
        (BULKS,),
    ),
    Plant(
        "what a dead sweep did is told as refused",
        "The next sweep does not look whether the one before had acted on a run.",
        "app/bulks.py",
        'if outcome != "changed" and any(',
        "if not outcome and any(",
        (f"{BULKS} -k died",),
    ),
    Plant(
        "a stopped command is told as done nothing",
        "What a sweep did is forgotten if somebody stops the command meanwhile.",
        "app/bulks.py",
        "if seen is None or seen.turns != record.turns:",
        "if True:",
        (f"{BULKS} -k stopped",),
    ),
    Plant(
        "an id with a slash has no page",
        "A path is decoded before it is taken apart.",
        "web/guards.py",
        'scope["path"] = by_segments(scope)',
        "by_segments(scope)",
        ("tests/web/test_ids.py -k one_segment",),
    ),
    Plant(
        "an operator abandons many",
        "The look of a `terminate` asks for no more than that of a `cancel`.",
        "web/bulk_routes.py",
        'return Permission.ADMINISTER if verb == "terminate" else Permission.ACT',
        "return Permission.ACT",
        ("tests/web/test_bulk.py -k administrator",),
    ),
)
