"""The planted bugs of children: steps whose attempts are other runs.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

MACHINE, LAB = "tests/machine/test_children.py", "tests/testing/test_children.py"

CHILDREN = (
    Plant(
        "a parent is woken before its child is at rest",
        "A report counts whatever the child is at.",
        "machine/children.py",
        "    if not command.outcome.at_rest:\n",
        "    if not command.outcome:\n",
        (MACHINE,),
    ),
    Plant(
        "a child is started twice",
        "A step that is tried again has another run beside the one that still owes something.",
        "engine/children.py",
        '        return do.child if stands or phase == "undo" else do.attempt + 1\n',
        '        return do.child if phase == "undo" else do.attempt + 1\n',
        (LAB,),
    ),
    Plant(
        "a cancel does not reach a child at work",
        "Only of a run at rest other runs are told.",
        "machine/relatives.py",
        "    if run.status is not RunStatus.RUNNING:\n",
        "    if run.status.at_rest:\n",
        (MACHINE,),
    ),
    Plant(
        "a termination does not reach a child",
        "A run that was terminated wants nothing of its children any more.",
        "engine/children.py",
        "        if run.status is RunStatus.TERMINATED:\n",
        "        if run.status is RunStatus.FAILED:\n",
        (LAB,),
    ),
    Plant(
        "a child forgets that its parent does not know",
        "It comes to rest as any other run does.",
        "machine/run_events.py",
        "    untold = run.parent is not None\n",
        "    untold = False\n",
        (MACHINE,),
    ),
    Plant(
        "a stranger is adopted",
        "An id that is taken counts as that of a child.",
        "machine/starting.py",
        "        if old.parent == command.parent:\n",
        "        if old.parent != command:\n",
        (MACHINE,),
    ),
    Plant(
        "what a child owes is nobody's business",
        "A child that came to rest owing something has failed the step without effect.",
        "machine/children.py",
        "        _failed(draft, command, attempt, effect=None)\n",
        "        _failed(draft, command, attempt, effect=False)\n",
        (MACHINE,),
    ),
    Plant(
        "a child is removed before its parent",
        "Nobody asks whether the parent is still there.",
        "engine/retention.py",
        "            kept.add(run_id)\n",
        "            kept.discard(run_id)\n",
        (LAB,),
    ),
    Plant(
        "a child has a lease",
        "An attempt that is another run is given up unless somebody renews what nobody holds.",
        "engine/changes.py",
        "if step.do.state is PhaseStatus.RUNNING and not step.do.child:",
        "if step.do.state is PhaseStatus.RUNNING:",
        ("tests/model/test_children.py",),
    ),
)
