"""Which try of a run an attempt belongs to, and under which key a step is done.

Owns: the epoch of a step, what follows from it, and whether a run has begun more than once.
Refuses to know: when a try begins (`draft`), and what it leads to.

All steps of a run have its epoch, but for those that stood when it was rewound: their attempts,
keys and payloads stay those of the try in which they were done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.machine.numbering import instance_of

if TYPE_CHECKING:
    from celeriac.machine.runs import Run


def epoch_of(run: Run, step: str) -> int:
    """The epoch in which a step of a run is done, or was; that of an element is its map's."""
    if not run.stands:
        return run.epoch
    stands = dict(run.stands)
    instance = None if step in stands else instance_of(step)
    return stands.get(instance.map if instance else step, run.epoch)


def key_of(run: Run, step: str) -> str:
    """What the idempotency key and the task ids of a step start with."""
    epoch = epoch_of(run, step)
    return run.id if epoch == 1 else f"{run.id}~{epoch}"


def try_of(run: Run, step: str, epoch: int) -> Run | None:
    """The run as it is in the try to which an attempt of a step belongs; None if it is forgotten.

    *epoch* is that of the attempt; 0: the newest.
    """
    if epoch in (0, epoch_of(run, step)):
        return run
    for each in reversed(run.earlier):
        if step in each.steps and epoch_of(each, step) == epoch:
            return run.of_epoch(each.epoch)
    return None


def earlier_epoch(run: Run | None, command: Any) -> int:
    """The epoch of the earlier try that a command is about; 0: of none."""
    if run is None or not run.earlier:
        return 0
    about = getattr(command, "dispatch", command)
    epoch = getattr(about, "epoch", 0)
    found = try_of(run, about.step, epoch) if epoch else None
    return found.epoch if found and found is not run else 0


def first_epoch(run: Run) -> int:
    """The epoch in which a run began, since it was started; it has had one for each try since."""
    return run.epoch - run.tries - run.rewinds + 1


def began_once(run: Run) -> bool:
    """True of a run that has neither begun anew nor gone forward again from a step."""
    return first_epoch(run) == run.epoch


def is_over(run: Run, step: str, epoch: int) -> bool:
    """True if *epoch* is one of a run that is over, for that step."""
    return epoch != epoch_of(run, step) and first_epoch(run) <= epoch < run.epoch
