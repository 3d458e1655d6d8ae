"""What tests of sagas need, for users and for this project alike.

Owns: the names for users; each file here is one tool.  Refuses to know: pytest, and any one test.

Its files, from the ground up::

    audit | clock | exploration_progress | fault_points | servers | timeline
    < broker | checked_store | observations < process | virtual_tasks < lab_attempts < simulation
    < lab_sagas | scripted_faults < random_faults < lab < faults | laws < generated_test < explorer
"""

from celeriac.testing.checked_store import Violation
from celeriac.testing.explorer import Finding, Report, explore
from celeriac.testing.lab import Lab
from celeriac.testing.lab_sagas import LabRun
from celeriac.testing.laws import BrokenLaw, check_compensation
from celeriac.testing.process import Stuck
from celeriac.testing.random_faults import Odds, Storm
from celeriac.testing.scripted_faults import LabFailure

__all__ = [
    "BrokenLaw",
    "Finding",
    "Lab",
    "LabFailure",
    "LabRun",
    "Odds",
    "Report",
    "Storm",
    "Stuck",
    "Violation",
    "check_compensation",
    "explore",
]
