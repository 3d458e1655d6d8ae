"""Every row of the table of crash points is tried somewhere, and every case has its place.

Owns: the table of crash points, which test tries which row, and that the matrix leaves nothing
out without a reason.  Refuses to know: how a row is tried.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from celeriac.points import POINTS
from tests.crash.matrix import EXCLUDED, FAULTS, PATHS, cases

_FOLDER = Path(__file__).parent
_MATRIX = (
    "test_matrix.test_children_killed",
    "test_matrix.test_a_worker_killed",
    "test_matrix.test_a_worker_stopped",
    "test_matrix.test_redis_restarted",
)
_CLIENTS = (
    "test_clients.test_clients_killed",
    "test_clients.test_clients_stopped",
    "test_clients.test_redis_restarted_under_clients",
    "test_clients.test_requests_and_answers_of_clients_lost",
)
_LOST = ("test_lost_answers.test_each_request_and_each_answer_lost",)
_FLOWS = ("test_flows.test_children_killed",)
_SWEEPS = (
    "test_sweeps.test_a_sweep_crashed",
    "test_lost_answers.test_the_sweep_cut_off",
    "test_lost_answers.test_an_expiry_cut_off",
)

#: The rows of the table, and the tests that try them.
ROWS: dict[str, tuple[str, ...]] = {
    "client: before the commit; after it; while publishing; after it": _CLIENTS,
    "broker: popped and lost": ("test_messages.test_a_message_popped_and_lost",),
    "broker: prefetched by a dead worker": (
        "test_messages.test_messages_prefetched_by_a_worker_that_dies",
    ),
    "step: before the claim; after it; effect sent; effect applied": (*_MATRIX, *_LOST),
    "step: settled; next link not published; published": (*_MATRIX, *_LOST),
    "lease: renewal missed": (
        "test_leases.test_a_renewal_missed",
        "test_leases.test_one_renewal_lost",
    ),
    "lease: stopped for longer than it": ("test_matrix.test_a_worker_stopped",),
    "failure: raised, not settled; errback lost": (*_MATRIX, *_LOST),
    "failure: two causes at once": (
        "test_sweeps.test_three_causes_at_once",
        "test_sweeps.test_an_errback_and_a_sweep_at_once",
    ),
    "compensation: waiting": ("test_messages.test_a_compensation_that_waits_in_vain",),
    "compensation: claimed; undo applied, not settled": (*_MATRIX, *_LOST),
    "compensation: raises every time": ("test_matrix.test_an_undo_that_raises_every_time",),
    "end: last settle": (*_MATRIX, *_LOST),
    "end: late success after compensated": ("test_leases.test_a_success_after_all_was_undone",),
    "sweep: after taking, before acting; stopped": _SWEEPS,
    "sweep: two at once": (
        "test_sweeps.test_two_sweeps_at_once",
        "test_sweeps.test_two_sweeps_give_up_one_attempt",
    ),
    "ahead: told, nothing recorded; settled and claimed, not begun": (
        "test_ahead.test_children_killed",
        "test_ahead.test_a_worker_killed",
        "test_ahead.test_a_worker_stopped",
        "test_ahead.test_the_one_commit_cut_off",
    ),
    "gate: passed, not granted; granted; ended, its place not given back": (
        *_FLOWS,
        "test_flows.test_a_worker_killed_at_a_gate",
        "test_gates.test_a_worker_killed_behind_its_gate",
    ),
    "group: left, not on record; on record, nothing sent; visited again": _FLOWS,
    "rewind: undone, not on record; all is undone, nothing sent; done again": _FLOWS,
    "expiry: looked at; on record, nothing sent": _FLOWS,
    "Redis: LOADING, OOM, READONLY, NOSCRIPT": ("test_redis_states.test_redis_will_not",),
    "Redis: restarted": (
        "test_matrix.test_redis_restarted",
        "test_clients.test_redis_restarted_under_clients",
        "test_sweeps.test_a_sweep_crashed",
    ),
    # A clock is a process's own: the chaos run preloads one that can be set.
    "Redis: clock jumped": (),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_tried(row: str) -> None:
    """The tests that a row names are there."""
    for place in ROWS[row]:
        file, _, name = place.partition(".")
        tree = ast.parse((_FOLDER / f"{file}.py").read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_matrix_is_whole() -> None:
    """Every point of an attempt is on some path with every fault, or left out for a reason."""
    points = {point for path in PATHS.values() for point in path.points}
    for name, path in PATHS.items():
        for point in points - set(path.points):
            assert {(name, point, "*"), (name, "*", "*")} & EXCLUDED.keys(), (name, point)
    for fault in FAULTS:
        assert len(cases(fault, everything=True)) == sum(len(p.points) for p in PATHS.values())
        assert 0 < len(cases(fault, everything=False)) < len(cases(fault, everything=True))
    assert all(EXCLUDED.values())


@pytest.mark.parametrize("point", POINTS)
def test_a_point_is_used(point: str) -> None:
    """No point is in the code that no test here makes use of."""
    texts = [path.read_text(encoding="utf-8") for path in _FOLDER.glob("*.py")]
    assert any(f'"{point}"' in text for text in texts if "test_a_point_is_used" not in text)
