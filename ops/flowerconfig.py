"""How Flower shows an application whose tasks are steps of sagas.

Owns: what is worth another value than Flower's own, and why.  Refuses to know: ports and
passwords, which come as FLOWER_PORT and FLOWER_BASIC_AUTH: a value given here would win over the
environment's, and what differs between machines must not be here.
"""

from celeriac.flower import format_task, natural_time, tasks_columns  # noqa: F401 -- Flower reads

max_tasks = 20_000  # Flower is a window, not the record: that is in the run's history
