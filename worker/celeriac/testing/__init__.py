"""What tests of sagas need, for users and for this project alike.

Owns: the names for users; each file here is one tool.  Refuses to know: pytest, and any one test.
"""

from celeriac.testing.exploring import Finding, Report, explore
from celeriac.testing.lab import Lab
from celeriac.testing.laws import BrokenLaw, check_compensation
from celeriac.testing.process import Stuck
from celeriac.testing.script import LabFailure
from celeriac.testing.stage import LabRun
from celeriac.testing.storm import Odds, Storm
from celeriac.testing.vault import Violation

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
