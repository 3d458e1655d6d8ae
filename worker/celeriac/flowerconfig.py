"""How Flower shows an application whose tasks are steps of sagas.

`celery -A shop flower --conf=$(celeriac flowerconfig)` reads this file; a `flowerconfig.py` of your
own begins with `from celeriac.flowerconfig import *`.

Owns: what is worth another value than Flower's own, and why.  Refuses to know: ports and
passwords, which come as FLOWER_PORT and FLOWER_BASIC_AUTH: a value given here would win over the
environment's, and what differs between machines must not be here.
"""

from celeriac.flower import format_task, natural_time, tasks_columns

__all__ = ["format_task", "max_tasks", "natural_time", "tasks_columns"]

max_tasks = 20_000  # Flower is a window, not the record: that is in the run's history
