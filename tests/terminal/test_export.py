"""`saga export`: all that is known of a run, in one document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from celeriac.machine import Plan
from tests.terminal import driven_runs, shop

if TYPE_CHECKING:
    from tests.terminal.conftest import Cli


def test_a_run_is_exported(cli: Cli) -> None:
    """As `show` and `history` tell it, with the plan it follows, and without payloads."""
    driven_runs.failed("o-1")
    found = json.loads(cli("export", "o-1").out)
    shown = json.loads(cli("show", "o-1", "-o", "json").out)
    told = json.loads(cli("history", "o-1", "-o", "json").out)
    assert shown.pop("plan") == shop.place_order.planned.plan.fingerprint
    assert {name: found[name] for name in shown} == shown
    assert found["events"] == told["events"]
    assert Plan.model_validate(found["plan"]) == shop.place_order.planned.plan
    assert "payloads" not in found
    assert driven_runs.SECRET not in json.dumps(found)


def test_payloads_are_exported_where_that_is_said(cli: Cli) -> None:
    """Input, outputs and failures, in full."""
    driven_runs.failed("o-1")
    found = json.loads(cli("export", "o-1", "--payloads", "-o", "jsonl").out)
    assert found["payloads"]["in:order"] == {"sku": "pen", "quantity": 1}
    assert found["payloads"]["out:reserve"] == "done"
    assert driven_runs.SECRET in found["payloads"]["err:charge"]["message"]


def test_a_run_there_is_not_is_not_exported(cli: Cli) -> None:
    """With the code for that, and nothing on stdout."""
    ended = cli("export", "nosuch")
    assert (ended.code, ended.out) == (3, "")
