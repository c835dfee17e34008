"""Each named point of create → call → complete, in web, worker and sweeper, as the last thing a process did.

CI kills at each point once; FAULT_ROUNDS=4 makes more than a hundred deaths of it.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.customers import Customer
from tests.faults.rules import broken
from tests.faults.scene import HASTY, AtWork
from tests.support.live import MakeStack
from tests.support.stack import ROOT, Stack, eventually

APPS = ("billing", "config", "jobs", "modelgroups", "tenancy")
#: Killed by tests of their own: tests/live/test_webhooks.py, tests/live/test_refills.py, tests/jobs/test_rollups.py,
#: tests/jobs/test_erasure.py, tests/proxy/test_outage.py.
ELSEWHERE = ("webhooks.", "mails.", "refills.", "rollups.", "erasure.", "proxy.")
POINTS = sorted(
    {
        point
        for app in APPS
        for path in (ROOT / app).rglob("*.py")
        for point in re.findall(r'\bfailpoint\("([\w.]+)"\)', path.read_text())
        if path.name != "failpoints.py" and not point.startswith(ELSEWHERE)
    }
)
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
#: The sweepers come every 5 and every 30 s.
REACHED_WITHIN_S = 45
#: Long, because other tests start processes meanwhile; how soon things recover is tests/live/test_crash.py's to say.
WORK_GOES_ON_WITHIN_S = 90


@pytest.fixture(scope="module")
def doomed(make_stack: MakeStack, failpoints: Path) -> Iterator[Stack]:
    with make_stack("web", "worker", "maintenance", "beat", FAILPOINTS=str(failpoints), **HASTY) as running:
        yield running


@pytest.fixture(scope="module")
def customers(doomed: Stack, at_work: AtWork) -> Iterator[list[Customer]]:
    with at_work(doomed) as working:
        yield working


def test_there_are_points_at_every_step() -> None:
    assert len(POINTS) >= 25
    assert {point.partition(".")[0] for point in POINTS} == {"job", "sweeper", "web", "worker"}


@pytest.mark.parametrize("point", POINTS * ROUNDS)
def test_a_death_leaves_books_and_calls_in_order(
    doomed: Stack, customers: list[Customer], failpoints: Path, point: str
) -> None:
    armed = failpoints / point
    armed.touch()
    log = doomed.log(point.partition(".")[0].replace("sweeper", "maintenance").replace("job", "web"))
    eventually(lambda: not armed.exists(), f"somebody dies at {point}", within_s=REACHED_WITHIN_S, log=log)

    # Then on to the next: what has died must also recover while others die.
    made = [customer.jobs_done for customer in customers]
    eventually(
        lambda: [customer.jobs_done for customer in customers] != made,
        "work goes on",
        within_s=WORK_GOES_ON_WITHIN_S,
        log=log,
    )
    assert broken(doomed) == {}
    assert [problem for customer in customers for problem in customer.problems] == []
