"""What can be a step: which tasks, what policy each brings along, and how it may be called.

Owns: the words for what cannot.  Refuses to know: the saga that it is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celeriac.authoring.adopted import adopted_retry
from celeriac.authoring.compensations import Compensation
from celeriac.authoring.placeholders import Placeholder
from celeriac.authoring.planned import Planned
from celeriac.authoring.signatures import Shape
from celeriac.authoring.steps import Step, is_celery_task


def not_a_step(  # noqa: PLR0911 -- one for each mistake
    task: Any, saga: str, word: str = "flow.step"
) -> str | None:
    """Why *task*, which is no `Step` and was given to *word*, cannot be one, if it cannot."""
    if isinstance(task, Placeholder):
        return f"{word} takes a task first, and {task!r} is a value"
    if isinstance(task, Compensation):
        return f"{task!r} runs by itself when its step is undone: give flow.step the step"
    planned = getattr(task, "planned", None)
    if isinstance(planned, Planned):
        own = planned.name == saga
        return (
            f"{'calls itself' if own else f'calls saga {planned.name!r}'} in {word}, which "
            "takes tasks: "
            + (
                "a plan is finite; loop inside a step"
                if own
                else "flow.child(saga, …) makes a run of it a step"
            )
        )
    if isinstance(task, Mapping) and "task" in task:
        return f"{word} takes the task itself and its arguments, not a signature of it (.s, .si)"
    if is_celery_task(task):
        if getattr(task, "saga_adopted", True) is False:
            return f"{task.name} is the Celery task behind a step: pass the step itself"
        return None
    return (
        f"{word} takes a step or a Celery task, not {task!r}: decorate the function with "
        "@sagas.step, and do not call it"
    )


def policy_of(task: Any) -> dict[str, Any]:
    """What a node has of its task's own policy."""
    if not isinstance(task, Step):
        return {"retry": adopted_retry(task)}
    return {name: getattr(task, name) for name in _POLICY}


_POLICY = (
    *("retry", "timeout", "effect", "on_unknown", "pivot", "ahead", "give_up_after"),
    *("expires", "routes"),
)


def shape_of(task: Any) -> Shape:
    """What a step, or an existing Celery task, asks for."""
    return task.shape if isinstance(task, Step) else Shape.of(task.run, strict=False)


def after_loss(task: Any) -> bool:
    """Whether a task may be tried again after an attempt whose outcome is unknown."""
    return bool(policy_of(task)["retry"].after_loss)
