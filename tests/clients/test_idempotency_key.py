"""`Idempotency-Key` on an LLM call: a client that asks again gets the same answer, and pays for it once."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.live import LiveTeam, Tenants
from tests.support.stack import FakeProvider, Stack


@pytest.fixture
def held(provider: FakeProvider) -> Iterator[str]:
    name = f"held/{uuid.uuid4().hex[:8]}"
    yield name
    provider.release(name)


@pytest.fixture
def behaviour() -> str:
    """One whose requests nobody else counts."""
    return f"ok/{uuid.uuid4().hex[:8]}"


@pytest.fixture
def team(tenants: Tenants, behaviour: str) -> LiveTeam:
    return tenants.team([tenants.group(behaviour), tenants.group("status-500")])


def test_a_replay_gives_the_same_body_and_runs_nothing(team: LiveTeam, provider: FakeProvider, behaviour: str) -> None:
    job, key = team.open_job(), {"Idempotency-Key": "once"}

    first = team.call(job, headers=key)
    again = team.call(job, headers=key)

    assert (first.status_code, again.status_code) == (200, 200)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.content == first.content
    assert provider.requests(behaviour) == 1
    assert team.complete(job).json()["costs"]["total_calls"] == 1


def test_a_duplicate_in_flight_is_a_conflict(tenants: Tenants, provider: FakeProvider, held: str) -> None:
    team = tenants.team([tenants.group(held)])
    job, key = team.open_job(), {"Idempotency-Key": "once"}
    with ThreadPoolExecutor(1) as background:
        first = background.submit(team.call, job, headers=key)
        provider.wait_for(held)

        duplicate = team.call(job, headers=key)
        provider.release(held)

    assert (duplicate.status_code, duplicate.json()["code"]) == (409, "idempotency_key_in_flight")
    assert first.result().status_code == 200
    assert team.call(job, headers=key).content == first.result().content
    assert provider.requests(held) == 1


def test_another_payload_under_the_key_is_refused(team: LiveTeam, provider: FakeProvider, behaviour: str) -> None:
    job, key = team.open_job(), {"Idempotency-Key": "once"}
    assert team.call(job, headers=key).status_code == 200

    other = team.call(job, headers=key, temperature=0.1)

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert provider.requests(behaviour) == 1


def test_after_a_failed_call_the_key_may_be_used_again(stack: Stack, team: LiveTeam) -> None:
    job, key = team.open_job(), {"Idempotency-Key": "once"}
    working, failing = (
        row["group_name"]
        for row in stack.query(
            """
            SELECT g.group_name FROM modelgroups_groupassignment a JOIN modelgroups_modelgroup g ON g.id = a.group_id
            JOIN tenancy_team t ON t.id = a.team_id WHERE t.team_id = %s ORDER BY a.position
            """,
            team.team_id,
        )
    )
    failed = team.call(job, headers=key, model_group=failing)
    assert failed.status_code == 500

    again = team.call(job, headers=key, model_group=working)

    assert again.status_code == 200, again.text
    assert "Idempotency-Replayed" not in again.headers


def test_a_refused_call_gives_its_key_back(tenants: Tenants, team: LiveTeam) -> None:
    job, key = team.open_job(), {"Idempotency-Key": "once"}
    assert team.call(job, headers=key, model_group="NoSuchGroup").status_code == 403

    assert team.call(job, headers=key).status_code == 200


def test_keys_of_two_teams_do_not_meet(tenants: Tenants, behaviour: str, provider: FakeProvider) -> None:
    group = tenants.group(behaviour)
    for team in (tenants.team([group]), tenants.team([group])):
        answer = team.call(team.open_job(), headers={"Idempotency-Key": "once"})
        assert answer.status_code == 200
        assert "Idempotency-Replayed" not in answer.headers
    assert provider.requests(behaviour) == 2
