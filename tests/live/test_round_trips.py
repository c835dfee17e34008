"""How often the hot calls go to PostgreSQL, counted on the wire: every statement, BEGIN and COMMIT is one."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.live import LiveTeam, MakeStack, Tenants
from tests.support.postgres_tap import PostgresTap, postgres_tap
from tests.support.stack import FakeProvider

#: What they took when this was written. The contract's own limits are 5, 8 and 6.
CREATE_JOB = 2
LLM_CALL = 4
COMPLETE = 6
FAIL = 6

WARM_UP = 8
ROUNDS = 5


@pytest.fixture(scope="module")
def tap() -> Iterator[PostgresTap]:
    with postgres_tap(os.environ["DATABASE_URL"]) as running:
        yield running


@pytest.fixture(scope="module")
def team(tap: PostgresTap, make_stack: MakeStack, provider: FakeProvider) -> Iterator[LiveTeam]:
    """On a stack that speaks to PostgreSQL through the tap, and in which nothing beats in the background."""
    with make_stack("web", "worker", through=tap.url, WORKER_HEARTBEAT_S="3600") as stack:
        tenants = Tenants.on(stack, provider)
        yield tenants.team([tenants.group("ok")])


@pytest.fixture
def fewest(tap: PostgresTap) -> Callable[[Callable[[], object]], int]:
    """The round trips of a call once it is warm: statements prepared, connections open."""

    def count(call: Callable[[], object]) -> int:
        found = []
        for _ in range(WARM_UP + ROUNDS):
            before = tap.round_trips
            call()
            found.append(tap.round_trips - before)
        return min(found[WARM_UP:])

    return count


def test_creating_a_job(team: LiveTeam, fewest: Callable[[Callable[[], object]], int]) -> None:
    assert 0 < fewest(team.open_job) <= CREATE_JOB


def test_creating_a_job_of_a_user(team: LiveTeam, fewest: Callable[[Callable[[], object]], int]) -> None:
    """Who has a limit, too."""
    body = {"team_id": team.team_id, "job_type": "live", "user_id": "bob"}

    def create() -> None:
        assert team.api.post("/api/jobs/create", json=body).status_code == 200

    assert 0 < fewest(create) <= CREATE_JOB
    path = f"/api/teams/{team.team_id}/users/bob"
    assert team.api.patch(path, json={"limits": {"credits_per_month": 1000}}).status_code == 200
    assert 0 < fewest(create) <= CREATE_JOB


def test_a_direct_call_of_a_user(team: LiveTeam, fewest: Callable[[Callable[[], object]], int]) -> None:
    body = {"model": team.group, "messages": [{"role": "user", "content": "Hello"}], "user": "alice"}

    def call() -> None:
        assert team.api.post("/v1/chat/completions", json=body).status_code == 200

    assert 0 < fewest(call) <= LLM_CALL


def test_a_call(team: LiveTeam, fewest: Callable[[Callable[[], object]], int]) -> None:
    """In web and worker together."""
    job = team.open_job()

    def call() -> None:
        assert team.call(job).status_code == 200

    assert 0 < fewest(call) <= LLM_CALL


@pytest.mark.parametrize(("status", "limit"), [("completed", COMPLETE), ("failed", FAIL)])
def test_ending_a_job(team: LiveTeam, fewest: Callable[[Callable[[], object]], int], status: str, limit: int) -> None:
    jobs = [team.open_job() for _ in range(WARM_UP + ROUNDS)]
    for job in jobs[WARM_UP:]:
        assert team.call(job).status_code == 200

    def end() -> None:
        assert team.complete(jobs.pop(0), status).json()["costs"]["credit_applied"] is (status == "completed")

    assert 0 < fewest(end) <= limit
