"""The planted bugs of schedules and of forks.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

RULES = "tests/scheduling/test_judging.py"
TIMES = "tests/scheduling/test_timetables.py"
LAB = "tests/testing/test_schedules.py"
FORKS = "tests/machine/test_forks.py"

SCHEDULES = (
    Plant(
        "a time that comes twice has two ticks",
        "A fixed hour follows elapsed time, as hour `*` does.",
        "scheduling/timetables.py",
        "found.update(_instants(wall) if len(hours) == _HOURS else (_once(wall),))",
        "found.update(_instants(wall))",
        (TIMES,),
    ),
    Plant(
        "a tick is judged twice",
        "The newest tick that was judged is not noted.",
        "scheduling/judging.py",
        "    ticked = record.changed(last=tick, ticked=tick)\n",
        "    ticked = record.changed(ticked=tick)\n",
        (RULES,),
    ),
    Plant(
        "new times fill in what has passed",
        "An edit leaves the time from which ticks are judged.",
        "scheduling/judging.py",
        '        values["last"] = now if newer else max(found.last, found.confirmed)\n',
        '        values["last"] = found.last\n',
        (RULES,),
    ),
    Plant(
        "a decision that was not carried out is forgotten",
        "The next tick is judged although the run before was never started.",
        "scheduling/judging.py",
        "    if record.deleted or record.starting:\n        return Judged(record)\n",
        "    if record.deleted:\n        return Judged(record)\n",
        (RULES,),
    ),
    Plant(
        "nobody carries out what a dead sweep has decided",
        "Only the sweep that decided starts the run.",
        "engine/ticks.py",
        "            if offered is None:\n                return  # a newer process sees to it\n",
        "            if offered is None or offered.record.starting:\n                return\n",
        (LAB,),
    ),
    Plant(
        "runs overlap",
        "A run that waits or is paused counts as one at rest.",
        "engine/ticks.py",
        "if run and not run.status.at_rest)",
        "if run and run.status.at_rest)",
        (LAB,),
    ),
    Plant(
        "a fork undoes what it inherited",
        "What is inherited counts as done by the fork itself.",
        "machine/tables.py",
        '    (_S.SCHEDULED, _E.INHERITED, ""): _S.SKIPPED,\n',
        '    (_S.SCHEDULED, _E.INHERITED, ""): _S.DONE,\n',
        (FORKS,),
    ),
    Plant(
        "a fork inherits what was undone",
        "The result of a step is taken over although its effect is gone.",
        "machine/forking.py",
        "        if _was_undone(plan, run, name):\n",
        "        if plan.find(name) is None:\n",
        (FORKS,),
    ),
)
