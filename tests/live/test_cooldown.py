"""Two workers share what they know of a failing model."""

import uuid
from collections.abc import Iterator

import pytest

from tests.support.fake_provider import ANSWER
from tests.support.live import MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack, eventually


@pytest.fixture(scope="module")
def two_workers(make_stack: MakeStack) -> Iterator[Stack]:
    with make_stack("web", "worker", "worker-2") as running:
        yield running


@pytest.fixture(scope="module")
def customers(two_workers: Stack, provider: FakeProvider) -> Tenants:
    return Tenants.on(two_workers, provider)


def test_a_rate_limited_model_is_left_alone_by_all_workers(customers: Tenants, provider: FakeProvider) -> None:
    limited = f"limited-30s/{uuid.uuid4().hex}"
    team = customers.team([customers.group(limited, "ok")])
    job = team.open_job()
    assert team.call(job).status_code == 200
    asked = provider.requests(limited)

    # It is told over Redis, so it takes a moment; then nobody asks it any more.
    def is_left_alone() -> bool:
        nonlocal asked
        for _ in range(20):
            assert team.call(job).json()["response"]["content"] == ANSWER
        before, asked = asked, provider.requests(limited)
        return asked == before

    eventually(is_left_alone, "the model is left alone", within_s=10)
    assert asked <= 3


def test_it_is_asked_all_the_same_where_there_is_no_other(customers: Tenants, provider: FakeProvider) -> None:
    limited = f"limited-300s/{uuid.uuid4().hex}"
    team = customers.team([customers.group(limited)])
    job = team.open_job()
    answers = [team.call(job) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [500] * 3
    assert provider.requests(limited) == 3


def test_a_wiped_redis_is_no_obstacle(two_workers: Stack, customers: Tenants, provider: FakeProvider) -> None:
    limited = f"limited-30s/{uuid.uuid4().hex}"
    team = customers.team([customers.group(limited, "ok")])
    job = team.open_job()
    team.call(job)
    two_workers.redis_command("FLUSHALL")

    assert team.call(job).json()["response"]["content"] == ANSWER


def test_a_model_that_stumbles_once_answers_in_the_end(
    two_workers: Stack, customers: Tenants, provider: FakeProvider
) -> None:
    team = customers.team([customers.group(f"recovers-1/{uuid.uuid4().hex}")])
    answer = team.call(team.open_job())

    assert answer.status_code == 200, answer.text
    attempts = two_workers.query(
        "SELECT outcome FROM jobs_attempt WHERE call_id = %s ORDER BY sequence", answer.json()["call_id"]
    )
    assert [attempt["outcome"] for attempt in attempts] == ["failed", "succeeded"]


def test_calls_are_spread_by_weight(customers: Tenants, provider: FakeProvider) -> None:
    names = [f"ok/{uuid.uuid4().hex}" for _ in range(2)]
    group = f"Group-{uuid.uuid4().hex[:8]}"
    models = [
        {"model_name": f"model-{weight}", "priority": 0, "config": customers.config(name) | {"weight": weight}}
        for name, weight in zip(names, (1, 3), strict=True)
    ]
    made = customers.operator.post("/api/model-groups/create", json={"group_name": group, "models": models})
    assert made.status_code == 200, made.text
    team = customers.team([group])
    job = team.open_job()
    for _ in range(60):
        assert team.call(job).status_code == 200

    light, heavy = (provider.requests(name) for name in names)
    assert light + heavy == 60
    # One in a million runs has fewer or more than that of the light one's fifteen.
    assert 1 <= light <= 32
