"""The planted bugs of waits: signals and times.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

WAITING = "tests/machine/test_waits.py"
SLEEPS = "tests/machine/test_sleeps.py"
EXPIRING = "tests/machine/test_expiring.py"
HERDS = "tests/engine/test_herds.py"
BUNDLES = "tests/workers/test_publishing.py"

WAITS = (
    Plant(
        "an early signal is dropped",
        "A signal is refused unless its wait is open already.",
        "machine/waits.py",
        "        return all(guard.holds(choice) for guard, choice in asked if choice)\n",
        "        return not asked and False\n",
        (WAITING,),
    ),
    Plant(
        "the same signal counts twice",
        "An id is not looked up among those that were accepted.",
        "machine/waits.py",
        "    if any(each.key == command.key for each in run.signals):\n",
        "    if run.status.at_rest and any(each.key == command.key for each in run.signals):\n",
        (WAITING,),
    ),
    Plant(
        "a signal is taken twice",
        "Nobody notes which wait has taken a signal.",
        "machine/attempt_events.py",
        "    by = event.step\n",
        '    by = ""\n',
        (WAITING,),
    ),
    Plant(
        "the newest signal is taken",
        "A wait takes what came last.",
        "machine/draft.py",
        "for each in draft.run.signals[::-1] if not each.taken_by}",
        "for each in draft.run.signals if not each.taken_by}",
        (WAITING,),
    ),
    Plant(
        "a timer fires early",
        "A wait ends whenever somebody looks.",
        "machine/waits.py",
        "        if direction.state not in _ENDS or not 0 < direction.limit <= draft.now:\n",
        "        if direction.state not in _ENDS or not direction.limit:\n",
        (WAITING,),
    ),
    Plant(
        "a timer fires twice",
        "A wait whose time is over ends once more.",
        "machine/waits.py",
        "            _end(draft, command, name, direction)\n",
        "            _end(draft, command, name, direction)\n" * 2,
        (WAITING,),
    ),
    Plant(
        "a timer outlives its wait",
        "When the run turns round, the time of an open wait is still looked at.",
        "machine/run_events.py",
        '            run = move_step(run, at_step, "a wait", at=event.at, limit=0)\n',
        '            run = move_step(run, at_step, "a wait", at=event.at)\n',
        (WAITING,),
    ),
    Plant(
        "a paused run takes signals",
        "A wait ends although an operator holds the run.",
        "machine/draft.py",
        "draft.run.status is RunStatus.RUNNING and not draft.run.paused:\n",
        "draft.run.status is RunStatus.RUNNING:\n",
        (WAITING,),
    ),
    Plant(
        "an outage is no excuse",
        "A wait for a signal is over although nobody could send one.",
        "machine/waits.py",
        "    elif not _has_longer(draft, command, name, direction.at, direction.credited):\n"
        "        if wait",
        "    elif direction.limit:\n        if wait",
        (WAITING,),
    ),
    Plant(
        "an early payload is lost",
        "A wait takes a signal that came before, and its result is nothing.",
        "engine/committing.py",
        "(self.store.read(run.id, lacking).fields if lacking else {})",
        "{}",
        ("tests/testing/test_waits.py",),
    ),
    Plant(
        "what expired is taken up",
        "A worker that comes too late may run a step that was to be taken up before.",
        "machine/attempts.py",
        'if command.phase == "do" and 0 < direction.limit <= draft.now:',
        'if command.phase == "undo" and 0 < direction.limit <= draft.now:',
        (EXPIRING,),
    ),
    Plant(
        "what expired is undone",
        "A step that nobody has taken up counts as one that may have had an effect.",
        "machine/waits.py",
        "error=told, code=code, effect=False, why=EXPIRED)",
        "error=told, code=code, why=EXPIRED)",
        (EXPIRING,),
    ),
    Plant(
        "a pause uses up the time to take a step up",
        "When the run is resumed, its steps have expired.",
        "machine/standstill.py",
        "            longer = changed(direction, limit=direction.limit + stood_with_it)\n",
        "            longer = changed(direction, limit=direction.limit)\n",
        (EXPIRING,),
    ),
    Plant(
        "a retry expires as well",
        "The time in which a step may be taken up holds for each attempt.",
        "machine/operator_events.py",
        '    expires = event.phase == "do" and not direction.attempt\n',
        '    expires = event.phase == "do"\n',
        (EXPIRING,),
    ),
    Plant(
        "a date that was read moves with a pause",
        "Time for which a run is paused is added to a moment that its sleep has read.",
        "machine/awaited.py",
        "        return self.reads or self.until is not None\n",
        "        return self.until is not None\n",
        (SLEEPS,),
    ),
    Plant(
        "a claim ends any wait",
        "Whoever comes with a message ends a wait for a signal, once its time is over.",
        "machine/sleeping.py",
        "if wait is not None and wait.signal is None:",
        "if wait is not None:",
        (f"{SLEEPS} -k nobody_before",),
    ),
    Plant(
        "a claim ends a sleep early",
        "Whoever comes with a message wakes a run that is to sleep on.",
        "machine/sleeping.py",
        "0 < step.do.limit <= draft.now",
        "step.do.limit > 0",
        (f"{SLEEPS} -k nobody_before",),
    ),
    Plant(
        "a herd is told of again and again",
        "What a sweep has told of is never woken, and sent anew after each grace.",
        "engine/herds.py",
        "return at is not None and entry.at > at",
        "return at is None",
        (f"{HERDS} -k told_of_once",),
    ),
    Plant(
        "a herd is told of in each sweep",
        "What a sweep has told of stays due.",
        "engine/sweep.py",
        "                self._store.postpone(told)\n",
        "                pass\n",
        (f"{HERDS} -k told_of_once",),
    ),
    Plant(
        "a herd is told of too much",
        "A step that was to be taken up in time is told of, and its time begins with its claim.",
        "engine/herds.py",
        "(read_or_told or node.expires or",
        "(read_or_told or",
        (f"{HERDS} -k needs_more",),
    ),
    Plant(
        "what was read for several is believed",
        "A claim is refused for what its run was a moment ago.",
        "engine/attempt_work.py",
        "                if known is None:\n                    raise\n",
        "                raise\n",
        (f"{HERDS} -k glance",),
    ),
    Plant(
        "a retry brings others along",
        "What a message brings stays in the headers of its request.",
        "workers/bundles.py",
        "found = request.pop(ALSO, None)",
        "found = request.get(ALSO)",
        (f"{BUNDLES} -k taken_out",),
    ),
    Plant(
        "many wait for a long attempt",
        "A task of which nothing is known here is taken for a short one.",
        "workers/pace.py",
        "paces.get(task, _SHORT) < _SHORT",
        "paces.get(task, 0.0) < _SHORT",
        (f"{BUNDLES} -k short_attempts",),
    ),
    Plant(
        "a bundle knows no rate limit",
        "Twenty attempts come in a message of a task that may have one at a time.",
        "workers/canvas.py",
        " and not task.rate_limit",
        "",
        (f"{BUNDLES} -k by_itself",),
    ),
)
