"""What holds for all tests.

Owns: that no test is wrong because the machine is slow.  Refuses to know: the tests.
"""

from __future__ import annotations

from hypothesis import settings

# Hypothesis fails an example that takes 200 ms; on two busy cores any may.  `timeout` of pytest
# ends what hangs.
settings.register_profile("celeriac", deadline=None)
settings.load_profile("celeriac")
