"""Copies of plans: nothing that was worked out of the original is taken over.

Owns: that.  Refuses to know: what is worked out of a plan.
"""

from __future__ import annotations

from functools import cached_property

from celeriac.machine import Plan
from tests.machine.story import saga


def test_a_copy_is_another_plan() -> None:
    """It has a fingerprint of its own, and is the plan of its own runs."""
    plan = saga("reserve", "charge")
    known = [name for name in dir(Plan) if isinstance(vars(Plan).get(name), cached_property)]
    assert {"fingerprint", "whole"} <= set(known)
    for name in known:
        getattr(plan, name)  # it is kept from now on
    copy = plan.model_copy(update={"saga": "other"})
    assert not vars(copy).keys() & set(known)
    assert copy.whole is copy
    assert copy.fingerprint != plan.fingerprint
