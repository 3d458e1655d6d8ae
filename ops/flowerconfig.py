"""How Flower shows an application whose tasks are steps of sagas.

Owns: what is worth another value than Flower's own, and why.  Refuses to know: ports and
passwords, which come as FLOWER_PORT and FLOWER_BASIC_AUTH, and what a step's text looks like: the
messages carry it themselves (`order-42 · charge · #1`), and never a payload.
"""

from __future__ import annotations

# A value given here wins over the environment's: what differs between machines must not be here.

# The text of a step stands where its arguments would: next to its name it says what it is about.
tasks_columns = "name,args,state,received,started,runtime,worker,uuid"

# Times as they are, so that they can be compared with a run's history and with the logs.
natural_time = False

# Tasks kept in memory.  Flower is a window, not the record: that is in the run's history.
max_tasks = 20_000
persistent = False

# Seconds after which a worker that went away is no longer listed.
purge_offline_workers = 600
