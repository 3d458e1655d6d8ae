"""The planted bugs of answers: what a step may say in place of a result.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

IN_THE_MACHINE = "tests/machine/test_answers.py"
POLLING = "tests/machine/test_polling.py"
IN_THE_LAB = "tests/testing/test_answers.py"

ANSWERS = (
    Plant(
        "a run that was ended goes on",
        "What follows the step that ended the run is sent all the same.",
        "machine/next_steps.py",
        "    if run.ended_by:\n"
        "        return _confirm_next(plan, run, event)  # nothing else starts\n",
        "",
        (IN_THE_MACHINE,),
    ),
    Plant(
        "a run that goes back is ended",
        "A step that is being undone ends the run.",
        "machine/attempt_events.py",
        'if event.data.get("ends") and run.status is RunStatus.RUNNING:',
        'if event.data.get("ends"):',
        (IN_THE_MACHINE,),
    ),
    Plant(
        "a branch ends the run",
        "A step ends the run while others are at work beside it.",
        "engine/answers.py",
        "    if stands_alone(plan, node.name):\n",
        "    if stands_alone(plan, node.name) or node.name:\n",
        (IN_THE_LAB,),
    ),
    Plant(
        "an end without a look",
        "The result that ends a run is recorded whatever it is.",
        "workers/runtime.py",
        'shape = found.planned.shape if found else Shape("the run", None, {}, Any, Any)',
        'shape = Shape("the run", None, {}, Any, Any)',
        (IN_THE_LAB,),
    ),
    Plant(
        "the answer of another step",
        "What a step said before it was tried once more is told to the caller.",
        "engine/attempt_work.py",
        "attempt.run.step(d.step).do.attempts_before_budget:",
        "attempt is None:",
        ("tests/engine/test_outcomes.py",),
    ),
    Plant(
        "an answer of any type",
        "What a step says to the caller is recorded whatever it is.",
        "authoring/planned.py",
        "        if self.answers is None:\n            return write(",
        "        if answer is not None:\n            return write(",
        (IN_THE_LAB,),
    ),
    Plant(
        "asked again for ever",
        "An attempt whose process died is given back, as if it had said that it cannot say yet.",
        "machine/steps.py",
        "return self.attempt - self.attempts_before_budget - self.given_back",
        "return self.attempt - self.attempts_before_budget - (self.given_back and self.attempt)",
        (POLLING,),
    ),
    Plant(
        "events that others need are dropped",
        "What happened between two that were postponed is dropped from the history.",
        "machine/series.py",
        "tuple(_told(each) if each.step == event.step else each for each in found)",
        "tuple(_told(each) for each in found)",
        (POLLING,),
    ),
    Plant(
        "one takes the place of another",
        "What is dropped is counted as if nothing had been dropped between it and the end.",
        "machine/series.py",
        "place + 1 - sum(each < place for each in gone)",
        "place + 1 - sum(each > place for each in gone)",
        (POLLING,),
    ),
    Plant(
        "what operators do is dropped over",
        "A pause between two that were postponed is told before both.",
        "machine/series.py",
        "if turns or by_operator or not event.step or event.kind not in _OF_STEPS:",
        "if turns or by_operator:",
        (POLLING,),
    ),
    Plant(
        "an undo is asked for ever",
        "A compensation that never can say whether it is done is never owed.",
        "machine/postponing.py",
        "return named is None and draft.now",
        "return named is not None and draft.now",
        (POLLING,),
    ),
    Plant(
        "given back twice",
        "An undo that begins anew has more attempts, for each time that the one before was asked.",
        "machine/run_events.py",
        "attempts_before_budget=direction.attempt, given_back=0, begun=0",
        "attempts_before_budget=direction.attempt, begun=0",
        (POLLING,),
    ),
    Plant(
        "words without end",
        "What a step says when it skips itself is kept whole in the history, however long.",
        "engine/answers.py",
        "return Skips(said if len(said) <= _LONGEST_WORDS else",
        "return Skips(said if said else",
        ("tests/testing/test_conditions.py",),
    ),
    Plant(
        "postponed is without effect",
        "A step that cannot say yet is not undone, whatever it has begun.",
        "machine/attempt_events.py",
        '    had = step.may_have_effect or data.get("effect") is not False\n',
        "    had = step.may_have_effect\n",
        (POLLING,),
    ),
    Plant(
        "no limit to steps",
        "A run starts as many steps as it likes.",
        "machine/next_steps.py",
        "return TURN_COMES if run.started_steps + begun < most else TOO_MANY",
        "return TURN_COMES if run.started_steps + begun < most + 1_000 else TOO_MANY",
        (IN_THE_MACHINE,),
    ),
)
