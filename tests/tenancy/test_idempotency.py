"""An Idempotency-Key: the work is done once, and the answer given again."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from billing.models import CreditAccount
from jobs.models import Job
from tenancy.models import IdempotencyRecord, Organization, Team, VirtualKey
from tenancy.services.idempotency import purge_expired
from tests.support.api import ApiClient, Tenant, make_operator, make_tenant

KEY = {"Idempotency-Key": "key-1"}
POSTS: list[tuple[str, dict[str, Any]]] = [
    ("/api/organizations/create", {"organization_id": "org_new", "name": "x"}),
    ("/api/model-groups/create", {"group_name": "New", "models": [{"model_name": "gpt-4o"}]}),
    ("/api/teams/create", {"organization_id": "org_a", "team_id": "team_new", "credits_allocated": 5}),
    ("/api/teams/team_a/keys", {"name": "new"}),
    ("/api/credits/teams/team_a/add", {"credits_amount": 5}),
    ("/api/jobs/create", {"team_id": "team_a", "job_type": "x"}),
]


def everything() -> tuple[Any, ...]:
    accounts = CreditAccount.objects.order_by("pk").values_list("allocated", "held", "last_sequence")
    return (
        *(model.objects.count() for model in (Organization, Team, VirtualKey, Job)),
        *accounts,
    )


@pytest.mark.parametrize(("path", "body"), POSTS)
def test_a_repeated_request_gets_the_first_answer_and_does_nothing(
    operator: ApiClient, tenant: Tenant, path: str, body: dict[str, Any]
) -> None:
    first = operator.post(path, body, headers=KEY)
    before = everything()
    second = operator.post(path, dict(reversed(body.items())), headers=KEY)

    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert everything() == before


def test_completing_is_replayed_and_charged_once(tenant: Tenant) -> None:
    job = tenant.api.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "x"}).json()["job_id"]
    answers = [tenant.api.post(f"/api/jobs/{job}/complete", {"status": "completed"}, headers=KEY) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert CreditAccount.objects.get(pk=tenant.team_pk).used == 1


@pytest.mark.parametrize(("path", "body"), POSTS)
def test_another_request_under_the_same_key_is_refused(
    operator: ApiClient, tenant: Tenant, path: str, body: dict[str, Any]
) -> None:
    operator.post(path, body, headers=KEY)
    before = everything()

    answer = operator.post(path, {**body, "metadata": {"other": 1}}, headers=KEY)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert everything() == before


def test_the_same_key_of_another_caller_is_another_key(tenant: Tenant) -> None:
    other = make_tenant("b")
    for who in (tenant, other):
        answer = who.api.post("/api/jobs/create", {"team_id": who.team_id, "job_type": "x"}, headers=KEY)
        assert answer.status_code == 200
        assert "Idempotency-Replayed" not in answer.headers


def test_an_error_is_not_stored(db: None) -> None:
    tenant, operator = make_tenant(credits_allocated=0), make_operator()
    job = {"team_id": tenant.team_id, "job_type": "x"}
    assert tenant.api.post("/api/jobs/create", job, headers=KEY).status_code == 402
    assert IdempotencyRecord.objects.count() == 0

    operator.post(f"/api/credits/teams/{tenant.team_id}/add", {"credits_amount": 1})

    assert tenant.api.post("/api/jobs/create", job, headers=KEY).status_code == 200


def test_what_is_stored_is_encrypted(operator: ApiClient, tenant: Tenant) -> None:
    path, body = POSTS[2]
    key = operator.post(path, body, headers=KEY).json()["virtual_key"]

    stored = bytes(IdempotencyRecord.objects.get().reply or b"")
    assert stored
    assert key.encode() not in stored
    assert b"team_new" not in stored


def test_an_expired_record_is_forgotten(operator: ApiClient, tenant: Tenant, settings: Any) -> None:
    path, body = POSTS[4]
    operator.post(path, body, headers=KEY)
    assert purge_expired() == 0
    IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(seconds=settings.IDEMPOTENCY_TTL_S + 1))
    assert purge_expired() == 1

    assert "Idempotency-Replayed" not in operator.post(path, body, headers=KEY).headers


@pytest.mark.django_db(transaction=True)
def test_ten_at_once_do_the_work_once() -> None:
    tenant = make_tenant()
    answers: list[Any] = []

    def create() -> None:
        try:
            answers.append(
                tenant.api.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "x"}, headers=KEY)
            )
        finally:
            connection.close()

    threads = [threading.Thread(target=create) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert CreditAccount.objects.get(pk=tenant.team_pk).held == 1
