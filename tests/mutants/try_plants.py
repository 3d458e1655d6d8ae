"""The planted bugs of tries: a run that begins anew, and what an earlier try still reports.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

IN_THE_MACHINE = "tests/machine/test_tries.py"
IN_THE_LAB = "tests/testing/test_tries.py"

TRIES = (
    Plant(
        "a try under the keys of another",
        "What a new try asks for is taken for what was undone before it.",
        "machine/run_events.py",
        "        epoch=run.epoch + 1,\n        tries=run.tries + 1,\n",
        "        tries=run.tries + 1,\n",
        (IN_THE_MACHINE, IN_THE_LAB),
    ),
    Plant(
        "one try too many",
        "A run begins anew once more often than its saga says.",
        "machine/conditions.py",
        "    tries_left = run.tries <= plan.retries and not run.origin\n",
        "    tries_left = run.tries <= plan.retries + 1 and not run.origin\n",
        (IN_THE_MACHINE,),
    ),
    Plant(
        "a try that is forgotten",
        "What an attempt of an earlier try still does stays.",
        "machine/run_events.py",
        "    known = (*run.earlier, _over(run)) if _may_report(run) else run.earlier\n",
        "    known = run.earlier\n",
        (IN_THE_MACHINE, IN_THE_LAB),
    ),
    Plant(
        "at rest beside an undo",
        "A run is called completed while something of an earlier try is undone.",
        "machine/next_steps.py",
        "    if run.still_undone:\n        return None\n",
        "",
        (IN_THE_MACHINE,),
    ),
    Plant(
        "a deadline for each try",
        "A run that could only begin past its deadline waits for that.",
        "machine/draft.py",
        "        return None if ends and at >= ends else at\n",
        "        return at\n",
        (IN_THE_MACHINE,),
    ),
    Plant(
        "results of an earlier try",
        "A new try is given what the one before has left.",
        "store/payloads.py",
        "    return plain if given or epoch == first_epoch(run) else in_try(plain, epoch)\n",
        "    return plain if given or not marked else in_try(plain, epoch)\n",
        (IN_THE_LAB,),
    ),
)
