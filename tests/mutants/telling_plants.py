"""The planted bugs of what a step tells while it is at work: how far it is, and tags.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

TAGGING, ENGINE = "tests/machine/test_tagging.py", "tests/engine/test_telling.py"

TELLING = (
    Plant(
        "whoever was given up tags the run",
        "An attempt gives its run tags without being asked whether it still counts.",
        "machine/tagging.py",
        "    check(draft, command)\n",
        "    draft.node(command.step)\n",
        (TAGGING, ENGINE),
    ),
    Plant(
        "new tags take the place of all",
        "The tags that a run was started with are gone as soon as a step gives it some.",
        "machine/run_events.py",
        '    known = {**dict(run.tags), **dict(event.data["tags"])}\n',
        '    known = dict(event.data["tags"])\n',
        (TAGGING,),
    ),
    Plant(
        "the last value is never seen",
        "What comes too soon after the value before is left out.",
        "engine/context_calls.py",
        "                self._later.start()\n",
        "                self._later = None\n",
        (ENGINE,),
    ),
    Plant(
        "how far the attempt before was",
        "What an attempt has said is shown for the next one.",
        "views/progress.py",
        "return Progress(done=done, total=total, text=text) if number == attempt else None",
        "return Progress(done=done, total=total, text=text) if number else None",
        (ENGINE,),
    ),
    Plant(
        "Flower shows how far a task was that has ended",
        "What it told last stays beside its end.",
        "flower.py",
        '    at_work = getattr(task, "state", "") == EVENT.removeprefix("task-").upper()\n',
        "    at_work = True\n",
        ("tests/workers/test_message_text.py",),
    ),
    Plant(
        "a body waits for those who look",
        "How far it is, is told before it goes on: while the broker is away, nobody works.",
        "workers/telling.py",
        'threading.Thread(target=self._send_all, name="celeriac-telling", daemon=True).start()',
        "self._send_all()",
        ("tests/workers/test_message_text.py",),
    ),
)
