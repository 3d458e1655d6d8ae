"""The planted bugs of rewinds: what stands, and what is done again under keys of its own.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

IN_THE_MACHINE = "tests/machine/test_rewinds.py"
IN_THE_LAB = "tests/testing/test_rewinds.py"
EXPLORATION = "tests/machine/test_exploration_of_rewinds.py"

REWINDS = (
    Plant(
        "a rewind undoes what should stand",
        "All of the run is undone, whatever step it goes back to.",
        "machine/undoing.py",
        "    stands = standing(plan, run.rewinds_to) if run.rewinds_to else ()\n",
        "    stands = ()\n",
        (IN_THE_MACHINE, IN_THE_LAB),
    ),
    Plant(
        "a rewind goes forward under the old keys",
        "What is done again is taken for what was undone.",
        "machine/run_events.py",
        "        epoch=run.epoch + 1,\n        rewinds=run.rewinds + 1,\n",
        "        rewinds=run.rewinds + 1,\n",
        (IN_THE_MACHINE, IN_THE_LAB),
    ),
    Plant(
        "what stands loses its key",
        "It is undone later under a key that no effect has.",
        "machine/tries.py",
        "    return stands.get(instance.map if instance else step, run.epoch)\n",
        "    return run.epoch\n",
        (IN_THE_LAB, EXPLORATION),
    ),
    Plant(
        "an attempt from before a rewind is forgotten",
        "What it still does stays, beside what was done again.",
        "machine/run_events.py",
        "        earlier=(*run.earlier, over) if _may_report(over) else run.earlier,\n",
        "        earlier=run.earlier,\n",
        (IN_THE_MACHINE, EXPLORATION),
    ),
    Plant(
        "the results of what stands are looked for elsewhere",
        "A step that is done again is given nothing.",
        "store/payloads.py",
        "    return epoch_of(run, _step_of(field)) if run.stands else run.epoch\n",
        "    return run.epoch\n",
        (IN_THE_LAB,),
    ),
    Plant(
        "a rewind into a branch",
        "One branch goes back, while the other stands on what is undone.",
        "machine/rewinding.py",
        "    if not _is_cut(plan, to):\n",
        "    if False:\n",
        (IN_THE_MACHINE,),
    ),
    Plant(
        "a rewind to what undoes several",
        "It breaks with an error that nobody can make sense of.",
        "machine/forking.py",
        "    covers = plan.by_name[at].covers\n",
        "    covers = ()\n",
        (IN_THE_MACHINE,),
    ),
    Plant(
        "a lost reply is a second rewind",
        "Nobody notes which call it was.",
        "machine/operators.py",
        "    if draft.run.rewound_by == command.nonce:\n",
        "    if not command.nonce:\n",
        (IN_THE_MACHINE,),
    ),
)
