"""What holds for all tests.

Owns: that no test is wrong because the machine is slow, and that the gate tries the same each time.
Refuses to know: the tests.
"""

from __future__ import annotations

import os

from hypothesis import settings

# Hypothesis fails an example that takes 200 ms; on two busy cores any may.  `timeout` of pytest
# ends what hangs.  The gate tries the same examples each time: what fails there is due to a change,
# and the proof (`make prove`) looks for others.
settings.register_profile("celeriac", deadline=None, derandomize="PROVE" not in os.environ)
settings.load_profile("celeriac")
