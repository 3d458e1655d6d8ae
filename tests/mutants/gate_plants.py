"""The planted bugs of gates: limits, rates and breakers.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

LAB = "tests/gates/test_gates_in_lab.py"
JUDGING = "tests/gating/test_judging.py"

GATES = (
    Plant(
        "a step runs ahead past its gates",
        "Whoever settles a step takes up the next, which has gates, without a message.",
        "machine/queueing.py",
        "    if len(command.gates) != len(needed) or len(command.enters) != len(enters):\n",
        "    if len(command.gates) > len(needed) or len(command.enters) > len(enters):\n",
        ("tests/machine/test_gates.py",),
    ),
    Plant(
        "whoever is let out is not missed",
        "A step waits by one message, and another one of it has let it out of the line since.",
        "engine/gates.py",
        "            if found.snapshot.queued is None:\n",
        "            if not found.snapshot.queued and not order:\n",
        ("tests/engine/test_busy_gates.py",),
    ),
    Plant(
        "whoever lets out does not look back",
        "A refused message lets its step out of the line in which it waits by another one.",
        "engine/gate_book.py",
        "for member in (*leave, passed)]\n",
        "for member in (passed,)]\n",
        ("tests/engine/test_busy_gates.py",),
    ),
    Plant(
        "who passes in vain is in line no more",
        "A claim that took a place is refused, and its step has left the line for good.",
        "engine/gates.py",
        "        while passing.left:\n            turn",
        "        while not passing.left and passing.taken:\n            turn",
        ("tests/engine/test_busy_gates.py",),
    ),
    Plant(
        "who dies behind a gate is in line no more",
        "A worker that took a place dies before it claims, and its step has left the line.",
        "engine/gate_book.py",
        "for member in found.gone]\n",
        "for member in found.gone if found.snapshot.waiting]\n",
        ("tests/engine/test_busy_gates.py",),
    ),
    Plant(
        "a turn is known by its moment",
        "A step is called only if line and run say the same time, and two messages wrote them.",
        "machine/queueing.py",
        "    if not _waits(draft, command) or line[:1] != (command.gate,):\n",
        "    if not _waits(draft, command) or line != (command.gate, draft.now):\n",
        ("tests/engine/test_busy_gates.py",),
    ),
    Plant(
        "a lost attempt keeps its place",
        "A place that is over counts as taken, whatever its run says.",
        "engine/gate_book.py",
        "        self._keep_out(run, place, now)\n        return False\n",
        "        return True\n",
        (LAB,),
    ),
    Plant(
        "half open lets two through",
        "While one attempt tries a breaker, another may too.",
        "gating/judging.py",
        '"half_open": 1}',
        '"half_open": 2}',
        (JUDGING,),
    ),
    Plant(
        "who was silent claims with an old place",
        "A place is free before whoever took it is kept out.",
        "engine/gate_book.py",
        "        self._keep_out(run, place, now)\n        return False\n",
        "        return False\n",
        ("tests/crash/test_gates.py",),
    ),
    Plant(
        "who comes later goes first",
        "Whoever arrives while a place is free passes those who wait.",
        "gating/judging.py",
        "    if before < free:\n",
        "    if free > 0:\n",
        (JUDGING,),
    ),
    Plant(
        "waiting uses up an attempt",
        "A claim that has to wait is counted.",
        "machine/gate_events.py",
        'direction = changed(direction, at=event.data["until"], sent=sent, sends=0)',
        'direction = changed(direction, at=event.data["until"], sent=sent, attempt=event.attempt)',
        ("tests/machine/test_gates.py",),
    ),
    Plant(
        "a key may be nowhere",
        "A gate is counted apart by what no value has, so that all count as one.",
        "authoring/gates.py",
        "    path = _path(key, kinds[parameter], names)\n",
        "    path = names\n",
        ("tests/authoring/test_gate_keys.py",),
    ),
    Plant(
        "a rate ends its spans together",
        "Places of a rate end by the clock, so that twice as many pass where two spans meet.",
        "gating/judging.py",
        "        return now + record.rule.per\n",
        "        return now - now % record.rule.per + record.rule.per\n",
        (f"{LAB} -k whatever_goes_wrong",),
    ),
    Plant(
        "an Abort counts as a failure",
        "A breaker opens although the bank has answered.",
        "engine/gates.py",
        '            if not isinstance(command, Fail) or command.kind == "abort":\n',
        "            if not isinstance(command, Fail):\n",
        (LAB,),
    ),
    Plant(
        "a breaker is opened for known values only",
        "Whoever comes with another value passes a breaker that an operator has opened.",
        "engine/gates.py",
        'if whole_gate != name and rule.kind == "breaker":',
        'if whole_gate != name and rule.kind == "none":',
        (f"{LAB} -k each_value",),
    ),
    Plant(
        "a late report takes a turn away",
        "An undo that waits in line leaves it when anything more comes to light of its step.",
        "machine/state_changes.py",
        "return before.state.claimable and (before.state, before.at) != (now.state, now.at)",
        "return True or (before, now)",
        ("tests/machine/test_gates.py",),
    ),
)
