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
        "if member.look not in (_look(state), _look(state, exact=True)) or (",
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
        "who started a run approves it",
        "Who sends a signal is not compared with who started the run.",
        "machine/waits.py",
        "if command.by == draft.run.started_by:",
        "if False:",
        ("tests/web/test_starters.py",),
    ),
    Plant(
        "an old answer counts for a new question",
        "When a wait was opened is not compared with when the question was asked.",
        "machine/waits.py",
        "if command.asked not in (0, direction.at):",
        "if False:",
        ("tests/web/test_approvals.py -k mail",),
    ),
    Plant(
        "what is old looks like new",
        "A page that is refused when it asks for itself again says nothing of that.",
        "web/static/live.js",
        "stale.hidden = fresh;",
        "stale.hidden = true;",
        ("tests/web/test_browser.py -k session",),
    ),
    Plant(
        "an attempt is counted one behind",
        "Between two attempts the number of the one that failed is told.",
        "views/next_attempts.py",
        "number = direction.attempts_in_budget + 1",
        "number = direction.attempts_in_budget",
        ("tests/web/test_overview.py -k between_two",),
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
        "A `terminate` asks for no more than a `cancel` does, of one run or of many.",
        "web/access.py",
        'return Permission.ADMINISTER if verb == "terminate" else Permission.ACT',
        "return Permission.ACT",
        ("tests/web/test_bulk.py -k administrator",),
    ),
    Plant(
        "what moves after all is commanded as idle",
        "A run that was found since it did not move gets the command though it goes on again.",
        "app/bulks.py",
        'exact = given.get("idle") is not None',
        "exact = False",
        (f"{BULKS} -k idle",),
    ),
    Plant(
        "a filter that names nothing finds all",
        "One that is empty counts as left out, so a command is for more runs than was meant.",
        "app/bulks.py",
        "if not (value is None or value is False or value in nothing)",
        "if value",
        (f"{BULKS} -k names_nothing",),
    ),
    Plant(
        "other sites learn what is in a page by its size",
        "Whatever asks for a page gets it compressed.",
        "web/rendering.py",
        'ours = request.headers.get("Sec-Fetch-Site") in ("same-origin", "none")',
        "ours = True",
        ("tests/web/test_packing.py",),
    ),
    Plant(
        "a run that moved on is told as it was",
        "What was just read stands in for what is read now, whether or not it is the same.",
        "store/redis.py",
        "moved = before is None or not str(head).startswith(stamp(before))",
        "moved = before is None",
        ("tests/store/test_listing.py -k just_read",),
    ),
    Plant(
        "a step that nobody can run looks well",
        "What is quickly told of most steps is told of a blocked one, too.",
        "views/state.py",
        "odd = step.blocked or step.choice or step.inherited or step.do.child",
        "odd = step.choice or step.inherited or step.do.child",
        ("tests/views/test_state.py -k odd",),
    ),
    Plant(
        "a run at rest is past its deadline for ever",
        "It stays listed among those that are late.",
        "machine/runs.py",
        "return self.overdue and not self.status.at_rest",
        "return self.overdue",
        ("tests/store/test_past_deadline.py",),
    ),
)
