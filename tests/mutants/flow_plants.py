"""The planted bugs of flows: branches.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

BRANCHES = "tests/machine/test_branches.py"

FLOWS = (
    Plant(
        "a join fires early",
        "A step starts when the first of those that it waits for has ended.",
        "machine/schedule.py",
        "        if state and all(passed(plan, run, name) for name in node.after):\n",
        "        if state and (not node.after or any(passed(plan, run, n) for n in node.after)):\n",
        (BRANCHES,),
    ),
    Plant(
        "a join fires twice",
        "A step is sent again although it has been, when the run goes on for another branch.",
        "machine/schedule.py",
        '        state = _turn("do", step.do, comes=True)\n',
        "        state = PhaseStatus.SCHEDULED\n",
        (BRANCHES,),
    ),
    Plant(
        "a branch goes on after another failed",
        "A step is tried again although the run has turned round.",
        "machine/draft.py",
        '    if phase == "do" and draft.run.status is not RunStatus.RUNNING:\n'
        "        return False\n",
        "",
        (BRANCHES,),
    ),
    Plant(
        "undone before its followers",
        "In the order of the graph, a step is undone while what came after it still stands.",
        "machine/schedule.py",
        "            found.update(node.after)\n",
        "            found.update(())\n",
        (BRANCHES,),
    ),
    Plant(
        "only the first is owed",
        "Of two branches that gave up past the pivot, an operator sees one.",
        "machine/runs.py",
        "        return tuple(sorted(stuck, key=lambda name: name != self.failed_step))\n",
        "        return tuple(name for name in stuck if name == self.failed_step)\n",
        (BRANCHES,),
    ),
)
