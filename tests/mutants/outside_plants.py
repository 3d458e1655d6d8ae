"""The planted bugs of results from outside, and of their tokens.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

OUTSIDE, LATER = "tests/machine/test_outside.py", "tests/testing/test_later.py"

OUTSIDE_RESULTS = (
    Plant(
        "a token survives a retry",
        "What comes with the token of an attempt settles the next one.",
        "machine/attempts.py",
        "direction.state is PhaseStatus.DEFERRED and direction.attempt == command.attempt\n",
        "direction.state is PhaseStatus.DEFERRED\n",
        (OUTSIDE, LATER),
    ),
    Plant(
        "a kept result is lost",
        "What came before the step returned is forgotten when it does.",
        "machine/outside.py",
        "    if not kept:\n        return False\n",
        "    if kept is not None:\n        return False\n",
        (OUTSIDE, LATER),
    ),
    Plant(
        "an early result ends the attempt",
        "What follows starts beside a body that is still at work.",
        "machine/outside.py",
        "    if early:\n        _keep(draft, command)\n    return early\n",
        "    return False\n",
        (OUTSIDE, LATER),
    ),
    Plant(
        "a worker that was lost is not waited for",
        "A result is there, and so nobody minds what its worker may still have on its way.",
        "machine/attempt_events.py",
        '    if event.data.get("lost"):  # whatever its worker still reports is a late report\n',
        '    if event.data.get("never"):\n',
        (OUTSIDE,),
    ),
    Plant(
        "a word after the end is lost",
        "A step that failed by itself has its token forgotten: nobody undoes what came about.",
        "machine/late_reports.py",
        "    return command.outside and direction.state is not PhaseStatus.DONE\n",
        "    return False\n",
        (OUTSIDE,),
    ),
    Plant(
        "a token is kept in clear",
        "Whoever reads the store can bring results.",
        "engine/tokens.py",
        '    return hashlib.sha256(secret.encode("utf-8", "backslashreplace")).hexdigest()[:32]\n',
        "    return secret\n",
        (LATER,),
    ),
    Plant(
        "another result replaces the first",
        "What comes with a token that has served is recorded once more.",
        "engine/tokens.py",
        "            if before and before != said.digest:\n",
        "            if before and len(before) > 99:\n",
        (LATER,),
    ),
    Plant(
        "somebody outside has longer than all attempts",
        "A step waits for its result past the time that its saga allows it.",
        "machine/waits.py",
        "    until = until if latest is None else min(until, latest)\n",
        "    until = until if latest is None else max(until, latest)\n",
        (OUTSIDE,),
    ),
    Plant(
        "an outage is no excuse for a result",
        "A step is given up although nobody could bring what it waits for.",
        "machine/waits.py",
        "        elif not _has_longer(draft, command, name, direction.at, direction.credited):\n"
        "            time_out",
        "        else:\n            time_out",
        (OUTSIDE,),
    ),
    Plant(
        "a token can break whoever reads it",
        "What a number in it is too large for comes out as an error of another kind.",
        "engine/tokens.py",
        "TypeError, OverflowError, binascii",
        "TypeError, binascii",
        (LATER,),
    ),
)
